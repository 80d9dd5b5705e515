"""The fixed sets of metrics, each with its interval, that evaluations and model cards print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from affectus.metrics.calibration import ece, nll
from affectus.metrics.classification import accuracy, macro_f1, uar, weighted_f1
from affectus.metrics.intervals import interval
from affectus.metrics.multilabel import exact_match, multilabel_f1
from affectus.metrics.regression import ccc, mae, pcc

Report = dict[str, dict[str, float]]


def _entry(
    metric: Callable[..., Any], truth: np.ndarray, prediction: np.ndarray, groups: np.ndarray | None, **options: Any
) -> dict[str, float]:
    value, low, high = interval(metric, truth, prediction, groups, **options)
    return {"value": round(value, 5), "low": round(low, 5), "high": round(high, 5)}


def classification_report(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None) -> Report:
    """Accuracy, UAR, macro- and weighted F1, ECE and NLL with 95 % intervals.

    `truth` (n,) class indices, `probabilities` (n, K); resampling is over `groups` (subjects) where given.
    """
    guess = probabilities.argmax(1)
    report = {
        metric.__name__: _entry(metric, truth, guess, groups) for metric in (accuracy, uar, macro_f1, weighted_f1)
    }
    return report | {metric.__name__: _entry(metric, truth, probabilities, groups) for metric in (ece, nll)}


def multilabel_report(truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> Report:
    """Macro-, micro-F1, subset accuracy, ECE and NLL over independent labels.

    `truth` (n, K) binary, `probabilities` (n, K), `thresholds` (K,). ECE and NLL treat every label decision as a binary
    prediction.
    """
    decided, guess = truth.astype(int), (probabilities >= thresholds).astype(int)

    def binary_ece(a: np.ndarray, p: np.ndarray) -> float:
        return ece(a.ravel(), np.stack([1 - p.ravel(), p.ravel()], 1))

    def binary_nll(a: np.ndarray, p: np.ndarray) -> float:
        p = np.clip(p, 1e-7, 1 - 1e-7)
        return float(-np.where(a == 1, np.log(p), np.log1p(-p)).mean())

    return {
        "macro_f1": _entry(multilabel_f1, decided, guess, None),
        "micro_f1": _entry(multilabel_f1, decided, guess, None, average="micro"),
        "accuracy": _entry(exact_match, decided, guess, None),
        "ece": _entry(binary_ece, decided, probabilities, None),
        "nll": _entry(binary_nll, decided, probabilities, None),
    }


def dimension_report(
    truth: np.ndarray, prediction: np.ndarray, names: Sequence[str], groups: np.ndarray | None = None
) -> Report:
    """PCC, CCC and mean absolute error per dimension: `truth` and `prediction` (n, len(names))."""
    report: Report = {}
    for column, name in enumerate(names):
        for metric in (pcc, ccc, mae):
            report[f"{metric.__name__}_{name}"] = _entry(metric, truth[:, column], prediction[:, column], groups)
    return report
