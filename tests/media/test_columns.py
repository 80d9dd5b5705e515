"""Tables as they come out of spreadsheets and messengers: which column is what, said or guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affectus import media
from affectus.errors import MediaError
from affectus.types import Timeline

TABLE = "nr;wer;was;sekunde_ms;text\n1;Anna;I am glad;1500;x\n2;Ben;I am sad;2500;y\n"


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def said(path: Path, **columns: str) -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in media.read_turns(path, columns=columns)]


def test_columns_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TABLE)
    assert said(path) == [("", "x"), ("", "y")]
    assert said(path, text="was", speaker="wer") == [("Anna", "I am glad"), ("Ben", "I am sad")]
    turns = media.read_turns(path, columns={"text": "was", "start": "sekunde_ms"})
    assert [turn.start for turn in turns] == [1.5, 2.5]
    (first, second) = media.read_conversations(path, columns={"conversation": "nr", "text": "was"})
    assert (first.id, second.turns[0].text) == ("1", "I am sad")


def test_a_look_alike_can_be_ruled_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "name,text\nhappiness,I am glad\n")
    assert said(path) == [("happiness", "I am glad")]
    assert said(path, speaker="") == [("", "I am glad")]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no column 'Was', only: nr, wer, was, sekunde_ms, text"):
        said(write(tmp_path / "a.csv", TABLE), text="Was")


@pytest.mark.parametrize("mark", ["sep=;\r\n", '"sep=;"\n', "\n sep=;\n"])
def test_the_separator_that_excel_writes_down(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "a.csv", mark + "speaker;text\nAnna;Well, yes\n", "utf-8-sig")
    assert said(path) == [("Anna", "Well, yes")]


def test_utf16_as_excel_exports_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Speaker\tMessage\r\nJörg\tI am glad, really\r\n", "utf-16")
    assert said(path) == [("Jörg", "I am glad, really")]


def test_objects_in_place_of_cells(tmp_path: Path) -> None:
    rows = [
        {"user": {"id": 7, "name": "Anna"}, "message": {"content": "I am glad"}},
        {"user": {"id": 8}, "message": {"body": {"text": "Why?"}}},
        {"user": {"display_name": "Ben"}, "message": [{"type": "text", "text": "So "}, "there"]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert said(path) == [("Anna", "I am glad"), ("8", "Why?"), ("Ben", "So there")]


def test_a_field_within_a_field_can_be_said(tmp_path: Path) -> None:
    rows = [{"meta": {"who": "Anna"}, "data": {"said": "I am glad"}}, {"meta": 3, "data": {"said": "ok"}}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert said(path, text="data.said", speaker="meta.who") == [("Anna", "I am glad"), ("", "ok")]
    with pytest.raises(MediaError, match=r"row 0 has no text, only: meta, data \(say which it is: --columns"):
        said(path)


def test_a_file_without_a_header_has_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "I am glad\t17\tAnna\nI am sad\t25\tBen\n")
    with pytest.raises(MediaError, match="no column of texts among: I am glad, 17, Anna"):
        said(path)
    assert said(path, text="1", speaker="3") == [("Anna", "I am glad"), ("Ben", "I am sad")]
    with pytest.raises(MediaError, match="row 0 has no text, only: 1, 2, 3"):
        said(path, text="4")
    years = write(tmp_path / "b.csv", "2023,2024\nI am glad,I am sad\n")
    assert said(years, text="2024") == [("", "I am sad")]


def test_several_speakers_of_one_turn_are_named(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", "text,speakers\nHey!,\"['Joey', 'Ross']\"\nHi,\"['Monica Geller']\"\nHo,[x]\n")
    assert said(table, speaker="speakers") == [("Joey, Ross", "Hey!"), ("Monica Geller", "Hi"), ("[x]", "Ho")]
    lines = write(tmp_path / "b.jsonl", json.dumps({"speaker": ["Joey", {"name": "Ross"}], "text": "Hey!"}))
    assert said(lines) == [("Joey, Ross", "Hey!")]


def test_a_table_saved_as_text_is_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "ID\tTweet\tanger\n1\tI am glad\t0\n2\tI am sad\t1\n")
    assert media.probe(path).kind == "table"
    assert said(path) == [("", "I am glad"), ("", "I am sad")]
    long = write(tmp_path / "b.txt", "ID\tTweet\n" + "".join(f"{i}\tI am glad\n" for i in range(4000)))
    assert len(said(long)) == 4000
    untitled = write(tmp_path / "c.txt", "00:01\tAnna\tI am glad.\n00:05\tBen\tI am sad.\n")
    assert media.probe(untitled).kind == "text"
    assert said(untitled, text="3", speaker="2") == [("Anna", "I am glad."), ("Ben", "I am sad.")]
    prose = write(tmp_path / "d.txt", "The text\tI read.\nIt was good.\n")
    assert media.probe(prose).kind == "text"


@pytest.mark.parametrize("name", ["timeline.csv", "timeline.json"])
def test_results_of_an_analysis_are_no_input(tmp_path: Path, name: str) -> None:
    row = {"file": "a.txt", "source": "words", "space": "transcript", "text": "I am glad."}
    path = Timeline.from_rows([row]).save(tmp_path / name)
    with pytest.raises(MediaError, match="is a result of an analysis, not an input"):
        said(path)


def test_cells_that_say_there_is_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "speaker,text\nnan,I am glad\nBen,NaN\nBen,#N/A\nBen,nan bread\nEve,NULL\n")
    assert said(path) == [("", "I am glad"), ("Ben", "nan bread")]


def test_of_columns_with_the_same_name_the_first_counts(tmp_path: Path) -> None:
    assert said(write(tmp_path / "a.csv", "text,text,speaker\nI am glad,I am sad,A\n")) == [("A", "I am glad")]


def test_short_and_long_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "speaker,text,note\nAnna,I am glad\nBen\nEve,ok,x,y,z\n")
    assert said(path) == [("Anna", "I am glad"), ("Eve", "ok")]


def test_segments_of_a_speech_recogniser(tmp_path: Path) -> None:
    segments = [
        {"start": 0.0, "end": 2.0, "text": " I am glad.", "speaker": "A"},
        {"start": 2.0, "end": 4.0, "text": "x"},
    ]
    path = write(tmp_path / "a.json", json.dumps({"text": "I am glad. x", "segments": segments, "language": "en"}))
    turns = media.read_turns(path)
    assert [(turn.start, turn.end, turn.speaker, turn.text) for turn in turns] == [
        (0, 2, "A", "I am glad."),
        (2, 4, "", "x"),
    ]
