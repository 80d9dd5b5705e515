"""Scores of finding a region in an image: boxes against true boxes, in pixels or relative units alike.

Boxes are `(x1, y1, x2, y2)` unless `corners` turned another layout into that. A box without area overlaps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, numbers, same_length
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Layout = Literal["xyxy", "xywh", "cxcywh"]
Measure = Literal["iou", "giou"]


def corners(boxes: npt.ArrayLike, layout: Layout = "xyxy") -> Floats:
    """Boxes `(..., 4)` as corners; "xywh" is left, top, width, height (COCO), "cxcywh" starts from the centre."""
    given = numbers(boxes, "boxes")
    if given.shape[-1] != 4:
        raise ValueError(f"boxes must end in four numbers, not {given.shape}")
    if layout == "xyxy":
        return given
    if layout not in ("xywh", "cxcywh"):
        raise ValueError(f"layout must be xyxy, xywh or cxcywh, not {layout!r}")
    start, size = given[..., :2], given[..., 2:]
    start = start if layout == "xywh" else start - size / 2
    return np.concatenate([start, start + size], axis=-1)


def _areas(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Shared area, area of the union, and area of the smallest box around both, `(...)` after broadcasting."""
    a, b = corners(first), corners(second)
    sides = [np.maximum(box[..., 2:] - box[..., :2], 0) for box in (a, b)]
    areas = [side.prod(axis=-1) for side in sides]
    shared = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(axis=-1)
    shared = np.where((areas[0] > 0) & (areas[1] > 0), shared, 0)
    around = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])).prod(axis=-1)
    return shared, areas[0] + areas[1] - shared, around


def box_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Overlap over union of boxes `(..., 4)`, broadcast against each other, in [0, 1].

    For all pairs of `(N, 4)` and `(M, 4)` pass `first[:, None]`.
    """
    shared, union, _ = _areas(first, second)
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def box_giou(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Generalised IoU `(...)` in [-1, 1]: IoU minus the share of the surrounding box that neither box covers."""
    shared, union, around = _areas(first, second)
    overlap = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return overlap - np.divide(around - union, around, out=np.zeros_like(union), where=around > 0)


def _hit_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, iou: float = 0.5) -> Floats:
    true, guess = corners(truth), corners(prediction)
    same_length(true, guess)
    if true.ndim != 2 or true.shape != guess.shape:
        raise ValueError(f"truth and prediction must both be (N, 4), not {true.shape} and {guess.shape}")
    flat = np.flatnonzero((true[:, 2:] <= true[:, :2]).any(axis=1))
    if len(flat):
        raise ValueError(f"truth row {flat[0]} is a box without area")
    return mean_of_rows((box_iou(true, guess) >= iou).astype(np.float64))


@sums_to(_hit_rows, finish_mean)
def box_precision(truth: npt.ArrayLike, prediction: npt.ArrayLike, iou: float = 0.5) -> float:
    """Prec@0.5: share of expressions whose box `(N, 4)` overlaps the true one by at least `iou`, in [0, 1]."""
    return float(_hit_rows(truth, prediction, iou)[:, 1].mean())


def matched_boxes(truth: npt.ArrayLike, prediction: npt.ArrayLike, iou: float = 0.5, measure: Measure = "iou") -> int:
    """Number of pairs when the best-overlapping true and predicted box are taken away, again and again, down to `iou`.

    `truth` `(n, 4)`, `prediction` `(m, 4)`, each possibly without rows.
    """
    if measure not in ("iou", "giou"):
        raise ValueError(f"measure must be iou or giou, not {measure!r}")
    if not len(np.atleast_1d(truth)) or not len(np.atleast_1d(prediction)):
        return 0
    overlap = {"iou": box_iou, "giou": box_giou}[measure](corners(truth)[:, None], corners(prediction)[None])
    pairs = 0
    while overlap.size and overlap.max() >= iou:
        row, column = np.unravel_index(np.argmax(overlap), overlap.shape)
        overlap = np.delete(np.delete(overlap, row, axis=0), column, axis=1)
        pairs += 1
    return pairs


def _perfect_rows(
    truth: Sequence[Any], prediction: Sequence[Any], iou: float = 0.5, measure: Measure = "iou"
) -> Floats:
    if len(truth) == 0 or len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} rows but prediction has {len(prediction)}")
    perfect = [
        len(true) == len(guess) == matched_boxes(true, guess, iou, measure)
        for true, guess in zip(truth, prediction, strict=True)
    ]
    return mean_of_rows(np.array(perfect, dtype=np.float64))


@sums_to(_perfect_rows, finish_mean)
def perfect_f1_share(
    truth: Sequence[Any], prediction: Sequence[Any], iou: float = 0.5, measure: Measure = "iou"
) -> float:
    """Pr@(F1=1): share of expressions whose boxes are all found and nothing else, in [0, 1].

    `truth` and `prediction` hold one `(n, 4)` array per expression, with no rows where there is no target; for an
    expression without target this is a prediction of nothing. SimVG's code compares the generalised IoU ("giou").
    """
    return float(_perfect_rows(truth, prediction, iou, measure)[:, 1].mean())


def no_target_accuracy(truth: Sequence[Any], prediction: Sequence[Any]) -> float:
    """N-acc: share of the expressions without any true box for which no box is predicted, in [0, 1]."""
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} rows but prediction has {len(prediction)}")
    empty = [len(guess) == 0 for true, guess in zip(truth, prediction, strict=True) if len(true) == 0]
    if not empty:
        raise ValueError("every expression has a target, so there is nothing to score")
    return float(np.mean(empty))
