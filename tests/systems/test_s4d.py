"""S4D: what its sheet says must hold. Parity with the public checkpoint needs the file itself; see `from_published`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from affectus import corpora
from affectus.corpora.readers import affectnet, dfew, mafw
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError
from affectus.metrics import accuracy, macro_f1, uar
from affectus.nn.phase import Phase
from affectus.nn.vit import Block
from affectus.systems import registry
from affectus.systems.s4d import S4D, Config, S4DPretraining
from affectus.training.mixing import SourceBatches, Sources
from affectus.training.run import train

TINY = Config.tiny()


#: Published token geometry in a narrow network.
NARROW = replace(Config.base(), width=24, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2,
                 adapter=6, expert_layers=1)  # fmt: skip


def finetuning(config: Config = TINY, seed: int = 0) -> S4D:
    torch.manual_seed(seed)
    return S4D(config)


def pretraining(config: Config = TINY, seed: int = 0) -> S4DPretraining:
    torch.manual_seed(seed)
    return S4DPretraining(config)


@pytest.mark.sheet("(2,3,16,160,160) → 800 tokens, video head; (2,3,160,160) → 100 tokens, image head")
def test_clips_and_images_give_their_tokens_and_use_their_heads() -> None:
    system = finetuning(NARROW).eval()
    clip, image = torch.randn(2, 3, 16, 160, 160), torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert system.encoder(system.encoder.as_clip(clip))[0].shape == (2, 800, 24)
        assert system.encoder(system.encoder.as_clip(image))[0].shape == (2, 100, 24)
        outputs = system({"clip": clip, "image": image})
        torch.testing.assert_close(outputs["logits"], system.head["video"](outputs["embedding"]))
        torch.testing.assert_close(outputs["image_logits"], system.head["image"](outputs["image_embedding"]))


@pytest.mark.sheet("an image and the same image repeated as a 2-frame clip give the same patch embeddings")
def test_an_image_is_a_clip_of_one_tubelet_at_the_positions_of_slot_zero() -> None:
    system = finetuning().eval()
    image = torch.randn(2, 3, 32, 32)
    pair = torch.stack([image, image], 2)
    embed = system.encoder.patch_embed
    assert torch.equal(embed(system.encoder.as_clip(image)), embed(pair))
    whole = pair.repeat(1, 1, 2, 1, 1)  # the full clip starts with the same tubelet
    first = embed(whole)[:, :16] + system.encoder.positions.table[:16]
    torch.testing.assert_close(first, embed(pair) + system.encoder.positions()[:, :16])


@pytest.mark.sheet("Image mask hides 90 of 100, video mask hides 760 of 800")
def test_masks_hide_the_published_numbers() -> None:
    system = pretraining(NARROW).eval()
    with torch.no_grad():
        outputs = system({"clip": torch.randn(1, 3, 16, 160, 160), "image": torch.randn(1, 3, 160, 160)})
    assert outputs["clip_hidden"].shape == (1, 760)
    assert outputs["image_hidden"].shape == (1, 90)
    assert outputs["clip"].shape == (1, 800, 1536)
    assert outputs["image"].shape == (1, 100, 1536)
    slots = outputs["clip_hidden"][0] // 100
    places = [set((outputs["clip_hidden"][0][slots == t] % 100).tolist()) for t in range(8)]
    assert any(other != places[0] for other in places), "the mask is a tube"


def cubes(clip: Tensor, patch: int = 8) -> Tensor:
    """Independent target: every 2×p×p cube normalised per channel, rows of a flattened (t, y, x, channel) cube."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found = []
    for item in clip:
        rows = []
        for t in range(0, item.shape[1], 2):
            for y in range(0, item.shape[2], patch):
                for x in range(0, item.shape[3], patch):
                    cube = item[:, t : t + 2, y : y + patch, x : x + patch].permute(1, 2, 3, 0).reshape(-1, 3)
                    cube = cube * std + mean
                    rows.append(((cube - cube.mean(0)) / (cube.var(0) + 1e-6) ** 0.5).flatten())
        found.append(torch.stack(rows))
    return torch.stack(found)


@pytest.mark.sheet("loss over a perfect prediction is 0 and over zeros ≈ 511/512")
def test_reconstruction_loss_of_a_perfect_and_of_a_zero_prediction() -> None:
    config = replace(TINY, patch=16)
    system, clip = pretraining(config), torch.randn(2, 3, 4, 32, 32)
    target, hidden = cubes(clip, 16), torch.tensor([[0, 3, 5], [1, 2, 7]])
    assert float(system.rebuilding_loss(clip, target, hidden)) < 1e-9
    assert float(system.rebuilding_loss(clip, torch.zeros_like(target), hidden)) == pytest.approx(511 / 512, abs=1e-4)


