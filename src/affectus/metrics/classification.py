"""Scores of one label per row, all computed from the table of counts (rows truth, columns prediction).

Every metric exists twice: `macro_f1(truth, prediction)` on rows, and `macro_f1_of(counts)` on one table `(C, C)` or a
stack of tables `(..., C, C)`. The second form is what makes intervals cheap: a bootstrap draws tables, not rows.

Names in the field: WAR = weighted average recall = accuracy; UAR = unweighted average recall = macro recall = balanced
accuracy; WAF = F1 weighted by the number of true rows. Undefined shares (0/0) count as 0 unless a class is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Array, Floats, Ints, class_ids, class_names, not_empty, numbers, same_length
from affectus.metrics.sums import counts_to, finish_mean, mean_of_rows, sums_to

Labels = Sequence[Any] | int | None


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def encode(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None) -> tuple[Ints, Ints, list[Any]]:
    """Truth and prediction as class numbers, and the classes they number.

    `truth` (N,) holds class names or numbers, `prediction` (N,) the same, or (N, C) scores of which the largest counts.
    `labels` fixes the classes and their order (a list, or the number C for classes 0..C-1); by default they are the
    sorted values that occur in either, and 0..C-1 for scores. A value outside `labels` raises `ValueError`.
    """
    true, predicted = not_empty(truth, "truth"), not_empty(prediction, "prediction")
    same_length(true, predicted)
    names = class_names(labels)
    if predicted.ndim == 2:
        scores = numbers(predicted, "prediction")
        names = list(range(scores.shape[1])) if names is None else names
        if len(names) != scores.shape[1]:
            raise ValueError(f"prediction has {scores.shape[1]} columns but labels names {len(names)} classes")
        return _numbered(true, names, "truth"), scores.argmax(axis=1).astype(np.int64), names
    if true.ndim != 1 or predicted.ndim != 1:
        raise ValueError(f"expected truth (N,) and prediction (N,) or (N, C), not {true.shape} and {predicted.shape}")
    if names is None:
        for values, name in ((true, "truth"), (predicted, "prediction")):
            if values.dtype.kind == "f":
                numbers(values, name)
        names = occurring(true, predicted)
    return _numbered(true, names, "truth"), _numbered(predicted, names, "prediction"), names


def occurring(true: Array, predicted: Array) -> list[Any]:
    """The sorted labels that occur in either series."""
    try:
        seen = set(np.unique(true).tolist()) | set(np.unique(predicted).tolist())
        return sorted(seen)
    except TypeError:
        raise ValueError("truth and prediction mix names, numbers or missing labels") from None


def _numbered(values: Array, names: list[Any], what: str) -> Ints:
    if values.ndim != 1:
        raise ValueError(f"{what} must be one label per row (N,), not {values.shape}")
    if names == list(range(len(names))) and values.dtype.kind in "iufb":
        return class_ids(values, len(names), what)
    order = np.array(names)
    if values.dtype.kind == order.dtype.kind == "U" or (values.dtype.kind in "iuf" and order.dtype.kind in "iuf"):
        by_name = np.argsort(order, kind="stable")
        position = np.searchsorted(order, values, sorter=by_name).clip(0, len(names) - 1)
        ids = by_name[position]
        wrong = np.flatnonzero(order[ids] != values)
    else:
        index = {name: i for i, name in enumerate(names)}
        ids = np.array([index.get(value, -1) for value in values.tolist()], dtype=np.int64)
        wrong = np.flatnonzero(ids < 0)
    if len(wrong):
        raise ValueError(f"{what} holds {values.tolist()[wrong[0]]!r} in row {wrong[0]}, which is none of the classes")
    return ids.astype(np.int64)


def confusion(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None) -> Ints:
    """Table of counts `(C, C)`: entry `[i, j]` is the number of rows of true class i that were given class j."""
    true, predicted, names = encode(truth, prediction, labels)
    size = len(names)
    return np.bincount(true * size + predicted, minlength=size * size).reshape(size, size).astype(np.int64)


def checked_counts(counts: npt.ArrayLike) -> Floats:
    """A table of counts, or a stack of them, as float64 `(..., C, C)`: square, not negative, not all zero."""
    table = numbers(counts, "counts")
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise ValueError(f"counts must be (..., C, C), not {table.shape}")
    if table.min() < 0:
        raise ValueError("counts holds a negative number")
    if (table.sum(axis=(-1, -2)) == 0).any():
        raise ValueError("counts is empty: there is nothing to score")
    return table


def _parts(counts: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    table = checked_counts(counts)
    return np.diagonal(table, axis1=-2, axis2=-1).copy(), table.sum(axis=-1), table.sum(axis=-2)


def _class_mean(values: Floats, kept: Array | None) -> Floats:
    if kept is None:
        return values.mean(axis=-1)
    return _share((values * kept).sum(axis=-1), kept.sum(axis=-1).astype(np.float64))


def recall_of(counts: npt.ArrayLike) -> Floats:
    """Recall of every class `(..., C)`; 0 for a class without true rows."""
    hits, true, _ = _parts(counts)
    return _share(hits, true)


def precision_of(counts: npt.ArrayLike) -> Floats:
    """Precision of every class `(..., C)`; 0 for a class that was never predicted."""
    hits, _, predicted = _parts(counts)
    return _share(hits, predicted)


def f1_of(counts: npt.ArrayLike) -> Floats:
    """F1 of every class `(..., C)`: 2 hits / (true rows + predicted rows); 0 for a class that never occurs."""
    hits, true, predicted = _parts(counts)
    return _share(2 * hits, true + predicted)


def accuracy_of(counts: npt.ArrayLike) -> Floats:
    """Share of rows on the diagonal, in [0, 1]."""
    hits, true, _ = _parts(counts)
    return hits.sum(axis=-1) / true.sum(axis=-1)


def uar_of(counts: npt.ArrayLike, present_only: bool = True) -> Floats:
    """Mean recall over the classes with true rows (`present_only`), or over all classes with 0 for absent ones."""
    hits, true, _ = _parts(counts)
    return _class_mean(_share(hits, true), true > 0 if present_only else None)


def macro_precision_of(counts: npt.ArrayLike, present_only: bool = False) -> Floats:
    """Mean precision over all classes, or over the classes with true rows (`present_only`)."""
    hits, true, predicted = _parts(counts)
    return _class_mean(_share(hits, predicted), true > 0 if present_only else None)


def macro_f1_of(counts: npt.ArrayLike, present_only: bool = False) -> Floats:
    """Mean F1 over all classes, or over the classes with true rows (`present_only`)."""
    hits, true, predicted = _parts(counts)
    return _class_mean(_share(2 * hits, true + predicted), true > 0 if present_only else None)


def weighted_f1_of(counts: npt.ArrayLike) -> Floats:
    """F1 of every class weighted by its number of true rows."""
    hits, true, predicted = _parts(counts)
    return (_share(2 * hits, true + predicted) * true).sum(axis=-1) / true.sum(axis=-1)


def weighted_precision_of(counts: npt.ArrayLike) -> Floats:
    """Precision of every class weighted by its number of true rows."""
    hits, true, predicted = _parts(counts)
    return (_share(hits, predicted) * true).sum(axis=-1) / true.sum(axis=-1)


def micro_f1_of(counts: npt.ArrayLike, classes: Sequence[int] | None = None) -> Floats:
    """F1 of the pooled decisions of `classes`; over all classes it equals the accuracy.

    Leaving a class out (EmoContext and DailyDialog leave out the neutral one) makes it differ.
    """
    hits, true, predicted = _parts(counts)
    if classes is not None:
        if not len(classes):
            raise ValueError("classes is empty: name at least one class")
        index = list(classes)
        hits, true, predicted = hits[..., index], true[..., index], predicted[..., index]
    return _share(2 * hits.sum(axis=-1), (true + predicted).sum(axis=-1))


@counts_to(accuracy_of)
def accuracy(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None) -> float:
    """Share of right rows in [0, 1], called WAR in video and speech papers. Arguments as in `encode`."""
    return float(accuracy_of(confusion(truth, prediction, labels)))


@counts_to(uar_of)
def uar(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None, *, present_only: bool = True) -> float:
    """Unweighted average recall in [0, 1]; `present_only=False` counts classes without true rows as 0."""
    return float(uar_of(confusion(truth, prediction, labels), present_only))


@counts_to(macro_f1_of)
def macro_f1(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None, *, present_only: bool = False
) -> float:
    """Mean of the classes' F1 in [0, 1]; `present_only` averages only over classes with true rows."""
    return float(macro_f1_of(confusion(truth, prediction, labels), present_only))


