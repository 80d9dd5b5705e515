"""Contrast and reconstruction against closed forms and loops written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.nn.losses import contrastive, reconstruction

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.floats(0.05, 1.0))
def test_info_nce_of_orthonormal_pairs_and_of_collapse(batch: int, temperature: float) -> None:
    eye = torch.eye(batch)
    wanted = math.log(1 + (batch - 1) * math.exp(-1 / temperature))
    assert contrastive.info_nce(eye, 3 * eye, temperature).item() == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert contrastive.info_nce(torch.ones(batch, 4), torch.ones(batch, 4)).item() == pytest.approx(math.log(batch))


def test_shuffled_partners_raise_the_loss() -> None:
    features = torch.eye(5)
    assert contrastive.info_nce(features, features.roll(1, 0)) > contrastive.info_nce(features, features) + 5


def test_symmetric_is_the_mean_of_both_directions() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(6, 4), torch.randn(6, 4)
    one, other = (contrastive.info_nce(*pair, symmetric=False) for pair in ((a, b), (b, a)))
    torch.testing.assert_close(contrastive.info_nce(a, b), (one + other) / 2)


def test_masked_duplicates_add_nothing() -> None:
    """With its own pair kept, a doubled row costs what the set without it costs."""
    eye = torch.eye(4)
    doubled = torch.cat([eye, eye[:1]])
    same = doubled @ doubled.T > 0.5
    masked = contrastive.info_nce(doubled, doubled, 0.5, same).item()
    plain = math.log(1 + 3 * math.exp(-2)) * 2 / 5 + math.log(1 + 4 * math.exp(-2)) * 3 / 5
    assert masked == pytest.approx(plain, rel=1e-5)
    assert contrastive.info_nce(doubled, doubled, 0.5).item() > masked


def test_soft_targets_of_the_diagonal_are_info_nce() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close(contrastive.soft_info_nce(a, b, 7 * torch.eye(5)), contrastive.info_nce(a, b))
    mixed = contrastive.soft_info_nce(a, b, torch.ones(5, 5), 0.5)
    rows = -contrastive.similarities(a, b, 0.5).log_softmax(1).mean()
    columns = -contrastive.similarities(b, a, 0.5).log_softmax(1).mean()
    torch.testing.assert_close(mixed, (rows + columns) / 2)


def test_supervised_contrast_equals_its_loops() -> None:
    torch.manual_seed(2)
    features, labels = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 1, 2])
    scores = contrastive.similarities(features, features, 0.2)
    terms = []
    for i in range(6):
        mates = [j for j in range(6) if j != i and labels[j] == labels[i]]
        below = math.log(sum(math.exp(scores[i, k]) for k in range(6) if k != i))
        if mates:
            terms.append(sum(below - float(scores[i, j]) for j in mates) / len(mates))
    found = contrastive.supervised_contrast(features, labels, 0.2)
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert contrastive.supervised_contrast(features, torch.arange(6)).item() == 0


def test_gathering_without_processes_is_the_identity() -> None:
    features = torch.randn(3, 2)
    assert contrastive.gather_processes(features) is features


def test_cubes_and_patches_come_back() -> None:
    torch.manual_seed(3)
    video = torch.randn(2, 3, 4, 8, 12)
    pieces = reconstruction.cubes(video, 2, 4)
    assert pieces.shape == (2, 12, 32, 3)
    assert torch.equal(pieces[0, 7].view(2, 4, 4, 3), video[0, :, 2:4, 0:4, 4:8].permute(1, 2, 3, 0))
    assert torch.equal(reconstruction.video_of(pieces, (4, 8, 12), 2, 4), video)
    picture = torch.randn(2, 3, 8, 12)
    cells = reconstruction.patches(picture, 4)
    assert torch.equal(cells[1, 5].view(4, 4, 3), picture[1, :, 4:8, 8:12].permute(1, 2, 0))
    assert torch.equal(reconstruction.picture_of(cells, (8, 12), 4), picture)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 3, 4]), st.integers(1, 3))
def test_frame_differences_come_back(group: int, groups: int) -> None:
    video = torch.randint(-9, 9, (1, 2, group * groups, 3, 3)).float()
    changed = reconstruction.frame_difference(video, group)
    assert torch.equal(reconstruction.frames_of_difference(changed, group), video)
    assert torch.equal(changed[:, :, ::group], video[:, :, ::group])
    assert torch.equal(changed[:, :, 1], video[:, :, 1] - video[:, :, 0])


def test_normalised_pieces_have_mean_zero_and_unbiased_variance_one() -> None:
    torch.manual_seed(4)
    pieces = torch.rand(2, 3, 512, 3)
    unit = reconstruction.normalised(pieces)
    torch.testing.assert_close(unit.var(2), torch.ones(2, 3, 3), rtol=1e-4, atol=1e-4)
    assert unit.square().mean().item() == pytest.approx(511 / 512, rel=1e-4)
    joint = reconstruction.normalised(pieces, in_root=True, joint=True)
    torch.testing.assert_close(joint.flatten(2).std(2), torch.ones(2, 3), rtol=1e-3, atol=1e-3)
    assert not reconstruction.normalised(torch.ones(1, 1, 8, 3)).any()


def test_video_target_step_by_step() -> None:
    torch.manual_seed(5)
    pixels = torch.rand(1, 3, 2, 4, 4)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in IMAGENET)
    found = reconstruction.video_target((pixels - mean) / deviation, IMAGENET, 2, 4, difference=2)
    cube = pixels[0].permute(1, 2, 3, 0).reshape(32, 3)
    unit = (cube - cube.mean(0)) / (cube.std(0) + 1e-6)
    frames = unit.view(2, 16, 3)
    wanted = torch.stack([frames[0], frames[1] - frames[0]]).flatten()
    torch.testing.assert_close(found[0, 0], wanted, rtol=1e-3, atol=1e-4)
    plain = reconstruction.video_target((pixels - mean) / deviation, IMAGENET, 2, 4, normalise=False)
    torch.testing.assert_close(plain[0, 0], cube.flatten(), rtol=1e-4, atol=1e-5)


def test_masked_error_looks_at_hidden_tokens_only() -> None:
    target = torch.arange(12.0).view(1, 4, 3)
    hidden = torch.tensor([[1, 3]])
    assert reconstruction.masked_mse(target[:, [1, 3]], target, hidden).item() == 0
    assert reconstruction.masked_mse(target[:, [1, 3]] + 2, target, hidden).item() == 4
    spectrum = torch.randn(2, 1, 32, 32)
    zero = torch.zeros(2, 4, 256)
    every = torch.arange(4).expand(2, -1)
    found = reconstruction.masked_mse(zero, reconstruction.patch_target(spectrum), every)
    assert found.item() == pytest.approx(255 / 256, rel=1e-4)
