"""Optical flow on textures moved by a known amount."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from affectus.errors import ConfigError, MediaError
from affectus.features.flow import MOTION_NAMES, dense_flow, flow_from_image, flow_image, flow_stack, motion_vector


def texture(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    rough = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def warped(image: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, np.array(matrix, np.float64), size, borderMode=cv2.BORDER_REFLECT)


def described(flow: np.ndarray, seconds: float = 1.0) -> dict[str, float]:
    return dict(zip(MOTION_NAMES, motion_vector(flow, seconds).tolist(), strict=True))


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (-1.5, 2.5)])
def test_shift_is_found(shift: tuple[float, float]) -> None:
    image = texture()
    flow = dense_flow(image, warped(image, [[1, 0, shift[0]], [0, 1, shift[1]]]))
    assert flow.shape == (120, 160, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(np.median(flow.reshape(-1, 2), axis=0), shift, atol=0.15)


def test_no_motion_and_tiny_pictures() -> None:
    image = texture()
    still = described(dense_flow(image, image))
    assert max(abs(v) for v in still.values()) < 1e-3
    assert not dense_flow(image[:3, :4], image[:3, :4]).any()


def test_large_pictures_are_reduced() -> None:
    image = texture(480, 640)
    flow = dense_flow(image, warped(image, [[1, 0, 10], [0, 1, 0]]), max_side=160)
    assert flow.shape == (120, 160, 2)
    assert np.median(flow[:, :, 0]) == pytest.approx(2.5, abs=0.2)


@pytest.mark.parametrize(
    ("shift", "direction"),
    [
        ((2, 0), "right"),
        ((2, 2), "down_right"),
        ((0, 2), "down"),
        ((-2, 0), "left"),
        ((0, -2), "up"),
        ((2, -2), "up_right"),
    ],
)
def test_camera_motion_and_direction(shift: tuple[int, int], direction: str) -> None:
    flow = np.broadcast_to(np.array(shift, np.float32), (30, 40, 2))
    told = described(flow, seconds=0.5)
    assert told[f"direction_{direction}"] == pytest.approx(1.0)
    assert told["camera_x"] == pytest.approx(shift[0] / 50 / 0.5)
    assert told["speed_mean"] == pytest.approx(np.hypot(*shift) / 50 / 0.5)
    assert (told["own_speed"], told["moving_share"]) == pytest.approx((0.0, 1.0))


def test_zoom_and_rotation_rates() -> None:
    y, x = np.mgrid[:30, :40].astype(np.float32)
    x, y = x - 19.5, y - 14.5
    zoom = described(np.dstack([0.1 * x, 0.1 * y]), seconds=0.5)
    assert (zoom["expansion"], zoom["rotation"]) == pytest.approx((0.2, 0.0), abs=1e-5)
    turn = described(np.dstack([-0.1 * y, 0.1 * x]))
    assert (turn["expansion"], turn["rotation"]) == pytest.approx((0.0, 0.1), abs=1e-5)
    image = texture()
    angle = np.deg2rad(2)
    real = cv2.getRotationMatrix2D((79.5, 59.5), -2, 1.0)  # clockwise on the screen
    assert described(dense_flow(image, warped(image, real.tolist())))["rotation"] == pytest.approx(angle, rel=0.15)


def test_moving_thing_before_a_still_background() -> None:
    flow = np.zeros((40, 40, 2), np.float32)
    flow[10:20, 10:20, 0] = 4
    told = described(flow)
    assert told["camera_x"] == 0
    assert told["moving_share"] == pytest.approx(100 / 1600)
    assert told["own_speed"] == pytest.approx(told["speed_mean"])


def test_stack_is_x_and_y_in_turn() -> None:
    image = texture()
    images = [warped(image, [[1, 0, 1.5 * i], [0, 1, -0.5 * i]]) for i in range(11)]
    stack = flow_stack([np.dstack([i] * 3) for i in images])
    assert stack.shape == (20, 120, 160)
    np.testing.assert_array_equal(stack[0], dense_flow(images[0], images[1])[:, :, 0])
    np.testing.assert_array_equal(stack[19], dense_flow(images[9], images[10])[:, :, 1])
    assert np.median(stack[::2]) == pytest.approx(1.5, abs=0.2)
    assert np.median(stack[1::2]) == pytest.approx(-0.5, abs=0.2)


def test_byte_encoding() -> None:
    flow = np.array([-30.0, -20.0, 0.0, 20.0, 30.0, 3.3], np.float32).reshape(1, 3, 2)
    image = flow_image(flow)
    assert image.ravel()[:5].tolist() == [0, 1, 128, 255, 255]
    assert flow_from_image(image).ravel()[5] == pytest.approx(3.3, abs=20 / 254)
    with pytest.raises(ConfigError, match="bound"):
        flow_image(flow, 0)


def test_bad_input_is_refused() -> None:
    image = texture()
    with pytest.raises(MediaError, match="sizes differ"):
        dense_flow(image, image[:-1])
    with pytest.raises(MediaError, match="uint8"):
        dense_flow(image.astype(float), image)
    with pytest.raises(MediaError, match="two pictures"):
        flow_stack([image])
    with pytest.raises(MediaError, match="positive time"):
        motion_vector(np.zeros((3, 3, 2)), 0)
