"""Curves: bins, scaling and smoothing against known values and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.features.curves import (
    bin_of,
    centre_of,
    continuous,
    low_pass,
    median3,
    min_max,
    moving_average,
    segment_means,
)  # fmt: skip


def test_bins_at_the_published_places() -> None:
    assert bin_of(np.array([-1, -0.72, -0.43, -0.14, 0, 0.15, 0.99, 1])).tolist() == [0, 0, 1, 3, 3, 4, 6, 6]
    assert centre_of(bin_of(np.array(0.0))) == 0
    np.testing.assert_allclose(centre_of(np.array([0, 6])), [-6 / 7, 6 / 7])


@given(st.floats(-1, 1))
def test_a_value_is_at_most_half_a_bin_from_its_centre(value: float) -> None:
    assert abs(float(centre_of(bin_of(np.array(value)))) - value) <= 1 / 7 + 1e-9


def test_values_that_are_no_ratings_are_refused() -> None:
    for wrong in (1.5, np.nan):
        with pytest.raises(ConfigError, match="beyond"):
            bin_of(np.array([0.0, wrong]))


def test_columns_are_stretched_and_constant_ones_are_zero() -> None:
    found = min_max(np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]))
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [0.5, 0]])


def test_segments_average_and_cover_short_recordings() -> None:
    np.testing.assert_allclose(segment_means(np.arange(6.0)[:, None], 3)[:, 0], [0.5, 2.5, 4.5])
    np.testing.assert_allclose(segment_means(np.array([[2.0]]), 5), np.full((5, 1), 2.0))
    with pytest.raises(ConfigError, match="no step"):
        segment_means(np.zeros((0, 3)), 2)


@pytest.mark.parametrize("window", [3, 7, 21])
def test_filters_equal_scipy(window: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    curve = np.random.default_rng(0).normal(size=60)
    np.testing.assert_allclose(moving_average(curve, window), signal.savgol_filter(curve, window, 0, mode="interp"))
    np.testing.assert_allclose(median3(curve), signal.medfilt(curve))


def test_low_pass_keeps_slow_and_stops_fast() -> None:
    time = np.arange(600) / 30
    slow, fast = np.sin(2 * np.pi * 0.5 * time), np.sin(2 * np.pi * 12 * time)
    assert np.abs(low_pass(slow))[200:].max() == pytest.approx(1, abs=0.02)
    assert np.abs(low_pass(fast))[200:].max() < 1e-3


def test_windows_longer_than_the_curve_and_even_ones() -> None:
    np.testing.assert_allclose(moving_average(np.arange(4.0), 99), [1, 1, 2, 2])
    assert moving_average(np.array([3.0]), 9).tolist() == [3.0]
    with pytest.raises(ConfigError, match="even"):
        moving_average(np.zeros(9), 4)


def test_constant_bins_become_their_value() -> None:
    for level, value in ((3, 0.0), (6, 1.0), (0, -1.0)):
        trace = continuous(np.full(2000, level), 701)
        np.testing.assert_allclose(trace[800:1900], value, atol=1e-6)
