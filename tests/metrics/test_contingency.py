"""Contingency tables: closed forms, bounds, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectus.metrics import class_given_value, cramers_v, lift, majority_accuracy, mutual_information, pair_counts

TABLES = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 20)).filter(
    lambda table: table.sum() > 0
)


def test_independence_tells_nothing() -> None:
    table = np.outer([1, 2, 3], [4, 6])
    assert mutual_information(table) == pytest.approx(0, abs=1e-12)
    assert cramers_v(table) == pytest.approx(0, abs=1e-7)
    np.testing.assert_allclose(lift(table), 1)
    assert majority_accuracy(table) == (0.6, 0.6)


def test_a_value_that_tells_the_class() -> None:
    table = np.diag([5, 5, 5, 5])
    assert mutual_information(table) == pytest.approx(2)
    assert cramers_v(table) == pytest.approx(1)
    assert majority_accuracy(table) == (1.0, 0.25)
    np.testing.assert_allclose(lift(table), 4 * np.eye(4))


def test_counting_pairs() -> None:
    table, values, classes = pair_counts(["a", "b", "a", None, "a"], ["x", "x", "y", "x", "y"])
    assert (values, classes) == (["a", "b"], ["x", "y"])
    assert table.tolist() == [[1, 2], [1, 0]]
    np.testing.assert_allclose(class_given_value(table), [[1 / 3, 2 / 3], [1, 0]])
    # chi² = 4 · (1 · 0 - 2 · 1)² / (3 · 1 · 2 · 2) = 4/3
    assert cramers_v(table) == pytest.approx(np.sqrt(4 / 3 / 4))


@given(TABLES)
def test_bounds(table: np.ndarray) -> None:
    prior = table.sum(0) / table.sum()
    entropy = -(prior[prior > 0] * np.log2(prior[prior > 0])).sum()
    assert 0 <= mutual_information(table) <= entropy + 1e-9
    assert 0 <= cramers_v(table) <= 1 + 1e-9
    with_value, without = majority_accuracy(table)
    assert with_value >= without - 1e-12
    assert mutual_information(table) == pytest.approx(mutual_information(table.T), abs=1e-9)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="length"):
        pair_counts([1], [1, 2])
    with pytest.raises(ValueError, match="no pair"):
        pair_counts([None], ["x"])
    for wrong in ([[-1, 2]], [[0, 0]], [1, 2], [[np.nan, 1]]):
        with pytest.raises(ValueError, match="non-negative"):
            lift(wrong)
