"""Pictures as the vision towers of Qwen take them, made without torchvision: sizes, pairs of frames, pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from affectus.errors import MediaError
from affectus.features.inputs import CLIP_STATISTICS, resized, standardise


def fitted_size(height: int, width: int, block: int = 28, least: int = 3136, most: int = 602112) -> tuple[int, int]:
    """Height and width that are multiples of `block`, keep the shape of a picture as far as possible and have between
    `least` and `most` pixels (the rule of Qwen2-VL). MediaError for a picture more than 200 times as long as wide."""
    if min(height, width) < 1 or max(height, width) > 200 * min(height, width):
        raise MediaError("picture", f"of {height} x {width} pixels is too long", "crop it")
    tall, wide = (round(side / block) * block for side in (height, width))
    if tall * wide > most:
        factor = math.sqrt(height * width / most)
        tall, wide = (max(block, math.floor(side / factor / block) * block) for side in (height, width))
    elif tall * wide < least:
        factor = math.sqrt(least / (height * width))
        tall, wide = (math.ceil(side * factor / block) * block for side in (height, width))
    return tall, wide


def video_pairs(
    pictures: Sequence[np.ndarray], block: int = 28, least: int = 3136, most: int = 602112
) -> np.ndarray:  # fmt: skip
    """RGB uint8 pictures of one size (H, W, 3) → float32 pairs (n, 2, 3, H', W'), an odd last one doubled; a single
    picture is one pair of equal frames. Pixels are scaled by Pillow's bicubic filter and standardised as CLIP's.

    MediaError when there is no picture, when sizes differ, and for pictures that are no RGB.
    """
    if not len(pictures):
        raise MediaError("video", "holds no frame")
    shapes = {picture.shape for picture in pictures}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[2] != 3:
        raise MediaError("frames", f"have shapes such as {shape}; RGB (height, width, 3) of one size is needed")
    tall, wide = fitted_size(shape[0], shape[1], block, least, most)
    made = [standardise(resized(picture, (wide, tall), "pillow-bicubic"), CLIP_STATISTICS) for picture in pictures]
    made += made[-1:] * (len(made) % 2)
    return np.stack(made).reshape(-1, 2, 3, tall, wide)
