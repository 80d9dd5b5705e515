"""Sheets and documents of office programs: what a person sees in them is what is read."""

from __future__ import annotations

import math
import zipfile
from datetime import datetime, time
from pathlib import Path

import openpyxl
import pytest

from affectus import media
from affectus.errors import MediaError
from affectus.media.office import office_kind, sheet_rows

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def sheet(path: Path, *rows: tuple[object, ...]) -> Path:
    book = openpyxl.Workbook()
    book.active.append([])  # an empty first sheet
    filled = book.create_sheet("Daten")
    for row in rows:
        filled.append(list(row))
    book.save(path)
    return path


def document(path: Path, body: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>')
    return path


def paragraph(*runs: str) -> str:
    return "<w:p>" + "".join(f"<w:r><w:t>{run}</w:t></w:r>" for run in runs) + "</w:p>"


def test_a_sheet_is_a_table(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "talk.xlsx",
        ("speaker", None, "text", "start"),
        ("Jörg", 1, "Ich & 😀 <b>", 0.5),
        (None, 2, None, None),
        ("Ben", 3.25, "ok\nthere", 7),
    )
    assert media.probe(path).kind == "table"
    found = [(t.speaker, t.text, t.start, t.row) for t in media.read_turns(path)]
    assert found == [("Jörg", "Ich & 😀 <b>", 0.5, 0), ("Ben", "ok there", 7.0, 2)]
    assert list(sheet_rows(path))[1] == ["Jörg", "1", "Ich & 😀 <b>", "0.5"]


def test_dates_and_times_of_cells(tmp_path: Path) -> None:
    path = sheet(
        tmp_path / "a.xlsx",
        ("text", "time", "clock"),
        ("a", datetime(2024, 5, 1, 10, 0, 0), time(0, 1, 5)),
        ("b", datetime(2024, 5, 1, 10, 0, 30), time(1, 0, 0)),
    )
    assert [turn.start for turn in media.read_turns(path)] == [0.0, 30.0]
    assert [turn.start for turn in media.read_turns(path, columns={"start": "clock"})] == [65.0, 3600.0]


def test_columns_beyond_z_and_numbers_that_are_no_dates(tmp_path: Path) -> None:
    path = sheet(tmp_path / "a.xlsx", (*[f"c{i}" for i in range(30)], "text"), (*range(30), "far out"))
    assert [turn.text for turn in media.read_turns(path)] == ["far out"]
    assert list(sheet_rows(path))[1] == [*map(str, range(30)), "far out"]


def test_a_document_is_a_text(tmp_path: Path) -> None:
    body = paragraph("Anna: I am ", "glad.") + "<w:p/>" + paragraph("Ben: Why?") + paragraph("Anna: Well &amp; good.")
    path = document(tmp_path / "interview.docx", body)
    assert media.probe(path).kind == "text"
    found = [(turn.speaker, turn.text) for turn in media.read_turns(path)]
    assert found == [("Anna", "I am glad."), ("Ben", "Why?"), ("Anna", "Well & good.")]
    timed = document(
        tmp_path / "b.docx", paragraph("Anna  0:05") + paragraph("Hi.") + paragraph("Ben  0:09") + paragraph("Ho.")
    )
    assert [(turn.speaker, turn.start) for turn in media.read_turns(timed)] == [("Anna", 5), ("Ben", 9)]


def test_tabs_and_breaks_of_a_document(tmp_path: Path) -> None:
    body = (
        "<w:p><w:r><w:t>00:01</w:t><w:tab/><w:t>Anna</w:t><w:tab/><w:t>I am glad.</w:t><w:br/><w:t>00:02</w:t><w:tab/>"
    )
    path = document(tmp_path / "a.docx", f"{body}<w:t>Ben</w:t><w:tab/><w:t>Why?</w:t></w:r></w:p>")
    assert [(t.speaker, t.text, t.start) for t in media.read_turns(path)] == [
        ("Anna", "I am glad.", 1),
        ("Ben", "Why?", 2),
    ]


@pytest.mark.parametrize("name", ["a.xlsx", "a.docx", "a.zip"])
def test_other_archives_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert office_kind(tmp_path / name) == ""
    with pytest.raises(MediaError, match="zip archive or office document"):
        media.probe(tmp_path / name)


def test_damaged_parts_and_empty_sheets_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.docx: is damaged or locked"):
        media.read_turns(document(tmp_path / "a.docx", "<w:p>"))
    with pytest.raises(MediaError, match="only white space"):
        media.read_turns(document(tmp_path / "b.docx", "<w:p/>"))
    with pytest.raises(MediaError, match="no row holds any text"):
        media.read_turns(sheet(tmp_path / "c.xlsx", ("text", "id")))
    with pytest.raises(MediaError, match="no row holds any text"):
        media.read_turns(sheet(tmp_path / "d.xlsx"))
    with pytest.raises(MediaError, match="no column of texts among: id, score"):
        media.read_turns(sheet(tmp_path / "e.xlsx", ("id", "score"), (1, math.pi)))
