"""Characteristic expressions: log-odds, pointwise information, exact tests within groups, corrected p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.features.ngrams import count_ngrams
from affectus.metrics import benjamini_hochberg, characteristic, exact_association, log_odds, pointwise_information


def test_equal_relative_frequency_gives_zero() -> None:
    delta, z = log_odds([10, 90], [20, 180])
    assert delta == pytest.approx([0, 0], abs=1e-12)
    assert z == pytest.approx([0, 0], abs=1e-12)


def test_log_odds_by_hand() -> None:
    delta, z = log_odds([4, 6], [1, 9], prior=[1, 3], strength=2.0)  # pseudo-counts .5 and 1.5
    first = np.log(4.5 / 7.5) - np.log(1.5 / 10.5)
    assert delta[0] == pytest.approx(first)
    assert z[0] == pytest.approx(first / np.sqrt(1 / 4.5 + 1 / 1.5))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8))
def test_swapping_the_sets_flips_the_sign(pairs: list[tuple[int, int]]) -> None:
    one, two = np.array(pairs).T + 1
    delta, z = log_odds(one, two)
    back, z_back = log_odds(two, one)
    assert delta == pytest.approx(-back)
    assert z == pytest.approx(-z_back)


def test_a_word_of_one_set_alone_has_the_largest_z_among_equally_frequent_ones() -> None:
    one, two = np.array([12, 9, 6, 3, 70]), np.array([0, 3, 6, 9, 70])
    assert np.abs(log_odds(one, two)[1][:4]).argmax() == 0


def test_information_by_hand_and_where_nothing_meets() -> None:
    found = pointwise_information([5, 0], [10, 4], 20, 100)
    assert found[0] == pytest.approx(np.log2(0.05 / (0.1 * 0.2)))
    assert found[1] == -np.inf


@settings(max_examples=60, deadline=None)  # the first example loads SciPy
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_one_group_is_fishers_test(a: int, b: int, c: int, d: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    if not a + b + c + d:
        return
    p = exact_association(a, a + b, a + c, a + b + c + d)
    assert p == pytest.approx(stats.fisher_exact([[a, b], [c, d]]).pvalue, rel=1e-6)


def test_groups_are_tested_from_within_as_permutations_say() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], [12, 9, 15])
    has = generator.random(36) < np.array([0.7, 0.3, 0.4])[groups]
    marked = generator.random(36) < np.where(has, 0.6, 0.3)
    per = [np.bincount(groups, w, 3) for w in (has & marked, has, marked, np.ones(36))]
    exact = exact_association(*per)
    draws = []
    for _ in range(4000):
        shuffled = marked.copy()
        for g in range(3):
            shuffled[groups == g] = generator.permutation(shuffled[groups == g])
        draws.append(int((has & shuffled).sum()))
    counts = np.bincount(draws) / len(draws)
    permuted = counts[counts <= counts[int((has & marked).sum())] * 1.02].sum()
    assert exact == pytest.approx(permuted, abs=0.03)


def test_who_wrote_it_is_no_discovery_within_writers() -> None:
    texts = ["alpha"] * 20 + ["beta"] * 20
    marked, writers = [1] * 19 + [0] + [0] * 19 + [1], ["a"] * 20 + ["b"] * 20
    table = count_ngrams(texts, (1,), "word")
    plain = {e.text: e for e in characteristic(table, marked)}
    within = {e.text: e for e in characteristic(table, marked, writers)}
    assert plain["alpha"].q < 1e-6
    assert within["alpha"].p == 1
    assert within["alpha"].odds_ratio == 1


def test_a_planted_phrase_comes_first_with_its_interval() -> None:
    generator = np.random.default_rng(1)
    marked = np.arange(200) < 60
    texts = [
        " ".join([*generator.choice(["sun", "tea", "bus", "cat", "day"], 4), "of course" if m and i % 2 else "well"])
        for i, m in enumerate(marked)
    ]
    found = characteristic(count_ngrams(texts, (1, 2), "word"), marked, most=3)
    assert found[0].text == "of course"
    assert found[0].marked == 30
    assert found[0].other == 0
    assert found[0].q < 1e-6
    assert 1 < found[0].low < found[0].odds_ratio < found[0].high
    assert len(found) == 3


def test_odds_ratios_by_hand_and_within_sparse_groups() -> None:
    texts = ["x"] * 12 + ["y"] * 28
    marked = [1] * 8 + [0] * 4 + [1] * 7 + [0] * 21
    found = {e.text: e for e in characteristic(count_ngrams(texts, (1,), "word"), marked)}
    assert found["x"].odds_ratio == pytest.approx(8.5 * 21.5 / (4.5 * 7.5))
    wider = texts * 10, marked * 10, np.repeat(np.arange(200), 2).tolist()
    within = {e.text: e for e in characteristic(count_ngrams(wider[0], (1,), "word"), *wider[1:])}
    assert all(e.low <= e.odds_ratio <= e.high for e in within.values())
    generator = np.random.default_rng(5)
    groups, has = np.repeat(np.arange(60), 10), generator.random(600) < 0.1
    chance = 1 / (1 + np.exp(-(-2 + np.log(3) * has)))  # a true odds ratio of three in every small group
    ratios = []
    for _ in range(20):
        picked = generator.random(600) < chance
        table = count_ngrams(["x" if h else "y" for h in has], (1,), "word")
        ratios.append({e.text: e for e in characteristic(table, picked, groups)}["x"].odds_ratio)
    assert 2 < np.median(ratios) < 4.5


def test_chance_alone_is_no_discovery() -> None:
    generator = np.random.default_rng(2)
    texts = [" ".join(generator.choice(list("abcdefghij"), 6)) for _ in range(150)]
    found = characteristic(count_ngrams(texts, (1, 2), "word"), generator.random(150) < 0.3)
    assert min(e.q for e in found) > 0.05


def test_benjamini_hochberg_known_values() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_equals_scipy(p: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


@pytest.mark.parametrize("counts", [(3, 2, 5, 9), (1, 2, 3, 2), (0, 3, 3, 4), (-1, 1, 1, 2)])
def test_counts_that_do_not_nest_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="counts"):
        exact_association(*counts)


def test_marks_of_another_length_or_of_one_kind_are_refused() -> None:
    table = count_ngrams(["a", "a", "b"], (1,), least=1)
    with pytest.raises(ValueError, match="3 texts"):
        characteristic(table, [1, 0])
    with pytest.raises(ValueError, match="both"):
        characteristic(table, [1, 1, 1])
