"""Boxes: known overlaps, layouts, several targets and none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import boxes as b
from affectus.metrics import interval

QUICK = settings(max_examples=40, deadline=None)

box = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda row: np.array([row[0], row[1], row[0] + row[2], row[1] + row[3]], dtype=float)
)


def test_known_overlaps() -> None:
    assert b.box_iou([0, 0, 2, 2], [1, 1, 3, 3]) == pytest.approx(1 / 7)
    assert b.box_giou([0, 0, 2, 2], [1, 1, 3, 3]) == pytest.approx(1 / 7 - 2 / 9)
    assert b.box_iou([0, 0, 1, 1], [2, 0, 3, 1]) == 0
    assert b.box_giou([0, 0, 1, 1], [2, 0, 3, 1]) == pytest.approx(-1 / 3)
    assert b.box_giou([0, 0, 1, 1], [0, 0, 1, 1]) == 1
    assert b.box_iou([2, 2, 2, 2], [0, 0, 4, 4]) == b.box_iou([3, 3, 1, 1], [0, 0, 4, 4]) == 0


def test_layouts() -> None:
    expected = [2, 3, 6, 9]
    assert b.corners([2, 3, 4, 6], "xywh").tolist() == expected
    assert b.corners([4, 6, 4, 6], "cxcywh").tolist() == expected
    assert b.corners(expected).tolist() == expected
    with pytest.raises(ValueError, match="layout"):
        b.corners(expected, "yxyx")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="four numbers"):
        b.corners([1, 2, 3])


@QUICK
@given(box, box)
def test_overlap_properties(first: np.ndarray, second: np.ndarray) -> None:
    iou, giou = b.box_iou(first, second), b.box_giou(first, second)
    assert 0 <= iou <= 1
    assert -1 < giou <= iou
    assert iou == b.box_iou(second, first)
    assert giou == pytest.approx(b.box_giou(second * 2 + 3, first * 2 + 3))
    assert b.box_iou(first, first) == 1
    # Counting unit cells gives the same, since all corners are whole.
    cells = [np.zeros((45, 45), dtype=bool) for _ in range(2)]
    for cell, (x1, y1, x2, y2) in zip(cells, (first.astype(int), second.astype(int)), strict=True):
        cell[y1:y2, x1:x2] = True
    assert iou == pytest.approx((cells[0] & cells[1]).sum() / (cells[0] | cells[1]).sum())


def test_precision_at_half() -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], dtype=float)
    guess = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4]], dtype=float)
    assert b.box_precision(truth, guess) == pytest.approx(2 / 3)
    assert b.box_precision(truth, guess, iou=0.7) == pytest.approx(1 / 3)
    found = interval(b.box_precision, np.tile(truth, (10, 1)), np.tile(guess, (10, 1)), draws=100)
    assert found.low < found.value < found.high
    with pytest.raises(ValueError, match="row 1 is a box without area"):
        b.box_precision([[0, 0, 1, 1], [2, 2, 2, 3]], [[0, 0, 1, 1], [0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r"both be \(N, 4\)"):
        b.box_precision([0, 0, 1, 1], [0, 0, 1, 1])


def test_several_targets_and_none() -> None:
    two = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], dtype=float)
    nothing = np.zeros((0, 4))
    truth = [two, two, two, nothing, nothing]
    guess = [two[::-1], two[:1], np.vstack([two, two[:1] + 50]), nothing, two[:1]]
    assert b.perfect_f1_share(truth, guess) == pytest.approx(2 / 5)
    assert b.no_target_accuracy(truth, guess) == 0.5
    assert interval(b.perfect_f1_share, truth, guess, draws=50).value == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="every expression has a target"):
        b.no_target_accuracy([two], [two])
    with pytest.raises(ValueError, match="2 rows"):
        b.perfect_f1_share([two, two], [two])


def test_every_box_is_matched_once() -> None:
    one = np.array([[0, 0, 10, 10]], dtype=float)
    assert b.matched_boxes(one, np.vstack([one, one])) == 1
    assert b.matched_boxes(one, np.zeros((0, 4))) == b.matched_boxes([], one) == 0
    assert b.matched_boxes(one, one + 100) == 0


def test_generalised_overlap_is_stricter() -> None:
    truth, guess = np.array([[0, 0, 10, 10]]), np.array([[2, 1.5, 12, 11.5]])
    assert b.box_iou(truth, guess)[0] > 0.5 > b.box_giou(truth, guess)[0]
    assert b.perfect_f1_share([truth], [guess]) == 1
    assert b.perfect_f1_share([truth], [guess], measure="giou") == 0
    with pytest.raises(ValueError, match="measure"):
        b.matched_boxes(truth, guess, measure="diou")  # type: ignore[arg-type]
