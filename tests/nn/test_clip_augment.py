"""Changes of clips and filter banks: known values and what must stay."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from affectus.features.inputs import IMAGENET, FbankInput
from affectus.nn import clip_augment
from affectus.nn.augment import ImageAugment


def test_all_frames_of_a_clip_get_the_same_draw() -> None:
    torch.manual_seed(0)
    still = torch.randn(3, 3, 1, 24, 24).expand(-1, -1, 4, -1, -1)
    out = clip_augment.augment_clips(still, ImageAugment(noise=0), IMAGENET)
    assert out.shape == still.shape
    torch.testing.assert_close(out, out[:, :, :1].expand_as(out))
    assert not torch.allclose(out, still)


def test_no_change_gives_the_clip_back() -> None:
    nothing = ImageAugment().scaled(0.0)
    nothing = ImageAugment(**{**nothing.__dict__, "flip": 0.0})
    pixels = torch.rand(2, 3, 2, 16, 16)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in IMAGENET)
    clip = (pixels - mean) / deviation
    torch.testing.assert_close(clip_augment.augment_clips(clip, nothing, IMAGENET), clip, rtol=0, atol=2e-2)


def test_gain_equals_the_filter_bank_of_a_louder_wave() -> None:
    """Multiplying the wave by g adds 2·ln g to the log power, so features move by 2·ln g / scale."""
    spec = FbankInput(32, 40)
    wave = np.random.default_rng(0).normal(0, 0.2, 6000).astype(np.float32)
    torch.manual_seed(3)
    gain = float(torch.distributions.Beta(10.0, 10.0).sample((1,))) + 0.5
    torch.manual_seed(3)
    banks = torch.from_numpy(spec(wave))[None]
    found = clip_augment.change_gain(banks, spec.mean, 2 * spec.std)
    torch.testing.assert_close(found[0], torch.from_numpy(spec(wave * gain)), rtol=1e-3, atol=1e-3)


def test_gain_leaves_padding_alone() -> None:
    spec = FbankInput(32, 40)
    banks = torch.from_numpy(spec(np.random.default_rng(0).normal(0, 0.2, 2000).astype(np.float32)))[None]
    found = clip_augment.change_gain(banks, spec.mean, 2 * spec.std)
    assert torch.equal(found[0, 20:], banks[0, 20:])
    assert not torch.equal(found[0, :5], banks[0, :5])


@pytest.mark.parametrize("shape", [(5, 12, 3), (5, 1, 12, 3)])
def test_shifts_roll_every_item_by_its_own_draw(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    banks = torch.arange(math.prod(shape)).float().view(shape)
    out = clip_augment.shift_time(banks, 4)
    rolls = [next(k for k in range(-4, 5) if torch.equal(a, b.roll(k, -2))) for a, b in zip(out, banks, strict=True)]
    assert len(set(rolls)) > 1


def test_hidden_stretches_are_short_whole_and_zero() -> None:
    torch.manual_seed(2)
    banks = torch.ones(200, 1, 40, 8)
    time, bands = (clip_augment.hide_stretch(banks, 10, axis) for axis in (-2, -1))
    hidden = time[:, 0, :, 0] == 0
    assert hidden.sum(1).max() <= 10
    assert hidden.any(1).float().mean() > 0.7
    assert ((hidden[:, 1:] & ~hidden[:, :-1]).sum(1) <= 1).all()
    assert torch.equal(time == 0, (time == 0)[..., :1].expand_as(time))
    assert (bands[..., 0] == 0).all(-1).any()
    assert (bands == 0).all(-2).any(-1).any()


def test_mixup_mixes_parts_and_targets_alike() -> None:
    torch.manual_seed(4)
    parts = {"a": torch.eye(4), "b": torch.eye(4)[None].expand(4, -1, -1).contiguous()}
    mixed, targets = clip_augment.mix_batch({"a": parts["a"]}, torch.eye(4), mixup=0.8, cutmix=0.0)
    torch.testing.assert_close(mixed["a"], targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    same, kept = clip_augment.mix_batch(parts, torch.eye(4), mixup=0.0, cutmix=0.0)
    assert same is parts
    assert torch.equal(kept, torch.eye(4))


def test_cutmix_weighs_targets_by_what_is_left() -> None:
    torch.manual_seed(5)
    video = torch.zeros(2, 3, 2, 20, 20)
    video[1] = 1.0
    for _ in range(10):
        mixed, targets = clip_augment.mix_batch({"video": video}, torch.eye(2), 0.0, 1.0, "video")
        assert mixed["video"][0].mean().item() == pytest.approx(targets[0, 1].item(), abs=1e-6)
        assert mixed["video"][1].mean().item() == pytest.approx(targets[1, 1].item(), abs=1e-6)


def test_options_choose_what_changes() -> None:
    torch.manual_seed(6)
    specs = {"audio": FbankInput(16, 8)}
    batch = {"audio": torch.randn(4, 16, 8), "video": torch.randn(4, 3, 2, 16, 16), "label": torch.arange(4)}
    assert torch.equal(clip_augment.augment_talk(batch, None, {}, specs)["audio"], batch["audio"])
    changed = clip_augment.augment_talk(
        batch, clip_augment.CROP, {"gain": True, "shift": 2, "hide_time": 4, "hide_bands": 2}, specs
    )
    assert not torch.equal(changed["audio"], batch["audio"])
    assert not torch.equal(changed["video"], batch["video"])
    assert changed["label"] is batch["label"]
    assert "audio" not in clip_augment.augment_talk({"video": batch["video"]}, None, {"gain": True}, specs)
