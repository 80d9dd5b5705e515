"""Find faces with YuNet (Wu et al., Machine Intelligence Research 20(5), 2023), run by OpenCV on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from affectus import assets
from affectus.errors import MediaError
from affectus.types import Face

#: YuNet was trained for faces of about 10 to 300 px; a picture with a longest side below this is enlarged to it, so
#: that the faces of thumbnails and tight crops come into that range. Found by trial on 48 px crops: 99 % of the faces
#: at six times their size, 97 % at three times.
SMALLEST_SIDE = 288


class FaceDetector:
    """Detects frontal to profile faces with five points each.

    `threshold` (0…1) is the lowest detector score, `overlap` the intersection over union from which the weaker of two
    boxes is dropped, `path` another file of the same network. One detector serves one thread.
    """

    def __init__(self, threshold: float = 0.6, overlap: float = 0.3, path: Path | None = None) -> None:
        if not 0 < threshold < 1 or not 0 < overlap < 1:
            raise ValueError("threshold and overlap lie between 0 and 1")
        file = path or assets.resolve("yunet")
        with _quiet_opencv():
            self._network = cv2.FaceDetectorYN.create(str(file), "", (320, 320), threshold, overlap, 750)

    def detect(self, image: np.ndarray, max_side: int = 640) -> list[Face]:
        """Faces of one RGB picture, from left to right, in its own pixels.

        `image` is uint8 (h, w, 3); grey (h, w) and RGBA are taken too. `max_side` is the longest side, in pixels, at
        which the network looks: halving it makes detection about four times as fast and the smallest face that is
        found twice as large. Boxes are clipped to the picture, points are not. Raises `MediaError` for anything that
        is no picture.
        """
        _check(image)
        height, width = image.shape[:2]
        scale = min(max(SMALLEST_SIDE / max(height, width), 1.0), max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.ascontiguousarray(image)
        if size != (width, height):
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            picture = cv2.resize(picture, size, interpolation=method)
        self._network.setInputSize(size)
        found = self._network.detect(cv2.cvtColor(picture, _TO_BGR[_channels(picture)]))[1]
        if found is None:
            return []
        found = found[np.isfinite(found).all(axis=1)]
        factor = np.array([width / size[0], height / size[1]])
        faces = [face for row in found if (face := _face(row, factor, width, height))]
        return sorted(faces, key=lambda face: face.box[0] + face.box[2] / 2)


def _face(row: np.ndarray, factor: np.ndarray, width: int, height: int) -> Face | None:
    """One row of the network's table (x, y, w, h, five points, score) in pixels of the original picture."""
    low = (row[:2] * factor).clip(0, (width, height))
    high = ((row[:2] + row[2:4]) * factor).clip(0, (width, height))
    if (high - low < 1).any():
        return None
    x, y, w, h = (float(v) for v in (*low, *(high - low)))
    points = row[4:14].reshape(5, 2).astype(np.float64) * factor
    return Face((x, y, w, h), points, float(np.clip(row[14], 0, 1)))


#: The network was trained on pictures in the order blue, green, red.
_TO_BGR = {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGR}


def _channels(image: np.ndarray) -> int:
    return 1 if image.ndim == 2 else int(image.shape[2])


def _check(image: np.ndarray) -> None:
    """Refuse what is no picture."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise MediaError("picture", f"is {kind}, not uint8 (height, width, 3)")
    if _channels(image) not in _TO_BGR:
        raise MediaError("picture", f"has {_channels(image)} channels, not 1, 3 or 4")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV 5 warns on standard error about a default of its own whenever a detector is made."""
    set_level = getattr(cv2.utils, "logging", cv2).setLogLevel  # the call moved between OpenCV 4 and 5
    before = set_level(2)  # errors only
    try:
        yield
    finally:
        set_level(before)
