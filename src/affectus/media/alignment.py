"""Bring faces to one framing: a similarity transform from five points to a template, and the crop it yields.

Coordinates are continuous with the image edge at 0: the centre of the first pixel lies at 0.5. Points are in the order
of `types.Face`: right eye, left eye, nose tip, right and left mouth corner (the subject's right is on the left of the
picture). A template gives the same points in crop coordinates, 0…1 from the left/top to the right/bottom edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from affectus.errors import MediaError

#: Where the five points lie in the crops of FER2013, so that a detected face gets the framing of that training set.
#: Median over 1,615 training images enlarged ×5 and ×6, points by YuNet (found in 99 % of them), made symmetric about
#: the vertical axis. The crops of the corpus vary about it: side ±17 % (one s.d. of the logarithm), roll ±8.6°,
#: centre ±7 % of the side across and ±6 % down.
FER_TEMPLATE = np.array([(0.316, 0.388), (0.684, 0.388), (0.500, 0.602), (0.350, 0.767), (0.650, 0.767)])


def similarity(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Least-squares rotation, uniform scale and shift that take each set of points to the template.

    The closed form of Umeyama (IEEE PAMI 13(4), 1991) in two dimensions without reflection, where the rotation and
    scale are one complex number: sum(conj(source) * target) / sum(|source|²) of the centred points.

    `points` (n, k, 2), `template` (k, 2) → (n, 2, 3) matrices `[a -b x; b a y]`. Raises `MediaError` when points are
    not finite or all coincide.
    """
    points = np.asarray(points, np.float64)
    template = np.asarray(template, np.float64)
    if points.ndim != 3 or points.shape[1:] != template.shape or template.shape[-1] != 2:
        raise ValueError(f"points of shape {points.shape} do not fit a template of shape {template.shape}")
    if not np.isfinite(points).all():
        raise MediaError("face points", "are not finite", "drop this face")
    middle = points.mean(axis=1)
    source = points - middle[:, None]
    target = template - template.mean(axis=0)
    spread = np.square(source).sum(axis=(1, 2))
    if (spread < 1e-9).any():
        raise MediaError("face points", "all coincide", "drop this face")
    a = (source * target).sum(axis=(1, 2)) / spread
    b = (source[..., 0] * target[:, 1] - source[..., 1] * target[:, 0]).sum(axis=1) / spread
    linear = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], axis=1)
    shift = template.mean(axis=0) - np.einsum("nij,nj->ni", linear, middle)
    return np.concatenate([linear, shift[..., None]], axis=2)


def align(image: np.ndarray, points: np.ndarray, size: int, template: np.ndarray = FER_TEMPLATE) -> np.ndarray:
    """One face crop: `image` RGB uint8 (h, w, 3), `points` (5, 2) in its pixels → (size, size, 3) uint8."""
    return align_many(image, np.asarray(points)[None], size, template)[0]


def align_many(
    image: np.ndarray, points: np.ndarray | Sequence[np.ndarray], size: int, template: np.ndarray = FER_TEMPLATE
) -> np.ndarray:
    """Crops of all faces of one image: `points` (n, 5, 2) → (n, size, size, 3) uint8.

    What lies outside the picture repeats its edge. Faces larger than the crop are averaged down first, so that fine
    texture does not alias. Raises `MediaError` for unusable points.
    """
    points = np.asarray(points, np.float64).reshape(-1, *np.shape(template))
    crops = np.empty((len(points), size, size, 3), np.uint8)
    if len(points):
        for crop, matrix in zip(crops, similarity(points, np.asarray(template) * size), strict=True):
            warp(image, matrix, size, crop)
    return crops


def warp(image: np.ndarray, matrix: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Sample the square crop that `matrix` (2, 3), image pixels → crop pixels, describes: (size, size, 3) uint8.

    Only the part of the picture under the crop is touched; it is shrunk by whole-area averaging to within twice the
    resolution of the crop before the bilinear sampling.
    """
    height, width = image.shape[:2]
    linear, shift = matrix[:, :2], matrix[:, 2]
    corners = np.linalg.solve(linear, (np.array([(0, 0), (size, 0), (0, size), (size, size)]) - shift).T).T
    scale = float(np.hypot(*linear[:, 0]))
    margin = 2 / min(scale, 1.0)
    low = np.floor(corners.min(axis=0) - margin).clip(0, [width - 1, height - 1]).astype(int)
    high = np.ceil(corners.max(axis=0) + margin).clip(low + 1, [width, height]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    shrink = np.ones(2)
    if scale < 0.5:
        wanted = np.maximum(1, np.round((high - low) * scale * 1.5)).astype(int)
        shrink = wanted / (high - low)
        part = cv2.resize(part, (int(wanted[0]), int(wanted[1])), interpolation=cv2.INTER_AREA)
    # part pixel p -> image (p / shrink + low) -> crop; OpenCV puts pixel centres at whole numbers, we at .5
    linear = linear / shrink
    shift = shift + matrix[:, :2] @ low + linear @ (0.5, 0.5) - 0.5
    full = np.column_stack([linear, shift])
    return cv2.warpAffine(
        np.ascontiguousarray(part), full, (size, size), dst=out, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
