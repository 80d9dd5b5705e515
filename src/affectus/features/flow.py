"""Motion between frames: dense optical flow, its two-stream encoding and a short description of the movement.

Flow is Farnebäck, "Two-frame motion estimation based on polynomial expansion", 2003, as implemented in OpenCV. The
stack of x and y planes is the input of the motion stream of Simonyan & Zisserman, "Two-stream convolutional networks
for action recognition in videos", 2014, which the evoked-emotion work on movies uses with ten flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from affectus.errors import ConfigError, MediaError

MOTION_NAMES: tuple[str, ...] = (
    *("speed_mean", "speed_std", "speed_p95", "moving_share"),
    *("camera_x", "camera_y", "own_speed", "expansion", "rotation"),
    *(
        f"direction_{name}"
        for name in ("right", "down_right", "down", "down_left", "left", "up_left", "up", "up_right")
    ),
)


def dense_flow(first: np.ndarray, second: np.ndarray, max_side: int = 256) -> np.ndarray:
    """Displacement of each pixel from `first` to `second`: float32 `(height, width, 2)`, x and y in pixels.

    Pictures are RGB uint8 `(height, width, 3)` or grey, of one size; larger ones are first reduced so that the longer
    side is `max_side`, and the displacement is in pixels of the reduced picture. Raises `MediaError` for other input.
    """
    before, after = _grey(first, max_side), _grey(second, max_side)
    if np.shape(first)[:2] != np.shape(second)[:2]:
        raise MediaError("frames", f"sizes differ: {np.shape(first)[:2]} and {np.shape(second)[:2]}")
    if min(before.shape) < 16:
        # Too small for the pyramid and the 15-pixel window.
        return np.zeros((*before.shape, 2), np.float32)
    start = np.zeros((*before.shape, 2), np.float32)
    return cv2.calcOpticalFlowFarneback(
        before, after, start, pyr_scale=0.5, levels=4, winsize=15, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
    )


def flow_image(flow: np.ndarray, bound: float = 20.0) -> np.ndarray:
    """Flow as bytes, the form in which flow fields are stored: uint8, 0 for -`bound`, 128 for rest, 255 for `bound`."""
    if bound <= 0:
        raise ConfigError("flow_image", f"bound {bound:g} is not positive")
    return np.clip(np.rint(flow * (127.0 / bound) + 128.0), 0, 255).astype(np.uint8)


def flow_from_image(image: np.ndarray, bound: float = 20.0) -> np.ndarray:
    """Inverse of `flow_image`, exact to half a step (`bound` / 254): float32."""
    return ((image.astype(np.float32) - 128.0) * np.float32(bound / 127.0)).astype(np.float32)


def flow_stack(images: Sequence[np.ndarray], max_side: int = 256) -> np.ndarray:
    """Flows of n + 1 consecutive pictures stacked as channels x₁ y₁ x₂ y₂ …: float32 `(2 n, height, width)`.

    Eleven pictures give the 20 channels of the two-stream motion net. Raises `MediaError` for fewer than two
    pictures.
    """
    if len(images) < 2:
        raise MediaError("frames", f"optical flow needs two pictures, got {len(images)}")
    flows = [dense_flow(a, b, max_side) for a, b in pairwise(images)]
    return np.ascontiguousarray(np.concatenate(flows, axis=2).transpose(2, 0, 1))


def motion_vector(flow: np.ndarray, seconds: float = 1.0) -> np.ndarray:
    """What moves, how fast and where to: the numbers named in `MOTION_NAMES`, float32 `(len(MOTION_NAMES),)`.

    `flow` is `(height, width, 2)`, `seconds` the time between its two pictures. Speeds are in picture diagonals per
    second. `camera_*` is the median motion, `own_speed` the mean speed after taking it away; `expansion` (zoom in is
    positive) and `rotation` (clockwise is positive) are rates per second of the best affine fit; `direction_*` are
    shares of the motion in eight directions on the screen, zero when nothing moves.
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2 or flow.size == 0 or seconds <= 0:
        raise MediaError("flow", f"expected (height, width, 2) and a positive time, got {flow.shape}, {seconds:g} s")
    height, width = flow.shape[:2]
    scale = 1.0 / (np.hypot(height, width) * seconds)
    speed = np.hypot(flow[:, :, 0], flow[:, :, 1])
    camera = np.median(flow.reshape(-1, 2), axis=0)
    own = np.hypot(flow[:, :, 0] - camera[0], flow[:, :, 1] - camera[1])
    moving = speed > 0.25
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    slope = lambda plane, axis, ruler: float((plane.mean(axis=axis) @ ruler) / max(float(ruler @ ruler), 1e-9))
    stretch = (slope(flow[:, :, 0], 0, x) + slope(flow[:, :, 1], 1, y)) / 2 / seconds
    turning = (slope(flow[:, :, 1], 0, x) - slope(flow[:, :, 0], 1, y)) / 2 / seconds
    sector = np.rint(np.arctan2(flow[:, :, 1], flow[:, :, 0]) / (np.pi / 4)).astype(np.int64) % 8
    travelled = np.bincount(sector.ravel(), (speed * moving).ravel(), 8)
    compass = travelled / max(float(travelled.sum()), 1e-9)
    speeds = [speed.mean() * scale, speed.std() * scale, np.percentile(speed, 95) * scale, moving.mean()]
    rest = [camera[0] * scale, camera[1] * scale, own.mean() * scale, stretch, turning]
    return np.array([*speeds, *rest, *compass], np.float32)


def _grey(image: np.ndarray, max_side: int) -> np.ndarray:
    image = np.asarray(image)
    colour = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or image.size == 0 or not (colour or image.ndim == 2):
        raise MediaError("frames", f"expected RGB or grey uint8 pixels, got {image.dtype} {image.shape}")
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) if colour else np.ascontiguousarray(image)
    scale = max_side / max(grey.shape)
    if scale >= 1:
        return grey
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
