"""Scores of finding a moment in time: spans (start, end) in seconds against the true span of every sentence.

Scored over sentences, not over videos. A predicted span that ends before it starts overlaps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, Ints, numbers, same_length
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to


def _true_spans(truth: npt.ArrayLike) -> Floats:
    spans = numbers(truth, "truth")
    if spans.ndim != 2 or spans.shape[1] != 2:
        raise ValueError(f"truth must be (N, 2), not {spans.shape}")
    bad = np.flatnonzero(spans[:, 1] <= spans[:, 0])
    if len(bad):
        raise ValueError(f"truth row {bad[0]} is no span: {spans[bad[0], 0]:g} to {spans[bad[0], 1]:g}")
    return spans


def ranked_spans(prediction: Any) -> Floats:
    """Predicted spans `(N, n, 2)`, best first, from `(N, 2)`, `(N, n, 2)` or a list of `(n_i, 2)`.

    Shorter lists are filled up with empty spans, which overlap nothing.
    """
    if isinstance(prediction, np.ndarray) and prediction.ndim in (2, 3) and prediction.dtype.kind in "iuf":
        table = numbers(prediction, "prediction")
        table = table if table.ndim == 3 else table[:, None]
        if table.shape[1] == 0 or table.shape[2] != 2:
            raise ValueError(f"prediction must be (N, 2) or (N, n, 2), not {prediction.shape}")
        return table
    rows = [np.asarray(row, dtype=np.float64) for row in prediction]
    if not rows:
        raise ValueError("prediction is empty: there is nothing to score")
    rows = [row.reshape(0, 2) if row.size == 0 else row for row in rows]
    rows = [row[None] if row.ndim == 1 else row for row in rows]
    for number, row in enumerate(rows):
        if row.ndim != 2 or row.shape[1] != 2:
            raise ValueError(f"prediction row {number} must be spans (n, 2), not {row.shape}")
        if not np.isfinite(row).all():
            raise ValueError(f"prediction row {number} holds a value that is NaN or infinite")
    table = np.zeros((len(rows), max([1, *(len(row) for row in rows)]), 2))
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def span_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Overlap over union of spans `(..., 2)`, broadcast against each other, in [0, 1]; empty spans give 0."""
    a, b = numbers(first, "first"), numbers(second, "second")
    if a.shape[-1] != 2 or b.shape[-1] != 2:
        raise ValueError(f"spans must end in two numbers, not {a.shape} and {b.shape}")
    shared = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    lengths = [np.maximum(span[..., 1] - span[..., 0], 0) for span in (a, b)]
    # A reversed span has no length; without this its ends could seem to overlap.
    shared = np.where((lengths[0] > 0) & (lengths[1] > 0), np.maximum(shared, 0), 0)
    union = lengths[0] + lengths[1] - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def _best(truth: npt.ArrayLike, prediction: Any, n: int) -> Floats:
    """Highest overlap of the first `n` spans of every row `(N,)`."""
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    spans, guesses = _true_spans(truth), ranked_spans(prediction)
    same_length(spans, guesses)
    return np.asarray(span_iou(spans[:, None], guesses[:, :n]).max(axis=1))


def _recall_rows(truth: npt.ArrayLike, prediction: Any, n: int = 1, iou: float = 0.5) -> Floats:
    if not 0 < iou <= 1:
        raise ValueError(f"iou must lie in (0, 1], not {iou}")
    return mean_of_rows((_best(truth, prediction, n) >= iou).astype(np.float64))


@sums_to(_recall_rows, finish_mean)
def grounding_recall(truth: npt.ArrayLike, prediction: Any, n: int = 1, iou: float = 0.5) -> float:
    """R@n, IoU=m: share of sentences for which one of the first `n` spans overlaps the true one by at least `iou`.

    `truth` `(N, 2)`, `prediction` as in `ranked_spans`, best first and after `suppress_spans`; in [0, 1].
    """
    return float(_recall_rows(truth, prediction, n, iou)[:, 1].mean())


def _overlap_rows(truth: npt.ArrayLike, prediction: Any) -> Floats:
    return mean_of_rows(_best(truth, prediction, 1))


@sums_to(_overlap_rows, finish_mean)
def mean_iou(truth: npt.ArrayLike, prediction: Any) -> float:
    """mIoU: mean over sentences of the overlap of the first span, in [0, 1]."""
    return float(_overlap_rows(truth, prediction)[:, 1].mean())


def suppress_spans(spans: npt.ArrayLike, scores: npt.ArrayLike, iou: float = 0.5, keep: int | None = None) -> Ints:
    """Numbers of the spans `(M, 2)` that survive non-maximum suppression, best score first.

    A span is dropped when it overlaps a better one by more than `iou`, or when it does not end after its start.
    """
    given, values = numbers(spans, "spans"), numbers(scores, "scores")
    same_length(given, values, ("spans", "scores"))
    if given.ndim != 2 or given.shape[1] != 2:
        raise ValueError(f"spans must be (M, 2), not {given.shape}")
    waiting = np.argsort(-values, kind="stable")
    waiting = waiting[given[waiting, 1] > given[waiting, 0]]
    kept: list[int] = []
    while len(waiting) and (keep is None or len(kept) < keep):
        kept.append(int(waiting[0]))
        rest = waiting[1:]
        if not len(rest):
            break
        waiting = rest[span_iou(given[kept[-1]], given[rest]) <= iou]
    return np.array(kept, dtype=np.int64)


def recall_table(
    truth: npt.ArrayLike, prediction: Any, ns: Sequence[int] = (1, 5), ious: Sequence[float] = (0.3, 0.5, 0.7)
) -> dict[str, float]:
    """`grounding_recall` for every pair of `ns` and `ious`, named "R1@0.5" and so on, and "mIoU"."""
    table = {f"R{n}@{iou:g}": grounding_recall(truth, prediction, n, iou) for n in ns for iou in ious}
    return table | {"mIoU": mean_iou(truth, prediction)}
