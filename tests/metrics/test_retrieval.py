"""Retrieval: known ranks, equality with scikit-learn, ties, fusion, layers of meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from affectus.metrics import interval
from affectus.metrics import retrieval as r

QUICK = settings(max_examples=40, deadline=None)


def with_ranks(ranks: list[int], gallery: int) -> np.ndarray:
    """Similarities in which the item of query q, in column q, has the given rank."""
    table = np.full((len(ranks), gallery), -1.0)
    for query, rank in enumerate(ranks):
        table[query, [c for c in range(gallery) if c != query][: rank - 1]] = 1.0
        table[query, query] = 0.0
    return table


@st.composite
def graded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Grades and similarities (Q, G) with ties; every query has a relevant item."""
    seed, queries, gallery = draw(st.integers(0, 2**32)), draw(st.integers(1, 6)), draw(st.integers(2, 7))
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 4, (queries, gallery)).astype(float)
    grades[np.arange(queries), rng.integers(0, gallery, queries)] = 2
    return grades, rng.integers(0, 4, (queries, gallery)) / 4


def test_reciprocal_rank_of_known_ranks() -> None:
    assert r.mrr(np.arange(3), with_ranks([1, 2, 4], 5)) == pytest.approx(0.5833, abs=5e-5)


def test_perfect_and_constant_similarity() -> None:
    truth = np.arange(5)
    assert r.retrieval_ranks(truth, np.eye(5)).tolist() == [1] * 5
    scores = [r.recall_at(truth, np.eye(5)), r.median_rank(truth, np.eye(5)), r.mrr(truth, np.eye(5))]
    assert [*scores, r.retrieval_map(truth, np.eye(5)), r.ndcg(truth, np.eye(5))] == [1] * 5
    same = np.zeros((5, 5))
    assert r.mean_rank(truth, same) == r.median_rank(truth, same) == 3
    assert (r.mean_rank(truth, same, "best"), r.mean_rank(truth, same, "worst")) == (1, 5)
    assert r.retrieval_map(truth, same) == pytest.approx(1 / 5)
    assert r.recall_at(truth, same, k=5) == 1


def test_layers_by_hand() -> None:
    ranks = {"factual": [1, 1, 2, 4], "abstract": [1, 3, 1, 2], "intent": [2, 1, 4, 1]}
    tables = {name: with_ranks(row, 4) for name, row in ranks.items()}
    first, second = (r.layered_recall(np.arange(4), tables, k) for k in (1, 2))
    assert list(first.layers.values()) == [0.5, 0.5, 0.5]
    assert (first.every, first.some, first.mean) == (0, 1, 0.5)
    assert (second.every, second.depth_gap) == (0.25, 0)
    assert second.layers["factual"] == second.layers["intent"] == 0.75
    assert r.mrr(np.arange(4), tables["factual"]) == 0.6875


@QUICK
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_layers_are_ordered(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    tables = {name: rng.normal(size=(6, 8)) for name in "abc"}
    found = r.layered_recall(np.arange(6), tables, k)
    low, high = min(found.layers.values()), max(found.layers.values())
    assert found.every <= low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= high <= found.some
    assert -1 <= found.consistency <= 1


def test_consistency_of_layers() -> None:
    table = np.random.default_rng(0).normal(size=(4, 5))
    assert r.layered_recall(np.arange(4), {"a": table, "b": table * 2 + 1}).consistency == pytest.approx(1)
    assert r.layered_recall(np.arange(4), {"a": table, "b": -table}).consistency == pytest.approx(-1)
    assert np.isnan(r.layered_recall(np.arange(4), {"a": table}).consistency)
    assert np.isnan(r.layered_recall(np.arange(4), {"a": table, "b": table * 0}).consistency)


@QUICK
@given(graded())
def test_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    grades, similarity = pair
    assert r.ndcg(grades, similarity) == pytest.approx(sk.ndcg_score(grades, similarity))
    assert r.ndcg(grades, similarity, k=2) == pytest.approx(sk.ndcg_score(grades, similarity, k=2))
    powers = 2**grades - 1
    assert r.ndcg(grades, similarity, exponential=True) == pytest.approx(sk.ndcg_score(powers, similarity))
    ranking = sk.label_ranking_average_precision_score(grades > 0, similarity)
    assert r.retrieval_map(grades, similarity) == pytest.approx(ranking)


@QUICK
@given(graded(), st.integers(1, 7))
def test_ranks_lie_between_their_extremes(pair: tuple[np.ndarray, np.ndarray], k: int) -> None:
    best, mean, worst = (r.retrieval_ranks(*pair, ties) for ties in ("best", "average", "worst"))
    assert (best >= 1).all()
    assert (worst <= pair[1].shape[1]).all()
    assert np.allclose(mean, (best + worst) / 2)
    assert r.recall_at(*pair, k, "worst") <= r.recall_at(*pair, k) <= r.recall_at(*pair, k, "best")
    assert r.recall_at(*pair, k) <= r.recall_at(*pair, k + 1)
    order = np.random.default_rng(k).permutation(pair[1].shape[1])
    moved = pair[0][:, order], pair[1][:, order]
    assert r.mrr(*moved) == pytest.approx(r.mrr(*pair))
    assert r.retrieval_map(*moved) == pytest.approx(r.retrieval_map(*pair))
    assert r.ndcg(moved[0], 3 * moved[1] - 1) == pytest.approx(r.ndcg(*pair))


def test_fusion() -> None:
    first, second = np.array([[0.9, 0.1, 0.0]]), np.array([[0.0, 0.2, 0.1]])
    assert r.fuse_similarities([first, second]).tolist() == [pytest.approx([0.45, 0.15, 0.05])]
    assert r.fuse_similarities([first, second], [0, 1]).tolist() == second.tolist()
    expected = [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]
    assert r.fuse_ranks([first, second])[0] == pytest.approx(expected)
    assert r.fuse_ranks([first], constant=0)[0] == pytest.approx([1, 1 / 2, 1 / 3])
    assert r.fuse_ranks([np.zeros((1, 3))], constant=0)[0] == pytest.approx([0.5] * 3)


def test_intervals_resample_queries() -> None:
    rng = np.random.default_rng(1)
    table = np.eye(60) + rng.normal(0, 0.5, (60, 60))
    for metric in (r.recall_at, r.mrr, r.mean_rank, r.retrieval_map, r.ndcg):
        found = interval(metric, np.arange(60), table, draws=200)
        assert found.low < found.value == metric(np.arange(60), table) < found.high
    rows = interval(r.median_rank, np.arange(60), table, draws=100)
    assert rows.low <= rows.value <= rows.high


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="query 1 has no relevant item"):
        r.mrr([[0, 1], [0, 0]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        r.mrr([0, 2], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="negative grade"):
        r.ndcg([[0, -1, 2]], np.zeros((1, 3)))
    with pytest.raises(ValueError, match="k must be"):
        r.recall_at([0], np.zeros((1, 3)), k=0)
    with pytest.raises(ValueError, match="ties"):
        r.mrr([0], np.zeros((1, 3)), "random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="queries, gallery"):
        r.mrr([0], [1.0])
    with pytest.raises(ValueError, match="truth must be"):
        r.mrr(np.ones((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="NaN"):
        r.mrr([0], [[np.nan, 1]])
    with pytest.raises(ValueError, match="one shape"):
        r.fuse_ranks([np.zeros((1, 3)), np.zeros((2, 3))])
    with pytest.raises(ValueError, match="one weight per table"):
        r.fuse_similarities([np.zeros((1, 3))], [0.5, 0.5])
