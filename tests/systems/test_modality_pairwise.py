"""Modality-pairwise contrast: the acceptance lines of its sheet, published layouts, bad input.

Not shown here: the ablations on CMU-MOSEI and RAVDESS with landmarks, whose data this project does not hold.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import corpora
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, MediaError, ModelError
from affectus.features.steps import MelSteps, UnitLandmarks, WordSteps, on_steps
from affectus.metrics import weighted_accuracy
from affectus.nn.losses.pairwise import pairwise_contrast, view_contrast
from affectus.nn.modality_encoders import sinusoids, window
from affectus.nn.st_gcn import STGCN, face_graph, normalised
from affectus.systems.modality_pairwise import Config, ModalityPairwise, PairwisePretraining
from affectus.systems.prediction import predict

TINY = Config.tiny()


def build(config: Config = TINY, seed: int = 0) -> ModalityPairwise:
    torch.manual_seed(seed)
    return ModalityPairwise(config)


@pytest.mark.sheet("Loss values (N=4, tau .07): one-hot per utterance 1.9e-6; collapse 0.5*ln(2N-1); InfoNCE ln N.")
def test_loss_values() -> None:
    one_hot = torch.eye(4)[:, None].repeat(1, 2, 1)
    point = torch.ones(4, 2, 8)
    assert float(pairwise_contrast([one_hot, one_hot])) == pytest.approx(1.9e-6, abs=2e-7)
    assert float(pairwise_contrast([point, point])) == pytest.approx(0.972955, abs=1e-6)
    assert float(view_contrast(point[:, :1], point[:, :1], positives="same_view")) == pytest.approx(
        math.log(4), abs=1e-6
    )


@pytest.mark.sheet("Same-view cells have no influence on the coded loss.")
def test_same_view_cells_have_no_influence() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 2, 6), torch.randn(5, 2, 6)
    # Written out with the diagonal replaced by anything at all.
    flat = lambda x: functional.normalize(x, dim=-1).transpose(0, 1).flatten(0, 1)
    scores = flat(a) @ flat(b).T / 0.07
    for diagonal in (-9.0, 0.0, 3.0):
        changed = scores.clone().fill_diagonal_(diagonal)
        weights = changed.exp() * (1 - torch.eye(10))
        rows = torch.arange(10)
        chance = changed[rows, (rows + 5) % 10] - weights.sum(1).log()
        assert float((-chance / 2).mean()) == pytest.approx(float(view_contrast(a, b)), abs=1e-5)


@pytest.mark.sheet("Number of ordered pairs: 2, 6, 12 for 2, 3, 4 modalities; total equals their mean, symmetric.")
def test_pairs() -> None:
    torch.manual_seed(0)
    z = [torch.randn(4, 2, 5) for _ in range(4)]
    for count, pairs in ((2, 2), (3, 6), (4, 12)):
        every = [view_contrast(a, b) for i, a in enumerate(z[:count]) for j, b in enumerate(z[:count]) if i != j]
        assert len(every) == pairs
        torch.testing.assert_close(pairwise_contrast(z[:count]), torch.stack(every).mean())
        torch.testing.assert_close(pairwise_contrast(z[:count]), pairwise_contrast(z[:count][::-1]))


@pytest.mark.sheet("Shapes: F=30 -> per-node features 20*64; F<=10 raises a clear error; any subset of modalities.")
def test_shapes_and_subsets() -> None:
    with torch.no_grad():
        assert STGCN(30).nodes(torch.zeros(1, 30, 51, 2)).shape == (1, 51, 20 * 64)
    with pytest.raises(ConfigError, match="more than 10"):
        build(replace(TINY, steps=10))
    system = build().eval()
    batch = system.example(3)
    for names in (("audio",), ("text", "vector"), ("landmarks", "audio", "text")):
        outputs = system({name: batch[name] for name in names})
        assert outputs["logits"].shape == (3, 8)
        assert {k for k in outputs if k.startswith("feature:")} == {f"feature:{n}" for n in names}
    with pytest.raises(ConfigError, match="all missing"):
        system({"label": batch["label"]})


@pytest.mark.sheet("WA of a constant predictor is .5; of a perfect one 1; for TP=3,P=4,TN=5,N=10 it is .625.")
def test_weighted_accuracy() -> None:
    truth = np.array([1] * 4 + [0] * 10)[:, None]
    guess = np.array([1, 1, 1, 0] + [0] * 5 + [1] * 5)[:, None]
    assert weighted_accuracy(truth, guess) == pytest.approx((3 / 4 + 5 / 10) / 2) == pytest.approx(0.625)
    assert weighted_accuracy(truth, truth) == 1
    assert weighted_accuracy(truth, np.ones_like(truth)) == 0.5
    several = build(replace(Config.tiny(), several=True, labels=("a", "b"), space=""))
    absent = several.measure({"logits": np.ones((3, 2))}, {"labels": np.zeros((3, 2))})
    assert absent["weighted_accuracy"] == 0.5


@pytest.mark.sheet("No label leakage: encoder gradients are zero when only the classifier loss is back-propagated.")
def test_labels_do_not_reach_the_encoders() -> None:
    system = build().train()
    batch = system.example(8)
    losses = system.losses(batch, system(system.augment(batch, {})), {"contrast": False})
    assert set(losses) == {"fused", *TINY.modalities}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    for name, parameter in system.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == name.startswith("probes."), name


@pytest.mark.sheet("Adjacency: 65 edges, symmetric; rows of an isolated graph equal 1; spectrum within [-1,1].")
def test_adjacency() -> None:
    graph = face_graph()
    assert graph.sum() / 2 == 65
    assert (graph == graph.T).all()
    np.testing.assert_allclose(normalised(np.zeros((5, 5))).sum(1), 1)
    for loops in (1.0, 2.0):
        spectrum = np.linalg.eigvalsh(normalised(graph, loops).astype(float))
        assert np.abs(spectrum).max() <= 1 + 1e-6


NOISY = Config(("one", "two", "three"), (40, 40, 40), width=16, projection=32, dropout=0.0, labels=tuple("abcd"),
               space="", probe="linear", noise=0.1)  # fmt: skip


def noisy(count: int, seed: int, world: int) -> tuple[dict[str, Tensor], Tensor]:
    """Three modalities, each turned its own way: the class in 4 of 40 directions, private noise in the other 36, which
    hold by far the most variance."""
    rule, random = np.random.default_rng(world), np.random.default_rng(1000 * world + seed)
    classes = np.arange(count) % 4
    found = {}
    for name in NOISY.modalities:
        turn = np.linalg.qr(rule.normal(size=(40, 40)))[0]
        latent = np.concatenate([2 * np.eye(4)[classes], 1.5 * random.normal(size=(count, 36))], 1)
        latent[:, :4] += 0.5 * random.normal(size=(count, 4))
        found[name] = torch.from_numpy((latent @ turn).astype("f4"))
    return found, torch.from_numpy(classes)


def probed(train: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> float:
    """Accuracy of a linear probe (ridge on one-hot targets) on standardised features."""
    mean, spread = train.mean(0), train.std(0) + 1e-6
    x, y = (torch.cat([(part - mean) / spread, torch.ones(len(part), 1)], 1) for part in (train, test))
    target = functional.one_hot(labels).float()
    weights = torch.linalg.solve(x.T @ x + 3.0 * torch.eye(x.shape[1]), x.T @ target)
    return float(((y @ weights).argmax(1) == truth).float().mean())


def pretrained(config: Config, world: int) -> tuple[PairwisePretraining, PairwisePretraining]:
    """Encoders before and after contrast on 1,600 unlabelled items."""
    torch.manual_seed(world)
    start, system = PairwisePretraining(config), PairwisePretraining(config)
    pool, _ = noisy(1600, 1, world)
    optimizer = torch.optim.AdamW(system.parameters(), 3e-3, weight_decay=0.01)
    for _ in range(15):
        for part in torch.randperm(1600).split(100):
            batch = system.augment({name: x[part] for name, x in pool.items()}, {})
            optimizer.zero_grad()
            system.losses(batch, system(batch))["contrast"].backward()
            optimizer.step()
    return start.eval(), system.eval()


@pytest.mark.learning
@pytest.mark.parametrize("positives", ["other_view", "same_view"])
@pytest.mark.sheet("Learning: a probe on pre-trained features, 5 labels per class, beats random encoders, raw inputs")
def test_contrast_finds_what_modalities_share(positives: Any) -> None:
    rows = []
    for world in range(3):
        start, system = pretrained(replace(NOISY, positives=positives), world)
        (few, labels), (test, truth) = noisy(20, 2, world), noisy(400, 3, world)
        score = lambda a, b, labels=labels, truth=truth: probed(a, labels, b, truth)
        with torch.no_grad():
            before, a, b = [start(part)["embedding"] for part in (few, test)], system(few), system(test)
        fused = score(a["embedding"], b["embedding"])
        best = max(score(a[f"feature:{name}"], b[f"feature:{name}"]) for name in NOISY.modalities)
        raw = score(torch.cat(list(few.values()), 1), torch.cat(list(test.values()), 1))
        rows.append((fused, best, score(*before), raw))
    fused, best, untrained, raw = np.mean(rows, 0)
    assert fused > untrained + 0.1, rows
    assert fused > raw + 0.1, rows
    assert fused > best, rows


def published_state(steps: int = 14) -> dict[str, Tensor]:
    """A checkpoint under the public names, built from the layers they stand for."""
    torch.manual_seed(3)
    state: dict[str, Tensor] = {}

    def add(prefix: str, module: nn.Module) -> None:
        state.update({prefix + k: v for k, v in module.state_dict().items()})

    model = PairwisePretraining(Config(steps=steps, span=2 * steps, word_layers=6))
    for name, prefix in (("audio", "audio_encoder."), ("landmarks", "stgcn."), ("video", "video_encoder.model.")):
        add(prefix, model.encoders[name])
    add("trnn1.", model.encoders["text"].encoder)
    add("text_linear.", model.encoders["text"].linear)
    for name, prefix in (
        ("audio", "proj_audio."),
        ("landmarks", "proj_ld."),
        ("video", "proj_video."),
        ("text", "proj_text."),
    ):
        add(prefix, model.projectors[name])
    add("text_encoder_layer.", nn.TransformerEncoderLayer(300, 5))
    return state | {"text_pos_encoder.pe": sinusoids(5000, 300)[:, None]}


@pytest.mark.slow
def test_public_layout_loads_strictly_and_agrees() -> None:
    state = published_state()
    system = PairwisePretraining.from_published({"epoch": 3, "model_state_dict": state, "loss": 0.1}).eval()  # type: ignore[dict-item]
    assert system.config.modalities == ("audio", "landmarks", "video", "text")
    assert (system.config.steps, system.config.parity) == (14, "published")
    words = torch.randn(3, 14, 300)
    # Reference for the text branch: positions by place in the batch, time first, mean, linear.
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(300, 5), 6)
    layers.load_state_dict({k.removeprefix("trnn1."): v for k, v in state.items() if k.startswith("trnn1.")})
    x = words + state["text_pos_encoder.pe"][:3]
    with torch.no_grad():
        wanted = layers.eval()(x.permute(1, 0, 2)).mean(0) @ state["text_linear.weight"].T + state["text_linear.bias"]
        torch.testing.assert_close(system({"text": words})["feature:text"], wanted, atol=1e-5, rtol=0)
    for wrong, named in (({"stgcn.extra": torch.zeros(1)}, "extra"), ({"other.key": torch.zeros(1)}, "other.key")):
        with pytest.raises(ModelError, match=named):
            PairwisePretraining.from_published(state | wrong)
    with pytest.raises(ModelError, match="missing"):
        PairwisePretraining.from_published({k: v for k, v in state.items() if k != "proj_ld.0.weight"})


def test_views_share_their_place() -> None:
    system = build()
    batch = system.example(4)
    ramp = torch.arange(TINY.span).float()
    batch["audio"] = ramp[None, :, None].repeat(4, 1, TINY.bins)
    batch["text"] = ramp[None, :, None].repeat(4, 1, TINY.words)
    torch.manual_seed(0)
    views = system.augment(batch, {})
    for end in ("", ":2"):
        assert views[f"audio{end}"].shape[1] == TINY.steps
        torch.testing.assert_close(views[f"audio{end}"][..., 0], views[f"text{end}"][..., 0])
        assert (views[f"audio{end}"][:, 1:, 0] - views[f"audio{end}"][:, :-1, 0] == 1).all()
    assert not torch.equal(views["audio"], views["audio:2"])
    clip = torch.arange(16.0)[None, None, :, None, None].repeat(2, 3, 1, 4, 4)
    assert window(clip, torch.tensor([0, 5]), 8, 2)[1, 0, :, 0, 0].tolist() == list(range(5, 13))


def test_content_on_steps() -> None:
    assert on_steps(np.arange(3), 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert on_steps(np.arange(100), 4).tolist() == [12, 37, 62, 87]
    with pytest.raises(MediaError, match="empty"):
        on_steps(np.zeros((0, 2)), 3)
    mel = MelSteps(5, 16)(np.random.default_rng(0).normal(0, 0.1, 4000).astype("f4"))
    assert mel.shape == (5, 16)
    assert mel.max() == 0
    assert mel.min() >= -80
    assert np.isfinite(MelSteps(5, 16)(np.zeros(400, "f4"))).all()
    points = UnitLandmarks(4)(np.random.default_rng(0).uniform(20, 90, (9, 68, 2)))
    assert points.shape == (4, 51, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    with pytest.raises(MediaError, match="68 or 51"):
        UnitLandmarks(4)(np.zeros((9, 20, 2)))


def test_word_vectors(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("glad 1 0\nsad 0 1\n")
    rows = WordSteps(4, 2, str(tmp_path / "words.txt"))("Glad, unknown!")
    assert rows.tolist() == [[1, 0], [1, 0], [0, 0], [0, 0]]
    with pytest.raises(ConfigError, match="no file of word vectors"):
        WordSteps(4, 2)("glad")
    with pytest.raises(ConfigError, match="line 1"):
        WordSteps(4, 3, str(tmp_path / "words.txt"))("glad")


def test_predicts_from_what_a_file_holds(tmp_path: Path) -> None:
    config = Config(("audio", "video"), steps=12, span=24, side=32, width=16, projection=16, base=4, bins=16)
    Tiny(tmp_path).audio("voice.wav", "anger", 0.5)
    Tiny(tmp_path).video("clip.mp4", "anger", 0.5)
    (tmp_path / "empty.wav").write_bytes(b"")
    voice, clip, empty = predict(build(config), [tmp_path / n for n in ("voice.wav", "clip.mp4", "empty.wav")])
    assert voice.prediction is not None, voice.error
    assert clip.prediction is not None, clip.error
    assert clip.prediction.space == "ravdess8"
    assert empty.prediction is None


def test_several_labels() -> None:
    config = replace(
        TINY, labels=("happy", "sad", "anger"), space="mosei6", several=True, positive_weights=(1.0, 2.0, 3.0)
    )
    system = build(config).eval()
    batch = system.example(6)
    outputs = system(batch)
    logits = outputs["logits"]
    weight = torch.tensor([1.0, 2.0, 3.0])
    plain = -(
        weight * batch["labels"] * functional.logsigmoid(logits)
        + (1 - batch["labels"]) * functional.logsigmoid(-logits)
    )
    torch.testing.assert_close(system.losses(batch, outputs)["fused"], plain.mean())
    scores = system.decode(outputs)[0].scores
    assert ((scores > 0) & (scores < 1)).all()


def test_bad_configs_and_labels() -> None:
    with pytest.raises(ConfigError, match="smell"):
        Config(("smell",))
    with pytest.raises(ConfigError, match="no window"):
        Config(steps=30, span=20)
    system = build().eval()
    batch = system.example(2)
    with pytest.raises(ConfigError, match="lies outside"):
        system.losses(batch | {"label": torch.tensor([0, 8])}, system(batch))
    unsupervised = system.contrast(batch, system(batch))
    labelled = build(replace(TINY, supervised=True)).eval()
    assert not torch.isclose(labelled.contrast(batch | {"label": torch.zeros(2).long()}, labelled(batch)), unsupervised)


@pytest.mark.corpus
def test_published_vectors_of_meld(shared_data: Path, tmp_path: Path) -> None:
    for folder in ("meld", "meld_features"):
        for file in (shared_data / folder).iterdir():
            (tmp_path / file.name).symlink_to(file)
    corpus = corpora.load("meld", tmp_path, "dev")
    system = build(Config.meld())
    items = system.items(corpus, "label:meld7")
    assert len(items) == 1108
    part = system.items(corpus.take([7, 3]), "label:meld7")
    np.testing.assert_array_equal(part[0]["egemaps"], items[7]["egemaps"])
    assert {n: items[0][n].shape[0] for n in system.config.modalities} == system.config.vector_widths
    assert np.isfinite(np.concatenate([items[i]["egemaps"] for i in range(50)])).all()
    with pytest.raises(ConfigError, match="feature files"):
        build(replace(Config.meld(), modalities=("gaze",), vectors=(3,))).items(corpus, "label:meld7")
