"""Several labels per row, action units, and rankings by a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from affectus.metrics import multilabel as m

QUICK = settings(max_examples=40, deadline=None)

tables = st.tuples(st.integers(1, 20), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.int64, shape, elements=st.integers(0, 1)) for _ in range(2)))
)
rankings = st.lists(st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]) / 5)
)


def test_action_units_of_the_sheet() -> None:
    gold, predicted = [{1}, {1, 4}, set()], [{1}, {4}, {2}]
    assert m.au_f1(gold, predicted) == pytest.approx((2 / 3 + 1) / 2)
    assert m.au_f1(gold, predicted, units=[1, 2, 4], average="micro") == pytest.approx(2 / 3)
    assert m.au_f1(gold, predicted, average="micro") == pytest.approx(0.8)
    assert m.au_f1(gold, predicted, units=[1, 2, 4], present_only=False) == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_action_unit_names() -> None:
    assert [m.action_unit(name) for name in (12, "12", "AU12", "au 12", "AU12_r", "AU45_c")] == [12] * 5 + [45]
    assert m.au_f1([["AU12", "au6"]], [[12, "AU06"]]) == 1
    with pytest.raises(ValueError, match="not the name of an action unit"):
        m.action_unit("smile")
    with pytest.raises(ValueError, match="none of the labels"):
        m.au_f1([[99]], [[99]], units=[1, 2])
    with pytest.raises(ValueError, match="no action unit"):
        m.au_f1([[]], [[1]])
    with pytest.raises(ValueError, match="rows"):
        m.au_f1([[1], [2]], [[1]])


def test_set_f1_of_one_row() -> None:
    labels = [1, 4, 6, 15]
    truth, prediction = m.indicator([{1, 4, 15}], labels), m.indicator([{1, 4}], labels)
    assert m.multilabel_f1(truth, prediction, "samples") == pytest.approx(0.8)
    assert m.multilabel_f1(m.indicator([{1, 4}], labels), m.indicator([{1, 6}], labels), "samples") == 0.5
    assert m.multilabel_f1(m.indicator([{1, 4}], labels), m.indicator([set()], labels), "samples") == 0


@pytest.mark.parametrize(("prediction", "expected"), [(["Horror"], 0), (["Fear"], 1), ([["x", "Fear"]], 1), ([[]], 0)])
def test_hit_rate_against_the_strongest_label(prediction: list[object], expected: float) -> None:
    assert m.hit_rate(["Fear"], prediction) == expected


def test_hit_rate_against_three_labels() -> None:
    assert m.hit_rate([("Fear", "Horror", "Anxiety")], ["Horror"]) == 1
    with pytest.raises(ValueError, match="empty"):
        m.hit_rate([], [])
    with pytest.raises(ValueError, match="rows"):
        m.hit_rate(["a"], ["a", "b"])


def test_auc_of_the_sheet() -> None:
    assert m.auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(0.75)
    assert m.auc([0, 0, 1, 1], [0.3] * 4) == 0.5


@QUICK
@given(tables)
def test_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    # scikit-learn reads one column as a binary problem, so a second one is added there.
    wide = [np.c_[x, np.zeros(len(x), dtype=int)] for x in pair]
    columns = list(range(truth.shape[1]))
    for average in ("micro", "macro", "weighted", "samples"):
        expected = sk.f1_score(*wide, labels=columns, average=average, zero_division=0)
        assert m.multilabel_f1(truth, prediction, average) == pytest.approx(expected)  # type: ignore[arg-type]
    assert m.jaccard(truth, prediction, 0) == pytest.approx(sk.jaccard_score(*wide, average="samples", zero_division=0))
    assert m.exact_match(truth, prediction) == pytest.approx(sk.accuracy_score(*wide))
    assert m.hamming_loss(truth, prediction) == pytest.approx((truth != prediction).mean())
    assert m.label_f1(truth, prediction).mean() == pytest.approx(m.multilabel_f1(truth, prediction))


@QUICK
@given(tables)
def test_symmetry_and_order(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    rows = np.random.default_rng(0).permutation(len(truth))
    labels = np.random.default_rng(1).permutation(truth.shape[1])
    for metric in (m.multilabel_f1, m.jaccard, m.exact_match, m.hamming_loss):
        value = metric(truth, prediction)
        assert 0 <= value <= 1
        assert metric(prediction, truth) == pytest.approx(value)
        assert metric(truth[rows][:, labels], prediction[rows][:, labels]) == pytest.approx(value)
    assert m.jaccard(truth, truth) == m.exact_match(truth, truth) == 1


def test_present_only_leaves_out_labels_without_rows() -> None:
    truth, prediction = np.array([[1, 0], [0, 0]]), np.array([[1, 0], [0, 1]])
    assert m.multilabel_f1(truth, prediction) == 0.5
    assert m.multilabel_f1(truth, prediction, present_only=True) == 1


def test_weighted_accuracy_is_the_mean_of_both_rates() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    prediction = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    per_label = [sk.balanced_accuracy_score(truth[:, i], prediction[:, i]) for i in (0, 1)]
    assert m.weighted_accuracy(truth, prediction) == pytest.approx(np.mean(per_label))
    one = np.array([1] * 4 + [0] * 10)[:, None]  # 3 of 4 found, 5 of 10 rejected
    assert m.weighted_accuracy(one, np.array([1, 1, 1, 0] + [0] * 5 + [1] * 5)[:, None]) == pytest.approx(0.625)
    assert m.weighted_accuracy(one, np.ones_like(one)) == m.weighted_accuracy(one, np.zeros_like(one)) == 0.5
    assert m.weighted_accuracy(one, one) == 1
    with pytest.raises(ValueError, match="no label occurs"):
        m.weighted_accuracy(truth[:, 2:], prediction[:, 2:])


@QUICK
@given(rankings)
def test_rankings_equal_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = rows
    if 0 < truth.sum() < len(truth):
        assert m.auc(truth, scores) == pytest.approx(sk.roc_auc_score(truth, scores))
        assert m.auc(1 - truth, -scores) == pytest.approx(m.auc(truth, scores))
        assert m.auc(truth, np.exp(scores)) == pytest.approx(m.auc(truth, scores))
    else:
        with pytest.raises(ValueError, match="both positive and negative"):
            m.auc(truth, scores)
    if truth.any():
        assert m.average_precision(truth, scores) == pytest.approx(sk.average_precision_score(truth, scores))
    else:
        with pytest.raises(ValueError, match="no positive row"):
            m.average_precision(truth, scores)


def test_several_columns_are_averaged() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 4, 60), rng.random((60, 4))
    one_hot = np.eye(4)[labels]
    expected = sk.roc_auc_score(one_hot, scores, average="macro")
    assert m.auc(labels, scores) == pytest.approx(expected) == m.auc(one_hot, scores)
    assert m.mean_average_precision(one_hot, scores) == pytest.approx(sk.average_precision_score(one_hot, scores))
    # a class that never occurs is left out
    assert m.auc(np.minimum(labels, 2), scores) == pytest.approx(
        np.mean([sk.roc_auc_score(np.minimum(labels, 2) == i, scores[:, i]) for i in range(3)])
    )


def test_indicator() -> None:
    assert m.indicator([["b"], ["a", "b"], []], ["a", "b"]).tolist() == [[0, 1], [1, 1], [0, 0]]
    assert m.indicator([[0, 7]], 2, "ignore").tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="row 1 holds 'c'"):
        m.indicator([["a"], ["c"]], ["a", "b"])
    with pytest.raises(ValueError, match="not the text"):
        m.indicator(["ab"], ["a", "b"])
    with pytest.raises(ValueError, match="empty"):
        m.indicator([], ["a"])


@pytest.mark.parametrize(
    "metric", [m.multilabel_f1, m.label_f1, m.jaccard, m.exact_match, m.hamming_loss, m.weighted_accuracy]
)
@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "empty"),
        ([[0, 2]], [[0, 1]], "only 0 and 1"),
        ([[0, np.nan]], [[0, 1]], "NaN"),
        ([[0, 1]], [[0, 1, 1]], r"\(N, L\)"),
        ([0, 1], [0, 1], r"\(N, L\)"),
    ],
)
def test_bad_input_is_named(metric: object, truth: object, prediction: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(truth, prediction)  # type: ignore[operator]


def test_unknown_average() -> None:
    with pytest.raises(ValueError, match="average must be"):
        m.multilabel_f1([[1]], [[1]], "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [([0, 1], [0.1], "rows"), ([0, 2], [0.1, 0.2], "only 0 and 1"), ([[0, 1]], [[0.1, 0.2, 0.3]], "same shape")],
)
def test_bad_rankings(truth: object, scores: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        m.auc(truth, scores)  # type: ignore[arg-type]
