"""Abstention: risk against coverage, threshold tables, conformal sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import selective as s
from affectus.metrics.recalibration import softmax

QUICK = settings(max_examples=40, deadline=None)

stated = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=1, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]) / 10)
)


def drawn(seed: int, n: int, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = softmax(rng.normal(size=(n, classes)) * 1.5)
    return np.array([rng.choice(classes, p=p) for p in probabilities]), probabilities


def test_curve_by_hand() -> None:
    curve = s.risk_coverage([1, 0, 1, 1], [0.9, 0.8, 0.8, 0.1])
    assert curve.coverage.tolist() == [0.25, 0.75, 1]
    assert curve.risk == pytest.approx(np.array([0, 1 / 3, 1 / 4]))
    assert curve.threshold.tolist() == [0.9, 0.8, 0.1]
    assert s.selective_accuracy([1, 0, 1, 1], [0.9, 0.8, 0.8, 0.1], 0.25) == 1
    assert s.selective_accuracy([1, 0, 1, 1], [0.9, 0.8, 0.8, 0.1], 0.5) == pytest.approx(2 / 3)
    # the two tied rows count half an error each
    assert s.aurc([1, 0, 1, 1], [0.9, 0.8, 0.8, 0.1]) == pytest.approx((0 + 0.5 / 2 + 1 / 3 + 1 / 4) / 4)


@QUICK
@given(stated)
def test_curve_properties(rows: tuple[np.ndarray, np.ndarray]) -> None:
    correct, confidence = rows
    order = np.random.default_rng(0).permutation(len(correct))
    curve = s.risk_coverage(correct, confidence)
    assert curve.coverage[-1] == 1
    assert (np.diff(curve.coverage) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    assert curve.risk[-1] == pytest.approx(1 - correct.mean())
    assert s.selective_accuracy(correct, confidence, 1) == pytest.approx(correct.mean())
    assert 0 <= s.aurc(correct, confidence) <= 1
    assert s.aurc(correct[order], confidence[order]) == pytest.approx(s.aurc(correct, confidence))
    assert s.aurc(correct, confidence / 2) == pytest.approx(s.aurc(correct, confidence))
    # no ranking beats the one that knows
    assert s.aurc(correct, correct) <= s.aurc(correct, confidence) + 1e-12
    assert s.aurc(correct, np.full(len(correct), 0.5)) == pytest.approx(1 - correct.mean())


def test_threshold_table() -> None:
    table = s.threshold_table([0, 1, 1, 0], [0, 1, 0, 0], [0.95, 0.55, 0.45, 0.15], [0.1, 0.5, 0.96])
    assert [row["n"] for row in table] == [4, 2, 0]
    assert [row["coverage"] for row in table] == [1, 0.5, 0]
    assert [row["accuracy"] for row in table[:2]] == [0.75, 1]
    assert table[0]["weighted_f1"] == pytest.approx(0.5 * 0.8 + 0.5 * 2 / 3)
    assert np.isnan(table[2]["accuracy"])
    assert np.isnan(table[2]["weighted_f1"])


@pytest.mark.parametrize("score", ["threshold", "cumulative"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_conformal_sets_keep_their_promise(score: s.ConformalScore, alpha: float) -> None:
    truth, probabilities = drawn(0, 4000)
    limit = s.conformal_limit(truth[:2000], probabilities[:2000], alpha, score)
    sets = s.conformal_sets(probabilities[2000:], limit, score)
    assert s.set_coverage(truth[2000:], sets) >= 1 - alpha - 0.02
    assert s.set_size(sets) < 5
    wider = s.conformal_sets(probabilities[2000:], limit + 0.05, score)
    assert (wider >= sets).all()


def test_threshold_sets_are_not_wider_than_needed() -> None:
    truth, probabilities = drawn(1, 2000)
    limit = s.conformal_limit(truth, probabilities, 0.1)
    assert s.set_coverage(truth, s.conformal_sets(probabilities, limit)) == pytest.approx(0.9, abs=0.002)


def test_too_few_rows_promise_everything() -> None:
    truth, probabilities = drawn(2, 5)
    limit = s.conformal_limit(truth, probabilities, 0.1)
    assert limit == float("inf")
    assert s.conformal_sets(probabilities, limit).all()
    assert s.set_size(s.conformal_sets(probabilities, limit)) == 5


def test_cumulative_score_is_the_mass_down_to_a_class() -> None:
    sets = s.conformal_sets([[0.1, 0.6, 0.3]], 0.9, "cumulative")
    assert sets.tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: s.risk_coverage([], []), "empty"),
        (lambda: s.aurc([1, 0], [0.5, np.nan]), "NaN"),
        (lambda: s.selective_accuracy([1], [0.5], 0), "coverage"),
        (lambda: s.threshold_table([1], [1], [1.5]), r"\[0, 1\]"),
        (lambda: s.threshold_table([1, 2], [1, 2], [0.5]), "rows"),
        (lambda: s.conformal_limit([0], [[0.5, 0.5]], 0), "alpha"),
        (lambda: s.conformal_limit([0], [[0.5, 0.5]], 0.1, "margin"), "score must be"),  # type: ignore[arg-type]
        (lambda: s.set_coverage([0], [[0.5, 1]]), "only 0 and 1"),
        (lambda: s.set_coverage([0], [1]), r"\(N, C\)"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
