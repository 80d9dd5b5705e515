"""The fixed sets of metrics: their keys, agreement with the single metrics, groups, degenerate predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from affectus import metrics as m
from affectus.metrics.reports import (
    Report,
    classification_report,
    dimension_report,
    multilabel_report,
    multilabel_scores,
    score,
)


def ordered(report: Report) -> bool:
    return all(entry["low"] <= entry["value"] <= entry["high"] for entry in report.values())


def test_classification() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    shares = rng.dirichlet(np.ones(4), 300)
    shares[np.arange(300), truth] += 0.4
    shares /= shares.sum(axis=1, keepdims=True)
    report = classification_report(truth, shares)
    assert set(report) == {"accuracy", "uar", "macro_f1", "weighted_f1", "ece", "nll"}
    guess = shares.argmax(axis=1)
    expected = {
        "accuracy": sk.accuracy_score(truth, guess),
        "uar": sk.balanced_accuracy_score(truth, guess),
        "macro_f1": sk.f1_score(truth, guess, average="macro"),
        "weighted_f1": sk.f1_score(truth, guess, average="weighted"),
        "nll": sk.log_loss(truth, shares),
        "ece": m.ece(truth, shares),
    }
    assert {name: entry["value"] for name, entry in report.items()} == pytest.approx(expected, abs=1e-5)
    # Calibration error is biased upwards on resamples, so its interval need not hold the value.
    assert ordered({name: entry for name, entry in report.items() if name != "ece"})
    assert report["ece"]["low"] <= report["ece"]["high"]


def test_groups_widen_the_intervals() -> None:
    rng = np.random.default_rng(1)
    subjects = np.repeat(np.arange(12), 30)
    truth = rng.integers(0, 2, 360)
    right = (subjects < 8) | (rng.random(360) < 0.2)
    shares = np.where(np.eye(2)[np.where(right, truth, 1 - truth)] == 1, 0.9, 0.1)
    rows, groups = (classification_report(truth, shares, given) for given in (None, subjects))
    for name in ("accuracy", "uar"):
        assert rows[name]["value"] == groups[name]["value"]
        assert groups[name]["high"] - groups[name]["low"] > 2 * (rows[name]["high"] - rows[name]["low"])


def test_perfect_predictions() -> None:
    truth = np.tile(np.arange(3), 20)
    report = classification_report(truth, np.eye(3)[truth])
    for name in ("accuracy", "uar", "macro_f1", "weighted_f1"):
        assert report[name] == {"value": 1, "low": 1, "high": 1}
    assert report["ece"]["value"] == report["nll"]["value"] == 0


def test_multilabel() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random((250, 5)) < 0.3).astype(int)
    shares = np.clip(0.6 * truth + 0.4 * rng.random((250, 5)), 0.01, 0.99)
    thresholds = np.array([0.3, 0.35, 0.4, 0.45, 0.5])
    report = multilabel_report(truth, shares, thresholds)
    guess = (shares >= thresholds).astype(int)
    expected = {
        "macro_f1": sk.f1_score(truth, guess, average="macro"),
        "micro_f1": sk.f1_score(truth, guess, average="micro"),
        "accuracy": sk.accuracy_score(truth, guess),
        "nll": sk.log_loss(truth.ravel(), shares.ravel()),
    }
    assert {name: report[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert report["ece"]["value"] == pytest.approx(m.ece(truth.ravel(), _yes_or_no(shares)), abs=1e-5)
    assert ordered({name: report[name] for name in expected})


def _yes_or_no(shares: np.ndarray) -> np.ndarray:
    return np.stack([1 - shares.ravel(), shares.ravel()], axis=1)


def test_multilabel_bounds_resample_items_not_decisions() -> None:
    truth = np.repeat((np.random.default_rng(4).random((60, 1)) < 0.5).astype(int), 20, axis=1)
    shares = np.full((60, 20), 0.7)  # all decisions of an item are right or wrong together
    scores = multilabel_scores(truth, shares, (shares > 0.5).astype(int))
    flat = score(m.nll, truth.ravel(), _yes_or_no(shares))
    assert scores["nll"].value == pytest.approx(flat.value)
    assert scores["nll"].high - scores["nll"].low > 3 * (flat.high - flat.low)
    pairs = multilabel_scores(truth, shares, (shares > 0.5).astype(int), np.arange(60) // 2)
    assert pairs["nll"] != scores["nll"]


def test_no_bounds_where_no_draw_has_the_metric() -> None:
    def ordered_error(truth: np.ndarray, prediction: np.ndarray) -> float:
        if not (np.diff(truth) > 0).all():
            raise ValueError("rows are not in order")
        return float(np.abs(truth - prediction).mean())

    found = score(ordered_error, np.arange(8.0), np.arange(8.0) + 1)
    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()


def test_multilabel_of_certain_and_wrong_predictions_stays_finite() -> None:
    truth = np.tile([[1, 0], [0, 1]], (10, 1))
    wrong = 1.0 - truth
    report = multilabel_report(truth, wrong, np.array([0.5, 0.5]))
    assert report["macro_f1"]["value"] == report["accuracy"]["value"] == 0
    assert report["ece"]["value"] == pytest.approx(1)
    assert np.isfinite(report["nll"]["value"])


def test_dimensions() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(200, 2))
    prediction = np.stack([truth[:, 0], 0.5 * truth[:, 1] + rng.normal(size=200)], axis=1)
    report = dimension_report(truth, prediction, ["valence", "arousal"])
    assert list(report) == [f"{metric}_{name}" for name in ("valence", "arousal") for metric in ("pcc", "ccc", "mae")]
    assert report["ccc_valence"] == {"value": 1, "low": 1, "high": 1}
    assert report["mae_valence"]["value"] == 0
    assert report["pcc_arousal"]["value"] == pytest.approx(np.corrcoef(truth[:, 1], prediction[:, 1])[0, 1], abs=1e-5)
    assert report["ccc_arousal"]["value"] < report["pcc_arousal"]["value"]
    assert ordered(report)
    grouped = dimension_report(truth, prediction, ["valence", "arousal"], np.repeat(np.arange(20), 10))
    assert ordered(grouped)
    assert grouped["mae_arousal"]["value"] == report["mae_arousal"]["value"]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="sum to one"):
        classification_report(np.array([0, 1]), np.array([[0.2, 0.2], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="NaN"):
        dimension_report(np.array([[np.nan], [1.0]]), np.ones((2, 1)), ["valence"])
