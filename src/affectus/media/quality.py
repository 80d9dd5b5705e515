"""How far a face crop can be trusted, and which way a head is turned, from what the detector tells and a few pixels."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import cv2
import numpy as np

from affectus.media.alignment import FER_TEMPLATE, align_many, similarity
from affectus.types import Face

#: Side (px) of the crop in which sharpness is measured, and the margin left out at each side of it.
SHARPNESS_CROP, SHARPNESS_MARGIN = 64, 6
#: Nose offset, in distances between the eyes, at a yaw of 45 degrees.
NOSE_LEVER = 0.575


@dataclass(frozen=True)
class HeadPose:
    """Which way a head is turned, in degrees as seen in the picture: `yaw` > 0 to its right edge, `pitch` > 0 upwards,
    `roll` > 0 clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class QualityFactors:
    """What makes up the quality of a face, each 0 (useless) … 1 (no objection)."""

    size: float
    sharpness: float
    pose: float
    inside: float
    score: float

    @property
    def quality(self) -> float:
        """Their product."""
        return float(np.prod(astuple(self)))


def head_pose(points: np.ndarray) -> HeadPose:
    """Yaw, pitch and roll from the five points (5, 2) of a face.

    Roll is the slope of the line through the eyes. In the picture turned upright by it, with lengths in distances
    between the eyes, the nose tip lies off the middle of eyes and mouth by `NOSE_LEVER` tan(yaw), and at the fraction f
    of the way from the eyes to the mouth with tan(pitch) = 0.89 - 1.70 f. The constants were fitted to the poses of a
    dense landmarker on 875 pictures: half of all yaws are within 3 degrees of it, nine in ten within 7; pitch, which an
    open mouth disturbs, is rough (6 and 15 degrees).
    """
    points = np.asarray(points, np.float64)
    across = points[1] - points[0]
    distance = max(float(np.hypot(*across)), 1e-6)
    cosine, sine = across / distance
    upright = (points - points[:2].mean(axis=0)) @ np.array([[cosine, -sine], [sine, cosine]]) / distance
    nose, mouth = upright[2], upright[3:].mean(axis=0)
    yaw = np.degrees(np.arctan((nose[0] - mouth[0] / 2) / NOSE_LEVER))
    down = nose[1] / mouth[1] if mouth[1] > 0.1 else 0.5
    pitch = np.degrees(np.arctan(np.clip(0.89 - 1.70 * down, -1.7, 1.7)))
    return HeadPose(float(yaw), float(pitch), float(np.degrees(np.arctan2(sine, cosine))))


def face_quality(image: np.ndarray, face: Face) -> float:
    """Quality of one face of an RGB picture (h, w, 3) in [0, 1]; see `quality_factors`."""
    return quality_factors(image, [face])[0].quality


def quality_factors(image: np.ndarray, faces: list[Face]) -> list[QualityFactors]:
    """What speaks against each face of one RGB picture (h, w, 3).

    size: 0 at a side of 12 px, 1 from 36 px; the side is the square root of the area of the box.
    sharpness: 0 at s = .01, 1 from .15, linear in log s; s is the variance of the Laplacian of the crop over the
      variance of the crop (Pech-Pacheco et al. 2000, made independent of contrast). Faces of 48 px have .2 to .4, blur
      of 2 % of the face side brings it to .06, of 5 % to .02.
    pose: 1 up to 20 degrees, 0 from 80, linear in the cosine, for yaw and pitch, multiplied. Roll is no objection.
    inside: the share of the aligned crop that lies within the picture.
    score: 0 at a detector score of .5, 1 from .85.
    """
    if not faces:
        return []
    points = np.stack([face.points for face in faces])
    boxes = np.array([face.box for face in faces], np.float64)
    size = (np.sqrt(boxes[:, 2] * boxes[:, 3]) - 12) / 24
    sharp = np.log(_sharpness(image, points) / 0.01) / np.log(0.15 / 0.01)
    poses = [head_pose(p) for p in points]
    pose = np.array([_frontal(p.yaw) * _frontal(p.pitch) for p in poses])
    score = (np.array([face.score for face in faces]) - 0.5) / 0.35
    table = np.stack([size, sharp, pose, _inside(image.shape, points), score], axis=1).clip(0, 1)
    return [QualityFactors(*row) for row in table.tolist()]


def _sharpness(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian relative to the variance of the crop (plus that of a little noise), (n,)."""
    inner = slice(SHARPNESS_MARGIN, -SHARPNESS_MARGIN)
    values = []
    for crop in align_many(image, points, SHARPNESS_CROP):
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[inner, inner].astype(np.float32)
        values.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()) / (float(grey.var()) + 25) + 1e-6)
    return np.array(values)


def _frontal(angle: float) -> float:
    low, high = np.cos(np.radians([80, 20]))
    return float(np.clip((np.cos(np.radians(angle)) - low) / (high - low), 0, 1))


def _inside(shape: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    """Share of each aligned crop that lies within the picture, on a grid of 16x16 points, (n,)."""
    steps = (np.arange(16) + 0.5) / 16
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    matrices = similarity(points, FER_TEMPLATE)
    offsets = (grid - matrices[:, None, :, 2]).transpose(0, 2, 1)
    places = np.linalg.solve(matrices[:, :, :2], offsets).transpose(0, 2, 1)
    return ((places >= 0) & (places <= (shape[1], shape[0]))).all(axis=2).mean(axis=1)
