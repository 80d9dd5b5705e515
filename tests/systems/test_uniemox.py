"""UniEmoX: what its sheet says must hold. Parity with the public checkpoint needs the file itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from affectus.corpora.readers import emo8, emoset, emotion6
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError
from affectus.features.picture_sentences import describe
from affectus.nn.losses.distillation import cosine_distance, profile_distance
from affectus.nn.losses.reconstruction import patch_target
from affectus.systems import registry
from affectus.systems.uniemox import Config, UniEmoX, UniEmoXPretraining
from affectus.training.run import train

TINY = Config.tiny()


#: Without CLIP: its features come with the batch.
PLAIN = replace(TINY, teacher=None)


def pretraining(config: Config = TINY, seed: int = 0) -> UniEmoXPretraining:
    torch.manual_seed(seed)
    return UniEmoXPretraining(config)


def finetuning(config: Config = TINY, seed: int = 0) -> UniEmoX:
    torch.manual_seed(seed)
    return UniEmoX(config)


@pytest.mark.sheet("Random masking at 0.75 keeps 49 of 196 tokens; restore index rebuilds order; reconstruction "
                   "output (B,196,768) and loss 0 for a perfect prediction")  # fmt: skip
def test_masks_and_reconstruction_at_the_published_size() -> None:
    """That the decoder puts tokens back in order is in tests/nn/test_image_mae.py."""
    config = replace(Config.base(), width=24, depth=1, heads=2, decoder_width=24, decoder_depth=1, decoder_heads=2,
                     teacher=None, components=("mae",))  # fmt: skip
    system = pretraining(config).eval()
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        outputs = system({"image": pixels})
        x, mask = system.encode(pixels)
    assert mask.visible.shape == (2, 49)
    assert x.shape == (2, 50, 24)
    assert outputs["pixels"].shape == (2, 196, 768)
    perfect = {**outputs, "pixels": patch_target(pixels, 16, normalise=False)}
    assert float(system.losses({"image": pixels}, perfect)["mae"]) == 0


@pytest.mark.sheet("L2 = 0 and L1 = 0 when γ = Ω; L1 unchanged if s is multiplied by any positive constant; L2 = 1 for "
                   "orthogonal vectors")  # fmt: skip
def test_both_distances_vanish_for_a_perfect_student() -> None:
    """The claims about scale and orthogonal vectors hold for the functions, in tests/nn/test_semantic_distillation.py;
    here they are what the system minimises."""
    system = pretraining(PLAIN)
    batch = taught(4)
    outputs = system(batch)
    outputs["student"] = 3.0 * batch["teacher_image"]
    found = system.losses(batch, outputs)
    assert float(found["similarity"]) == pytest.approx(0, abs=1e-6)
    assert float(found["profile"]) == pytest.approx(0, abs=1e-6)
    scaled = profile_distance(100.0 * outputs["student"], batch["teacher_image"], 7.0 * batch["teacher_text"])
    assert float(scaled) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(torch.eye(4)[:2], torch.eye(4)[2:])) == pytest.approx(1)


@pytest.mark.sheet("Adding to γ a component orthogonal to every text vector leaves L1 at 0 and makes L2 > 0")
def test_the_two_distances_differ() -> None:
    system, batch = pretraining(PLAIN), taught(4)
    batch["teacher_text"][:, -4:] = 0
    outputs = system(batch)
    aside = torch.zeros(4, TINY.decoder_width)
    aside[:, -4:] = 5.0
    outputs["student"] = batch["teacher_image"] + aside
    found = system.losses(batch, outputs)
    assert float(found["profile"]) == pytest.approx(0, abs=1e-5)
    assert float(found["similarity"]) > 0.01


def taught(count: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(5)
    shapes = {"image": (3, 32, 32), "person": (3, 32, 32), "teacher_image": (24,), "teacher_text": (24,)}
    return {name: torch.randn(count, *shape, generator=random) for name, shape in shapes.items()}


@pytest.mark.sheet("Fusion off → gradient into the person branch is zero; CLIP weights never change")
def test_without_fusion_the_person_does_not_count_and_clip_stays() -> None:
    off = pretraining(replace(TINY, components=("mae", "similarity", "profile")))
    batch = pretraining().example(4)
    person = batch["person"].clone().requires_grad_()
    sum(off.losses({**batch, "person": person}, off({**batch, "person": person})).values()).backward()  # type: ignore[union-attr]
    assert person.grad is None
    assert off.inputs().keys() == {"image", "text"}
    system = pretraining()
    sum(system.losses({**batch, "person": person}, system({**batch, "person": person})).values()).backward()  # type: ignore[union-attr]
    assert float(person.grad.abs().sum()) > 0  # type: ignore[attr-defined]
    assert system.teacher is not None
    before = {k: v.clone() for k, v in system.teacher.state_dict().items()}
    optimizer = torch.optim.AdamW(system.parameters(), 0.1)
    optimizer.step()
    assert all(torch.equal(before[k], v) for k, v in system.teacher.state_dict().items())


@pytest.mark.sheet(
    'With only scene and emotion present the text has exactly two sentences; three objects give "a, b and c"'
)
def test_sentences() -> None:
    told = describe({"scene": "beach", "object": "-1"}, "awe")
    assert told.count(".") == 2
    assert "beach" in told
    assert "awe" in told
    assert "boat, dog and man" in describe({"object": ["boat", "dog", "man"]}, "awe")


@pytest.mark.sheet("Fine-tune load: missing keys are exactly head.* and fc_norm.*; decoder keys ignored")
def test_fine_tuning_takes_over_the_encoder() -> None:
    first, second = pretraining(), finetuning(seed=1)
    left = second.initialise(first.state_dict())
    assert left == ["fc_norm.bias", "fc_norm.weight", "head.bias", "head.weight"]
    assert torch.equal(first.encoder.blocks[1].mlp.fc1.weight, second.encoder.blocks[1].mlp.fc1.weight)
    larger = finetuning(replace(TINY, image=48, teacher=None))
    assert larger.initialise(first.state_dict()) == left
    torch.testing.assert_close(larger.encoder.pos_embed[:, :1], first.encoder.pos_embed[:, :1])


@pytest.mark.sheet("Emotion6 split with seed 42 gives the same file lists on every run")
def test_emotion6_is_divided_alike_every_time(tmp_path: Path) -> None:
    """That it is scikit-learn's seeded division is in tests/corpora/test_class_split.py."""
    emotion6.write_tiny(Tiny(tmp_path / "emotion6"))
    recipe = tmp_path / "run.yaml"
    recipe.write_text("""
model: uniemox
title: division
corpora: {emotion6: pictures}
accept_leaks: {media: drawn pictures of a test may be equal}
options:
  config: {preset: tiny, space: emotion6, labels: [anger, disgust, fear, joy, sadness, surprise]}
  column: label:emotion6
  division: {shares: [0.5, 0.25, 0.25], seed: 42}
phases: [{name: finetune, epochs: 1, lr: 0.001, batch_size: 2}]
""")
    from affectus import corpora
    from affectus.training.recipe import read_recipe
    from affectus.training.system_run import split_corpus

    corpus = corpora.load("emotion6", tmp_path / "emotion6", strict=False)
    lists = [split_corpus(corpus, read_recipe(recipe).options, seed) for seed in (0, 1)]
    for part in ("learn", "validation", "test"):
        first, second = (getattr(found, part).column("id") for found in lists)
        assert first == second
    assert sum(len(part) for part in (lists[0].learn, lists[0].validation, lists[0].test)) == 12  # type: ignore[arg-type]
    train(recipe, {"emotion6": tmp_path / "emotion6"}, tmp_path / "run")
    assert registry.load("uniemox", tmp_path / "run" / "model").labels()[3] == "joy"


