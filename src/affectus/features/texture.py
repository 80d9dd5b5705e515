"""Local binary patterns: texture codes that no change of lighting alters as long as it keeps the order of greys.

Ojala, Pietikäinen & Mäenpää, "Multiresolution gray-scale and rotation invariant texture classification with local
binary patterns", 2002; the face histogram over a grid is that of Ahonen, Hadid & Pietikäinen, 2006.
"""

from __future__ import annotations

import cv2
import numpy as np

from affectus.errors import ConfigError, MediaError

#: Number of codes of `uniform_lbp`: 58 patterns with at most two changes around the circle, and one for all others.
UNIFORM_CODES = 59
# Clockwise from the top left: neighbour p has the weight 2**p.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def lbp(image: np.ndarray, radius: int = 1) -> np.ndarray:
    """Local binary pattern codes, uint8 `(height, width)` in 0…255.

    `image` is grey `(height, width)` of any real type or RGB uint8 `(height, width, 3)`. Bit p is set where the
    neighbour at `radius` pixels in direction p (clockwise from the top left) is at least as bright as the centre;
    pixels outside repeat the border, so a constant picture is 255 everywhere. No interpolation: the codes depend on
    the order of greys alone. Raises `MediaError` for other shapes and NaN, `ConfigError` for a radius below 1.
    """
    grey = _grey(image)
    if radius < 1:
        raise ConfigError("lbp", f"radius {radius} is below 1")
    height, width = grey.shape
    padded = np.pad(grey, radius, mode="edge")
    codes = np.zeros((height, width), np.uint8)
    for bit, (down, across) in enumerate(_NEIGHBOURS):
        top, left = radius * (1 + down), radius * (1 + across)
        codes |= (padded[top : top + height, left : left + width] >= grey).view(np.uint8) << np.uint8(bit)
    return codes


def lbp_image(image: np.ndarray, radius: int = 1) -> np.ndarray:
    """The codes as a one-channel picture, float32 `(height, width)` in [0, 1]: input of a texture branch."""
    return lbp(image, radius).astype(np.float32) / 255


def uniform_lbp(image: np.ndarray, radius: int = 1) -> np.ndarray:
    """Uniform codes, uint8 `(height, width)` in 0…58: 0…57 in ascending order of the pattern, 58 for all others."""
    return _UNIFORM[lbp(image, radius)]


def lbp_histogram(image: np.ndarray, grid: tuple[int, int] = (7, 7), radius: int = 1) -> np.ndarray:
    """Shares of the uniform codes in each cell of a `grid` (rows, columns): float32 `(rows · columns · 59,)`.

    Each cell sums to 1. Raises `ConfigError` when the picture has fewer pixels than the grid has cells in a
    direction.
    """
    codes = uniform_lbp(image, radius).astype(np.int64)
    (rows, columns), (height, width) = grid, codes.shape
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise ConfigError("lbp_histogram", f"a {rows} × {columns} grid does not fit {height} × {width} pixels")
    cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    counts = np.bincount((cell * UNIFORM_CODES + codes).ravel(), minlength=rows * columns * UNIFORM_CODES)
    counts = counts.reshape(-1, UNIFORM_CODES).astype(np.float32)
    return (counts / counts.sum(axis=1, keepdims=True)).ravel()


def _grey(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    if image.ndim != 2 or image.size == 0 or image.dtype.kind not in "uif":
        raise MediaError("picture", f"expected grey or RGB uint8 pixels, got {image.dtype} {image.shape}")
    if image.dtype.kind == "f" and np.isnan(image).any():
        raise MediaError("picture", "pixels contain NaN")
    return image


def _uniform_table() -> np.ndarray:
    codes = np.arange(256)
    bits = (codes[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, UNIFORM_CODES - 1).astype(np.uint8)


_UNIFORM = _uniform_table()
