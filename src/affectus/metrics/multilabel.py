"""Scores of several labels per row (emotion words, action units) and of rankings by a score.

Truth and prediction are indicators `(N, L)` of zeros and ones; `indicator` makes them from lists of labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Array, Floats, binary, class_ids, class_names, numbers, same_length
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Average = Literal["macro", "micro", "weighted", "samples"]


def indicator(
    rows: Sequence[Collection[Any]], labels: Sequence[Any] | int, unknown: Literal["error", "ignore"] = "error"
) -> Floats:
    """Zeros and ones `(N, L)` from one collection of labels per row; labels outside `labels` raise or are ignored."""
    names = class_names(labels) or []
    index = {name: i for i, name in enumerate(names)}
    if not len(rows):
        raise ValueError("input is empty: there is nothing to score")
    table = np.zeros((len(rows), len(names)))
    for number, row in enumerate(rows):
        if isinstance(row, str):
            raise ValueError(f"row {number} must be a collection of labels, not the text {row!r}")
        for label in row:
            if label in index:
                table[number, index[label]] = 1
            elif unknown == "error":
                raise ValueError(f"row {number} holds {label!r}, which is none of the labels")
    return table


def _pair(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, Floats]:
    true, predicted = binary(truth, "truth"), binary(prediction, "prediction")
    if true.ndim != 2 or true.shape != predicted.shape:
        raise ValueError(f"truth and prediction must both be (N, L), not {true.shape} and {predicted.shape}")
    return true, predicted


def _share(part: Floats, whole: Floats, empty: float = 0.0) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), float(empty)), where=whole > 0)


def _f1_rows(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, average: Average = "macro", present_only: bool = False
) -> Floats:
    """Rows `(N, 3 L)`: hits, true and predicted labels; or the mean of the rows' F1 for "samples"."""
    true, predicted = _pair(truth, prediction)
    if average == "samples":
        return mean_of_rows(_share(2 * (true * predicted).sum(axis=1), (true + predicted).sum(axis=1)))
    return np.concatenate([true * predicted, true, predicted], axis=1)


def _finish_f1(sums: Floats, average: Average = "macro", present_only: bool = False) -> Floats:
    if average == "samples":
        return finish_mean(sums)
    hits, true, predicted = np.split(sums, 3, axis=-1)
    if average == "micro":
        return _share(2 * hits.sum(axis=-1), (true + predicted).sum(axis=-1))
    scores = _share(2 * hits, true + predicted)
    if average == "weighted":
        return _share((scores * true).sum(axis=-1), true.sum(axis=-1))
    if average != "macro":
        raise ValueError(f"average must be macro, micro, weighted or samples, not {average!r}")
    if not present_only:
        return scores.mean(axis=-1)
    return _share((scores * (true > 0)).sum(axis=-1), (true > 0).sum(axis=-1).astype(np.float64))


@sums_to(_f1_rows, _finish_f1)
def multilabel_f1(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, average: Average = "macro", present_only: bool = False
) -> float:
    """F1 of indicators `(N, L)` in [0, 1].

    "macro" averages over labels (`present_only`: those with a true row), "micro" pools all decisions, "weighted"
    weighs labels by their true rows, "samples" averages over rows. A label or row without any entry counts 0.
    """
    return float(_finish_f1(_f1_rows(truth, prediction, average).sum(axis=0), average, present_only))


def label_f1(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    """F1 of every label `(L,)` of indicators `(N, L)`, in [0, 1]; 0 for a label that never occurs."""
    true, predicted = _pair(truth, prediction)
    return _share(2 * (true * predicted).sum(axis=0), (true + predicted).sum(axis=0))


def _jaccard_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, both_empty: float = 1.0) -> Floats:
    true, predicted = _pair(truth, prediction)
    both = (true * predicted).sum(axis=1)
    return mean_of_rows(_share(both, (true + predicted).sum(axis=1) - both, both_empty))


@sums_to(_jaccard_rows, finish_mean)
def jaccard(truth: npt.ArrayLike, prediction: npt.ArrayLike, both_empty: float = 1.0) -> float:
    """Mean over rows of |true and predicted| / |true or predicted|, in [0, 1] (the accuracy of SemEval-2018 E-c).

    A row with no label on either side scores `both_empty`.
    """
    return float(_jaccard_rows(truth, prediction, both_empty)[:, 1].mean())


def _exact_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    true, predicted = _pair(truth, prediction)
    return mean_of_rows((true == predicted).all(axis=1) * 1.0)


