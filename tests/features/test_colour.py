"""Colour and texture attributes: known values, invariances, and pictures at the edge of the possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import MediaError
from affectus.features.colour import (
    COLOUR_NAMES,
    HUE_NAMES,
    colour_attributes,
    colour_cues,
    colour_vector,
    colourfulness,
    tenth,
)


def solid(*rgb: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (*size, 3)).copy()


def named(image: np.ndarray) -> dict[str, float]:
    return dict(zip(COLOUR_NAMES, colour_vector(image).tolist(), strict=True))


def test_colourfulness_known_values() -> None:
    assert colourfulness(solid(128, 128, 128)) == pytest.approx(0.0, abs=1e-6)
    assert colourfulness(solid(255, 0, 0)) == pytest.approx(85.5296, abs=1e-3)
    halves = np.hstack([solid(255, 0, 0, size=(64, 32)), solid(0, 0, 255, size=(64, 32))])
    assert colourfulness(halves) == pytest.approx(272.6187, abs=1e-3)
    assert colour_attributes(halves)["colourfulness"] == 1.0
    assert colour_attributes(solid(255, 0, 0))["brightness"] == pytest.approx(1.0)


def test_names_are_unique_and_match_the_vector() -> None:
    assert len(set(COLOUR_NAMES)) == len(COLOUR_NAMES)
    vector = colour_vector(solid(1, 2, 3))
    assert vector.shape == (len(COLOUR_NAMES),)
    assert vector.dtype == np.float32


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**16), span=st.sampled_from([1, 3, 256])
)
@settings(max_examples=60, deadline=None)
def test_any_picture_gives_finite_numbers(height: int, width: int, seed: int, span: int) -> None:
    image = np.random.default_rng(seed).integers(0, span, (height, width, 3)).astype(np.uint8)
    number = named(image)
    assert np.isfinite(list(number.values())).all()
    shares = [n for n in COLOUR_NAMES if n.endswith("_share") or n.startswith("hue_") or n in ("warm", "cool")]
    assert all(-1e-6 <= number[n] <= 1 + 1e-6 for n in [*shares, "symmetry", "entropy", "edge_density", "glcm_energy"])
    assert -1 - 1e-6 <= number["glcm_correlation"] <= 1 + 1e-6


def test_grey_forms_agree_and_have_no_colour() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (50, 70)).astype(np.uint8)
    np.testing.assert_array_equal(colour_vector(grey), colour_vector(np.dstack([grey] * 3)))
    number = named(grey)
    for name in ("saturation_mean", "colourfulness", "warm", "cool", *(f"hue_{h}" for h in HUE_NAMES)):
        assert number[name] == pytest.approx(0.0, abs=1e-6)
    assert number["grey_share"] == 1.0


def test_valdez_mehrabian_formulas() -> None:
    number = named(solid(255, 0, 0))
    assert (number["pleasure"], number["arousal"], number["dominance"]) == pytest.approx((0.91, 0.29, -0.44), abs=1e-5)
    white = named(solid(255, 255, 255))
    assert (white["pleasure"], white["arousal"], white["dominance"]) == pytest.approx((0.69, -0.31, -0.76), abs=1e-5)


@pytest.mark.parametrize(
    ("rgb", "hue", "tone"),
    [
        ((255, 0, 0), "red", "warm"),
        ((255, 128, 0), "orange", "warm"),
        ((255, 0, 20), "red", "warm"),
        ((0, 0, 255), "blue", "cool"),
        ((0, 255, 255), "cyan", "cool"),
        ((0, 255, 0), "green", "neither"),
        ((160, 255, 0), "yellow-green", "neither"),
    ],
)
def test_hue_histogram_and_temperature(rgb: tuple[int, int, int], hue: str, tone: str) -> None:
    attributes = colour_attributes(solid(*rgb))
    assert attributes["hue_histogram"][hue] == pytest.approx(1.0, abs=1e-4)
    assert sum(attributes["hue_histogram"].values()) == pytest.approx(1.0, abs=1e-4)
    assert attributes["warm"] == pytest.approx(float(tone == "warm"))
    assert attributes["cool"] == pytest.approx(float(tone == "cool"))


def test_texture_of_flat_striped_and_noisy() -> None:
    flat = named(solid(90, 90, 90))
    assert (flat["glcm_contrast"], flat["glcm_energy"], flat["glcm_homogeneity"]) == (0.0, 1.0, 1.0)
    assert (flat["entropy"], flat["edge_density"], flat["spectral_slope"]) == (0.0, 0.0, 0.0)
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, 4::8] = stripes[:, 5::8] = stripes[:, 6::8] = stripes[:, 7::8] = 255
    upright, lying = named(stripes), named(np.ascontiguousarray(stripes.T))
    assert upright["edge_vertical"] > 0.95 > 0.05 > upright["edge_horizontal"]
    assert lying["edge_horizontal"] > 0.95 > 0.05 > lying["edge_vertical"]
    assert upright["entropy"] == pytest.approx(1 / 8)
    noise = named(np.random.default_rng(1).integers(0, 256, (128, 128)).astype(np.uint8))
    assert noise["entropy"] > 0.95
    assert abs(noise["spectral_slope"]) < 0.3
    assert abs(noise["glcm_correlation"]) < 0.05


def test_spectral_slope_of_natural_statistics() -> None:
    rng = np.random.default_rng(2)
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)) * 256
    spectrum = np.fft.rfft2(rng.standard_normal((256, 256))) / np.maximum(radius, 1)
    field = np.fft.irfft2(spectrum)
    image = np.clip(128 + 40 * field / field.std(), 0, 255).astype(np.uint8)
    assert named(image)["spectral_slope"] == pytest.approx(-2.0, abs=0.35)


def test_composition() -> None:
    spot = np.zeros((96, 96), np.uint8)
    spot[24:72, 24:72] = 255
    number = named(spot)
    assert number["centre_value"] == pytest.approx(1.0)
    assert number["symmetry"] == pytest.approx(1.0)
    left = np.zeros((96, 96), np.uint8)
    left[:, :48] = 255
    assert named(left)["symmetry"] == pytest.approx(0.0, abs=1e-6)
    assert named(np.ascontiguousarray(left.T))["top_value"] == pytest.approx(1.0)


def test_resolution_hardly_matters() -> None:
    rng = np.random.default_rng(3)
    small = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    large = np.kron(small, np.ones((4, 4, 1))).astype(np.uint8)
    np.testing.assert_allclose(colour_vector(large), colour_vector(small), atol=1e-5)


def test_cues_name_what_stands_out() -> None:
    words = lambda image: [cue for cue, _ in colour_cues(colour_attributes(image))]
    assert "dark picture" in words(solid(10, 10, 10))
    assert {"mostly red", "warm colours"} <= set(words(solid(255, 0, 0)))
    assert "muted colours" in words(solid(200, 200, 200))
    for image in (solid(0, 0, 0), solid(255, 255, 255), solid(0, 0, 255)):
        strengths = [strength for _, strength in colour_cues(colour_attributes(image))]
        assert strengths == sorted(strengths, reverse=True)
        assert all(0 < s <= 1 for s in strengths)


@pytest.mark.parametrize(("value", "bin_"), [(0.0, 0.0), (0.05, 0.1), (0.449, 0.4), (0.96, 1.0), (1.7, 1.0), (-1, 0.0)])
def test_tenth(value: float, bin_: float) -> None:
    assert tenth(value) == bin_


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros(9, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(MediaError, match="RGB or grey uint8"):
        colour_vector(image)
