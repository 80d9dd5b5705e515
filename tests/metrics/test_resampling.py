"""Units of a data set: drawing and swapping copies."""

from __future__ import annotations

import numpy as np
import pytest

from affectus.metrics import accuracy, mae
from affectus.metrics.resampling import Units, group_members, row_draws, units_of


def two_units(copies: list[int]) -> Units:
    """Systems whose value is the number of rows of the first kind, and of the second."""
    return Units((np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]])), np.array(copies), lambda sums: sums[..., 0])


@pytest.mark.parametrize("copies", [[1, 1], [2, 1], [3, 2], [60, 40]])
def test_a_resample_has_as_many_rows_as_the_data(copies: list[int]) -> None:
    units = two_units(copies)
    first, second = units.resampled(4000, np.random.default_rng(0))
    assert units.values() == copies
    assert (first + second == sum(copies)).all()
    share = copies[0] / sum(copies)
    assert first.mean() == pytest.approx(copies[0], rel=0.05)
    assert first.var() == pytest.approx(sum(copies) * share * (1 - share), rel=0.1)


@pytest.mark.parametrize("copies", [[1, 1], [60, 40]])
def test_a_swap_favours_neither_system(copies: list[int]) -> None:
    first, second = two_units(copies).swapped(4000, np.random.default_rng(0))
    assert (first + second == sum(copies)).all()
    assert first.mean() == pytest.approx(sum(copies) / 2, abs=4 * np.sqrt(sum(copies) / 4 / 4000))
    assert first.var() == pytest.approx(sum(copies) / 4, rel=0.1)


def test_equal_rows_are_one_unit() -> None:
    truth, prediction = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 0])
    units = units_of(accuracy, truth, [prediction], None, {})
    assert units is not None
    assert sorted(units.copies.tolist()) == [1, 2, 2]
    ratings = units_of(mae, truth, [prediction], None, {})
    assert ratings is not None
    assert ratings.copies.tolist() == [1] * 5
    assert units_of(lambda t, p: 0.0, truth, [prediction], None, {}) is None


def test_group_draws_keep_groups_together() -> None:
    groups = np.array([0, 1, 0, 2, 1, 1]), 3
    assert [rows.tolist() for rows in group_members(groups)] == [[0, 2], [1, 4, 5], [3]]
    for rows in row_draws(6, groups, 50, np.random.default_rng(0)):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4] == counts[5]
        assert counts[0] + counts[1] + counts[3] == 3
