"""Alignment: the closed form against known transforms, and the pixels it samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import MediaError
from affectus.media.alignment import FER_TEMPLATE, align, align_many, similarity, warp


@settings(max_examples=50, deadline=None)
@given(st.floats(-3, 3), st.floats(0.05, 40), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_recovers_any_rotation_scale_and_shift(angle: float, scale: float, dx: float, dy: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = FER_TEMPLATE @ turn.T + (dx, dy)
    matrix = similarity(points[None], FER_TEMPLATE)[0]
    back = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(back, FER_TEMPLATE, atol=1e-7)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(1 / scale**2, rel=1e-6)


def test_similarity_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(0)
    points = 80 * FER_TEMPLATE + rng.normal(0, 4, (20, 5, 2))
    for source, matrix in zip(points, similarity(points, FER_TEMPLATE), strict=True):
        design = np.zeros((10, 4))
        design[0::2] = np.column_stack([source[:, 0], -source[:, 1], np.ones(5), np.zeros(5)])
        design[1::2] = np.column_stack([source[:, 1], source[:, 0], np.zeros(5), np.ones(5)])
        a, b, x, y = np.linalg.lstsq(design, FER_TEMPLATE.ravel(), rcond=None)[0]
        np.testing.assert_allclose(matrix, [[a, -b, x], [b, a, y]], atol=1e-9)


def test_similarity_never_mirrors() -> None:
    mirrored = FER_TEMPLATE * (-1, 1)
    assert np.linalg.det(similarity(mirrored[None], FER_TEMPLATE)[0][:, :2]) > 0


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_unusable_points_are_refused(points: np.ndarray) -> None:
    with pytest.raises(MediaError, match="face points"):
        align(np.zeros((20, 20, 3), np.uint8), points, 16)


def test_wrong_number_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        similarity(np.zeros((1, 4, 2)), FER_TEMPLATE)


def test_crop_in_place_returns_the_same_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align(image, FER_TEMPLATE * 48, 48), image)


def test_crop_follows_shift_without_a_half_pixel_error() -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    crop = align(image, FER_TEMPLATE * 40 + (33, 21), 40)
    np.testing.assert_array_equal(crop, image[21:61, 33:73])


def test_quarter_turn_equals_numpy_rotation() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    turned = np.rot90(image)  # counter-clockwise: (x, y) -> (y, 32 - x)
    points = np.column_stack([FER_TEMPLATE[:, 1] * 32, 32 - FER_TEMPLATE[:, 0] * 32])
    np.testing.assert_array_equal(align(turned, points, 32), image)


def test_large_faces_are_averaged_not_aliased() -> None:
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255  # finest texture there is: any aliasing shows as light and dark bands
    crop = align(stripes, FER_TEMPLATE * 640 + 0.3, 48)
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 127).max() <= 8


def test_shrinking_keeps_the_position() -> None:
    image = np.zeros((600, 800, 3), np.uint8)
    image[200:400, 300:500] = 255
    crop = align(image, FER_TEMPLATE * 400 + (200, 100), 40).astype(float)[..., 0]
    rows, columns = np.nonzero(crop > 127)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 10, 29)
    assert crop.sum() / 255 == pytest.approx(400, rel=0.03)


def test_outside_of_the_picture_repeats_the_edge() -> None:
    image = np.full((30, 30, 3), 90, np.uint8)
    assert (align(image, FER_TEMPLATE * 40 - 25, 24) == 90).all()
    assert (align(image, FER_TEMPLATE * 40 + 500, 24) == 90).all()


def test_many_equals_one_by_one_and_none_is_empty() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (100, 140, 3), dtype=np.uint8)
    points = np.stack([FER_TEMPLATE * s + o for s, o in ((30, 5), (70, 20), (12, 60))]) + rng.normal(0, 1, (3, 5, 2))
    crops = align_many(image, points, 20)
    assert crops.shape == (3, 20, 20, 3)
    assert crops.dtype == np.uint8
    for crop, one in zip(crops, points, strict=True):
        np.testing.assert_array_equal(crop, align(image, one, 20))
    assert align_many(image, [], 20).shape == (0, 20, 20, 3)


def test_warp_works_on_a_one_pixel_picture() -> None:
    assert (warp(np.full((1, 1, 3), 9, np.uint8), np.array([[10.0, 0, 0], [0, 10, 0]]), 8) == 9).all()
