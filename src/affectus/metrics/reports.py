"""The fixed sets of metrics, each with its interval, that evaluations and model cards print.

`*_scores` give value and bounds as they are; `*_report` gives the same rounded, as cards hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from affectus.metrics.calibration import ece, nll
from affectus.metrics.classification import accuracy, macro_f1, uar, weighted_f1
from affectus.metrics.intervals import Interval, bootstrap, percentiles
from affectus.metrics.multilabel import exact_match, jaccard, multilabel_f1
from affectus.metrics.regression import ccc, mae, pcc

Report = dict[str, dict[str, float]]
Scores = dict[str, Interval]
Groups = np.ndarray | None

LEVEL, DRAWS = 0.95, 1000


def score(
    metric: Callable[..., Any], truth: np.ndarray, prediction: np.ndarray, groups: Groups = None, **options: Any
) -> Interval:
    """A metric with its 95 % bootstrap interval over rows, or over groups; NaN bounds where no draw gives a value."""
    value = float(metric(truth, prediction, **options))
    sample = bootstrap(metric, truth, prediction, groups, DRAWS, **options)
    return percentiles(value, sample, LEVEL) if np.isfinite(sample).any() else Interval(value, np.nan, np.nan)


def decision_scores(truth: np.ndarray, prediction: np.ndarray, groups: Groups = None) -> Scores:
    """Accuracy, UAR, macro- and weighted F1 of two series of classes (n,)."""
    return {
        metric.__name__: score(metric, truth, prediction, groups) for metric in (accuracy, uar, macro_f1, weighted_f1)
    }


def class_scores(truth: np.ndarray, probabilities: np.ndarray, groups: Groups = None) -> Scores:
    """The scores of decisions, ECE and NLL of class numbers (n,) and probabilities (n, K)."""
    decided = decision_scores(truth, probabilities.argmax(axis=1), groups)
    return decided | {metric.__name__: score(metric, truth, probabilities, groups) for metric in (ece, nll)}


def multilabel_scores(
    truth: np.ndarray, probabilities: np.ndarray, decided: np.ndarray, groups: Groups = None
) -> Scores:
    """F1s, subset accuracy, Jaccard, ECE and NLL of several labels per item, all (n, K).

    `decided` holds the labels given. ECE and NLL take every label of every item as one yes-or-no prediction; their
    intervals resample items, not decisions.
    """
    rows, labels = truth.shape
    whole = np.repeat(np.arange(rows) if groups is None else groups, labels)
    yes = np.clip(probabilities, 0, 1).ravel()
    flat = np.stack([1 - yes, yes], axis=1)
    answers = truth.ravel().astype(np.int64)
    return {
        "macro_f1": score(multilabel_f1, truth, decided, groups),
        "micro_f1": score(multilabel_f1, truth, decided, groups, average="micro"),
        "weighted_f1": score(multilabel_f1, truth, decided, groups, average="weighted"),
        "accuracy": score(exact_match, truth, decided, groups),
        "jaccard": score(jaccard, truth, decided, groups),
        "ece": score(ece, answers, flat, whole),
        "nll": score(nll, answers, flat, whole, floor=1e-7),
    }


def dimension_scores(
    truth: Mapping[str, np.ndarray], prediction: Mapping[str, np.ndarray], groups: Groups = None, suffix: str = ""
) -> Scores:
    """PCC, CCC and mean absolute error of each dimension (n,): `pcc_valence`, or `pcc_valence_mixed`."""
    return {
        f"{metric.__name__}_{name}{suffix}": score(metric, rated, prediction[name], groups)
        for name, rated in truth.items()
        for metric in (pcc, ccc, mae)
    }


def _rounded(scores: Scores) -> Report:
    for name, (_, low, _) in scores.items():
        if np.isnan(low):
            raise ValueError(f"{name}: no bootstrap draw gave a finite value")
    return {name: {key: round(x, 5) for key, x in entry._asdict().items()} for name, entry in scores.items()}


def classification_report(truth: np.ndarray, probabilities: np.ndarray, groups: Groups = None) -> Report:
    """Accuracy, UAR, macro- and weighted F1, ECE and NLL with 95 % intervals.

    `truth` (n,) class indices, `probabilities` (n, K); resampling is over `groups` (subjects) where given.
    """
    return _rounded(class_scores(truth, probabilities, groups))


def multilabel_report(truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> Report:
    """The scores of independent labels: `truth` (n, K) binary, `probabilities` (n, K), `thresholds` (K,)."""
    return _rounded(multilabel_scores(truth, probabilities, (probabilities >= thresholds).astype(np.int64)))


def dimension_report(truth: np.ndarray, prediction: np.ndarray, names: Sequence[str], groups: Groups = None) -> Report:
    """PCC, CCC and mean absolute error per dimension: `truth` and `prediction` (n, len(names))."""
    rated, found = (dict(zip(names, values.T, strict=True)) for values in (truth, prediction))
    return _rounded(dimension_scores(rated, found, groups))
