"""Sequences of emotions: counts by hand, a simulated chain, patterns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import sequences as s

QUICK = settings(max_examples=40, deadline=None)

LABELS = list("FFAFFSAA")
MOVIES = [1] * 6 + [2] * 2
POSITIVE = {"amusement": 1, "awe": 1, "excitement": 1, "anger": -1, "sadness": -1, "fear": -1}
HIGH = {"excitement", "anger", "fear"}

series = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=2, max_size=30)


def test_steps_never_cross_a_movie() -> None:
    counts, states = s.transition_counts(LABELS, MOVIES)
    assert states == ["A", "F", "S"]
    matrix = s.transition_matrix(counts)
    assert matrix[1].tolist() == [0.25, 0.5, 0.25]
    assert matrix[0].tolist() == [0.5, 0.5, 0]
    assert np.isnan(matrix[2]).all()
    assert counts.sum() == 6
    assert s.transition_counts(LABELS)[0][2].tolist() == [1, 0, 0]
    assert s.persistence(counts)[:2].tolist() == [0.5, 0.5]


def test_smoothing_and_given_states() -> None:
    counts, states = s.transition_counts(LABELS, MOVIES, states=["S", "A", "F", "joy"])
    assert states == ["S", "A", "F", "joy"]
    smooth = s.transition_matrix(counts, 1)
    assert np.allclose(smooth.sum(axis=1), 1)
    assert smooth[0].tolist() == smooth[3].tolist() == [0.25] * 4
    with pytest.raises(ValueError, match="'F', which is none"):
        s.transition_counts(LABELS, states=["A", "S"])


def test_a_simulated_chain_is_recovered() -> None:
    matrix = np.array([[0.8, 0.15, 0.05], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6]])
    rng = np.random.default_rng(0)
    draws, state, labels = rng.random(20_000), 0, []
    for draw in draws:
        state = int(np.searchsorted(matrix[state].cumsum(), draw))
        labels.append(state)
    found = s.transition_matrix(s.transition_counts(labels)[0])
    assert np.abs(found - matrix).max() < 0.02
    shares = s.stationary(matrix)
    assert np.allclose(shares @ matrix, shares)
    assert np.abs(np.bincount(labels) / len(labels) - shares).max() < 0.02
    stats = s.sequence_statistics(labels, valence={0: "+", 1: "-", 2: "-"})
    stay = shares @ np.diag(matrix)
    cross = shares[0] * (1 - matrix[0, 0]) + shares[1] * matrix[1, 0] + shares[2] * matrix[2, 0]
    found_shares = stats.persistence, stats.cross_valence, stats.same_valence
    assert found_shares == pytest.approx((stay, cross, 1 - stay - cross), abs=0.02)
    assert stats.mean_run == pytest.approx(1 / (1 - stay), abs=0.1)


def test_stationary_of_special_chains() -> None:
    assert s.stationary([[0, 1], [1, 0]]).tolist() == pytest.approx([0.5, 0.5])
    assert s.stationary([[1, 0], [0.5, 0.5]]).tolist() == pytest.approx([1, 0])
    with pytest.raises(ValueError, match="falls into parts"):
        s.stationary(np.eye(2))
    with pytest.raises(ValueError, match="sum to one"):
        s.stationary([[1, 1], [0, 1]])


def test_entropy() -> None:
    assert s.transition_entropy([[0, 1], [1, 0]]) == 0
    assert s.transition_entropy(np.full((4, 4), 0.25)) == pytest.approx(2)
    assert s.transition_entropy([[1, 0], [0.5, 0.5]], weights=[0, 1]) == pytest.approx(1)


def test_patterns() -> None:
    labels = ["awe", "awe", "amusement", "excitement", "anger", "sadness", "fear"]
    arousal = {label: label in HIGH for label in POSITIVE}
    stats = s.sequence_statistics(labels, valence=POSITIVE, arousal=arousal)
    # hold, drift, leap (arousal), leap (valence), leap (arousal), leap (arousal)
    assert (stats.hold, stats.drift, stats.leap) == pytest.approx((1 / 6, 1 / 6, 4 / 6))
    assert (stats.same_valence, stats.cross_valence, stats.steps) == (pytest.approx(4 / 6), pytest.approx(1 / 6), 6)
    bare = s.sequence_statistics(labels)
    assert (bare.persistence, np.isnan(bare.drift), np.isnan(bare.cross_valence)) == (pytest.approx(1 / 6), True, True)


@QUICK
@given(series)
def test_shares_and_runs_add_up(rows: list[tuple[str, int]]) -> None:
    labels, groups = [row[0] for row in rows], [row[1] for row in rows]
    found = s.runs(labels, groups)
    assert found.length.sum() == len(rows)
    counts, _ = s.transition_counts(labels, groups)
    assert counts.sum() == len(rows) - len(set(groups))
    assert len(found.label) == len(set(groups)) + counts.sum() - np.trace(counts)
    if counts.sum() == 0:
        with pytest.raises(ValueError, match="no step"):
            s.sequence_statistics(labels, groups)
        return
    stats = s.sequence_statistics(labels, groups, dict(zip("abc", (1, 1, 0), strict=True)), {"a": 0, "b": 1, "c": 1})
    assert stats.hold + stats.drift + stats.leap == pytest.approx(1)
    assert stats.persistence + stats.same_valence + stats.cross_valence == pytest.approx(1)
    assert stats.persistence == pytest.approx(np.trace(counts) / counts.sum())


def test_runs_in_order() -> None:
    found = s.runs(LABELS, MOVIES)
    assert found.label.tolist() == list("FAFSA")
    assert found.length.tolist() == [2, 1, 2, 1, 2]
    assert found.start.tolist() == [0, 2, 3, 5, 6]
    mixed = s.runs(["a", "b", "a", "b"], [0, 1, 0, 1])
    assert mixed.length.tolist() == [2, 2]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="empty"):
        s.transition_counts([])
    with pytest.raises(ValueError, match="one series"):
        s.runs([["a", "b"]])
    with pytest.raises(ValueError, match="no step"):
        s.sequence_statistics(["a"])
    with pytest.raises(ValueError, match="valence says nothing about 'b'"):
        s.sequence_statistics(["a", "b"], valence={"a": 1})
    with pytest.raises(ValueError, match=r"\(C, C\)"):
        s.transition_matrix([[1, 2]])
    with pytest.raises(ValueError, match="negative"):
        s.transition_matrix([[1, -2], [0, 1]])
    with pytest.raises(ValueError, match="smoothing"):
        s.transition_matrix([[1, 2], [0, 1]], -0.5)
