"""EEG features on signals of known spectrum, and the geometry of the electrodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError, MediaError
from affectus.features.eeg import (
    BANDS,
    band_filter,
    band_power,
    differential_entropy,
    electrode_position,
    topographic_maps,
)

DREAMER = ["AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4"]
SEED = [
    "FP1",
    "FPZ",
    "FP2",
    "AF3",
    "AF4",
    "F7",
    "F5",
    "F3",
    "F1",
    "FZ",
    "F2",
    "F4",
    "F6",
    "F8",
    "FT7",
    "FC5",
    "FC3",
    "FC1",
    "FCZ",
    "FC2",
    "FC4",
    "FC6",
    "FT8",
    "T7",
    "C5",
    "C3",
    "C1",
    "CZ",
    "C2",
    "C4",
    "C6",
    "T8",
    "TP7",
    "CP5",
    "CP3",
    "CP1",
    "CPZ",
    "CP2",
    "CP4",
    "CP6",
    "TP8",
    "P7",
    "P5",
    "P3",
    "P1",
    "PZ",
    "P2",
    "P4",
    "P6",
    "P8",
    "PO7",
    "PO5",
    "PO3",
    "POZ",
    "PO4",
    "PO6",
    "PO8",
    "CB1",
    "O1",
    "OZ",
    "O2",
    "CB2",
]


def sine(hertz: float, seconds: float = 4.0, rate: float = 128.0, size: float = 1.0) -> np.ndarray:
    return size * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize(("hertz", "band"), [(2.5, 0), (6, 1), (10, 2), (20, 3), (40, 4)])
def test_a_sine_lies_in_its_band(hertz: float, band: int) -> None:
    power = band_power(sine(hertz, size=3.0)[None], 128.0, seconds=2.0)
    assert power.shape == (2, 1, 5)
    np.testing.assert_allclose(power[:, 0, band], 4.5, rtol=1e-3)
    assert np.delete(power[:, 0], band, axis=1).max() < 1e-3


def test_white_noise_spreads_evenly_and_bands_add_up() -> None:
    noise = 2.0 * np.random.default_rng(0).standard_normal((3, 200 * 1200))
    power = band_power(noise, 200, seconds=2.0).mean(axis=(0, 1))
    np.testing.assert_allclose(power, [4 * (high - low) / 100 for low, high in BANDS.values()], rtol=0.05)
    everything = band_power(noise, 200, 2.0, bands={"all": (0.0, 101.0)}).mean()
    assert everything == pytest.approx(4.0, rel=0.02)


def test_differential_entropy_of_a_gaussian() -> None:
    noise = 3.0 * np.random.default_rng(1).standard_normal((1, 128 * 600))
    entropy = differential_entropy(noise, 128, 4.0, bands={"all": (0.0, 65.0)}).mean()
    assert entropy == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 9), abs=0.01)
    assert np.isfinite(differential_entropy(np.zeros((2, 256)), 128)).all()


@given(gain=st.floats(0.01, 100), offset=st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_entropy_shifts_by_the_log_of_the_gain(gain: float, offset: float) -> None:
    signal = np.random.default_rng(2).standard_normal((2, 512))
    before, after = differential_entropy(signal, 128), differential_entropy(gain * signal + offset, 128)
    np.testing.assert_allclose(after - before, math.log(gain), atol=1e-6)


def test_windows_overlap_as_asked() -> None:
    signal = np.random.default_rng(3).standard_normal((4, 128 * 10))
    assert band_power(signal, 128, 4.0).shape == (2, 4, 5)
    dense = band_power(signal, 128, 4.0, step=1.0)
    assert dense.shape == (7, 4, 5)
    np.testing.assert_allclose(dense[4], band_power(signal, 128, 4.0)[1])


def test_filter_keeps_the_band_without_shifting_it() -> None:
    alpha, beta = sine(10), sine(25)
    kept = band_filter(np.stack([alpha + beta + 5, alpha]), 128, 8, 14)
    np.testing.assert_allclose(kept, np.stack([alpha, alpha]), atol=1e-9)
    np.testing.assert_allclose(band_filter(beta + 5, 128, 0, 8), 5.0, atol=1e-9)
    # Half a cosine at the edges: half the height in the middle of it.
    assert np.abs(band_filter(sine(8.5), 128, 2, 8, edge=1.0)).max() == pytest.approx(0.5, abs=0.01)


def test_electrode_geometry() -> None:
    assert electrode_position("Cz") == (0.0, 0.0)
    assert electrode_position("Fz") == pytest.approx((0.0, 0.4))
    assert electrode_position("T8") == pytest.approx((0.8, 0.0))
    assert electrode_position("C3") == pytest.approx((-0.4, 0.0))
    for name in SEED:
        digits = name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        if digits and name[-1] in "13579":
            mirror = name[:-1] + str(int(name[-1]) + 1)
            x, y = electrode_position(name)
            assert x < 0
            assert electrode_position(mirror) == pytest.approx((-x, y))
    ring = ["Fp1", "AF7", "F7", "FT7", "T7", "TP7", "P7", "PO7", "O1", "Oz", "O2", "PO8", "T8", "F8", "Fp2", "Fpz"]
    for name in ring:
        assert math.hypot(*electrode_position(name)) == pytest.approx(0.8)
    # Neighbours on an arc keep their order from the midline to the ring.
    for row in (
        ["Fz", "F1", "F3", "F5", "F7"],
        ["POz", "PO1", "PO3", "PO5", "PO7"],
        ["CPz", "CP1", "CP3", "CP5", "TP7"],
    ):
        x = [electrode_position(name)[0] for name in row]
        assert x == sorted(x, reverse=True)
    assert electrode_position("T3") == electrode_position("T7")
    assert electrode_position("oz") == electrode_position("OZ")


@pytest.mark.parametrize("name", ["", "X1", "Tz", "T1", "Fp3", "C11", "C0", "A1", "Czz", "ECG"])
def test_unknown_electrodes_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"10-10"):
        electrode_position(name)


@pytest.mark.parametrize("names", [DREAMER, SEED])
def test_maps_continue_constant_and_linear_fields(names: list[str]) -> None:
    places = np.array([electrode_position(n) for n in names])
    maps = topographic_maps(np.stack([np.full(len(names), 7.0), 2 * places[:, 0] - places[:, 1]]), names, size=32)
    assert maps.shape == (2, 32, 32)
    assert maps.dtype == np.float32
    centre = (np.arange(32) + 0.5) / 16 - 1
    x, y = np.meshgrid(centre, -centre)
    inside = np.hypot(x, y) <= 1
    np.testing.assert_allclose(maps[0][inside], 7.0, atol=1e-3)
    np.testing.assert_allclose(maps[1][inside], (2 * x - y)[inside], atol=1e-3)
    assert not maps[:, ~inside].any()


def test_maps_pass_through_the_values_where_the_electrodes_are() -> None:
    values = np.random.default_rng(4).standard_normal((3, 5, len(DREAMER)))
    maps = topographic_maps(values, DREAMER, size=500)
    assert maps.shape == (3, 5, 500, 500)
    for channel, name in enumerate(DREAMER):
        x, y = electrode_position(name)
        row, column = int((1 - y) * 250), int((1 + x) * 250)
        np.testing.assert_allclose(maps[:, :, row, column], values[:, :, channel], atol=0.06)


def test_front_is_up_and_left_is_left() -> None:
    hot = lambda name: topographic_maps(np.array([n == name for n in DREAMER], float), DREAMER)
    front, left = hot("AF3"), hot("T7")
    assert front[:16].sum() > front[16:].sum()
    assert left[:, :16].sum() > left[:, 16:].sum()


def test_bad_input_is_refused() -> None:
    with pytest.raises(MediaError, match="NaN"):
        band_power(np.full((2, 256), np.nan), 128)
    with pytest.raises(MediaError, match="shorter than one window"):
        band_power(np.zeros((2, 100)), 128)
    with pytest.raises(MediaError, match="channels"):
        band_power(np.zeros(256), 128)
    with pytest.raises(MediaError, match="no samples"):
        band_filter(np.zeros((2, 0)), 128, 1, 4)
    with pytest.raises(ConfigError, match="gamma"):
        band_power(np.zeros((2, 100)), 50)
    with pytest.raises(ConfigError, match="too short"):
        band_power(np.zeros((2, 100)), 50, seconds=0.001)
    with pytest.raises(ConfigError, match="impossible"):
        band_filter(np.zeros(100), 50, 8, 4)
    with pytest.raises(ConfigError, match="three different electrodes"):
        topographic_maps(np.zeros(3), ["Fz", "Cz", "Pz"])
    with pytest.raises(ConfigError, match="three different electrodes"):
        topographic_maps(np.zeros(4), ["Fz", "C3", "C4", "c3"])
    with pytest.raises(MediaError, match="14 electrodes"):
        topographic_maps(np.zeros(13), DREAMER)
