"""Gap between writer and readers: rules, agreement, rounded means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectus.metrics import GapRule, gap, gap_agreement, rounded_mean_mismatches

WRITER, READERS = [3.0], [[1.0, 0.0, 0.0]]  # the example in the documentation of WRIME: a flat tyre, anger


def test_the_documented_post_hides_anger_under_all_rules_but_unseen() -> None:
    assert GapRule("hidden").label(WRITER, READERS).tolist() == [1]
    assert GapRule("gap").label(WRITER, READERS).tolist() == [1]
    assert GapRule("unseen").label(WRITER, READERS).tolist() == [0]
    assert GapRule("misread").label(WRITER, READERS).tolist() == [0]
    assert gap(WRITER, READERS)[0] == pytest.approx(2.6667, abs=1e-4)


def test_thirds_do_not_fall_on_the_wrong_side() -> None:
    readers = [[1.0, 1.0, 1.0], [2.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]
    assert GapRule("hidden").label([3, 3, 3], readers).tolist() == [0, 0, 1]
    assert GapRule("misread", readers=1 / 3).label([0], [[1 / 3, 1 / 3, 1 / 3]]).tolist() == [1]


def test_contrast_leaves_out_what_is_neither() -> None:
    rule = GapRule(contrast=True)
    assert rule.label([3, 0, 1, 0], [[0, 0, 0], [0, 0, 0], [0, 0, 0], [2, 2, 2]]).tolist() == [1, 0, -1, -1]
    assert "against" in rule.name


def test_agreement_of_identical_and_of_opposite_sides() -> None:
    writer = np.array([0, 1, 2, 3.0])
    same = gap_agreement(writer, np.stack([writer] * 3, 1))
    assert same["mean_gap"] == 0
    assert same["r"] == pytest.approx(1)
    assert same["kappa"] == pytest.approx(1)
    opposite = gap_agreement(writer, np.stack([3 - writer] * 3, 1))
    assert opposite["r"] == pytest.approx(-1)
    assert opposite["kappa_per_reader"] == pytest.approx([-1] * 3)


def test_rounded_means_round_halves_up() -> None:
    assert rounded_mean_mismatches([[0, 1, 0], [1, 2, 2]], [0, 2]) == 0
    assert rounded_mean_mismatches([[0, 1], [1, 1]], [0, 1]) == 1


@settings(deadline=None)
@given(arrays(float, 12, elements=st.integers(0, 3)), arrays(float, (12, 3), elements=st.integers(0, 3)))
def test_hidden_and_misread_exclude_each_other(writer: np.ndarray, readers: np.ndarray) -> None:
    hidden, misread = GapRule("hidden").label(writer, readers), GapRule("misread").label(writer, readers)
    assert not (hidden & misread).any()
    assert (gap(writer, readers)[hidden == 1] > 1).all()


@pytest.mark.parametrize("readers", [[1.0], [[1.0], [2.0]], [[np.nan]]])
def test_wrong_shapes_and_numbers_are_refused(readers: list) -> None:
    with pytest.raises(ValueError):
        GapRule().label([1.0], readers)
