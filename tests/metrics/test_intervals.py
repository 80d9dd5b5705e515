"""Bootstrap intervals and paired tests on counts, sums, rows and groups."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import (
    acc2,
    accuracy,
    au_f1,
    auc,
    brier,
    ccc,
    confusion,
    ece,
    hit_rate,
    macro_f1,
    mae,
    multilabel_f1,
    nll,
    pcc,
    rmse,
    srcc,
    top_k,
    uar,
    weighted_f1,
)
from affectus.metrics import classification as c
from affectus.metrics import intervals as i
from affectus.metrics import significance as s
from affectus.metrics.resampling import units_of
from affectus.metrics.sums import COUNT_FORMS, SUM_FORMS

QUICK = settings(max_examples=25, deadline=None)


def labelled(seed: int, n: int = 300, classes: int = 4, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    return truth, np.where(rng.random(n) < right, truth, rng.integers(0, classes, n))


def rated(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n) + 3
    return truth, 0.7 * truth + rng.normal(size=n) * 0.5


def by_rows(metric: object, truth: np.ndarray, prediction: np.ndarray, draws: int) -> np.ndarray:
    rng = np.random.default_rng(99)
    picks = (rng.integers(0, len(truth), len(truth)) for _ in range(draws))
    return np.array([metric(truth[rows], prediction[rows]) for rows in picks])  # type: ignore[operator]


@pytest.mark.parametrize("metric", [accuracy, uar, macro_f1, weighted_f1])
def test_drawing_tables_equals_drawing_rows(metric: object) -> None:
    truth, prediction = labelled(0)
    rows = by_rows(metric, truth, prediction, 1500)
    tables = i.bootstrap(metric, truth, prediction, draws=1500)  # type: ignore[arg-type]
    assert tables.mean() == pytest.approx(rows.mean(), abs=0.004)
    assert tables.std() == pytest.approx(rows.std(), rel=0.1)


@pytest.mark.parametrize("metric", [mae, rmse, pcc, ccc])
def test_drawing_sums_equals_drawing_rows(metric: object) -> None:
    truth, prediction = rated(0)
    rows = by_rows(metric, truth, prediction, 1500)
    sums = i.bootstrap(metric, truth, prediction, draws=1500)  # type: ignore[arg-type]
    assert sums.mean() == pytest.approx(rows.mean(), rel=0.01)
    assert sums.std() == pytest.approx(rows.std(), rel=0.1)


def test_every_cheap_form_reproduces_its_metric() -> None:
    labels = labelled(1)
    ratings = rated(1)
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), 300), rng.dirichlet(np.ones(4), 300)
    many = rng.integers(0, 2, (300, 4)), rng.integers(0, 2, (300, 4))
    scored = {ece, brier, nll, top_k}
    data = {"affectus.metrics.regression": ratings, "affectus.metrics.sentiment": ratings}
    data |= {"affectus.metrics.distributions": shares, "affectus.metrics.multilabel": many}
    rows_of_numbers = {"classification", "calibration", "regression", "sentiment", "distributions", "multilabel"}
    for metric in [*COUNT_FORMS, *SUM_FORMS]:
        if metric.__module__.split(".")[-1] not in rows_of_numbers:  # sets, boxes and captions have tests of their own
            continue
        pair = (labels[0], shares[1]) if metric in scored else data.get(metric.__module__, labels)
        options = {"edges": (0.0, 1.0)} if metric.__name__ == "acc_edges" else {}
        value, low, high = i.interval(metric, *pair, draws=50, **options)
        units = units_of(metric, pair[0], [pair[1]], None, options)
        assert units is not None
        assert units.values() == pytest.approx([value])
        grouped = units_of(metric, pair[0], [pair[1]], (np.arange(300) % 7, 7), options)
        assert grouped is not None
        assert grouped.values() == pytest.approx([value])
        assert low <= value + 0.05
        assert value - 0.05 <= high


@pytest.mark.parametrize(
    ("metric", "options"),
    [(ccc, {"variant": "unbiased"}), (macro_f1, {"present_only": True}), (uar, {"labels": 9, "present_only": False})],
)
def test_options_reach_the_metric(metric: object, options: dict[str, object]) -> None:
    pair = rated(2) if metric is ccc else labelled(2)
    value = i.interval(metric, *pair, draws=100, **options)  # type: ignore[arg-type]
    assert value.value == metric(*pair, **options)  # type: ignore[operator]
    assert value.low < value.value < value.high


def test_confusion_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    parent = np.array([[30, 10], [5, 15]]) / 60
    true_uar = float(c.uar_of(parent * 60))
    hits = 0
    for seed in range(200):
        table = rng.multinomial(300, parent.ravel()).reshape(2, 2)
        _, low, high = i.confusion_interval(table, c.uar_of, draws=300, seed=seed)
        hits += low <= true_uar <= high
    assert 180 <= hits <= 199


def test_interval_of_accuracy_is_the_binomial_one() -> None:
    truth, prediction = labelled(3, n=1000)
    value, low, high = i.interval(accuracy, truth, prediction, draws=4000)
    wrong = scipy.stats.norm.ppf(0.975) * np.sqrt(value * (1 - value) / 1000)
    assert (low, high) == pytest.approx((value - wrong, value + wrong), abs=0.003)
    narrow = i.interval(accuracy, truth, prediction, level=0.5, draws=4000)
    assert low < narrow.low < narrow.high < high


def test_groups_widen_the_interval() -> None:
    truth, prediction = labelled(4, n=100)
    tenfold, again = np.tile(truth, 10), np.tile(prediction, 10)
    videos = np.tile([f"video {v}" for v in range(100)], 10)
    for metric in (accuracy, auc):
        pair = (tenfold, again) if metric is accuracy else (tenfold == 1, again + np.linspace(0, 0.1, 1000))
        rows = i.interval(metric, *pair, draws=400)
        groups = i.interval(metric, *pair, groups=videos, draws=400)
        assert groups.high - groups.low > 2 * (rows.high - rows.low)


def test_group_draws_of_a_table_equal_group_draws_of_rows() -> None:
    truth, prediction = labelled(5, n=200)
    groups = np.random.default_rng(0).integers(0, 20, 200)
    tables = i.bootstrap(macro_f1, truth, prediction, groups, draws=1500)
    rows = i.bootstrap(lambda t, p: macro_f1(t, p, 4), truth, prediction, groups, draws=1500)
    assert tables.mean() == pytest.approx(rows.mean(), abs=0.005)
    assert tables.std() == pytest.approx(rows.std(), rel=0.1)


@QUICK
@given(st.integers(0, 100), st.sampled_from(["multinomial", "poisson"]))
def test_counts_keep_their_total_and_empty_cells(seed: int, scheme: i.Scheme) -> None:
    table = np.random.default_rng(seed).integers(0, 6, (3, 3)) + np.eye(3, dtype=int)
    drawn = i.bootstrap_counts(table, 200, seed, scheme)
    assert drawn.shape == (200, 3, 3)
    assert (drawn[:, table == 0] == 0).all()
    assert (drawn >= 0).all()
    assert (drawn.sum(axis=(1, 2)) > 0).all()
    if scheme == "multinomial":
        assert (drawn.sum(axis=(1, 2)) == table.sum()).all()
    assert drawn.mean(axis=0) == pytest.approx(table, abs=1.0)


def test_rows_may_be_sets_of_labels() -> None:
    truth = [{1, 4}, {4}, {1}, {12}, {6, 12}, {1}] * 5
    prediction = [{1}, {4}, {2}, {12}, {12}, {1, 4}] * 5
    value, low, high = i.interval(au_f1, truth, prediction, draws=100)
    assert value == au_f1(truth, prediction)
    assert low < value < high
    lists = [[1, 4], [4], [1], [12], [6, 12], [1]] * 5
    assert i.interval(hit_rate, lists, prediction, draws=100).value == pytest.approx(5 / 6)


def test_same_seed_same_interval() -> None:
    truth, prediction = rated(6, n=50)
    for metric in (ccc, srcc):
        first = i.interval(metric, truth, prediction, draws=100, seed=3)
        assert first == i.interval(metric, truth, prediction, draws=100, seed=3)
        assert first != i.interval(metric, truth, prediction, draws=100, seed=4)


def test_draws_without_a_second_class_are_left_out() -> None:
    value, low, high = i.interval(auc, [0, 0, 0, 1], [0.1, 0.2, 0.9, 0.8], draws=200)
    assert value == pytest.approx(2 / 3)
    assert 0 <= low <= high <= 1


def test_perfect_predictions_have_a_point_interval() -> None:
    assert i.interval(uar, [0, 1, 2, 2], [0, 1, 2, 2]) == (1, 1, 1)
    assert i.interval(mae, [1.0, 2.0], [1.0, 2.0]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: i.interval(accuracy, [], []), "empty"),
        (lambda: i.interval(accuracy, [0, 1], [0]), "rows"),
        (lambda: i.interval(ccc, [0, np.nan], [0, 1]), "NaN"),
        (lambda: i.interval(accuracy, [0, 1], [0, 1], level=1.5), "level"),
        (lambda: i.interval(accuracy, [0, 1], [0, 1], draws=0), "draws"),
        (lambda: i.interval(accuracy, [0, 1], [0, 1], groups=[1]), "one group per row"),
        (lambda: i.bootstrap_counts([[0, 0]]), "at least one row"),
        (lambda: i.bootstrap_counts([[1.5, 0]]), "whole numbers"),
        (lambda: i.bootstrap_counts([[1, 0]], scheme="normal"), "scheme"),  # type: ignore[arg-type]
        (lambda: i.confusion_interval(np.ones((2, 2, 2)), c.accuracy_of), "one table"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_permutation_agrees_with_mcnemar_on_accuracy() -> None:
    truth, first = labelled(7, right=0.75)
    _, second = labelled(7, right=0.6)
    exact = s.mcnemar(truth, first, second)
    tested = s.paired_permutation(accuracy, truth, first, second)
    assert tested.difference == pytest.approx((exact.only_first - exact.only_second) / 300)
    assert tested.p_value == pytest.approx(exact.p_value, abs=0.02)
    binomial = scipy.stats.binomtest(exact.only_first, exact.only_first + exact.only_second)
    assert exact.p_value == pytest.approx(binomial.pvalue)


@QUICK
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_p_value_equals_scipy(only_first: int, only_second: int) -> None:
    total = only_first + only_second
    truth = np.ones(total + 1, dtype=int)
    first = np.r_[np.ones(only_first, dtype=int), np.zeros(only_second, dtype=int), 1]
    second = np.r_[np.zeros(only_first, dtype=int), np.ones(only_second, dtype=int), 1]
    result = s.mcnemar(truth, first, second)
    assert result[:2] == (only_first, only_second)
    expected = scipy.stats.binomtest(only_first, total).pvalue if total else 1.0
    assert result.p_value == pytest.approx(expected, rel=1e-6)
    assert s.mcnemar(truth, second, first).p_value == pytest.approx(result.p_value)


@pytest.mark.parametrize("grouped", [False, True])
def test_swapping_counts_equals_swapping_rows(grouped: bool) -> None:
    truth, first = labelled(8, n=120, right=0.7)
    _, second = labelled(9, n=120)
    second = np.where(np.random.default_rng(0).random(120) < 0.6, truth, second)
    groups = np.arange(120) // 4 if grouped else None
    fast = s.paired_permutation(macro_f1, truth, first, second, groups, draws=2000, labels=4)
    slow = s.paired_permutation(lambda t, p: macro_f1(t, p, 4), truth, first, second, groups, draws=2000)
    assert fast.difference == pytest.approx(slow.difference)
    assert fast.p_value == pytest.approx(slow.p_value, abs=0.05)


def test_swapping_sums_equals_swapping_rows() -> None:
    truth, first = rated(10, n=80)
    second = first + np.random.default_rng(1).normal(size=80) * 0.35 + 0.1
    fast = s.paired_permutation(ccc, truth, first, second, draws=2000)
    slow = s.paired_permutation(lambda t, p: ccc(t, p), truth, first, second, draws=2000)
    assert fast.difference == pytest.approx(slow.difference)
    assert fast.p_value == pytest.approx(slow.p_value, abs=0.05)


def test_equal_systems_do_not_differ() -> None:
    truth, prediction = labelled(11)
    assert s.paired_permutation(macro_f1, truth, prediction, prediction, draws=200) == (0, 1)
    assert s.mcnemar(truth, prediction, prediction) == (0, 0, 1)
    assert s.paired_interval(uar, truth, prediction, prediction, draws=200) == (0, 0, 0)


def test_p_values_are_uniform_when_systems_are_alike() -> None:
    p_values = []
    for seed in range(150):
        truth, first = labelled(1000 + seed, n=80)
        rng = np.random.default_rng(seed)
        second = np.where(rng.random(80) < 0.6, truth, rng.integers(0, 4, 80))
        p_values.append(s.paired_permutation(uar, truth, first, second, draws=200, seed=seed, labels=4).p_value)
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) < 0.05) < 0.12


def test_groups_make_the_paired_test_more_careful() -> None:
    truth, first = labelled(12, n=60, right=0.75)
    _, second = labelled(13, n=60)
    second = np.where(np.random.default_rng(5).random(60) < 0.45, truth, second)
    many = [np.tile(x, 8) for x in (truth, first, second)]
    rows = s.paired_permutation(accuracy, *many, draws=2000)
    groups = s.paired_permutation(accuracy, *many, groups=np.tile(np.arange(60), 8), draws=2000)
    assert groups.difference == rows.difference
    assert groups.p_value > rows.p_value


def test_paired_interval_is_narrower_than_the_two_apart() -> None:
    truth, first = rated(14)
    second = first + 0.05 * np.random.default_rng(0).normal(size=300)
    for metric in (ccc, srcc):
        paired = s.paired_interval(metric, truth, first, second, draws=300)
        single = i.interval(metric, truth, first, draws=300)
        assert paired.low <= paired.value <= paired.high
        assert paired.high - paired.low < (single.high - single.low) / 2


def test_paired_tests_on_probabilities_and_several_labels() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 100)
    good = (np.eye(3)[truth] * 2 + rng.random((100, 3))) / 1
    good /= good.sum(axis=1, keepdims=True)
    bad = rng.dirichlet(np.ones(3), 100)
    assert s.paired_permutation(nll, truth, good, bad, draws=300).p_value < 0.01
    assert s.paired_permutation(uar, truth, good, bad, draws=300).difference > 0.3
    many = rng.integers(0, 2, (100, 3))
    result = s.paired_permutation(multilabel_f1, many, many, 1 - many, draws=300, average="micro")
    assert result == pytest.approx((1, 1 / 301))
    assert s.paired_permutation(acc2, rng.normal(size=50), np.ones(50), -np.ones(50), draws=50).p_value <= 1


def test_holm() -> None:
    assert s.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.9, 0.8]).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        s.holm([1.2])


@pytest.mark.parametrize("test", [s.paired_permutation, s.paired_interval])
def test_bad_pairs_are_named(test: object) -> None:
    with pytest.raises(ValueError, match="empty"):
        test(accuracy, [], [], [])  # type: ignore[operator]
    with pytest.raises(ValueError, match="second has 1"):
        test(accuracy, [0, 1], [0, 1], [0])  # type: ignore[operator]
    with pytest.raises(ValueError, match="draws"):
        test(accuracy, [0, 1], [0, 1], [0, 0], draws=0)  # type: ignore[operator]
    with pytest.raises(ValueError, match="same shape"):
        test(accuracy, [0, 1], [0, 1], [[0.5, 0.5], [0.5, 0.5]])  # type: ignore[operator]


def test_confusion_of_draws_matches_the_rows() -> None:
    truth, prediction = labelled(15)
    counts = confusion(truth, prediction)
    assert i.confusion_interval(counts, c.macro_f1_of).value == pytest.approx(macro_f1(truth, prediction))
