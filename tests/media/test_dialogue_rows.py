"""Tables as exports write them: ids repeated or missing, interleaved conversations, dates, formatted messages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from affectus import media
from affectus.media.dialogue_rows import Row, parse_date, settle
from affectus.types import Turn


def table(tmp_path: Path, text: str, name: str = "chat.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("speaker", ["speaker", "Name", "author", "user", "from", "sender_name", "Nickname"])
@pytest.mark.parametrize("text", ["text", "Utterance", "message"])
@pytest.mark.parametrize("dialogue", ["Dialogue_ID", "conversation", "thread_id"])
def test_columns_of_usual_exports(tmp_path: Path, speaker: str, text: str, dialogue: str) -> None:
    path = table(tmp_path, f"{dialogue},{speaker},{text}\n7,Anna,hi\n7,Ben,hello\n8,Anna,bye\n")
    talks = media.read_conversations(path)
    assert [(c.id, [(t.speaker, t.text) for t in c.turns]) for c in talks] == [
        ("7", [("Anna", "hi"), ("Ben", "hello")]),
        ("8", [("Anna", "bye")]),
    ]


def test_interleaved_conversations_are_put_together(tmp_path: Path) -> None:
    path = table(tmp_path, "thread,user,text\na,X,1st\nb,Y,other\na,Z,2nd\nb,Y,more\n")
    assert [(c.id, [t.text for t in c.turns]) for c in media.read_conversations(path)] == [
        ("a", ["1st", "2nd"]),
        ("b", ["other", "more"]),
    ]


def test_a_conversation_id_that_is_used_twice_gives_two_conversations(tmp_path: Path) -> None:
    rows = "0,0,A,one\n0,1,B,two\n1,0,A,three\n0,0,C,four\n0,1,D,five\n"
    notes: list[str] = []
    path = table(tmp_path, f"Dialogue_ID,Utterance_ID,Speaker,Utterance\n{rows}")
    talks = media.read_conversations(path, notes)
    assert [(c.id, [t.text for t in c.turns]) for c in talks] == [
        ("0", ["one", "two"]),
        ("1", ["three"]),
        ("0 (2)", ["four", "five"]),
    ]
    assert any("begins 2 times" in note for note in notes)


def test_doubled_rows_count_once_and_repeated_ids_are_told(tmp_path: Path) -> None:
    rows = "0,0,A,one\n0,1,B,two\n0,1,B,two\n0,1,B,other\n0,2,A,ok\n0,3,A,ok\n"
    notes: list[str] = []
    path = table(tmp_path, f"dialogue,utterance_id,speaker,text\n{rows}")
    (talk,) = media.read_conversations(path, notes)
    assert [t.text for t in talk.turns] == ["one", "two", "other", "ok", "ok"]
    assert any("one row repeats a turn" in note for note in notes)
    assert any("one utterance id is used twice" in note for note in notes)


def test_a_blank_id_belongs_to_the_row_above(tmp_path: Path) -> None:
    notes: list[str] = []
    path = table(tmp_path, "dialogue,speaker,text\n5,A,one\n,B,two\n6,A,three\n")
    talks = media.read_conversations(path, notes)
    assert [(c.id, len(c.turns)) for c in talks] == [("5", 2), ("6", 1)]
    assert any("row above" in note for note in notes)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (("2024-05-01T10:00:00Z", "2024-05-01 10:00:30+00:00"), 30.0),
        (("1714557600", "1714557612.5"), 12.5),
        (("1714557600000", "1714557602500"), 2.5),
    ],
)
def test_dates_count_from_the_first(tmp_path: Path, times: tuple[str, str], seconds: float) -> None:
    notes: list[str] = []
    path = table(tmp_path, f"date,name,text\n{times[0]},A,hi\n{times[1]},B,ho\n")
    turns = media.read_turns(path, notes)
    assert [turn.start for turn in turns] == [0.0, pytest.approx(seconds)]
    assert any("dates" in note for note in notes)


def test_an_end_before_its_start_is_unknown(tmp_path: Path) -> None:
    notes: list[str] = []
    (turn,) = media.read_turns(table(tmp_path, "text,start,end\nhi,5,3\n"), notes)
    assert turn.start == 5.0
    assert math.isnan(turn.end)
    assert any("before the start" in note for note in notes)


def test_formatted_messages_are_joined(tmp_path: Path) -> None:
    parts = ["See ", {"type": "link", "text": "this"}, {"type": "image"}, "!"]
    path = table(
        tmp_path, json.dumps({"messages": [{"from": "A", "text": parts}, {"from": "B", "text": ""}]}), "c.json"
    )
    (turn,) = media.read_turns(path)
    assert (turn.speaker, turn.text) == ("A", "See this!")


def test_pieces_of_one_long_row_are_no_doubles() -> None:
    rows = [Row(Turn("part one", row=0), "a", "0"), Row(Turn("part two", row=0), "a", "0")]
    assert len(settle(rows, [])) == 2


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError):
        parse_date("2024-13-01")
