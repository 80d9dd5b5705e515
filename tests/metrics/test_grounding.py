"""Moments in time: the real Charades-STA spans, suppression, degenerate spans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import grounding as g
from affectus.metrics import interval

QUICK = settings(max_examples=40, deadline=None)

spans = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: (pair[0] / 2, (pair[0] + pair[1]) / 2))
many = st.lists(spans, min_size=1, max_size=12)


def test_known_overlaps() -> None:
    assert g.span_iou([0, 10], [5, 15]) == pytest.approx(1 / 3)
    assert g.span_iou([[0, 10], [0, 4]], [2, 4]).tolist() == pytest.approx([0.2, 0.5])
    assert g.span_iou([0, 1], [1, 2]) == g.span_iou([0, 1], [3, 4]) == g.span_iou([2, 2], [2, 2]) == 0
    assert g.span_iou([0, 10], [6, 4]) == 0


def test_recall_looks_at_the_first_spans() -> None:
    truth = [[0, 10], [20, 30]]
    guess = [[[40, 50], [0, 9]], [[20, 26]]]
    assert g.grounding_recall(truth, guess, n=1, iou=0.5) == 0.5
    assert g.grounding_recall(truth, guess, n=5, iou=0.5) == 1
    assert g.grounding_recall(truth, guess, n=5, iou=0.9) == 0.5
    assert g.mean_iou(truth, guess) == pytest.approx(0.3)
    table = g.recall_table(truth, guess)
    assert list(table) == ["R1@0.3", "R1@0.5", "R1@0.7", "R5@0.3", "R5@0.5", "R5@0.7", "mIoU"]
    assert table["R5@0.7"] == 0.5


@pytest.mark.corpus
def test_whole_video_on_charades_sta(shared_data: Path) -> None:
    record = json.loads((shared_data / "charades_sta" / "charades_test.json").read_text(encoding="utf-8"))
    rows = [(span, video["duration"]) for video in record.values() for span in video["timestamps"]]
    # A span that starts after the end of its clip, and one without length, are in the published file.
    rows = [((start, end), length) for (start, end), length in rows if end > start and end <= length]
    truth = np.array([span for span, _ in rows])
    lengths = np.array([length for _, length in rows])
    assert len(rows) > 3600
    whole = np.stack([np.zeros(len(rows)), lengths], axis=1)
    for iou in (0.3, 0.5, 0.7):
        direct = np.mean([(end - start) / length >= iou for (start, end), length in rows])
        assert g.grounding_recall(truth, whole, iou=iou) == pytest.approx(direct)
    assert g.mean_iou(truth, whole) == pytest.approx(((truth[:, 1] - truth[:, 0]) / lengths).mean())
    assert set(g.recall_table(truth, truth).values()) == {1.0}


@QUICK
@given(many, st.randoms(use_true_random=False))
def test_overlap_is_symmetric_and_free_of_units(rows: list[tuple[float, float]], random: object) -> None:
    first = np.array(rows)
    second = first[np.random.default_rng(len(rows)).permutation(len(rows))]
    found = g.span_iou(first, second)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, g.span_iou(second, first))
    assert np.allclose(found, g.span_iou(first * 3 + 7, second * 3 + 7))
    assert (g.span_iou(first, first) == 1).all()


@QUICK
@given(many)
def test_suppression_leaves_only_spans_apart(rows: list[tuple[float, float]]) -> None:
    given_spans = np.array(rows)
    scores = np.random.default_rng(len(rows)).random(len(rows))
    kept = g.suppress_spans(given_spans, scores, iou=0.5)
    assert kept[0] == np.argmax(scores)
    assert (np.diff(scores[kept]) <= 0).all()
    overlaps = g.span_iou(given_spans[kept][:, None], given_spans[kept])
    assert (overlaps[~np.eye(len(kept), dtype=bool)] <= 0.5).all()
    dropped = set(range(len(rows))) - set(kept.tolist())
    for number in dropped:
        better = kept[scores[kept] >= scores[number]]
        assert g.span_iou(given_spans[number], given_spans[better]).max() > 0.5


def test_suppression_drops_reversed_spans() -> None:
    found = g.suppress_spans([[5, 4], [0, 10], [0, 9], [20, 30]], [0.9, 0.8, 0.7, 0.6])
    assert found.tolist() == [1, 3]
    assert g.suppress_spans([[0, 10], [20, 30], [40, 50]], [1, 2, 3], keep=2).tolist() == [2, 1]
    assert g.suppress_spans([[3, 3]], [1.0]).tolist() == []


def test_lists_of_unequal_length_and_intervals() -> None:
    truth = np.array([[0, 10], [20, 30], [5, 6]] * 10)
    guess = [[[0, 10]], [[0, 1], [20, 29]], []] * 10
    assert g.ranked_spans(guess).shape == (30, 2, 2)
    assert g.grounding_recall(truth, guess, n=2) == pytest.approx(2 / 3)
    found = interval(g.grounding_recall, truth, guess, n=2, draws=100)
    assert found.low < found.value < found.high
    assert interval(g.mean_iou, truth, truth + 1.0, draws=50).value == g.mean_iou(truth, truth + 1.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="truth row 1 is no span: 3 to 3"):
        g.mean_iou([[0, 1], [3, 3]], [[0, 1], [0, 1]])
    with pytest.raises(ValueError, match="row 0 must be spans"):
        g.mean_iou([[0, 1]], [[0, 1, 2]])
    with pytest.raises(ValueError, match="row 0 holds a value"):
        g.mean_iou([[0, 1]], [[0, np.nan]])
    with pytest.raises(ValueError, match="2 rows but prediction has 1"):
        g.mean_iou([[0, 1], [0, 1]], [[0, 1]])
    with pytest.raises(ValueError, match="iou must lie"):
        g.grounding_recall([[0, 1]], [[0, 1]], iou=0)
    with pytest.raises(ValueError, match="n must be"):
        g.grounding_recall([[0, 1]], [[0, 1]], n=0)
    with pytest.raises(ValueError, match="empty"):
        g.ranked_spans([])
