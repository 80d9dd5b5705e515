"""Metric sets of evaluations, each value with its interval, and the trivial baselines to hold them against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from affectus.evaluation.record import Entry
from affectus.metrics import accuracy, exact_match, macro_f1, mae, multilabel_f1, reports, uar
from affectus.metrics import weighted_f1 as weighted
from affectus.metrics.intervals import Interval

Entries = dict[str, Entry]
Groups = np.ndarray | None

LEVEL, DRAWS = reports.LEVEL, reports.DRAWS


def _entry(found: Interval) -> Entry:
    return Entry(value=found.value) if np.isnan(found.low) else Entry(**found._asdict())


def _entries(scores: Mapping[str, Interval]) -> Entries:
    return {name: _entry(found) for name, found in scores.items()}


def entry(
    metric: Callable[..., Any], truth: np.ndarray, prediction: np.ndarray, groups: Groups = None, **options: Any
) -> Entry:
    """A metric with its percentile bootstrap interval over rows, or over groups; no bounds where draws have none."""
    return _entry(reports.score(metric, truth, prediction, groups, **options))


def classification(truth: np.ndarray, probabilities: np.ndarray, groups: Groups = None) -> Entries:
    """Accuracy, UAR, macro- and weighted F1, ECE and NLL of class numbers (n,) and probabilities (n, K)."""
    return _entries(reports.class_scores(truth, probabilities, groups))


def decisions(truth: np.ndarray, prediction: np.ndarray, groups: Groups = None) -> Entries:
    """Accuracy, UAR, macro- and weighted F1 of two series of classes (n,)."""
    return _entries(reports.decision_scores(truth, prediction, groups))


def multilabel(truth: np.ndarray, probabilities: np.ndarray, decided: np.ndarray, groups: Groups = None) -> Entries:
    """F1s, subset accuracy, Jaccard, ECE and NLL of several labels per item, all (n, K); `decided` are those given."""
    return _entries(reports.multilabel_scores(truth, probabilities, decided, groups))


def dimensions(
    truth: Mapping[str, np.ndarray], prediction: Mapping[str, np.ndarray], groups: Groups = None, suffix: str = ""
) -> Entries:
    """PCC, CCC and mean absolute error of each dimension (n,) on [-1, 1]: `pcc_valence`, or `pcc_valence_mixed`."""
    return _entries(reports.dimension_scores(truth, prediction, groups, suffix))


def _inside(truth: np.ndarray, bounds: np.ndarray) -> float:
    return float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())


def _width(truth: np.ndarray, bounds: np.ndarray) -> float:
    return float((bounds[:, 1] - bounds[:, 0]).mean())


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray, name: str, groups: Groups = None) -> Entries:
    """Share of ratings (n,) within the model's own interval, and its mean width."""
    bounds = np.stack([low, high], axis=1)
    return {
        f"coverage_{name}": entry(_inside, truth, bounds, groups),
        f"width_{name}": entry(_width, truth, bounds, groups),
    }


def class_baselines(truth: np.ndarray, classes: int) -> dict[str, dict[str, float]]:
    """What the most frequent class of the scored rows, and their class shares as probabilities, would get."""
    counts = np.bincount(truth, minlength=classes)
    shares = counts / counts.sum()
    always = np.full(len(truth), int(counts.argmax()))
    majority = {
        "accuracy": accuracy(truth, always),
        "uar": uar(truth, always),
        "macro_f1": macro_f1(truth, always, present_only=True),
        "weighted_f1": weighted(truth, always),
    }
    prior = {"nll": float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())}
    return {"majority": majority, "class_shares": prior}


def multilabel_baselines(truth: np.ndarray) -> dict[str, dict[str, float]]:
    """What always giving the most frequent label, or every label, would get."""
    top = np.zeros_like(truth)
    top[:, int(truth.sum(axis=0).argmax())] = 1
    everything = np.ones_like(truth)
    return {
        name: {
            "macro_f1": multilabel_f1(truth, given),
            "micro_f1": multilabel_f1(truth, given, "micro"),
            "accuracy": exact_match(truth, given),
        }
        for name, given in (("most_frequent_label", top), ("all_labels", everything))
    }


def dimension_baselines(truth: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """What the mean rating of the scored rows would get: its error; correlation and concordance are 0."""
    found: dict[str, float] = {}
    for name, rated in truth.items():
        found |= {f"pcc_{name}": 0.0, f"ccc_{name}": 0.0, f"mae_{name}": mae(rated, np.full(len(rated), rated.mean()))}
    return {"mean": found}
