"""The face task: targets from votes, copies across splits, and that it learns what faces show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectus.corpora.synthetic import EMOTIONS, face_image
from affectus.errors import ConfigError
from affectus.nn.augment import ImageAugment
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.nn.mobilenet import FaceMobileNet
from affectus.nn.phase import Phase
from affectus.training.embedded.face import LABELS, FaceData, FaceNet, FaceTask, logits_of
from affectus.training.embedded.face_run import ShippedFace, build, looked_twice, without_copies
from affectus.training.loop import fit
from affectus.training.recipe import Recipe

PHASE = Phase("all", 12, 0.01, 16, weight_decay=0.01)


def votes(**given: int) -> np.ndarray:
    """One row of ten votes by label."""
    names = (*LABELS, "unknown", "no_face")
    return np.array([[given.get(name, 0) for name in names]], np.float32)


def data(rows: np.ndarray) -> FaceData:
    return FaceData(np.zeros((len(rows), 48, 48), np.uint8), rows)


def drawn(count: int, seed: int) -> FaceData:
    """Drawn faces, `count` per emotion, with eight votes for the right one and two for neutral."""
    random = np.random.default_rng(seed)
    images, rows = [], []
    for emotion in EMOTIONS:
        for _ in range(count):
            images.append(face_image(emotion, random).mean(2))
            rows.append(votes(**{emotion: 8}) + votes(neutral=2))
    return FaceData(np.stack(images).astype(np.uint8), np.concatenate(rows))


def tiny(seed: int = 0) -> FaceNet:
    torch.manual_seed(seed)
    return FaceNet(FaceMobileNet(8, ((16, 2), (32, 2), (32, 2))), dropout=0.0)


def mild(task: FaceTask) -> FaceTask:
    """With augmentation that leaves drawn mouths and brows readable."""
    task.augment = ImageAugment(rotation=4, scale=0.05, shift=0.03, brightness=10, contrast=0.1, gamma=0.1, blur=0.0,
                                low_resolution=0.0, noise=0.0, erase=0.0)  # fmt: skip
    return task


def test_targets_are_vote_shares_without_single_dissenters() -> None:
    np.testing.assert_allclose(data(votes(happiness=7, neutral=2, fear=1)).targets()[0, :2], [2 / 9, 7 / 9])
    assert data(votes(happiness=7, neutral=2, fear=1)).targets()[0, LABELS.index("fear")] == 0
    # Where nobody agrees, the single votes are all there is.
    np.testing.assert_allclose(data(votes(anger=1, fear=1)).targets()[0, [4, 6]], [0.5, 0.5])
    # Votes outside the eight emotions do not count as shares.
    assert data(votes(sadness=4, unknown=4)).targets()[0, LABELS.index("sadness")] == 1
    assert data(votes(unknown=10)).targets().sum() == 0


def test_usable_images_have_an_emotion_on_top() -> None:
    rows = np.concatenate([votes(fear=6, unknown=4), votes(fear=4, unknown=6), votes(fear=5, no_face=5), votes(
        no_face=9, fear=1)])  # fmt: skip
    assert data(rows).usable().tolist() == [True, False, True, False]
    # Accuracies are reported on one strict majority, so without ties of any kind.
    rows = np.concatenate([rows, votes(fear=5, anger=5)])
    assert data(rows).scored().tolist() == [True, False, False, False, False]
    assert data(votes(surprise=5, happiness=5)).majority().tolist() == [LABELS.index("happiness")]


def test_training_images_that_the_other_split_holds_are_dropped() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 48, 48)).astype(np.uint8)
    train = FaceData(images, np.arange(60, dtype=np.float32).reshape(6, 10))
    other = FaceData(images[[4, 1]].copy(), train.votes[[4, 1]])
    kept = without_copies(train, other)
    np.testing.assert_array_equal(kept.votes, train.votes[[0, 2, 3, 5]])
    changed = FaceData(images[[4]] ^ np.uint8(1), train.votes[[4]])
    assert len(without_copies(train, changed).votes) == 6


def test_an_untrained_net_says_nothing() -> None:
    net = tiny()
    assert torch.equal(net(torch.rand(3, 1, 48, 48) * 255), torch.zeros(3, 8))


def test_the_side_of_the_net_is_set_by_the_phase() -> None:
    task = FaceTask(drawn(1, 0), drawn(1, 1), tiny())
    task.enter(Phase("large", 1, 0.1, 8, options={"side": 64}))
    assert task.model.side == 64
    seen: list[tuple[int, ...]] = []
    task.model.trunk.stem.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    task.model.eval()(torch.zeros(2, 1, 48, 48))
    assert seen == [(2, 3, 64, 64)]


def test_depth_counts_from_the_head() -> None:
    task = FaceTask(drawn(1, 0), drawn(1, 1), tiny())
    names = ("head.weight", "trunk.blocks.2.0.0.weight", "trunk.blocks.0.0.0.weight", "trunk.stem.0.weight")
    assert [task.depth(name) for name in names] == [0, 1, 3, 4]


def test_batches_hold_targets_of_their_images() -> None:
    train = drawn(3, 0)
    task = FaceTask(train, drawn(1, 1), tiny())
    task.augment = ImageAugment(*[0.0] * 12)
    seen = 0
    for batch in task.loader(Phase("p", 1, 0.1, 7), 5):
        for image, target in zip(batch["images"], batch["targets"], strict=True):
            row = int(np.abs(train.images - image[0].numpy()).reshape(len(train.images), -1).max(1).argmin())
            np.testing.assert_allclose(target.numpy(), train.targets()[row])
            seen += 1
    assert seen == len(train.images)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> FaceTask:
    task = mild(FaceTask(drawn(30, 0), drawn(8, 1), tiny()))
    fit(task, [PHASE], tmp_path_factory.mktemp("face"))
    task.model.eval()
    return task


def test_training_beats_no_training_and_shuffled_labels(learned: FaceTask, tmp_path: Path) -> None:
    metrics = learned.validate(learned.model)
    untrained = learned.validate(tiny().eval())
    blind = drawn(30, 0)
    blind = FaceData(blind.images, np.random.default_rng(0).permutation(blind.votes))
    ablation = mild(FaceTask(blind, learned.validation, tiny()))
    fit(ablation, [Phase("all", 3, 0.01, 16)], tmp_path)
    shuffled = ablation.validate(ablation.model.eval())
    assert untrained["accuracy"] == pytest.approx(1 / 7)
    assert metrics["accuracy"] > 0.65
    assert metrics["uar"] > shuffled["uar"] + 0.25
    assert metrics["nll"] < untrained["nll"] - 0.4


def test_the_shipped_form_is_the_net_at_its_temperature(learned: FaceTask) -> None:
    images = learned.validation.images[:6]
    shipped = ShippedFace(learned.model, 2.0).eval()
    with torch.no_grad():
        found = shipped(torch.from_numpy(images).float()[:, None])
    torch.testing.assert_close(found.sum(1), torch.ones(6))
    wanted = torch.from_numpy(logits_of(learned.model, images) / 2).softmax(1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def recipe(**options: object) -> Recipe:
    return Recipe(model="face", title="t", corpora={"ferplus": "all"}, phases=[PHASE], options=options)


def test_recipes_choose_the_trunk() -> None:
    small = build(recipe(trunk="sface", pretrained=False, stem=4, blocks=[[8, 2], [12, 1]]))
    assert isinstance(small.trunk, FaceMobileNet)
    assert (small.trunk.width, small.head.in_features) == (12, 24)
    lite = build(recipe(trunk="tiny", pretrained=False, dropout=0.5))
    assert isinstance(lite.trunk, EfficientNetLite)
    assert lite.trunk.config == LiteConfig.tiny()
    assert lite.dropout.p == 0.5
    with pytest.raises(ConfigError, match="resnet: is no EfficientNet-Lite variant"):
        build(recipe(trunk="resnet", pretrained=False))


def test_only_unsure_faces_are_looked_at_twice(learned: FaceTask) -> None:
    images = learned.validation.images[:12]
    first = logits_of(learned.model, images)
    mirrored = logits_of(learned.model, np.ascontiguousarray(images[..., ::-1]))
    np.testing.assert_allclose(looked_twice(learned.model, images, 1.0, 0.0), first)
    np.testing.assert_allclose(looked_twice(learned.model, images, 1.0, 1.1), (first + mirrored) / 2, rtol=1e-5)
    shares = np.exp(first) / np.exp(first).sum(1, keepdims=True)
    top = shares.max(1)
    some = looked_twice(learned.model, images, 1.0, float(np.median(top)))
    changed = np.abs(some - first).max(1) > 1e-6
    assert not changed[top >= np.median(top)].any()
    assert changed.any()
