"""The person in a picture: a crop for systems that look at scene and person apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import numpy as np

from affectus.features.inputs import ImageInput, InputSpec
from affectus.media.faces import FaceDetector

#: (left, upper, width, height) in pixels.
Box = tuple[float, float, float, float]
#: Widths and heights of a face that a standing or sitting body takes around it: left and right, above, below.
_REACH = (1.5, 0.5, 5.0)


def body_box(face: Box) -> Box:
    """Where the body that belongs to a face box is to be expected: four faces wide, six and a half high."""
    left, upper, width, height = face
    side, above, below = _REACH
    return left - side * width, upper - above * height, (1 + 2 * side) * width, (1 + above + below) * height


def largest_person(image: np.ndarray) -> Box | None:
    """Body box of the largest face in an RGB picture; None where no face is found."""
    faces = _detector().detect(image)
    return body_box(max(faces, key=lambda face: face.box[2] * face.box[3]).box) if faces else None


def person_crop(image: np.ndarray, box: Sequence[float] | None) -> np.ndarray:
    """The part of the picture inside the box; the whole picture without a box or where the box misses it."""
    if box is None:
        return image
    left, upper, width, height = box
    rows = slice(max(0, round(upper)), max(0, round(upper + height)))
    columns = slice(max(0, round(left)), max(0, round(left + width)))
    found = image[rows, columns]
    return found if found.size else image


@dataclass(frozen=True)
class PersonInput(InputSpec):
    """The person of a whole picture: RGB uint8 (H, W, 3) → (3, size, size) as `picture` says.

    `find` gives a box or None (then the whole picture counts); any person detector fits. The default looks for the
    largest face and takes the body expected below it.
    """

    picture: ImageInput = field(default_factory=ImageInput)
    find: Callable[[np.ndarray], Box | None] = largest_person

    takes: ClassVar[str] = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, size, size)."""
        return self.picture.shape

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return self.picture(person_crop(raw, self.find(raw)))


@lru_cache(maxsize=1)
def _detector() -> FaceDetector:
    return FaceDetector()