def test_clip_sees_its_own_statistics_and_the_published_code_does_not() -> None:
    batch = pretraining().example(2)
    correct, published_form = (pretraining(replace(TINY, parity=parity)).eval() for parity in ("correct", "published"))
    assert correct.teacher is not None
    with torch.no_grad():
        plain = correct.teacher.vision(batch["image"])
        torch.testing.assert_close(published_form.taught(batch)["teacher_image"], plain)
        assert not torch.allclose(correct.taught(batch)["teacher_image"], plain)


def test_missing_teacher_features_are_named() -> None:
    batch = taught(2)
    del batch["teacher_text"]
    with pytest.raises(ConfigError, match="teacher_text"):
        pretraining(PLAIN)(batch)


@pytest.mark.parametrize("shape", [(2, 3, 40, 40), (2, 1, 32, 32), (2, 3, 32, 24)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="shape"):
        finetuning()({"image": torch.zeros(shape)})


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="contrast"):
        replace(TINY, components=("mae", "contrast"))
    with pytest.raises(ValueError, match="teacher"):
        replace(TINY, decoder_width=32)


def test_losses_that_are_off_leave_nothing_to_train_for_them() -> None:
    batch = pretraining().example(4)
    for components in (("mae",), ("similarity",), ("similarity", "profile", "fusion"), ("mae", "fusion")):
        system = pretraining(replace(TINY, components=components))
        assert set(system.losses(batch, system(batch))) == set(components) - {"fusion"}


COMMON = "accept_leaks: {media: drawn pictures of a test may be equal}\nmodel: uniemox\ntitle: test\n"


def test_pretraining_runs_on_emoset_and_fine_tuning_on_emo8(tmp_path: Path) -> None:
    emoset.write_tiny(Tiny(tmp_path / "emoset"))
    emo8.write_tiny(Tiny(tmp_path / "emo8"))
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(
        COMMON
        + """corpora: {emoset: pictures with attributes}
options: {stage: pretrain, config: tiny, train: train, validation: val}
phases: [{name: p, epochs: 1, lr: 0.001, batch_size: 4, freeze: [teacher, encoder.pos_embed]}]
"""
    )
    train(first, {"emoset": tmp_path / "emoset"}, tmp_path / "a")
    second.write_text(
        COMMON
        + f"""corpora: {{emo8: pictures}}
options: {{config: tiny, column: 'label:mikels8', train: train, validation: val, start: '{tmp_path}/a/model'}}
phases:
- {{name: f, epochs: 1, lr: 0.001, batch_size: 4, options: {{pictures: true, mixup: 0.8, cutmix: 1.0}}}}
"""
    )
    train(second, {"emo8": tmp_path / "emo8"}, tmp_path / "b")
    assert "top3" in (tmp_path / "b" / "log.jsonl").read_text()
    assert "loss/profile" in (tmp_path / "a" / "log.jsonl").read_text()