@counts_to(macro_precision_of)
def macro_precision(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None, *, present_only: bool = False
) -> float:
    """Mean of the classes' precision in [0, 1]; `present_only` averages only over classes with true rows."""
    return float(macro_precision_of(confusion(truth, prediction, labels), present_only))


@counts_to(weighted_f1_of)
def weighted_f1(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None) -> float:
    """F1 weighted by the number of true rows (WAF, wF1), in [0, 1]."""
    return float(weighted_f1_of(confusion(truth, prediction, labels)))


@counts_to(weighted_precision_of)
def weighted_precision(truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None) -> float:
    """Precision weighted by the number of true rows, in [0, 1]."""
    return float(weighted_precision_of(confusion(truth, prediction, labels)))


@counts_to(micro_f1_of)
def micro_f1(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None, *, classes: Sequence[int] | None = None
) -> float:
    """F1 of the pooled decisions of `classes` (positions in `labels`), in [0, 1]."""
    return float(micro_f1_of(confusion(truth, prediction, labels), classes))


war = accuracy
balanced_accuracy = uar


def merged_counts(counts: npt.ArrayLike, groups: Sequence[Sequence[int]]) -> Floats:
    """The table(s) after classes were merged: `groups` lists, per new class, the old class numbers, each exactly once.

    Merging never lowers the accuracy, and it is how 8-class results are read as 7-class or polarity results.
    """
    table = checked_counts(counts)
    if sorted(i for group in groups for i in group) != list(range(table.shape[-1])):
        raise ValueError(f"groups must name each of the {table.shape[-1]} classes exactly once")
    matrix = np.zeros((table.shape[-1], len(groups)))
    for new, group in enumerate(groups):
        matrix[list(group), new] = 1
    return matrix.T @ table @ matrix


