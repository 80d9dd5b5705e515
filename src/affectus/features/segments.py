"""Sampling a clip by equal segments (Wang et al., "Temporal Segment Networks", ECCV 2016), and the input made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from affectus.errors import MediaError
from affectus.features.boxes import letterbox
from affectus.features.inputs import NONE, InputSpec, Interpolation, need_rgb, resized, standardise


def segment_middles(count: int, segments: int) -> np.ndarray:
    """Middles of equal segments of `count` frames; up to `segments` frames are all taken and the last one repeated."""
    if count < 1:
        raise MediaError("clip", "holds no frame")
    if count <= segments:
        return np.minimum(np.arange(segments), count - 1)
    tick = count / segments
    return (tick / 2 + tick * np.arange(segments)).astype(int)


def segment_draws(count: int, segments: int, draw: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """One frame at random out of each of equal segments, as the public training code draws them.

    `draw(high, n)` gives n integers below `high`. With fewer than 2 · `segments` frames a segment is one frame long, so
    the first frames are taken; up to `segments` frames are all taken and the last one repeated.
    """
    if count < 1:
        raise MediaError("clip", "holds no frame")
    if length := count // segments:
        return np.arange(segments) * length + draw(length, segments)
    return np.minimum(np.arange(segments), count - 1)


@dataclass(frozen=True)
class SegmentInput(InputSpec):
    """Frames at the middles of equal segments of a clip: RGB frames → (frames, 3, size, size).

    `fit` "stretch" scales both sides, "letterbox" keeps the aspect ratio on black. Pixels are divided by 255, then
    standardised. `of` is "faces" (crops) or "frames" (whole pictures).
    """

    frames: int = 16
    size: int = 224
    fit: Literal["stretch", "letterbox"] = "stretch"
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = NONE
    interpolation: Interpolation = "pillow-bilinear"
    of: Literal["frames", "faces"] = "faces"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, 3, size, size)."""
        return (self.frames, 3, self.size, self.size)

    def __call__(self, raw: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.picture(raw[i]) for i in segment_middles(len(raw), self.frames)])

    def picture(self, image: np.ndarray) -> np.ndarray:
        """One frame (H, W, 3) → (3, size, size)."""
        need_rgb(image, "frame")
        if self.fit == "letterbox":
            return standardise(letterbox(image, self.size), self.statistics)
        return standardise(resized(image, (self.size, self.size), self.interpolation), self.statistics)
