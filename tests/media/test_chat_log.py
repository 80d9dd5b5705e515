"""Chats exported as plain text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from affectus import media
from affectus.media.chat_log import chat_turns


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        ("12/05/2023, 21:04 - Anna: Hello", "12/05/2023, 21:06 - Ben: Hi: you", 120.0),
        ("[12.05.23, 21:04:11] Anna: Hello", "[13.05.23, 21:04:11] Ben: Hi: you", 86400.0),
        ("5/31/23, 9:41 PM - Anna: Hello", "6/1/23, 9:41 PM - Ben: Hi: you", 86400.0),
        ("\u200e[31/12/2023, 11:59:30\u202fPM] Anna: Hello", "[01/01/2024, 12:00:00\u202fAM] Ben: Hi: you", 30.0),
        ("2023-05-12 21:04 - Anna: Hello", "2023-05-12 21:05 - Ben: Hi: you", 60.0),
    ],
)
def test_usual_exports(first: str, second: str, seconds: float) -> None:
    turns = chat_turns(f"{first}\n{second}\n")
    assert [(t.speaker, t.text, t.start, t.row) for t in turns] == [
        ("Anna", "Hello", 0.0, 0),
        ("Ben", "Hi: you", seconds, 1),
    ]


def test_messages_run_over_lines_and_notices_are_left_out() -> None:
    text = (
        "12/05/2023, 21:04 - Messages are end-to-end encrypted\n12/05/2023, 21:04 - Anna: One\ntwo\n\nthree\n"
        "12/05/2023, 21:05 - Ben: <Media omitted>\n12/05/2023, 21:06 - Ben: ok\n"
    )
    assert [(t.speaker, t.text, t.row) for t in chat_turns(text)] == [("Anna", "One two three", 1), ("Ben", "ok", 6)]


def test_times_that_run_back_are_unknown() -> None:
    text = "1/1/2023, 10:00 - A: x\n1/1/2022, 10:00 - B: y\n"
    assert all(math.isnan(turn.start) for turn in chat_turns(text))


@pytest.mark.parametrize(
    "text", ["", "I was born on 12/05/2023, at home.", "Anna: hi\nBen: ho\n", "12/05/2023, 21:04 - Anna: just one"]
)
def test_other_texts_are_none(text: str) -> None:
    assert chat_turns(text) == []


def test_long_messages_are_split_and_read_as_turns(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(f"1/1/23, 10:00 - A: {'word ' * 200}\n1/1/23, 10:01 - B: hi\n")
    turns = media.read_turns(path)
    assert {t.row for t in turns if t.speaker == "A"} == {0}
    assert max(len(t.text) for t in turns) <= 400
    assert turns[-1].text == "hi"