@sums_to(_exact_rows, finish_mean)
def exact_match(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Share of rows with exactly the true labels, in [0, 1]."""
    return float(_exact_rows(truth, prediction)[:, 1].mean())


def _hamming_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    true, predicted = _pair(truth, prediction)
    return mean_of_rows((true != predicted).mean(axis=1))


@sums_to(_hamming_rows, finish_mean)
def hamming_loss(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Share of wrong decisions over rows and labels, in [0, 1]."""
    return float(_hamming_rows(truth, prediction)[:, 1].mean())


def weighted_accuracy(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Mean over labels of (true positive rate + true negative rate) / 2, in [0, 1], as reported on CMU-MOSEI emotions.

    Labels that are always or never true have no such rate and are left out; `ValueError` where that leaves none.
    """
    true, predicted = _pair(truth, prediction)
    positives, negatives = true.sum(axis=0), (1 - true).sum(axis=0)
    kept = (positives > 0) & (negatives > 0)
    if not kept.any():
        raise ValueError("no label occurs in some rows and is absent from others")
    hits, rejections = (true * predicted).sum(axis=0), ((1 - true) * (1 - predicted)).sum(axis=0)
    return float(((hits[kept] / positives[kept] + rejections[kept] / negatives[kept]) / 2).mean())


def hit_rate(truth: Sequence[Any], prediction: Sequence[Any]) -> float:
    """Share of rows in which a predicted label is among the true ones, in [0, 1].

    Each side gives one label or a collection of labels per row; an empty collection is a miss.
    """
    if not len(truth):
        raise ValueError("truth is empty: there is nothing to score")
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} rows but prediction has {len(prediction)}")
    return float(np.mean([bool(_as_set(t) & _as_set(p)) for t, p in zip(truth, prediction, strict=True)]))


def _as_set(row: Any) -> set[Any]:
    return set(row) if isinstance(row, (list, tuple, set, frozenset, np.ndarray)) else {row}


def action_unit(name: str | int) -> int:
    """Number of a FACS action unit written as 12, "12", "AU12", "au 12" or "AU12_r"."""
    if isinstance(name, (int, np.integer)):
        return int(name)
    text = name.strip().upper().removeprefix("AU").strip().removesuffix("_R").removesuffix("_C")
    if not text.isdigit():
        raise ValueError(f"{name!r} is not the name of an action unit")
    return int(text)


def au_f1(
    truth: Sequence[Collection[str | int]],
    prediction: Sequence[Collection[str | int]],
    units: Sequence[str | int] | None = None,
    average: Literal["macro", "micro"] = "macro",
    present_only: bool = True,
) -> float:
    """F1 of action units given as one collection per row, in [0, 1].

    `units` is the vocabulary of the corpus; predicted units outside it are ignored, true ones raise. By default it is
    the set of units that occur in the truth. "macro" averages over the units with a positive row, or over all of
    `units` with `present_only=False`, as papers with a fixed list do.
    """
    true = [{action_unit(unit) for unit in row} for row in truth]
    predicted = [{action_unit(unit) for unit in row} for row in prediction]
    if len(true) != len(predicted):
        raise ValueError(f"truth has {len(true)} rows but prediction has {len(predicted)}")
    names = sorted(set().union(*true)) if units is None else [action_unit(unit) for unit in units]
    if not names:
        raise ValueError("no action unit occurs in the truth")
    return multilabel_f1(indicator(true, names), indicator(predicted, names, "ignore"), average, present_only)


def _columns(truth: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Indicators and scores, both `(N, L)`, from binary truth with scores, or from class numbers with `(N, C)`."""
    values = numbers(scores, "scores")
    if values.ndim == 1:
        true = binary(truth)[:, None] if np.ndim(truth) == 1 else binary(truth)
        values = values[:, None]
    elif np.ndim(truth) == 1:
        true = np.eye(values.shape[1])[class_ids(truth, values.shape[1])]
    else:
        true = binary(truth)
    same_length(true, values, ("truth", "scores"))
    if true.shape != values.shape:
        raise ValueError(f"truth {true.shape} and scores {values.shape} must have the same shape")
    return true, values


def _auc(true: Array, score: Array) -> float:
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(score)])
    ranks = np.empty(len(score))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    positives = true.sum()
    return float((ranks @ true - positives * (positives + 1) / 2) / (positives * (len(true) - positives)))


def auc(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve in [0, 1]: the chance that a positive row scores above a negative one, ties half.

    Truth is binary `(N,)` with scores `(N,)`; indicators `(N, L)` with scores `(N, L)`; or class numbers `(N,)` with
    scores `(N, C)`, each class against the rest. Columns are averaged, leaving out those that lack positive or
    negative rows; `ValueError` where that leaves none.
    """
    true, values = _columns(truth, scores)
    positives = true.sum(axis=0)
    kept = np.flatnonzero((positives > 0) & (positives < len(true)))
    if not len(kept):
        raise ValueError("truth needs both positive and negative rows")
    return float(np.mean([_auc(true[:, i], values[:, i]) for i in kept]))


def _average_precision(true: Array, score: Array) -> float:
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(true[order])
    # Rows of equal score are retrieved together.
    ends = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    precision = hits[ends] / (ends + 1)
    return float((np.diff(np.r_[0.0, hits[ends]]) * precision).sum() / hits[-1])


def mean_average_precision(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Mean over labels of the average precision, sum of (recall step x precision), in [0, 1]; no interpolation.

    Input as for `auc`; labels without a positive row are left out, `ValueError` where that leaves none.
    """
    true, values = _columns(truth, scores)
    kept = np.flatnonzero(true.sum(axis=0) > 0)
    if not len(kept):
        raise ValueError("truth has no positive row")
    return float(np.mean([_average_precision(true[:, i], values[:, i]) for i in kept]))


average_precision = mean_average_precision
