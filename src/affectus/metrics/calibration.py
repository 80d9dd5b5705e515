"""Are scores probabilities? Calibration errors, proper scores and the data of a reliability plot.

Two forms of input everywhere: class numbers `(N,)` with probabilities `(N, C)`, where confidence is the largest
probability and a row is correct when that class is true; or zeros and ones `(N,)` (correct or not, event or not) with
one confidence `(N,)` per row, as language models state it. Independent labels (one probability per row and label) are
scored in the second form after flattening both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import (
    Floats,
    Ints,
    binary,
    class_ids,
    distributions,
    not_empty,
    same_length,
    unit_interval,
)
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Binning = Literal["width", "mass"]
LastBin = Literal["closed", "open"]


@dataclass(frozen=True)
class Reliability:
    """One row per bin that holds anything: its edges, number of rows, mean confidence and accuracy, each `(B,)`."""

    low: Floats
    high: Floats
    count: Ints
    confidence: Floats
    accuracy: Floats
    rows: int

    @property
    def gap(self) -> Floats:
        """|accuracy - confidence| of every bin."""
        return np.abs(self.accuracy - self.confidence)


def confidences(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Floats, Floats]:
    """`correct` (0/1) and `confidence`, each `(N,)`, from either form of input."""
    scores = not_empty(probabilities, "probabilities")
    if scores.ndim == 1:
        confidence, correct = unit_interval(scores), binary(truth)
        same_length(correct, confidence, ("truth", "confidence"))
        return correct, confidence
    scores = distributions(scores)
    true = class_ids(truth, scores.shape[1])
    same_length(true, scores, ("truth", "probabilities"))
    chosen = scores.argmax(axis=1)
    return (chosen == true).astype(np.float64), np.clip(scores[np.arange(len(scores)), chosen], 0, 1)


def _bins(confidence: Floats, bins: int, binning: Binning, last_bin: LastBin) -> Ints:
    """Bin number of every row; -1 for a confidence of exactly one when the last bin is open."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if last_bin not in ("closed", "open"):
        raise ValueError(f"last_bin must be 'closed' or 'open', not {last_bin!r}")
    index = np.empty(len(confidence), dtype=np.int64)
    if binning == "mass":
        index[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * bins // len(confidence)
    elif binning == "width":
        index[:] = np.searchsorted(_edges(bins), confidence, side="right") - 1
        index[index == bins] = bins - 1 if last_bin == "closed" else -1
    else:
        raise ValueError(f"binning must be 'width' or 'mass', not {binning!r}")
    return index


def _edges(bins: int) -> Floats:
    # Quotients, not a linspace: 0.3 must fall into the bin that starts at 3/10.
    return np.arange(bins + 1) / bins


def reliability(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    binning: Binning = "width",
    last_bin: LastBin = "closed",
) -> Reliability:
    """Accuracy against confidence in bins, the data of a reliability plot.

    `binning="width"` cuts [0, 1] into equal bins [b/B, (b+1)/B); `"mass"` puts equally many rows into every bin (ties
    stay in sorted order). `last_bin="open"` reproduces public evaluators in which a confidence of 1.0 falls in no bin.
    """
    correct, confidence = confidences(truth, probabilities)
    index = _bins(confidence, bins, binning, last_bin)
    kept = index >= 0
    count = np.bincount(index[kept], minlength=bins)
    filled = count > 0
    size = count[filled]
    mean_confidence = np.bincount(index[kept], confidence[kept], bins)[filled] / size
    mean_correct = np.bincount(index[kept], correct[kept], bins)[filled] / size
    if binning == "width":
        edges = _edges(bins)
        low, high = edges[:-1][filled], edges[1:][filled]
    else:
        ordered = np.sort(confidence)
        ends = np.cumsum(size)
        low, high = ordered[ends - size], ordered[ends - 1]
    return Reliability(low, high, size.astype(np.int64), mean_confidence, mean_correct, len(confidence))


def _ece_rows(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    binning: Binning = "width",
    last_bin: LastBin = "closed",
) -> Floats:
    """Rows `(N, B + 1)`: correct minus confidence in the row's bin, and a one."""
    correct, confidence = confidences(truth, probabilities)
    index = _bins(confidence, bins, binning, last_bin)
    rows = np.zeros((len(index), bins + 1))
    kept = np.flatnonzero(index >= 0)
    rows[kept, index[kept]] = (correct - confidence)[kept]
    rows[:, -1] = 1
    return rows


def _finish_ece(sums: Floats, **_options: object) -> Floats:
    return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]


@sums_to(_ece_rows, _finish_ece)
def ece(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    binning: Binning = "width",
    last_bin: LastBin = "closed",
) -> float:
    """Expected calibration error in [0, 1]: sum over bins of n_b/N |accuracy_b - confidence_b|; see `reliability`.

    Under an interval the bins stay those of the full data.
    """
    return float(_finish_ece(_ece_rows(truth, probabilities, bins, binning, last_bin).sum(axis=0)))


def ace(truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> float:
    """Adaptive calibration error in [0, 1] (Nixon et al. 2019): mean gap over classes and bins of equal mass.

    With probabilities `(N, C)` every class is its own event; with one confidence per row there is one event.
    """
    scores = not_empty(probabilities, "probabilities")
    if scores.ndim == 1:
        return float(reliability(truth, scores, bins, "mass").gap.mean())
    scores = distributions(scores)
    true = class_ids(truth, scores.shape[1])
    events = [((true == c) * 1.0, np.clip(scores[:, c], 0, 1)) for c in range(scores.shape[1])]
    return float(np.mean([reliability(event, score, bins, "mass").gap.mean() for event, score in events]))


def mce(truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15, last_bin: LastBin = "closed") -> float:
    """Largest |accuracy - confidence| of the equal-width bins that hold anything, in [0, 1]."""
    table = reliability(truth, probabilities, bins, "width", last_bin)
    return float(table.gap.max(initial=0.0))


def _scored(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Squared error summed over classes, and probability given to what happened, each `(N,)`."""
    scores = not_empty(probabilities, "probabilities")
    if scores.ndim == 1:
        happened, score = confidences(truth, scores)
        return (score - happened) ** 2, np.where(happened == 1, score, 1 - score)
    scores = distributions(scores)
    true = class_ids(truth, scores.shape[1])
    same_length(true, scores, ("truth", "probabilities"))
    given = scores[np.arange(len(scores)), true]
    return (scores * scores).sum(axis=1) - 2 * given + 1, given


def _brier_rows(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    return mean_of_rows(_scored(truth, probabilities)[0])


def _nll_rows(truth: npt.ArrayLike, probabilities: npt.ArrayLike, floor: float = 1e-12) -> Floats:
    return mean_of_rows(-np.log(np.maximum(_scored(truth, probabilities)[1], floor)))


@sums_to(_brier_rows, finish_mean)
def brier(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Brier score: mean (p - y)² in [0, 1] for one confidence per row; summed over classes, in [0, 2], for `(N, C)`."""
    return float(_scored(truth, probabilities)[0].mean())


@sums_to(_nll_rows, finish_mean)
def nll(truth: npt.ArrayLike, probabilities: npt.ArrayLike, floor: float = 1e-12) -> float:
    """Mean negative log-likelihood in nats, probabilities below `floor` raised to it; in [0, -ln floor]."""
    return float(_nll_rows(truth, probabilities, floor)[:, 1].mean())