def test_only_hidden_cubes_are_scored_and_sources_count_alike() -> None:
    system = pretraining()
    batch: dict[str, Any] = system.example(2)
    batch["clip_mask"] = torch.zeros(2, 32, dtype=torch.bool)
    batch["clip_mask"][:, ::4] = True
    outputs = system(batch)
    wrong = outputs["clip"].detach() - cubes(batch["clip"])
    expected = wrong.square().mean(-1)[batch["clip_mask"]].mean()
    found = system.losses(batch, outputs)
    torch.testing.assert_close(found["clip"].detach(), expected)
    assert set(found) == {"clip", "image"}


@pytest.mark.sheet("Router: weights sum to 1 over exactly k experts; k=E gives the weighted sum; E=1 is one adapter")
def test_a_block_with_one_expert_is_mlp_plus_one_adapter() -> None:
    """The first two halves of the line are in tests/nn/test_experts.py on the same router."""
    system = finetuning(replace(TINY, experts=1, chosen=1)).eval()
    block, x = system.encoder.blocks[-1], torch.randn(2, 5, 32)
    with torch.no_grad():
        found, _ = block.routed(x)
        y = x + block.attn(block.norm1(x))
        z = block.norm2(y)
        torch.testing.assert_close(found, y + block.mlp(z) + block.mixture.experts[0](z), rtol=0, atol=1e-6)
    routing = finetuning().train().encoder.blocks[-1].mixture.router(torch.randn(9, 32))
    assert routing.chosen.sum(1).tolist() == [TINY.chosen] * 9
    torch.testing.assert_close(routing.weights.sum(1), torch.ones(9))


@pytest.mark.sheet("With up-projections at zero a MoAE block reproduces the plain block bit for bit")
def test_zero_up_projections_leave_the_plain_block() -> None:
    block = finetuning().eval().encoder.blocks[-1]
    for expert in block.mixture.experts:
        torch.nn.init.zeros_(expert.fc2.weight)
        torch.nn.init.zeros_(expert.fc2.bias)
    plain = Block(TINY.width, TINY.heads).eval()
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if not k.startswith("mixture.")})
    x = torch.randn(3, 7, TINY.width)
    with torch.no_grad():
        assert torch.equal(block.routed(x)[0], plain(x))
        assert torch.equal(block(x), plain(x))


@pytest.mark.sheet(
    "Balance loss (softmax form) equals k under uniform routing and grows when all tokens pick one expert"
)
def test_balance_loss_of_the_system_grows_when_tokens_crowd() -> None:
    """The value under exactly uniform routing is a closed form in tests/nn/test_experts.py."""
    system = finetuning().eval()
    batch = system.example(4)
    with torch.no_grad():
        spread = float(system(batch)["balance"])
        for block in system.encoder.blocks[-TINY.expert_layers :]:
            block.mixture.router.score.bias[:2] += 30.0
        crowded = float(system(batch)["balance"])
    passes = 2 * TINY.expert_layers  # clips and images, each through every mixture
    assert spread == pytest.approx(TINY.chosen * passes, rel=0.1)
    assert crowded == pytest.approx(TINY.experts * passes, rel=1e-3)  # E² · mean(f · p) with p = (1/2, 1/2, 0, 0)


@pytest.mark.sheet(
    "Joint schedule: n_v + int(0.5·n_i) steps, each from one source, same order for the same epoch number"
)
def test_the_joint_schedule() -> None:
    phase = S4D(TINY).phases()[0]
    sources = Sources({"clip": range(16 * 7 + 3), "image": range(32 * 9 + 1)})  # type: ignore[dict-item]
    batches = SourceBatches(sources, phase, seed=3)
    assert len(batches) == 7 + int(0.5 * 9)
    assert batches.plan() == SourceBatches(sources, phase, seed=3).plan()
    assert batches.plan() != SourceBatches(sources, phase, seed=4).plan()
    sizes = [len(batch) for batch in batches]
    assert sorted(set(sizes)) == [16, 32]
    assert [{16: "clip", 32: "image"}[size] for size in sizes] == batches.plan()


FERV = np.array([[1076, 57, 201, 59, 40, 33, 7], [91, 752, 228, 183, 51, 45, 43], [180, 205, 1158, 245, 71, 63, 36],
                 [56, 197, 310, 750, 81, 54, 39], [78, 63, 138, 116, 192, 17, 34], [56, 75, 98, 114, 27, 84, 13],
                 [26, 113, 89, 70, 39, 20, 74]])  # fmt: skip


@pytest.mark.sheet("Metric oracle: FERV39K log → UAR 43.12, WAR 52.07, weighted F1 0.5110, macro F1 0.4366")
def test_metric_oracle() -> None:
    truth, guess = (np.repeat(index.ravel(), FERV.ravel()) for index in np.indices(FERV.shape))
    assert uar(truth, guess) == pytest.approx(0.4312, abs=5e-5)
    assert accuracy(truth, guess) == pytest.approx(0.5207, abs=5e-5)
    assert macro_f1(truth, guess) == pytest.approx(0.4366, abs=5e-5)


def test_pretrained_encoders_are_taken_over() -> None:
    first, second = pretraining(), finetuning(seed=1)
    left = second.initialise(first.state_dict())
    assert all(name.startswith(("fc_norm.", "head.")) or ".mixture." in name for name in left)
    assert torch.equal(first.encoder.blocks[0].attn.qkv.weight, second.encoder.blocks[0].attn.qkv.weight)


