"""Sheets (.xlsx) and documents (.docx) of office programs, as far as texts and tables need: cells and paragraphs.

Both are zip archives of XML (ECMA-376). Formulas give their last value, dates and times are told by the number format
of their cell; pictures, comments, headers and footers are left out.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from affectus.errors import MediaError

SHEET, DOCUMENT = "xl/workbook.xml", "word/document.xml"
#: Parts that unfold to more bytes are refused.
MAX_BYTES = 1 << 28
#: Cells per row that are read.
MAX_COLUMNS = 1 << 10
# Number formats that every program knows without a definition: dates, and times.
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_COLUMN = re.compile(r"[A-Z]+")
_DAY_ZERO = datetime(1899, 12, 30)


def office_kind(path: Path) -> str:
    """ "table" for a sheet, "text" for a document, "" for any other archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return ""
    return "table" if SHEET in names else "text" if DOCUMENT in names else ""


def paragraphs(path: Path) -> str:
    """The text of a document, one line per paragraph, those in tables too. Raises `MediaError`."""
    lines: list[str] = []
    with _opened(path) as archive, _part(archive, DOCUMENT, path) as part:
        for _, element in _parsed(part, path):
            if _name(element) == "p":
                lines.append("".join(_run(piece) for piece in element.iter()))
                element.clear()
    return "\n".join(lines)


def _run(piece: ElementTree.Element) -> str:
    name = _name(piece)
    return (piece.text or "") if name == "t" else "\t" if name == "tab" else "\n" if name in ("br", "cr") else ""


def sheet_rows(path: Path) -> Iterator[list[str]]:
    """Rows of the first sheet that has any, as texts; empty cells are "". Raises `MediaError`."""
    with _opened(path) as archive:
        texts = _shared(archive, path)
        dates = _date_styles(archive, path)
        sheets = sorted(
            (name for name in archive.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name)),
            key=lambda name: int(re.sub(r"\D", "", name)),
        )
        for sheet in sheets:
            found = False
            with _part(archive, sheet, path) as part:
                for _, element in _parsed(part, path):
                    if _name(element) == "row":
                        row = _row(element, texts, dates)
                        element.clear()
                        if any(row):
                            found = True
                            yield row
            if found:
                return


def _row(element: ElementTree.Element, texts: list[str], dates: list[bool]) -> list[str]:
    cells: list[str] = []
    for cell in element:
        if _name(cell) != "c":
            continue
        letters = _COLUMN.match(cell.get("r") or "")
        place = _number(letters[0]) if letters else len(cells)
        if place < MAX_COLUMNS:
            cells += [""] * (place + 1 - len(cells))
            cells[place] = _value(cell, texts, dates)
    return cells


def _number(letters: str) -> int:
    """Place of a column from its letters: A is 0, Z is 25, AA is 26."""
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _value(cell: ElementTree.Element, texts: list[str], dates: list[bool]) -> str:
    kind = cell.get("t") or "n"
    if kind == "inlineStr":
        return _joined(cell)
    value = next((part.text or "" for part in cell if _name(part) == "v"), "")
    if kind == "s":
        return texts[int(value)] if value.isdecimal() and int(value) < len(texts) else ""
    style = cell.get("s") or "0"
    if kind == "n" and value and style.isdecimal() and int(style) < len(dates) and dates[int(style)]:
        return _dated(value)
    return value


def _dated(value: str) -> str:
    """A day count as an ISO date and time; less than a day as a clock time."""
    try:
        days = float(value)
        if not math.isfinite(days) or days < 0:
            return value
        if days < 1:
            seconds = round(days * 86400, 3)
            return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{seconds % 60:06.3f}"
        return (_DAY_ZERO + timedelta(milliseconds=round(days * 86_400_000))).isoformat(sep=" ")
    except (ValueError, OverflowError):
        return value


def _shared(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Texts that cells refer to by number."""
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    texts = []
    with _part(archive, "xl/sharedStrings.xml", path) as part:
        for _, element in _parsed(part, path):
            if _name(element) == "si":
                texts.append(_joined(element))
                element.clear()
    return texts


def _date_styles(archive: zipfile.ZipFile, path: Path) -> list[bool]:
    """For each cell style whether it shows a number as a date or time."""
    if "xl/styles.xml" not in archive.namelist():
        return []
    own: dict[str, str] = {}
    styles: list[bool] = []
    with _part(archive, "xl/styles.xml", path) as part:
        for _, element in _parsed(part, path):
            if _name(element) == "numFmt":
                own[element.get("numFmtId") or ""] = element.get("formatCode") or ""
            elif _name(element) == "cellXfs":
                for style in element:
                    number = style.get("numFmtId") or "0"
                    code = re.sub(r'"[^"]*"|\\.|\[(?![hms]+\])[^\]]*\]', "", own.get(number, ""))
                    known = number.isdecimal() and int(number) in _DATES
                    styles.append(known or bool(re.search(r"[ydhs]", code, re.I)))
    return styles


def _joined(element: ElementTree.Element) -> str:
    """The text of all runs of a cell, without the readings given beside East Asian words."""
    return "".join(
        piece.text or ""
        for run in element.iter()
        if _name(run) in ("si", "r", "is")
        for piece in run
        if _name(piece) == "t"
    )


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from None


def _part(archive: zipfile.ZipFile, name: str, path: Path) -> IO[bytes]:
    try:
        info = archive.getinfo(name)
        if info.file_size > MAX_BYTES:
            raise MediaError(path, f"unfolds to more than {MAX_BYTES >> 20} MB", "split it")
        return archive.open(info)
    except (KeyError, RuntimeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(path, error) from None


def _parsed(part: IO[bytes], path: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    try:
        yield from ElementTree.iterparse(part)
    except (ElementTree.ParseError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> MediaError:
    return MediaError(path, f"is damaged or locked with a password: {error}", "save it again, or as CSV or plain text")
