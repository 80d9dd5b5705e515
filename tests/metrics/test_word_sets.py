"""Word lists scored without wheels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.metrics import interval
from affectus.metrics import word_sets as w

QUICK = settings(max_examples=40, deadline=None)

words = st.lists(st.sampled_from(["happy", "joy", "sad", "angry"]), min_size=1, max_size=4)
rows = st.lists(st.tuples(words, words), min_size=1, max_size=10)


def test_nine_classes_of_a_conflict_set() -> None:
    truth = [["happy"], ["angry", "worry"], ["sad"]]
    guess = [["happiness"], ["anger"], ["sad", "fear", "neutral"]]
    synonyms = {"happiness": "happy", "anger": "angry", "worried": "worry"}
    assert w.word_precision(truth, guess, synonyms) == pytest.approx(0.7778, abs=5e-5)
    assert w.word_recall(truth, guess, synonyms) == pytest.approx(0.8333, abs=5e-5)
    assert w.word_overlap(truth, guess, synonyms) == pytest.approx(0.8056, abs=5e-5)


def test_groups_of_every_row() -> None:
    truth, guess = ["['joyful', 'happy']", "['sad']"], ["[cheerful, angry]", "[gloomy]"]
    alike = [[["happy", "joyful", "cheerful"], ["angry"]], [["sad"], ["gloomy"]]]
    assert w.word_precision(truth, guess, alike=alike) == pytest.approx((1 / 2 + 0) / 2)
    assert w.word_recall(truth, guess, alike=alike) == pytest.approx((1 + 0) / 2)
    # A word that several groups hold belongs to the first.
    assert w.word_recall([["a"]], [["b"]], alike=[[["a", "x"], ["b", "a"]]]) == 0


@QUICK
@given(rows)
def test_range_and_swap(pairs: list[tuple[list[str], list[str]]]) -> None:
    truth, guess = map(list, zip(*pairs, strict=True))
    assert 0 <= w.word_overlap(truth, guess) <= 1
    assert w.word_overlap(truth, truth) == 1
    assert w.word_precision(truth, guess) == pytest.approx(w.word_recall(guess, truth))
    renamed = {"joy": "happy"}
    assert w.word_recall(truth, guess, renamed) == w.word_recall(
        truth, guess, alike=[[["happy", "joy"]] for _ in truth]
    )


def test_rows_without_words() -> None:
    assert w.word_overlap([["sad"], []], [[], ["sad"]]) == 0
    assert w.word_recall([["sad"], []], [["sad"], ["sad"]]) == 1
    with pytest.raises(ValueError, match="no row has a true word"):
        w.word_recall([[], ""], [["sad"], ["sad"]])


def test_intervals() -> None:
    truth, guess = [["a"], ["c"]] * 20, [["b"], ["d"]] * 20
    for options in ({"synonyms": {"a": "b"}}, {"alike": [[["a", "b"]], [["e", "d"]]] * 20}):
        found = interval(w.word_overlap, truth, guess, draws=100, **options)
        assert found.value == 0.5
        assert found.low < 0.5 < found.high
    with pytest.raises(ValueError, match="no row has a true word"):
        interval(w.word_overlap, [[], []], guess[:2], draws=10)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="empty"):
        w.word_overlap([], [])
    with pytest.raises(ValueError, match="1 rows but prediction has 2"):
        w.word_overlap([["sad"]], [["sad"], []])
    with pytest.raises(ValueError, match="alike has 2 rows"):
        w.word_overlap([["sad"]], [["sad"]], alike=[[], []])
