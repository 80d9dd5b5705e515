"""Transcripts in plain text with times, in the shapes that services and people write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from affectus import media
from affectus.media.timed_text import timed_turns

SHAPES = {
    "times in brackets in front": "[00:00:01] Anna: I am glad.\n[00:01:05] Ben: Why so?\n[01:00:09] Anna: Well.\n",
    "bare times in front": "0:01 Anna: I am glad.\n1:05 Ben: Why so?\n1:00:09 Anna: Well.\n",
    "times and dashes": "(00:01) - Anna: I am glad.\n(01:05) – Ben: Why so?\n(1:00:09) – Anna: Well.\n",
    "tabs": "00:01\tAnna\tI am glad.\n01:05\tBen\tWhy so?\n1:00:09\tAnna\tWell.\n",
    "times behind the name": "Anna (00:01): I am glad.\nBen [1:05]: Why so?\nAnna (1:00:09): Well.\n",
    "a line of name and time": "Anna  0:01\nI am glad.\n\nBen  1:05\nWhy so?\n\nAnna  1:00:09\nWell.\n",
    "a line of time and name": "[0:01] Anna\nI am glad.\n\n[1:05] Ben:\nWhy so?\n\n[1:00:09] Anna\nWell.\n",
    "a comma between": "Anna, 00:00:01\nI am\nglad.\nBen, 00:01:05\nWhy so?\nAnna, 01:00:09\nWell.\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=list(SHAPES))
def test_every_shape_says_the_same(text: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    path.write_text(text, encoding="utf-8")
    found = [(turn.start, turn.speaker, turn.text) for turn in media.read_turns(path)]
    assert found == [(1.0, "Anna", "I am glad."), (65.0, "Ben", "Why so?"), (3609.0, "Anna", "Well.")]
    assert all(math.isnan(turn.end) for turn in media.read_turns(path))


def test_ends_and_unnamed_lines() -> None:
    turns = timed_turns("00:01 - 00:04 I am glad.\n00:04 --> 00:03 Why so?\n00:09.5 Speaker_01: Well.\n00:10 A: b\n")
    assert [(turn.start, turn.text) for turn in turns] == [
        (1, "I am glad."),
        (4, "Why so?"),
        (9.5, "Speaker_01: Well."),
        (10, "A: b"),
    ]
    assert turns[0].end == 4
    assert math.isnan(turns[1].end)
    assert {turn.speaker for turn in turns} == {""}


def test_a_title_above_is_kept_without_a_time_and_long_words_are_cut() -> None:
    long = "This is said at length. " * 40
    turns = timed_turns(f"Interview 3\nAnna  0:01\n{long}\nBen  0:30\nOk.\n")
    assert (turns[0].text, turns[0].speaker, turns[0].row) == ("Interview 3", "", 0)
    assert math.isnan(turns[0].start)
    assert {(turn.start, turn.speaker) for turn in turns[1:-1]} == {(1.0, "Anna")}
    assert " ".join(turn.text for turn in turns[1:-1]) == long.strip()
    assert (turns[-1].text, turns[-1].start, turns[-1].row) == ("Ok.", 30.0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "I woke at 7:30 and was glad.\nAt 8:15 the bus came.\n",
        "12:30 Lunch\n11:00 Breakfast\n",
        "Meet me at noon.\n12:30 is fine too.\n",
        "1:75 is no time\n2:80 is none\n",
        "The score was\n3:2 at first\nthen 4:3\n",
        "Genesis 1:1\n" + "In the beginning it was so.\n" * 9 + "Genesis 1:20\n",
    ],
)
def test_prose_with_times_in_it_is_no_transcript(text: str) -> None:
    assert timed_turns(text) == []
