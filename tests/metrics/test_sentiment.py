"""Acc-2/5/7 with each rule about zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from affectus.metrics import interval
from affectus.metrics import sentiment as s

QUICK = settings(max_examples=40, deadline=None)

scores = st.lists(st.tuples(st.integers(-15, 15), st.integers(-15, 15)), min_size=1, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]) / 5, np.array([r[1] for r in rows]) / 5)
)


def test_words_mapped_to_signs() -> None:
    truth, sign = [1.2, -0.6, 0, 2.0, -1.0, 0.4], [1, -1, 1, 0, -1, 1]
    assert s.acc2(truth, sign) == pytest.approx(0.8)
    assert s.sentiment_f1(truth, sign) == pytest.approx(0.8)


def test_zero_rules_give_three_values() -> None:
    truth, prediction = [0, 0, 0, 1, -1, 2], [0.2, -0.4, -0.3, 0, -2, 0]
    assert s.acc2(truth, prediction, "drop") == pytest.approx(2 / 6)
    assert s.acc2(truth, prediction, "negative") == pytest.approx(3 / 6)
    assert s.acc2(truth, prediction, "non-negative") == pytest.approx(4 / 6)


def test_always_negative_on_emotiontalk() -> None:
    truth = np.r_[-np.ones(1523), np.ones(130), np.zeros(100)]
    assert 100 * s.acc2(truth, -np.ones_like(truth)) == pytest.approx(92.14, abs=0.005)
    assert 100 * s.sentiment_f1(truth, -np.ones_like(truth)) == pytest.approx(88.36, abs=0.005)


def test_seven_and_five_classes() -> None:
    truth, prediction = [3, -3, 0.6, -1.4, 2.4], [7.0, -2.6, 1.4, -1.6, 1.9]
    assert s.acc7(truth, prediction) == pytest.approx(4 / 5)
    assert s.acc5([2.6, -3, 0.4], [1.6, -1.4, 0.6]) == pytest.approx(1 / 3)


def test_sims_classes_put_a_border_below() -> None:
    assert s.acc_edges([0.0], [-0.4], s.SIMS_EDGES[2]) == 1
    assert s.acc_edges([0.0, 0.1, -0.1], [0.1, 0.0, -1.0], s.SIMS_EDGES[3]) == 1
    assert s.acc_edges([0.2, 0.8, -0.7, -0.2], [0.7, 0.7, -1, -0.1], s.SIMS_EDGES[5]) == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="increasing"):
        s.acc_edges([0.0], [0.0], [0.5, 0.1])


@QUICK
@given(scores, st.sampled_from(["drop", "non-negative", "negative"]))
def test_equals_scikit_learn(rows: tuple[np.ndarray, np.ndarray], rule: s.NeutralRule) -> None:
    truth, prediction = rows
    if rule == "drop":
        if not truth.any():
            with pytest.raises(ValueError, match="every true score is 0"):
                s.acc2(truth, prediction, rule)
            return
        truth, prediction = truth[truth != 0], prediction[truth != 0]
    true, predicted = (truth >= 0, prediction >= 0) if rule == "non-negative" else (truth > 0, prediction > 0)
    assert s.acc2(*rows, rule) == pytest.approx(sk.accuracy_score(true, predicted))
    assert s.sentiment_f1(*rows, rule) == pytest.approx(sk.f1_score(true, predicted, average="weighted"))


@QUICK
@given(scores)
def test_finer_classes_agree_less(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = rows
    assert s.acc7(truth, prediction) <= s.acc5(truth, prediction) <= 1
    assert s.acc7(truth, truth) == s.acc7(-truth, -truth) == 1
    assert s.acc7(-truth, -prediction) == s.acc7(truth, prediction) == s.acc7(prediction, truth)


def test_intervals_under_the_drop_rule() -> None:
    value, low, high = interval(s.sentiment_f1, [0, 0, 1, -1, 1], [1, 1, 1, -1, -1], neutral="drop")
    assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize("metric", [s.acc2, s.acc5, s.acc7, s.sentiment_f1])
def test_bad_input(metric: object) -> None:
    with pytest.raises(ValueError, match="empty"):
        metric([], [])  # type: ignore[operator]
    with pytest.raises(ValueError, match="NaN"):
        metric([1.0], [np.nan])  # type: ignore[operator]


def test_unknown_rule() -> None:
    with pytest.raises(ValueError, match="neutral must be"):
        s.acc2([1.0], [1.0], "positive")  # type: ignore[arg-type]
