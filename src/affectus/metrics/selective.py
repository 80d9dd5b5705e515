"""Knowing when to abstain: risk against coverage, accuracy of the confident part, and conformal label sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.calibration import confidences
from affectus.metrics.classification import accuracy_of, confusion, weighted_f1_of
from affectus.metrics.inputs import Floats, binary, class_ids, distributions, not_empty, same_length, unit_interval

ConformalScore = Literal["threshold", "cumulative"]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RiskCoverage:
    """Coverage and risk when all rows with at least `threshold` confidence are kept, each `(T,)`, coverage rising."""

    coverage: Floats
    risk: Floats
    threshold: Floats


def risk_coverage(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> RiskCoverage:
    """Error rate of the kept rows against the share kept, one point per distinct confidence.

    Input as in `calibration`: class numbers and `(N, C)`, or correct (0/1) and one confidence per row.
    """
    correct, confidence = confidences(truth, probabilities)
    order = np.argsort(-confidence, kind="stable")
    errors, ordered = np.cumsum(1 - correct[order]), confidence[order]
    # Rows of equal confidence cannot be told apart, so they enter together.
    ends = np.flatnonzero(np.r_[np.diff(ordered) != 0, True])
    return RiskCoverage((ends + 1) / len(correct), errors[ends] / (ends + 1), ordered[ends])


def aurc(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Area under the risk-coverage curve in [0, 1], lower is better: mean risk over all numbers of rows kept.

    Rows of equal confidence are given their mean error, so the order of the input does not matter.
    """
    correct, confidence = confidences(truth, probabilities)
    levels, level = np.unique(-confidence, return_inverse=True)
    level = level.reshape(-1)
    size = np.bincount(level, minlength=len(levels))
    mean_error = np.bincount(level, 1 - correct, len(levels)) / size
    errors = np.cumsum(np.repeat(mean_error, size))
    return float((errors / np.arange(1, len(errors) + 1)).mean())


def selective_accuracy(truth: npt.ArrayLike, probabilities: npt.ArrayLike, coverage: float = 0.8) -> float:
    """Accuracy in [0, 1] of the most confident rows that make up at least `coverage` of all, in (0, 1]."""
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must lie in (0, 1], not {coverage}")
    curve = risk_coverage(truth, probabilities)
    point = int(np.searchsorted(curve.coverage, coverage - 1e-12))
    return float(1 - curve.risk[point])


def threshold_table(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    confidence: npt.ArrayLike,
    thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    labels: Sequence[Any] | int | None = None,
) -> list[dict[str, float]]:
    """Per threshold: rows kept (`n`), `coverage`, `accuracy` and weighted F1 of rows with at least that confidence.

    Accuracy and F1 are NaN where nothing is left.
    """
    true, predicted = not_empty(truth, "truth"), not_empty(prediction, "prediction")
    sure = unit_interval(confidence)
    same_length(true, predicted)
    same_length(true, sure, ("truth", "confidence"))
    table = []
    for threshold in thresholds:
        kept = sure >= threshold
        row = {"threshold": float(threshold), "n": int(kept.sum()), "coverage": float(kept.mean())}
        counts = confusion(true[kept], predicted[kept], labels) if kept.any() else None
        row["accuracy"] = float("nan") if counts is None else float(accuracy_of(counts))
        row["weighted_f1"] = float("nan") if counts is None else float(weighted_f1_of(counts))
        table.append(row)
    return table


def _nonconformity(probabilities: Floats, score: ConformalScore) -> Floats:
    """How strange every class would be, `(N, C)` in [0, 1]."""
    if score == "threshold":
        return 1 - probabilities
    if score != "cumulative":
        raise ValueError(f"score must be 'threshold' or 'cumulative', not {score!r}")
    order = np.argsort(-probabilities, axis=1, kind="stable")
    mass = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    result = np.empty_like(probabilities)
    np.put_along_axis(result, order, mass, axis=1)
    return result


def conformal_limit(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, alpha: float = 0.1, score: ConformalScore = "threshold"
) -> float:
    """Limit that makes label sets contain the truth in at least 1 - alpha of exchangeable new rows (split conformal).

    `truth` `(N,)` and `probabilities` `(N, C)` are held-out data. "threshold" keeps classes by their probability (least
    ambiguous sets), "cumulative" by the probability mass down to them (adaptive sets, without randomisation). With too
    few rows for the promise the limit is infinite and sets hold every class.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    scores = distributions(probabilities)
    true = class_ids(truth, scores.shape[1])
    same_length(true, scores, ("truth", "probabilities"))
    own = np.sort(_nonconformity(scores, score)[np.arange(len(true)), true])
    rank = int(np.ceil((len(own) + 1) * (1 - alpha) - 1e-9))
    return float("inf") if rank > len(own) else float(own[rank - 1])


def conformal_sets(probabilities: npt.ArrayLike, limit: float, score: ConformalScore = "threshold") -> Bools:
    """Label sets `(N, C)` of new rows under the limit of `conformal_limit`; "threshold" sets may be empty."""
    return _nonconformity(distributions(probabilities), score) <= limit + 1e-12


def set_coverage(truth: npt.ArrayLike, sets: npt.ArrayLike) -> float:
    """Share of rows whose set `(N, C)` of zeros and ones holds the true class, in [0, 1]."""
    members = binary(sets, "sets")
    if members.ndim != 2:
        raise ValueError(f"sets must be (N, C), not {members.shape}")
    true = class_ids(truth, members.shape[1])
    same_length(true, members, ("truth", "sets"))
    return float(members[np.arange(len(true)), true].mean())


def set_size(sets: npt.ArrayLike) -> float:
    """Mean number of classes in a set `(N, C)`, in [0, C]."""
    return float(binary(sets, "sets").sum(axis=1).mean())
