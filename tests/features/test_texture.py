"""Local binary patterns: known codes and the invariance they are made for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError, MediaError
from affectus.features.texture import UNIFORM_CODES, lbp, lbp_histogram, lbp_image, uniform_lbp


def noise(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def test_known_codes() -> None:
    assert (lbp(np.full((5, 7), 9)) == 255).all()
    assert lbp(np.array([[1, 2, 3], [8, 5, 4], [7, 6, 5]]))[1, 1] == 240
    # A bright centre has no brighter neighbour; the pixels around it see themselves beyond the border.
    assert lbp(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]))[1, 1] == 0


@pytest.mark.parametrize("bit", range(8))
def test_neighbours_run_clockwise_from_the_top_left(bit: int) -> None:
    offsets = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    patch = np.zeros((3, 3))
    patch[1, 1] = 1
    patch[offsets[bit]] = 2
    assert lbp(patch)[1, 1] == 2**bit


@given(seed=st.integers(0, 999), power=st.floats(0.3, 3.0), radius=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_unchanged_under_increasing_grey_maps(seed: int, power: float, radius: int) -> None:
    image = noise(seed=seed)
    curve = np.cumsum(np.random.default_rng(seed).uniform(0.1, 1, 256)) ** power
    np.testing.assert_array_equal(lbp(curve[image], radius), lbp(image, radius))


def test_radius_reaches_further() -> None:
    patch = np.zeros((5, 5))
    patch[2, 2] = 1
    patch[0, 2] = 2
    assert lbp(patch, 1)[2, 2] == 0
    assert lbp(patch, 2)[2, 2] == 2


def test_colour_image_and_scaled_image() -> None:
    grey = noise()
    np.testing.assert_array_equal(lbp(np.dstack([grey] * 3)), lbp(grey))
    scaled = lbp_image(grey)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled * 255, lbp(grey))


def test_uniform_codes() -> None:
    codes = lbp(noise(100, 100))
    uniform = uniform_lbp(noise(100, 100))
    # At most two changes around the circle: 58 patterns, in order; everything else shares the last code.
    changes = [bin(c ^ ((c >> 1) | ((c & 1) << 7))).count("1") for c in range(256)]
    patterns = [c for c in range(256) if changes[c] <= 2]
    assert len(patterns) == 58
    for number, pattern in enumerate(patterns):
        assert (uniform[codes == pattern] == number).all()
    assert (uniform[~np.isin(codes, patterns)] == UNIFORM_CODES - 1).all()


def test_histogram_cells() -> None:
    image = noise(35, 49)
    histogram = lbp_histogram(image)
    assert histogram.shape == (49 * 59,)
    np.testing.assert_allclose(histogram.reshape(49, 59).sum(axis=1), 1.0, rtol=1e-5)
    codes = uniform_lbp(image)[5:10, 7:14]  # second row and second column of cells
    np.testing.assert_allclose(
        histogram.reshape(7, 7, 59)[1, 1], np.bincount(codes.ravel(), minlength=59) / 35, rtol=1e-5
    )
    with pytest.raises(ConfigError, match="grid"):
        lbp_histogram(image[:5])


def test_single_pixel_and_bad_input() -> None:
    assert lbp(np.zeros((1, 1))).tolist() == [[255]]
    for image in (np.zeros((0, 3)), np.zeros((3, 3, 2), np.uint8), np.full((3, 3), np.nan), np.zeros(4)):
        with pytest.raises(MediaError, match="picture"):
            lbp(image)
    with pytest.raises(ConfigError, match="radius"):
        lbp(np.zeros((3, 3)), 0)
