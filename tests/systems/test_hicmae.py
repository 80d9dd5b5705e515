"""HiCMAE: the acceptance lines of its sheet, one-branch use, and bad input.

Not shown here: numbers of the published checkpoints on their corpora, which need both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus.errors import ConfigError, MediaError
from affectus.features.inputs import IMAGENET
from affectus.metrics import accuracy, macro_f1, uar, weighted_f1
from affectus.nn.losses.reconstruction import (
    frames_of_difference,
    masked_mse,
    normalised,
    patch_target,
    patches,
    video_of,
    video_target,
)
from affectus.systems import registry
from affectus.systems.base import read_config
from affectus.systems.hicmae import Config, HiCMAE
from affectus.systems.prediction import predict

#: Few channels at the published geometry of tokens.
NARROW = Config(width=16, heads=2, depth=4, fusion_depth=1, decoder_width=8, decoder_heads=2, taps=(0, 2, 3))


def fresh(config: Config, stage: str = "finetune", seed: int = 0) -> Any:
    return registry.build("hicmae", config, stage, seed)


def some_clips(config: Config, count: int = 2, seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    c = config
    return {"video": torch.randn(count, 3, c.frames, c.size, c.size, generator=generator),
            "audio": torch.randn(count, 1, c.audio_frames, c.mels, generator=generator)}  # fmt: skip


@pytest.mark.sheet("1. Shapes")
def test_shapes_of_the_published_geometry() -> None:
    batch = some_clips(NARROW)
    assert (NARROW.tokens("video"), NARROW.tokens("audio")) == (800, 128)
    with torch.no_grad():
        outputs = fresh(NARROW, "pretrain").eval()(batch)
        logits = fresh(NARROW).eval()(batch)["logits"]
    assert outputs["video_rebuilt"].shape == (2, 720, 1536)
    assert outputs["audio_rebuilt"].shape == (2, 102, 256)
    assert logits.shape == (2, 6)
    seen: list[int] = []
    system = fresh(NARROW, "pretrain").eval()
    for part in (system.encoder, system.encoder_audio):
        part.blocks[0].register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    system(batch)
    assert seen == [80, 26]


@pytest.mark.sheet("2. Tube mask")
def test_tubes_hide_the_same_90_places_in_every_slot() -> None:
    config = Config()
    flags = config.mask("video", torch.zeros(3, 1)).as_bool().view(3, 8, 100)
    assert torch.equal(flags, flags[:, :1].expand(-1, 8, -1))
    assert flags[:, 0].sum(1).tolist() == [90] * 3
    assert flags.sum((1, 2)).tolist() == [720] * 3
    assert config.mask("audio", torch.zeros(3, 1)).as_bool().sum(1).tolist() == [102] * 3


@pytest.mark.sheet("3. Target identity")
def test_targets_can_be_undone_and_zero_predictions_cost_what_they_must() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(1, 3, 4, 32, 32)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in IMAGENET)
    clip = (pixels - mean) / deviation
    target = video_target(clip, IMAGENET, 2, 16, difference=2).unflatten(2, (512, 3))
    unit = frames_of_difference(video_of(target, (4, 32, 32), 2, 16))
    cubes = pixels.unflatten(4, (2, 16)).unflatten(3, (2, 16)).unflatten(2, (2, 2))
    mean_of, deviation_of = cubes.mean((3, 5, 7), keepdim=True), cubes.flatten(2)
    deviation_of = cubes.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).std(-1)[:, :, :, None, :, None, :, None]
    again = unit.unflatten(4, (2, 16)).unflatten(3, (2, 16)).unflatten(2, (2, 2)) * (deviation_of + 1e-6) + mean_of
    torch.testing.assert_close(again, cubes, rtol=0, atol=1e-4)
    plain = video_target(clip, IMAGENET, 2, 16)
    every = torch.arange(plain.shape[1])[None]
    assert masked_mse(torch.zeros_like(plain), plain, every).item() == pytest.approx(511 / 512, rel=1e-4)
    bank = torch.randn(2, 1, 64, 32)
    target = patch_target(bank)
    assert masked_mse(torch.zeros_like(target), target, torch.arange(8).expand(2, -1)).item() == pytest.approx(
        255 / 256, rel=1e-4
    )
    torch.testing.assert_close(target, normalised(patches(bank)).flatten(2))


@pytest.mark.sheet("4. Contrast")
def test_contrast_of_matched_and_shuffled_pairs_and_without_weight() -> None:
    system = fresh(replace(Config.tiny(), contrast=1.0), "pretrain")
    batch = system.example(4)
    outputs = system(batch)
    eye = torch.eye(4, 32)[:, None].expand(-1, 2, -1)
    matched = system.losses(batch, {**outputs, "video_taps": eye, "audio_taps": eye})["contrast"]
    assert matched.item() == pytest.approx(2 * math.log(1 + 3 * math.exp(-1 / 0.07)), abs=1e-6)
    shuffled = system.losses(batch, {**outputs, "video_taps": eye, "audio_taps": eye.roll(1, 0)})["contrast"]
    assert shuffled > matched + 10
    silent = fresh(replace(Config.tiny(), contrast=0.0), "pretrain")
    outputs = silent(batch)
    (gradient,) = torch.autograd.grad(silent.losses(batch, outputs)["contrast"], outputs["video_taps"])
    assert not gradient.any()


@pytest.mark.sheet("5. Lr scales for Base")
def test_learning_rates_fall_with_depth() -> None:
    with torch.device("meta"):
        system = HiCMAE(Config())
    decay = system.phases()[0].layer_decay
    scale = {name: decay ** system.depth(name) for name, _ in system.named_parameters()}
    assert scale["encoder.patch_embed.proj.weight"] == scale["encoder_audio.patch_embed.proj.bias"] == 0.75**13
    assert scale["encoder_audio.blocks.9.attn.q_bias"] == 0.75**3
    assert scale["encoder.blocks.0.mlp.fc1.weight"] == 0.75**12
    assert scale["encoder_fusion.blocks_audio.0.cross_attn.q.weight"] == 0.75**2
    for name in (
        "head.weight",
        "fc_norm.bias",
        "video_layer_weights",
        "encoder.norm.weight",
        "encoder_fusion.norm.bias",
    ):
        assert scale[name] == 1
    voice = HiCMAE(replace(Config.tiny(), modalities=("audio",)))
    assert voice.depth("encoder_audio.blocks.2.norm1.weight") == 1


@pytest.mark.sheet("8. Metric oracle")
def test_metrics_of_a_published_confusion_table() -> None:
    table = np.array([[454, 7, 10, 14, 2, 1, 1], [5, 292, 49, 15, 11, 1, 6], [19, 30, 403, 38, 33, 5, 6],
                      [9, 9, 49, 336, 22, 3, 7], [4, 11, 58, 9, 194, 0, 18], [0, 0, 16, 4, 3, 3, 3],
                      [1, 20, 23, 17, 48, 1, 71]])  # fmt: skip
    truth = np.repeat(np.arange(7), table.sum(1))
    guess = np.concatenate([np.repeat(np.arange(7), row) for row in table])
    assert round(100 * uar(truth, guess), 2) == 62.59
    assert round(100 * accuracy(truth, guess), 2) == 74.88
    assert round(weighted_f1(truth, guess), 4) == 0.7441
    assert round(macro_f1(truth, guess), 4) == 0.6357


SMALL = Config(width=32, heads=2, depth=2, fusion_depth=1, decoder_width=16, decoder_heads=2, decoder_depth=2,
               taps=(1,), size=16, frames=2, stride=1, patch=8, audio_frames=16, mels=16, audio_patch=8, drop_path=0.0,
               video_mask=0.5, audio_mask=0.5, space="", labels=("same", "different"))  # fmt: skip


def xor_batch(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """A bright left or right half, a low or a high tone; the label says whether they agree. Noise on both."""
    bits = torch.randint(0, 2, (2, count), generator=generator)
    video = torch.randn(count, 3, 2, 16, 16, generator=generator) * 0.5
    video[..., :8] += (2.0 * bits[0] - 1)[:, None, None, None, None]
    audio = torch.randn(count, 1, 16, 16, generator=generator) * 0.5
    audio[..., :8] += (2.0 * bits[1] - 1)[:, None, None, None]
    return {"video": video, "audio": audio, "label": bits[0] ^ bits[1]}


def learn(system: Any, make: Any, steps: int, rate: float = 3e-3, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], rate, weight_decay=0.0)
    system.train()
    for _ in range(steps):
        batch = make(generator)
        optimizer.zero_grad()
        sum(system.losses(batch, system(batch)).values()).backward()
        optimizer.step()
    system.eval()


def right(system: Any, batch: dict[str, Tensor]) -> float:
    with torch.no_grad():
        return float((system(batch)["logits"].argmax(1) == batch["label"]).float().mean())


@pytest.mark.sheet("6. Learning: XOR of a visual pattern and a tone")
@pytest.mark.learning
def test_only_the_pair_learns_what_neither_modality_shows() -> None:
    held = xor_batch(400, torch.Generator().manual_seed(99))
    scores = {}
    for kinds in (("video", "audio"), ("video",), ("audio",)):
        system = fresh(replace(SMALL, modalities=kinds))
        learn(system, lambda g: xor_batch(32, g), 120)
        scores[kinds] = right(system, held)
    assert scores["video", "audio"] >= 0.9
    for kind in ("video", "audio"):
        assert 0.4 < scores[(kind,)] < 0.6


@pytest.mark.sheet("6. second task: a cue of shallow layers")
@pytest.mark.learning
@pytest.mark.slow
def test_mixed_layers_read_a_shallow_cue_that_the_last_layer_lost() -> None:
    """Frozen random encoders whose blocks blur the tokens: only the first layers still show the weak cue."""

    def cue(count: int, generator: torch.Generator) -> dict[str, Tensor]:
        label = torch.randint(0, 2, (count,), generator=generator)
        audio = torch.randn(count, 1, 16, 16, generator=generator)
        audio[:, :, ::2] += 0.2 * (2.0 * label - 1)[:, None, None, None]
        return {"audio": audio, "label": label}

    held, gains = cue(400, torch.Generator().manual_seed(98)), []
    for seed in range(3):
        found = {}
        for mixing in ("layers", "last"):
            config = replace(SMALL, modalities=("audio",), depth=12, taps=(11,), mixing=mixing)
            system = fresh(config, seed=seed)
            for name, parameter in system.named_parameters():
                if name.startswith("encoder"):
                    parameter.requires_grad_(False)
                    if ".blocks." in name and parameter.ndim == 2:
                        parameter.mul_(60)
            learn(system, lambda g: cue(64, g), 100, 1e-2, seed)
            found[mixing] = right(system, held)
        gains.append(found["layers"] - found["last"])
    assert np.mean(gains) > 0


@pytest.mark.sheet("7. Pre-training on paired audio and video with a shared latent")
@pytest.mark.learning
def test_contrast_pairs_voices_with_faces() -> None:
    patterns = torch.Generator().manual_seed(7)
    video_of_latent = torch.randn(6, 3 * 2 * 16 * 16, generator=patterns)
    audio_of_latent = torch.randn(6, 16 * 16, generator=patterns)

    def pairs(count: int, generator: torch.Generator) -> dict[str, Tensor]:
        latent = torch.randn(count, 6, generator=generator)
        video, audio = latent @ video_of_latent, latent @ audio_of_latent
        return {"video": video.view(count, 3, 2, 16, 16), "audio": audio.view(count, 1, 16, 16)}

    held, found = pairs(64, torch.Generator().manual_seed(97)), {}
    for weight in (0.1, 0.0):  # one tap and 50 % hidden: far from where the published λ of 0.0025 balances
        system = fresh(replace(SMALL, contrast=weight, difference=0), "pretrain")
        torch.manual_seed(1)
        learn(system, lambda g: pairs(32, g), 120)
        with torch.no_grad():
            outputs = system(held)
        video, audio = (functional.normalize(outputs[f"{kind}_taps"][:, -1], dim=-1) for kind in ("video", "audio"))
        found[weight] = float(((video @ audio.T).argmax(1) == torch.arange(64)).float().mean())
    assert found[0.1] > found[0.0] + 0.1
    assert found[0.1] > 5 / 64


def test_regression_losses_and_dimensions() -> None:
    config = replace(Config.tiny(), dimensions=("arousal", "valence"), activation="tanh")
    system = fresh(config)
    batch = system.example(6)
    outputs = system(batch)
    assert outputs["values"].shape == (6, 2)
    batch["values"][0, 1] = float("nan")
    for kind in ("mse", "l1", "smooth_l1", "ccc", "pcc"):
        assert torch.isfinite(system.losses(batch, outputs, {"loss": kind})["values"])
    with pytest.raises(ConfigError, match="loss cosine"):
        system.losses(batch, outputs, {"loss": "cosine"})
    assert set(system.decode(outputs)[0].dimensions) == {"arousal", "valence"}
    assert "ccc_valence" in system.measure({"values": outputs["values"].detach().numpy()},
                                           {"values": batch["values"].numpy()})  # fmt: skip


def test_mixing_leaves_the_sound_alone_unless_told() -> None:
    system = fresh(Config.tiny())
    batch = system.example(6)
    torch.manual_seed(0)
    plain = system.augment(dict(batch), {"mixup": 0.8, "cutmix": 1.0})
    assert torch.equal(plain["audio"], batch["audio"])
    assert not torch.equal(plain["video"], batch["video"])
    torch.testing.assert_close(plain["soft"].sum(1), torch.ones(6))
    told = system.augment(dict(batch), {"mixup": 0.8, "mix_audio": True})
    assert not torch.equal(told["audio"], batch["audio"])
    loss = system.losses(told, system(told), {"smoothing": 0.1})["class"]
    logits = system(told)["logits"]
    wanted = -(logits.log_softmax(1) * (0.9 * told["soft"] + 0.1 / 6)).sum(1).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_one_branch_stands_alone(kind: str, stage: str) -> None:
    system = fresh(replace(Config.tiny(), modalities=(kind,)), stage)
    assert list(system.inputs()) == [kind]
    batch = system.example(3)
    assert set(batch) == {kind, "label"}
    parts = system.losses(batch, system(batch))
    assert set(parts) == ({kind} if stage == "pretrain" else {"class"})


def test_a_branch_takes_over_what_it_was_pre_trained_to() -> None:
    config = replace(Config.tiny(), modalities=("audio",))
    before, after = fresh(config, "pretrain", 1), fresh(config, "finetune", 2)
    left = after.initialise(before.state_dict())
    assert torch.equal(after.encoder_audio.blocks[0].mlp.fc1.weight, before.encoder_audio.blocks[0].mlp.fc1.weight)
    assert {name.split(".")[0] for name in left} == {"audio_layer_weights", "fc_norm", "head"}


def test_wrong_shapes_and_settings_are_refused() -> None:
    system = fresh(Config.tiny()).eval()
    batch = system.example(2)
    with pytest.raises(ConfigError, match=r"video.*is needed"):
        system({**batch, "video": batch["video"][:, :1]})
    with pytest.raises(ConfigError, match=r"audio.*is needed"):
        system({**batch, "audio": batch["audio"][:, :16]})
    with pytest.raises(ConfigError, match="audio"):
        system({"video": batch["video"]})
    for wrong in ({"taps": [0, 9, 10]}, {"taps": [1]}, {"modalities": ["smell"]}):
        with pytest.raises(ConfigError, match=r"taps|modalities"):
            read_config(Config, wrong)


def test_short_silent_and_missing_media() -> None:
    system = fresh(Config.tiny()).eval()
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    items = [{"id": "one frame, silence", "faces": [picture], "audio": np.zeros(16000, np.float32)},
             {"id": "a breath", "faces": [picture] * 9, "audio": np.zeros(80, np.float32)},
             {"id": "no sound", "faces": [picture] * 4},
             {"id": "no face", "audio": np.zeros(16000, np.float32)}]  # fmt: skip
    found = list(predict(system, items))
    assert [bool(f.prediction) for f in found] == [True, True, False, False]
    assert "audio" in found[2].error
    assert "video" in found[3].error
    for f in found[:2]:
        assert f.prediction is not None
        assert np.isfinite(f.prediction.scores).all()
    with pytest.raises(MediaError, match="no frame"):
        system.inputs()["video"]([])
