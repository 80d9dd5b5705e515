"""Scores of generated media: closed forms, equality with scipy and torchmetrics, shifted sound."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import generation as g

QUICK = settings(max_examples=25, deadline=None)


def test_frechet_of_known_gaussians() -> None:
    eye = np.eye(3)
    assert g.frechet_of_moments([0, 0, 0], eye, [1, 2, 2], eye) == pytest.approx(9)
    # Commuting covariances: the sum of squared differences of the standard deviations.
    first, second = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])
    assert g.frechet_of_moments([0, 0, 0], first, [0, 0, 0], second) == pytest.approx(1 + 0 + 4)
    assert g.frechet_of_moments([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2))) == 25


@QUICK
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_frechet_equals_the_matrix_root_of_scipy(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    real, made = rng.normal(size=(30, size)), 1 + rng.normal(size=(25, size)) @ rng.normal(size=(size, size))
    (m1, s1), (m2, s2) = g.moments(real), g.moments(made)
    assert np.allclose(s1, np.cov(real, rowvar=False))
    root = scipy.linalg.sqrtm(s1 @ s2)
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root.real)
    found = g.frechet_distance(real, made)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found == pytest.approx(g.frechet_distance(made, real), rel=1e-6, abs=1e-9)
    assert g.frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    assert g.frechet_distance(real @ turn + 5, made @ turn + 5) == pytest.approx(found, rel=1e-6, abs=1e-6)


def test_frechet_of_fewer_rows_than_dimensions() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(5, 20))
    assert g.frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert g.frechet_distance(real, real + 1) == pytest.approx(20, abs=1e-5)


def test_flicker() -> None:
    still = np.full((4, 8, 8, 3), 100, dtype=np.uint8)
    assert g.flicker(still) == 0
    blink = np.zeros((4, 8, 8))
    blink[1::2] = 1
    assert g.flicker(blink) == 1
    assert g.flicker((blink * 51).astype(np.uint8)) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="two frames"):
        g.flicker(still[:1])
    with pytest.raises(ValueError, match="lie in"):
        g.flicker(blink * 3)


def test_psnr_and_ssim() -> None:
    rng = np.random.default_rng(0)
    frames = rng.random((3, 20, 24, 3))
    assert g.psnr(frames, frames) == np.inf
    assert g.ssim(frames, frames) == pytest.approx(1)
    assert g.psnr(np.zeros((1, 4, 4)), np.full((1, 4, 4), 0.1)) == pytest.approx(20)
    noisy = [np.clip(frames + scale * rng.normal(size=frames.shape), 0, 1) for scale in (0.05, 0.2)]
    assert g.psnr(frames, noisy[0]) > g.psnr(frames, noisy[1])
    assert 1 > g.ssim(frames, noisy[0]) > g.ssim(frames, noisy[1]) > 0
    with pytest.raises(ValueError, match="larger than the window"):
        g.ssim(frames[:, :8], frames[:, :8])
    with pytest.raises(ValueError, match="but generated is"):
        g.psnr(frames, frames[:2])


def test_ssim_equals_the_definition_at_one_pixel() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((1, 11, 11)), rng.random((1, 11, 11))
    grid = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(grid, grid) / np.outer(grid, grid).sum()
    mean = lambda values: float((values * window).sum())
    a, b = first[0], second[0]
    m1, m2 = mean(a), mean(b)
    v1, v2, v12 = mean(a * a) - m1**2, mean(b * b) - m2**2, mean(a * b) - m1 * m2
    expected = (2 * m1 * m2 + 1e-4) * (2 * v12 + 9e-4) / ((m1**2 + m2**2 + 1e-4) * (v1 + v2 + 9e-4))
    assert g.ssim(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [-7, -1, 0, 3, 12])
def test_sync_finds_the_offset(shift: int) -> None:
    rng = np.random.default_rng(2)
    sound = rng.normal(size=(140, 8))
    video = np.roll(sound, -shift, axis=0) + 0.1 * rng.normal(size=sound.shape)
    found = g.sync(video[20:120], sound[20:120])
    assert found.offset == shift
    assert found.confidence > 2
    unrelated = g.sync(rng.normal(size=(100, 8)), sound[:100])
    assert unrelated.confidence < found.confidence
    assert unrelated.distance > found.distance
    curve = g.lag(video[20:120, 0], sound[20:120, 0])
    assert curve.offset == shift
    assert curve.correlation > 0.95


def test_sync_of_still_curves_and_short_clips() -> None:
    assert g.lag(np.ones(20), np.arange(20.0), 3) == g.Lag(0, 0.0)
    assert g.sync(np.ones((20, 2)), np.ones((20, 2))) == g.Sync(0, 0.0, 0.0)
    with pytest.raises(ValueError, match="too few"):
        g.sync(np.ones((10, 2)), np.ones((10, 2)), 10)
    with pytest.raises(ValueError, match="too few"):
        g.lag(np.ones(5), np.ones(5), 3)
    with pytest.raises(ValueError, match="must not be negative"):
        g.lag(np.ones(5), np.ones(5), -1)
    with pytest.raises(ValueError, match="but audio is"):
        g.sync(np.ones((20, 2)), np.ones((20, 3)))


def test_clip_score() -> None:
    images, texts = np.array([[1.0, 0], [0, 2], [1, 1]]), np.array([[3.0, 0], [0, -1], [1, 0]])
    assert g.clip_score(images, texts) == pytest.approx(2.5 * (1 + 0 + np.sqrt(0.5)) / 3)
    assert g.clip_score(images, texts, weight=1, clipped=False) == pytest.approx(np.sqrt(0.5) / 3)
    frames = np.stack([images, images], axis=1)
    assert g.clip_score(frames, texts) == pytest.approx(g.clip_score(images, texts))
    with pytest.raises(ValueError, match="all zero"):
        g.clip_score(np.zeros((3, 2)), texts)
    with pytest.raises(ValueError, match="images must be"):
        g.clip_score(np.ones((3, 4)), texts)


def test_emotion_accuracy() -> None:
    judge = np.array([[0.4, 0.3, 0.3], [0.1, 0.5, 0.4], [0.2, 0.3, 0.5]])
    assert g.emotion_accuracy([0, 1, 1], judge) == pytest.approx(2 / 3)
    # The first clip passes on classes and fails on sides: sums of probabilities decide, not the largest one.
    assert g.emotion_accuracy([0, 1, 1], judge, {0: "+", 1: "-", 2: "-"}) == pytest.approx(2 / 3)
    assert g.emotion_accuracy([0], judge[:1], {0: "+", 1: "-", 2: "-"}) == 0
    with pytest.raises(ValueError, match="nothing about class 2"):
        g.emotion_accuracy([0], judge[:1], {0: "+", 1: "-"})


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        g.frechet_distance(np.ones((1, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="3 features but generated has 2"):
        g.frechet_distance(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="of the same D"):
        g.frechet_of_moments([0, 0], np.eye(2), [0, 0], np.eye(3))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        g.frechet_of_moments([0, 0], -np.eye(2), [0, 0], np.eye(2))
    with pytest.raises(ValueError, match="NaN"):
        g.frechet_distance([[np.nan], [1.0]], [[0.0], [1.0]])
    with pytest.raises(ValueError, match=r"\(T, H, W\)"):
        g.flicker(np.zeros((3, 3)))
