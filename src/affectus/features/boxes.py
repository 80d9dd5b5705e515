"""Boxes of faces and bodies that a corpus publishes beside its frames, and what is cut out with them.

Layouts of RAER (CLIP-CAER, ICCV 2025): faces `{folder: {frame: [left, upper, right, lower]}}`, bodies
`{folder: [left, upper, right, lower]}`, in pixels of the frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectus.errors import ConfigError, CorpusError, MediaError
from affectus.features.inputs import resized

Box = tuple[float, float, float, float]


class BoxStore:
    """Boxes by folder and frame. Folders are compared by their last `parts` parts, since published keys are absolute
    paths of another machine."""

    def __init__(self, content: Mapping[str, Any], parts: int = 3) -> None:
        self.parts = parts
        self._boxes: dict[str, dict[str, Box]] = {}
        for folder, boxes in content.items():
            frames = boxes if isinstance(boxes, Mapping) else {"": boxes}
            self._boxes[self._key(folder)] = {name: _box(box, folder) for name, box in frames.items()}

    @classmethod
    def read(cls, path: str | Path, parts: int = 3) -> BoxStore:
        """From a JSON file; raises CorpusError when it holds no boxes."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorpusError(path, "is no readable JSON file of boxes", "fetch it again") from error
        if not isinstance(content, dict):
            raise CorpusError(path, "is no mapping of folders to boxes", "fetch it again")
        return cls(content, parts)

    def __len__(self) -> int:
        return len(self._boxes)

    def find(self, folder: str, frame: str = "") -> Box | None:
        """The box of a frame, or of the whole folder where it has only one; None where there is none."""
        boxes = self._boxes.get(self._key(folder), {})
        return boxes.get(frame, boxes.get(""))

    def _key(self, folder: str) -> str:
        return "/".join(folder.replace("\\", "/").strip("/").split("/")[-self.parts :]).lower()


def crop(image: np.ndarray, box: Sequence[float] | None, margin: int = 0) -> np.ndarray:
    """The part of a picture (H, W, 3) within a box widened by `margin` pixels and clipped; all of it without a box.

    Fractions of pixels are cut off. Raises MediaError when nothing of the box lies in the picture.
    """
    if box is None:
        return image
    left, upper, right, lower = (int(v) for v in box)
    height, width = image.shape[:2]
    cut = image[
        max(0, upper - margin) : min(height, lower + margin), max(0, left - margin) : min(width, right + margin)
    ]
    if not cut.size:
        raise MediaError("box", f"{left, upper, right, lower} lies outside of a picture of {width}x{height}")
    return cut


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """A picture (H, W, 3) scaled to fit (size, size, 3) with its aspect ratio kept, on black."""
    height, width = image.shape[:2]
    if not height or not width:
        raise MediaError("image", f"has shape {image.shape}; there is nothing to scale")
    scale = size / max(height, width)
    wide = max(1, int(width * scale)), max(1, int(height * scale))
    out = np.zeros((size, size, 3), np.uint8)
    top, left = (size - wide[1]) // 2, (size - wide[0]) // 2
    out[top : top + wide[1], left : left + wide[0]] = resized(image, wide)
    return out


def _box(box: Any, folder: str) -> Box:
    if not isinstance(box, Sequence) or len(box) != 4:
        raise ConfigError(folder, f"has a box {box!r}; four numbers are needed: left, upper, right, lower")
    left, upper, right, lower = (float(v) for v in box)
    return left, upper, right, lower
