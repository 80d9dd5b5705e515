"""Sentences from attributes."""

from __future__ import annotations

import pytest

from affectus.features.picture_sentences import describe, listed


@pytest.mark.parametrize(
    ("names", "told"), [("dog", "dog"), (["dog"], "dog"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(names: str | list[str], told: str) -> None:
    assert listed(names) == told


def test_unknown_attributes_are_not_told() -> None:
    empty = {"scene": "-1", "object": [], "brightness": None, "facial_expression": ""}
    assert describe(empty, "awe") == describe({}, "awe") == "Overall it evokes awe."


def test_everything_is_told_in_order() -> None:
    told = describe({"human_action": "running", "brightness": 0.4, "scene": "beach", "colorfulness": "0.7",
                     "object": ["boat", "dog"], "facial_expression": "happy"}, "excitement")  # fmt: skip
    places = [told.index(word) for word in ("beach", "boat and dog", "0.4", "0.7", "happy", "running", "excitement")]
    assert places == sorted(places)
    assert told.count(".") - told.count("0.") == 6


def test_polarity_takes_the_place_of_the_emotion() -> None:
    assert "positive" in describe({}, "contentment", sentiment=True)
    assert "negative" in describe({}, "fear", sentiment=True)
    assert "fear" not in describe({}, "fear", sentiment=True)