def present_columns(truth: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Ints, Floats, Ints]:
    """Truth and scores restricted to the classes that have true rows, and the numbers of those classes.

    The present-only protocol of cross-dataset tests: the model chooses only among labels that the target set has.
    Returns truth `(N,)` renumbered, scores `(N, P)` and the kept class numbers `(P,)`.
    """
    values = numbers(scores, "scores")
    if values.ndim != 2:
        raise ValueError(f"scores must be (N, C), not {values.shape}")
    true = class_ids(truth, values.shape[1])
    same_length(true, values, ("truth", "scores"))
    present, renumbered = np.unique(true, return_inverse=True)
    return renumbered.reshape(-1).astype(np.int64), values[:, present], present


def _ranks_of_truth(truth: npt.ArrayLike, scores: npt.ArrayLike) -> Ints:
    """Zero-based place of the true class in every row's order of scores; ties go to the earlier class."""
    values = numbers(scores, "scores")
    if values.ndim != 2:
        raise ValueError(f"scores must be (N, C), not {values.shape}")
    true = class_ids(truth, values.shape[1])
    same_length(true, values, ("truth", "scores"))
    own = values[np.arange(len(true)), true][:, None]
    earlier = np.arange(values.shape[1]) < true[:, None]
    return ((values > own) | ((values == own) & earlier)).sum(axis=1)


def _top_k_rows(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int = 3) -> Floats:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return mean_of_rows((_ranks_of_truth(truth, scores) < k).astype(np.float64))


@sums_to(_top_k_rows, finish_mean)
def top_k(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int = 3) -> float:
    """Share of rows whose true class is among the k highest of `scores` `(N, C)`, in [0, 1]; `k=1` is the accuracy.

    Ties go to the class that comes first, as in argmax.
    """
    return float(_top_k_rows(truth, scores, k)[:, 1].mean())
