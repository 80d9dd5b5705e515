"""Faces made to stand out by brightening everything else, as Emotion-Qwen's Facial Emotion Capture does before its
encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from affectus.errors import ConfigError
from affectus.types import Face

#: Share by which a box grows to every side, and how much brighter what lies outside gets (1.2 to 1.5 published).
DILATION, BRIGHTER = 0.1, 1.35


def highlighted(
    image: np.ndarray, boxes: Sequence[Sequence[float]], dilation: float = DILATION, brighter: float = BRIGHTER
) -> np.ndarray:
    """RGB uint8 (H, W, 3) whose pixels outside all boxes (x, y, width, height) are brighter, at most 255.

    A box grows by `dilation` of its size to every side. Without a box the picture stays as it is.
    """
    if brighter < 1 or dilation < 0:
        raise ConfigError("highlighting", f"cannot brighten {brighter:g} times with boxes grown by {dilation:g}")
    outside = np.ones(image.shape[:2], bool)
    for x, y, width, height in boxes:
        left, right = x - dilation * width, x + (1 + dilation) * width
        top, bottom = y - dilation * height, y + (1 + dilation) * height
        rows = slice(max(0, int(np.floor(top))), max(0, int(np.ceil(bottom))))
        columns = slice(max(0, int(np.floor(left))), max(0, int(np.ceil(right))))
        outside[rows, columns] = False
    if outside.all():
        return image
    found = image.copy()
    found[outside] = np.minimum(image[outside].astype(np.float32) * brighter, 255).round().astype(np.uint8)
    return found


def blended(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Mean of a picture and its highlighted copy, which is what the encoder sees; the picture itself without a face."""
    if not faces:
        return image
    bright = highlighted(image, [face.box for face in faces])
    return ((image.astype(np.uint16) + bright + 1) // 2).astype(np.uint8)
