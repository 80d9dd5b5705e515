"""Image augmentation: ranges, determinism, what each strength does, and that nothing else does anything."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from affectus.nn.augment import ImageAugment, change_standardised, mixup

NOTHING = {f.name: 0.0 for f in fields(ImageAugment)}


def images(count: int = 4, side: int = 24) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0)) * 255


def seeded(augment: ImageAugment, batch: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return augment(batch)


@pytest.mark.parametrize("shape", [(6, 1, 48, 48), (3, 3, 17, 30), (1, 3, 9, 9)])
def test_stays_in_range_and_shape_and_leaves_the_input_alone(shape: tuple[int, ...]) -> None:
    batch = torch.rand(shape) * 255
    before = batch.clone()
    out = seeded(ImageAugment(brightness=120, contrast=1.0, noise=1.0), batch)
    assert out.shape == batch.shape
    assert torch.isfinite(out).all()
    assert float(out.min()) >= 0
    assert float(out.max()) <= 255
    assert torch.equal(batch, before)


def test_same_seed_same_images() -> None:
    batch = images()
    assert torch.equal(seeded(ImageAugment(), batch, 3), seeded(ImageAugment(), batch, 3))
    assert not torch.equal(seeded(ImageAugment(), batch, 3), seeded(ImageAugment(), batch, 4))


def test_every_image_is_drawn_by_itself() -> None:
    batch = images(1).expand(6, -1, -1, -1)
    out = seeded(ImageAugment(), batch)
    assert all(not torch.allclose(out[0], other) for other in out[1:])


def test_no_strength_changes_nothing() -> None:
    torch.testing.assert_close(seeded(ImageAugment(**NOTHING), images()), images(), atol=0.02, rtol=0)


def test_flip_alone_is_an_exact_mirror() -> None:
    out = seeded(ImageAugment(**{**NOTHING, "flip": 1.0}), images())
    torch.testing.assert_close(out, images().flip(3), atol=0.02, rtol=0)


def test_half_of_the_images_are_mirrored() -> None:
    batch = images(1).expand(200, -1, -1, -1)
    out = seeded(ImageAugment(**{**NOTHING, "flip": 0.5}), batch)
    mirrored = (out - batch.flip(3)).abs().amax((1, 2, 3)) < 0.05
    kept = (out - batch).abs().amax((1, 2, 3)) < 0.05
    assert torch.equal(mirrored, ~kept)
    assert 70 < int(mirrored.sum()) < 130


def test_erasing_covers_one_rectangle_with_the_mean() -> None:
    batch = images(40)
    out = seeded(ImageAugment(**{**NOTHING, "erase": 1.0}), batch)
    changed = (out - batch).abs() > 0.05
    for image, before, place in zip(out[:, 0], batch[:, 0], changed[:, 0], strict=True):
        rows, columns = place.any(1).nonzero()[:, 0], place.any(0).nonzero()[:, 0]
        inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        torch.testing.assert_close(inside, before.mean().expand_as(inside), atol=0.1, rtol=0)
        assert len(rows) <= 12
        assert len(columns) <= 12


def test_shift_moves_the_picture_by_at_most_its_share() -> None:
    batch = torch.zeros(50, 1, 40, 40)
    batch[:, :, 20, 20] = 255
    out = seeded(ImageAugment(**{**NOTHING, "shift": 0.1}), batch)
    weight = out[:, 0] / out.sum((1, 2, 3)).view(-1, 1, 1)
    places = torch.arange(40.0)
    for centre in (weight.sum(2) @ places, weight.sum(1) @ places):
        assert float((centre - 20).abs().max()) <= 4.1
        assert float(centre.std()) > 1


def test_brightness_and_contrast_move_mean_and_spread() -> None:
    batch = 100 + images(60) / 10
    bright = seeded(ImageAugment(**{**NOTHING, "brightness": 30.0}), batch).mean((1, 2, 3)) - batch.mean((1, 2, 3))
    assert float(bright.abs().max()) <= 30.1
    assert float(bright.std()) > 10
    hard = seeded(ImageAugment(**{**NOTHING, "contrast": 0.35}), batch)
    ratio = hard.std((1, 2, 3)) / batch.std((1, 2, 3))
    assert float(ratio.log().abs().max()) <= 0.36
    assert float(ratio.log().std()) > 0.1
    torch.testing.assert_close(hard.mean((1, 2, 3)), batch.mean((1, 2, 3)), atol=0.05, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 5), st.floats(0.05, 4), st.integers(0, 1000))
def test_mixup_keeps_target_sums_and_stays_convex(count: int, classes: int, alpha: float, seed: int) -> None:
    torch.manual_seed(seed)
    x, y = torch.rand(count, 2, 3), torch.rand(count, classes)
    y = y / y.sum(1, keepdim=True)
    mixed, targets = mixup(x, y, alpha)
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    assert (mixed >= x.amin(0) - 1e-6).all()
    assert (mixed <= x.amax(0) + 1e-6).all()


def test_mixup_mixes_input_and_target_with_one_weight_of_which_the_own_is_the_larger() -> None:
    torch.manual_seed(0)
    y = torch.eye(5)
    mixed, targets = mixup(y.clone(), y, 0.5)
    torch.testing.assert_close(mixed, targets)
    assert (targets.diagonal() >= 0.5).all()
    assert (targets.diagonal() < 1).any()


def test_mixup_without_strength_is_off() -> None:
    x, y = torch.rand(3, 2), torch.rand(3, 2)
    mixed, targets = mixup(x, y, 0.0)
    assert mixed is x
    assert targets is y


def test_scaling_weakens_every_change_but_the_mirror() -> None:
    weak = ImageAugment().scaled(0.0)
    assert weak.flip == ImageAugment().flip
    assert all(getattr(weak, f.name) == 0 for f in fields(weak) if f.name != "flip")
    assert ImageAugment().scaled(1.0) == ImageAugment()
    assert ImageAugment().scaled(0.5).rotation == ImageAugment().rotation / 2


def test_standardised_images_keep_their_scale() -> None:
    statistics = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    images = torch.rand(3, 3, 8, 8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in statistics)
    found = change_standardised((images - mean) / std, statistics, NOTHING)
    torch.testing.assert_close(found, (images - mean) / std, rtol=1e-3, atol=1e-4)
    grey = change_standardised((images[:, :1] - 0.4) / 0.2, statistics, {**NOTHING, "brightness": 60.0})
    assert 0.05 < (grey * 0.2 + 0.4 - images[:, :1]).abs().max() < 0.3