def test_layer_decay_counts_from_the_output() -> None:
    system = S4D(TINY)
    assert [system.depth(n) for n in ("head.video.weight", "fc_norm.bias", "encoder.blocks.3.norm1.weight",
                                      "encoder.blocks.0.norm1.weight", "encoder.patch_embed.proj.weight")] \
        == [0, 0, 1, 4, 5]  # fmt: skip


def test_published_parity_keeps_noise_in_evaluation() -> None:
    batch = finetuning().example(2)
    quiet, noisy = finetuning().eval(), finetuning(replace(TINY, parity="published")).eval()
    with torch.no_grad():
        assert torch.equal(quiet(batch)["logits"], quiet(batch)["logits"])
        assert not torch.equal(noisy(batch)["logits"], noisy(batch)["logits"])


def test_mixing_keeps_targets_distributions_and_changes_each_source() -> None:
    system = finetuning()
    batch = system.example(6)
    torch.manual_seed(0)
    mixed = system.augment(batch, {"pictures": True, "mixup": 0.8, "cutmix": 1.0})
    for key, target in (("clip", "label"), ("image", "image_label")):
        assert mixed[key].shape == batch[key].shape
        assert not torch.equal(mixed[key], batch[key])
        torch.testing.assert_close(mixed[target].sum(1), torch.ones(6))
    assert set(system.losses(mixed, system(mixed))) == {"clip", "image", "balance"}
    assert torch.equal(system.augment(batch, {})["clip"], batch["clip"])


@pytest.mark.parametrize("shape", [(2, 3, 3, 32, 32), (2, 1, 4, 32, 32), (2, 3, 4, 16, 32), (2, 3, 24, 24)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    key = "image" if len(shape) == 4 else "clip"
    with pytest.raises(ConfigError, match="shape"):
        finetuning()({key: torch.zeros(shape)})


def test_short_clips_repeat_their_last_picture() -> None:
    spec = S4D(TINY).inputs()["clip"]
    frames = [np.full((40, 40, 3), level, np.uint8) for level in (10, 200)]
    found = spec(frames)
    assert found.shape == (3, 4, 32, 32)
    assert np.array_equal(found[:, 1], found[:, 3])
    assert not np.array_equal(found[:, 0], found[:, 1])


def test_pictures_alone_are_decoded_by_the_image_head() -> None:
    system = finetuning().eval()
    with torch.no_grad():
        found = system.decode(system({"image": system.example(2)["image"]}))
    assert found[0].space == "affectnet7"
    assert found[0].labels == TINY.image_labels


def test_a_joint_run_on_two_published_layouts(tmp_path: Path) -> None:
    """DFEW clips (fold 1 kept out) with AffectNet stills (contempt left out, classes balanced)."""
    dfew.write_tiny(Tiny(tmp_path / "dfew"))
    affectnet.write_tiny(Tiny(tmp_path / "affectnet"))
    recipe = tmp_path / "joint.yaml"
    recipe.write_text("""
model: s4d
title: joint
corpora: {dfew: clips, affectnet: stills}
accept_leaks: {media: drawn faces of a test may be equal}
options:
  config: tiny
  column: label:dfew7
  fold: 1
  validation: 0.25
  source: clip
  sources: {image: {corpus: affectnet, column: "label:affectnet8", train: train, balanced: true}}
phases:
  - {name: joint, epochs: 1, lr: 0.001, batch_size: 4, options: {shares: {image: 0.5}, batch_sizes: {image: 2}}}
""")
    result = train(recipe, {"dfew": tmp_path / "dfew", "affectnet": tmp_path / "affectnet"}, tmp_path / "run")
    assert result is not None
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert "loss/image" in log
    assert "loss/clip" in log
    assert registry.load("s4d", tmp_path / "run" / "model").config == TINY


def test_phases_are_those_of_the_paper() -> None:
    assert isinstance(phase := S4D(TINY).phases()[0], Phase)
    assert (phase.epochs, phase.lr, phase.layer_decay, phase.betas) == (100, 2e-5, 0.75, (0.9, 0.999))
    assert S4DPretraining(TINY).phases()[0].betas == (0.9, 0.95)


def test_labels_outside_the_space_are_named(tmp_path: Path) -> None:
    """MAFW has four labels that seven expressions lack; AffectNet's contempt has no place in the image head."""
    mafw.write_tiny(Tiny(tmp_path / "mafw"))
    affectnet.write_tiny(Tiny(tmp_path / "affectnet"))
    clips, stills = (corpora.load(name, tmp_path / name, strict=False) for name in ("mafw", "affectnet"))
    with pytest.raises(ConfigError, match="anxiety"):
        finetuning().targets(clips, "label:mafw11")
    found = finetuning().targets(stills, "label:affectnet8")["image_label"]
    assert set(found) == {-1, *range(7)}
    assert set(finetuning().inputs_for(clips)) == {"clip"}
    assert set(finetuning().inputs_for(stills)) == {"image"}
