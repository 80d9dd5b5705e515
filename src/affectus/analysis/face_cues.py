"""Why the face model says what it says about one frame: which region it rests on, and which movements are visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from affectus.types import Face

if TYPE_CHECKING:
    from affectus.media.landmarks import FaceLandmarker
    from affectus.models.face import FaceModel

#: Regions of an aligned crop as (left, top, right, bottom) in shares of its side; the eyes lie at .39 of the height,
#: the nose tip at .60 and the mouth corners at .77 (see `media.alignment.FER_TEMPLATE`).
REGIONS: dict[str, tuple[float, float, float, float]] = {
    "brows and eyes": (0.10, 0.16, 0.90, 0.50),
    "nose": (0.34, 0.50, 0.66, 0.68),
    "mouth": (0.20, 0.68, 0.80, 0.96),
}
#: Longer side (px) of the picture of a face that is kept for the landmarker.
PATCH_SIDE = 360


@dataclass(frozen=True)
class Patch:
    """A small picture of one face and its surroundings, and the face in its pixels."""

    image: np.ndarray
    face: Face


def cut_out(image: np.ndarray, face: Face) -> Patch:
    """The part of a picture about a face, twice the box wide, at most `PATCH_SIDE` pixels."""
    x, y, w, h = face.box
    height, width = image.shape[:2]
    left, top = max(0, int(x - 0.5 * w)), max(0, int(y - 0.5 * h))
    right, bottom = min(width, int(x + 1.5 * w) + 1), min(height, int(y + 1.5 * h) + 1)
    part = image[top:bottom, left:right]
    scale = min(1.0, PATCH_SIDE / max(part.shape[:2]))
    if scale < 1:
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    points = (face.points - (left, top)) * scale
    box = ((x - left) * scale, (y - top) * scale, w * scale, h * scale)
    return Patch(part.copy(), replace(face, box=box, points=points))


def mouth_motion(before: np.ndarray | None, after: np.ndarray) -> float:
    """How much more the mouth moved than the upper face between two aligned crops: ratio of mean absolute differences
    less one, 0…3; 0 without a crop before."""
    if before is None or before.shape != after.shape:
        return 0.0
    difference = np.abs(after.astype(np.int16) - before).mean(axis=2)
    mouth, upper = (_part(difference, REGIONS[name]).mean() for name in ("mouth", "brows and eyes"))
    return float(np.clip((mouth + 1) / (upper + 1) - 1, 0, 3))


def drops(model: FaceModel, crop: np.ndarray, label: str) -> dict[str, float]:
    """Region → probability of a label that is lost when the region of an aligned crop (grey or RGB) is covered."""
    variants = [crop, *(cover(crop, region) for region in REGIONS.values())]
    column = model.probabilities(variants)[:, model.card.labels.index(label)]
    return {name: float(column[0] - column[1 + i]) for i, name in enumerate(REGIONS)}


def cover(crop: np.ndarray, region: tuple[float, float, float, float]) -> np.ndarray:
    """The crop with one region replaced by a strong blur of itself, so that no new edges appear."""
    side = crop.shape[0]
    left, top, right, bottom = (round(v * side) for v in region)
    copy = crop.copy()
    blurred = cv2.blur(crop, (max(3, side // 2) | 1, max(3, side // 2) | 1))
    copy[top:bottom, left:right] = blurred[top:bottom, left:right]
    return copy


def _part(values: np.ndarray, region: tuple[float, float, float, float]) -> np.ndarray:
    side = values.shape[0]
    left, top, right, bottom = (round(v * side) for v in region)
    return values[top:bottom, left:right]


def blendshapes(landmarker: FaceLandmarker, patch: Patch) -> np.ndarray | None:
    """Facial movements (52,) of a face, None where the landmarker sees no face."""
    result = landmarker.detect(patch.image, [patch.face])[0]
    return result.values if result.presence >= 0.5 else None
