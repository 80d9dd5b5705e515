"""Calibration errors and proper scores; recalibration by temperature and isotonic regression."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import isotonic
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCalibrationError

from affectus.metrics import calibration as c
from affectus.metrics import recalibration as rc

QUICK = settings(max_examples=40, deadline=None)

# Confidences and correctness of the EmoCaliber sheet.
STATED = [0.85, 0.85, 0.32, 0.32, 0.95, 1.0]
CORRECT = [1, 0, 1, 0, 1, 0]

stated = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 100)), min_size=1, max_size=60).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]) / 100)
)


def sample(seed: int, n: int = 400, classes: int = 4, sharpen: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a softmax, and its logits multiplied by `sharpen`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 1.5
    labels = np.array([rng.choice(classes, p=p) for p in rc.softmax(logits)])
    return labels, logits * sharpen


def test_emocaliber_oracle() -> None:
    assert c.ece(CORRECT, STATED, 10, last_bin="open") == pytest.approx(0.1850, abs=1e-9)
    assert c.ece(CORRECT, STATED, 10) == pytest.approx(0.3350, abs=1e-9)
    assert c.brier(CORRECT, STATED) == pytest.approx(0.38538, abs=5e-6)


def test_border_of_a_bin_belongs_to_the_bin_above() -> None:
    for tenth in range(10):
        table = c.reliability([1], [tenth / 10], 10)
        assert (table.low[0], table.high[0]) == (tenth / 10, (tenth + 1) / 10)


def test_perfect_and_worst_cases() -> None:
    labels = np.array([0, 2, 1])
    sure = np.eye(3)[labels]
    wrong = np.eye(3)[(labels + 1) % 3]
    for metric in (c.ece, c.mce, c.ace, c.brier, c.nll):
        assert metric(labels, sure) == pytest.approx(0, abs=1e-12)
    assert c.ece(labels, wrong) == c.mce(labels, wrong) == 1
    assert c.brier(labels, wrong) == 2
    assert c.nll(labels, wrong) == pytest.approx(-np.log(1e-12))


def test_uniform_scores_have_known_scores() -> None:
    uniform = np.full((4, 4), 0.25)
    labels = np.arange(4)
    assert c.nll(labels, uniform) == pytest.approx(np.log(4))
    assert c.brier(labels, uniform) == pytest.approx(0.75)
    assert c.ece(labels, uniform) == pytest.approx(0)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_equals_torchmetrics(bins: int) -> None:
    labels, logits = sample(0, sharpen=2)
    probabilities = rc.softmax(logits)
    for norm, metric in (("l1", c.ece), ("max", c.mce)):
        peer = MulticlassCalibrationError(num_classes=4, n_bins=bins, norm=norm)
        expected = float(peer(torch.tensor(probabilities), torch.tensor(labels)))
        assert metric(labels, probabilities, bins) == pytest.approx(expected, abs=1e-5)


def test_equals_scikit_learn() -> None:
    labels, logits = sample(1)
    probabilities = rc.softmax(logits)
    assert c.nll(labels, probabilities) == pytest.approx(sk.log_loss(labels, probabilities))
    event = labels == 0
    assert c.brier(event, probabilities[:, 0]) == pytest.approx(sk.brier_score_loss(event, probabilities[:, 0]))
    assert c.nll(event, probabilities[:, 0]) == pytest.approx(sk.log_loss(event, probabilities[:, 0]))


def test_reliability_by_mass_has_equal_bins() -> None:
    labels, logits = sample(2, n=100)
    table = c.reliability(labels, rc.softmax(logits), 8, "mass")
    assert table.count.tolist() == [13, 12, 13, 12, 13, 12, 13, 12]
    assert (table.low[1:] >= table.high[:-1]).all()
    assert table.rows == table.count.sum() == 100


@QUICK
@given(stated)
def test_range_order_and_consistency(rows: tuple[np.ndarray, np.ndarray]) -> None:
    correct, confidence = rows
    order = np.random.default_rng(0).permutation(len(correct))
    for metric in (c.ece, c.mce, c.ace, c.brier):
        assert 0 <= metric(correct, confidence) <= 1
    for metric in (c.ece, c.mce, c.brier, c.nll):
        assert metric(correct[order], confidence[order]) == pytest.approx(metric(correct, confidence))
    assert c.ece(correct, confidence) <= c.mce(correct, confidence) + 1e-12
    assert c.ece(correct, confidence, 1) == pytest.approx(abs(correct.mean() - confidence.mean()))
    assert c.ece(1 - correct, 1 - confidence, 1) == pytest.approx(c.ece(correct, confidence, 1))


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([], [], "empty"),
        ([0, 1], [0.2, 1.2], r"\[0, 1\]"),
        ([0, 2], [0.2, 0.8], "only 0 and 1"),
        ([0, 1], [0.2, np.nan], "NaN"),
        ([0], [0.2, 0.3], "rows"),
        ([0, 1], [[0.2, 0.9], [0.5, 0.5]], "row 0 sums to 1.1"),
        ([0, 1], [[-0.5, 1.5], [0.5, 0.5]], "negative value in row 0"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "class 2"),
    ],
)
@pytest.mark.parametrize("metric", [c.ece, c.mce, c.ace, c.brier, c.nll])
def test_bad_input_is_named(metric: object, truth: object, scores: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(truth, scores)  # type: ignore[operator]


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="bins"):
        c.ece([1], [0.5], 0)
    with pytest.raises(ValueError, match="binning"):
        c.ece([1], [0.5], 5, "quantile")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="last_bin"):
        c.mce([1], [0.5], 5, "half")  # type: ignore[arg-type]


@QUICK
@given(st.integers(0, 50), st.sampled_from([0.2, 1.0, 3.0, 8.0]))
def test_temperature_is_the_minimum_and_undoes_sharpening(seed: int, sharpen: float) -> None:
    labels, logits = sample(seed, sharpen=sharpen)
    temperature = rc.fit_temperature(labels, logits)

    def loss(log_t: float) -> float:
        return c.nll(labels, rc.softmax(logits, np.exp(log_t)), floor=1e-300)

    best = scipy.optimize.minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded")
    assert loss(np.log(temperature)) <= best.fun + 1e-9
    assert temperature == pytest.approx(rc.fit_temperature(labels, logits / sharpen) * sharpen, rel=1e-6)
    assert temperature == pytest.approx(sharpen, rel=0.35)


def test_temperature_at_its_bounds() -> None:
    labels, logits = np.arange(3), np.eye(3)
    assert rc.fit_temperature(labels, logits) == pytest.approx(0.01, rel=1e-3)
    assert rc.fit_temperature((labels + 1) % 3, logits) == pytest.approx(100, rel=1e-3)
    assert np.isfinite(rc.fit_temperature(labels, np.zeros((3, 3))))


def test_temperature_of_independent_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(800, 5))
    labels = rng.random((800, 5)) < rc.sigmoid(logits)
    assert rc.fit_temperature(labels, logits * 4) == pytest.approx(4, rel=0.15)
    with pytest.raises(ValueError, match="same shape"):
        rc.fit_temperature(labels[:, :2], logits)


def test_temperature_lowers_the_calibration_error() -> None:
    labels, logits = sample(5, n=2000, sharpen=4)
    temperature = rc.fit_temperature(labels[:1000], logits[:1000])
    before, after = (c.ece(labels[1000:], rc.softmax(logits[1000:], t)) for t in (1, temperature))
    assert after < before / 2


def test_softmax_and_sigmoid_do_not_overflow() -> None:
    assert rc.softmax([[1e4, 0, -1e4]]).tolist() == [[1, 0, 0]]
    assert rc.sigmoid([-1e4, 0, 1e4]).tolist() == [0, 0.5, 1]
    assert rc.softmax([[2.0, 0.0]], 2)[0, 0] == pytest.approx(rc.sigmoid([1.0])[0])
    with pytest.raises(ValueError, match="temperature"):
        rc.softmax([[1.0, 2.0]], 0)
    with pytest.raises(ValueError, match="temperature"):
        rc.sigmoid([1.0], -1)
    with pytest.raises(ValueError, match="logits must be"):
        rc.softmax([1.0, 2.0])


@QUICK
@given(stated)
def test_isotonic_equals_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    correct, confidence = rows
    ours = rc.fit_isotonic(correct, confidence)
    peer = isotonic.IsotonicRegression(out_of_bounds="clip").fit(confidence, correct)
    grid = np.linspace(0, 1, 101)
    assert ours(grid) == pytest.approx(peer.predict(grid), abs=1e-9)
    assert (np.diff(ours.y) >= 0).all()
    assert ours(confidence).mean() == pytest.approx(correct.mean())


def test_isotonic_bad_input() -> None:
    with pytest.raises(ValueError, match="confidence holds 1 values"):
        rc.fit_isotonic([0, 1], [0.1, np.nan])
    with pytest.raises(ValueError, match="empty"):
        rc.fit_isotonic([], [])
