"""Tables of texts: CSV and its relatives, JSON Lines, JSON. Columns are recognised by their usual names."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectus.errors import MediaError
from affectus.media.dialogue_rows import Row, parse_date, settle
from affectus.media.subtitles import parse_clock
from affectus.media.text import MAX_CHARACTERS, split_sentences
from affectus.types import TIMELINE_COLUMNS, Turn

# Names of columns in order of preference, small letters and digits only.
_TEXT = (
    "text utterance sentence message content transcript transcription body comment tweet post review caption fulltext "
    "answer response"
)
_COLUMNS: dict[str, tuple[str, ...]] = {
    role: tuple(names.split())
    for role, names in {
        "text": _TEXT,
        "speaker": "speaker speakername speakerid user username name author authorname from fromname role character "
        "sender sendername participant participantid nick nickname handle displayname",
        "start": "start starttime startsec startseconds startms begin onset time timestamp ts t datetime date sentat "
        "createdat dateunixtime",
        "end": "end endtime endsec endseconds endms stop",
        "conversation": "conversation conversationid dialogue dialogueid dialog dialogid thread threadid session "
        "sessionid video videoid",
        "utterance": "utteranceid uttid turnid messageid msgid clientmsgid",
        "language": "language lang",
        "turns": "messages turns utterances segments dialogue dialog conversation conversations",
    }.items()
}
#: What `columns` may name; a role without a column is "".
ROLES = ("text", "speaker", "start", "end", "conversation", "utterance", "language")
_LIST = re.compile(r"""\[(['"]).*\1\]""")
# How statistics programs write that a cell is empty.
_NOTHING = frozenset({"nan", "NaN", "NULL", "null", "#N/A", "<NA>", "NaT"})
_SEPARATOR = re.compile(r'"?sep=(.)"?')
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]|$)")
#: Cells of more characters than this are refused.
MAX_CELL = 1 << 26


class NoTextsError(MediaError):
    """A table in which no column holds texts, such as one of labels or measurements."""


def parse_table(
    text: str, path: str | Path, warnings: list[str] | None = None, columns: Mapping[str, str] | None = None
) -> list[tuple[str, Turn]]:
    """Turns of a table with the id of the conversation each belongs to (empty when there is no such column).

    `Turn.row` is the number of the data row or record, from 0, empty texts counted; a text longer than
    `MAX_CHARACTERS` gives several turns of the same row. Columns are found by name, whatever their case: text (or
    utterance, sentence, message, content …), speaker (user, name, author …), start/end/time in seconds or as a clock
    (`…_ms` in milliseconds), conversation or dialogue id, language. A JSON record may hold a whole conversation as a
    list `messages` (or turns, utterances), and objects in place of the text or the speaker are looked into. A file of
    one column needs no header. `columns` says what the names do not, as role → column (see `ROLES`), `user.name` for
    a field within a field, "" for a role that no column has; numbers from 1 are columns of a file without a header.

    Raises `MediaError` naming the row of malformed JSON or the columns when none holds text.
    """
    notes = warnings if warnings is not None else []
    is_json = text.lstrip()[:1] in ("{", "[") and Path(path).suffix.lower() not in (".csv", ".tsv")
    if is_json or Path(path).suffix.lower() in (".jsonl", ".ndjson", ".json"):
        records = _json_records(text, path)
    else:
        records = _csv_records(text, path, columns or {})
    return _settled(records, path, notes, columns or {})


def parse_rows(
    rows: Iterable[Sequence[str]],
    path: str | Path,
    warnings: list[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[tuple[str, Turn]]:
    """As `parse_table`, of rows of cells; the first names the columns."""
    notes = warnings if warnings is not None else []
    return _settled(_records(rows, path, columns or {}), path, notes, columns or {})


def _refuse_results(names: Iterable[str], path: str | Path) -> None:
    """Tables that an analysis wrote hold every text several times over, as transcript, evidence and explanation."""
    if set(TIMELINE_COLUMNS) <= set(names) or {"format", "meta", "rows"} <= set(names):
        raise MediaError(path, "is a result of an analysis, not an input", "give the file it was made from")


def _settled(
    records: Iterable[tuple[int, dict[str, Any]]], path: str | Path, notes: list[str], columns: Mapping[str, str]
) -> list[tuple[str, Turn]]:
    found: list[Row] = []
    rows = silent = 0
    for row, record in records:
        turns = list(_record_turns(record, row, path, notes, columns))
        rows, silent = rows + 1, silent + (not turns)
        found.extend(turns)
    if not found:
        raise MediaError(path, "no row holds any text", "check the column of the texts")
    if silent:
        notes.append(f"{silent} of {rows} rows hold no text and were left out")
    return settle(found, notes)


def is_tabbed(text: str, titled: bool = True) -> bool:
    """Whether all lines have as many tabs, as a table saved as text has; `titled`: and the first names a text."""
    lines = [line for line in text.splitlines() if line.strip()]
    tabs = {line.count("\t") for line in lines}
    if len(lines) < 2 or len(tabs) != 1 or 0 in tabs:
        return False
    return not titled or _column(dict.fromkeys(lines[0].split("\t")), "text") is not None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _column(record: Mapping[str, Any], role: str) -> str | None:
    """The column of a record that plays a role."""
    plain = {_plain(name): name for name in reversed(list(record))}
    return next((plain[name] for name in _COLUMNS[role] if name in plain), None)


def _chosen(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """A record whose columns are named by the roles they were chosen for; others that look like these go."""
    if not columns:
        return dict(record)
    taken = {name for role in columns for name in _COLUMNS[role]}
    found = {name: value for name, value in record.items() if _plain(name) not in taken}
    for role, column in columns.items():
        value: Any = record.get(column) if column else None
        if value is None and column and "." in column:
            value = record
            for part in column.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found[_COLUMNS[role][0] + ("ms" if _plain(column).endswith("ms") else "")] = value
    return found


def _csv_records(text: str, path: str | Path, columns: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    first = next((line for line in text.split("\n") if line.strip()), "").strip()
    delimiter = "\t" if Path(path).suffix.lower() == ".tsv" else _delimiter(first)
    if said := _SEPARATOR.fullmatch(first):  # how Excel writes down which separator it took
        delimiter, text = said[1], text.lstrip().partition("\n")[2]
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        yield from _records(reader, path, columns)
    except csv.Error as error:
        raise MediaError(path, f"line {reader.line_num} is not valid CSV: {error}", "mend it") from None


def _records(
    rows: Iterable[Sequence[str]], path: str | Path, columns: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of cells by the names in the first one, numbered from 0."""
    header: list[str] | None = None
    row = 0
    for cells in rows:
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            _refuse_results(header, path)
            if _are_numbers(columns, header):
                header = [str(number) for number in range(1, len(cells) + 1)]
            elif _is_header(header, columns, path):
                continue
            else:
                header = ["text"]
        record: dict[str, str] = {}
        # Programs leave out empty cells at the end of a row; of columns with the same name the first counts.
        for name, cell in itertools.zip_longest(header, cells[: len(header)], fillvalue=""):
            record.setdefault(name, "" if cell.strip() in _NOTHING else cell)
        yield row, record
        row += 1


def _are_numbers(columns: Mapping[str, str], cells: Sequence[str]) -> bool:
    """Whether columns were given by number, which only those of a file without a header have."""
    chosen = [name for name in columns.values() if name]
    return bool(chosen) and all(name.isdecimal() and name not in cells for name in chosen)


def _is_header(cells: Sequence[str], columns: Mapping[str, str], path: str | Path) -> bool:
    """Whether the first row names the columns; False for a single column that is all text. Raises `MediaError`."""
    names = ", ".join(name[:30] or "(no name)" for name in cells[:12])
    if absent := [column for column in columns.values() if column and column not in cells]:
        raise MediaError(path, f"has no column {absent[0]!r}, only: {names}", "check --columns")
    if _column(_chosen(dict.fromkeys(cells, ""), columns), "text") is not None:
        return True
    if len(cells) > 1:
        raise NoTextsError(path, f"no column of texts among: {names}", "say which it is: --columns text=NAME")
    return False


def _delimiter(line: str) -> str:
    """The most frequent separator of the first line outside quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    best = max("\t,;|", key=bare.count)
    return best if best in bare else ","


def _json_records(text: str, path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    whole: Any = None
    if text.lstrip().startswith("[") or Path(path).suffix.lower() == ".json":
        try:
            whole = json.loads(text)
        except ValueError as error:
            if Path(path).suffix.lower() == ".json" or "\n{" not in text:
                raise MediaError(path, f"is not valid JSON: {error}", "mend it") from None
    if whole is not None:
        for row, record in enumerate(whole if isinstance(whole, list) else [whole]):
            yield row, _as_record(record, f"record {row}", path)
        return
    row = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = f"row {row} (line {number}) is not valid JSON: {error}"
                raise MediaError(path, reason, "mend or remove this line") from None
            yield row, _as_record(record, f"row {row} (line {number})", path)
            row += 1


def _as_record(record: Any, where: str, path: str | Path) -> dict[str, Any]:
    if isinstance(record, str):
        return {"text": record}
    if isinstance(record, dict):
        _refuse_results(record, path)
        return record
    raise MediaError(path, f"{where} is neither an object nor a text", 'write each row as {"text": "…"}')


def _record_turns(
    record: dict[str, Any], row: int, path: str | Path, notes: list[str], columns: Mapping[str, str]
) -> Iterator[Row]:
    record = _chosen(record, columns)
    key = _column(record, "conversation")
    conversation = str(record[key]).strip() if key and isinstance(record[key], (str, int, float)) else ""
    nested = _column(record, "turns")
    if nested and isinstance(record[nested], list):
        for part in record[nested]:
            inner = _chosen(_as_record(part, f"row {row}: an entry of {nested}", path), columns)
            yield from (
                Row(turn, conversation or str(row), utterance)
                for turn, utterance in _flat_turns(inner, row, path, notes)
            )
    else:
        yield from (Row(turn, conversation, utterance) for turn, utterance in _flat_turns(record, row, path, notes))


def _flat_turns(record: Mapping[str, Any], row: int, path: str | Path, notes: list[str]) -> Iterator[tuple[Turn, str]]:
    key = _column(record, "text")
    if key is None:
        reason = f"row {row} has no text, only: {', '.join(record) or 'nothing'}"
        raise NoTextsError(path, reason, "say which it is: --columns text=NAME")
    text = _plain_text(record[key])
    if text is None:
        return
    if isinstance(text, (dict, list)):
        raise MediaError(path, f"row {row}: {key} is not a text", 'write each row as {"text": "…"}')
    text = str(text).strip()
    facts = {
        role: str(_named(record[name], role)).strip()
        for role in ("speaker", "language")
        if (name := _column(record, role)) and record[name]
    }
    name = _column(record, "utterance")
    utterance = str(record[name]).strip() if name and isinstance(record[name], (str, int)) else ""
    start, end = (_seconds(record, role, row, notes) for role in ("start", "end"))
    if end < start:
        notes.append(f"row {row}: the end lies before the start and counts as unknown")
        end = math.nan
    pieces: Sequence[str] = [" ".join(text.split())] if len(text) <= MAX_CHARACTERS else split_sentences(text)
    yield from ((Turn(piece, start, end, row=row, **facts), utterance) for piece in pieces if piece)


def _named(value: Any, role: str) -> Any:
    """What an object in place of a plain cell holds for a role, such as the name of a user; else its `id`.

    Of a list, in JSON or as Python prints one, all its entries.
    """
    if isinstance(value, str) and _LIST.fullmatch(value):
        value = [entry.strip(" '\"") for entry in value[1:-1].split(",")]
    if isinstance(value, list):
        return ", ".join(str(_named(entry, role)) for entry in value)
    if not isinstance(value, Mapping):
        return value
    key = _column(value, role)
    return _named(value[key], role) if key else value.get("id", "")


def _plain_text(value: Any) -> Any:
    """The text of a cell: messengers write formatted messages as lists of texts and of objects with a `text`, or as an
    object."""
    if isinstance(value, Mapping) and (key := _column(value, "text")):
        return _plain_text(value[key])
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list) and value and any(isinstance(part, dict) for part in value):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        return "".join(part for part in parts if isinstance(part, str))
    return value


def _seconds(record: Mapping[str, Any], role: str, row: int, notes: list[str]) -> float:
    """A time of a record in seconds, NaN when absent or not understood (which is noted)."""
    name = _column(record, role)
    value = record[name] if name else None
    if name is None or value is None or (text := str(value).strip()) == "":
        return math.nan
    try:
        dated = _DATE.match(text) is not None
        seconds = parse_date(text) if dated else parse_clock(text) if ":" in text else float(text.replace(",", "."))
    except ValueError:
        notes.append(f"row {row}: {name} {text!r} is no time in seconds and counts as unknown")
        return math.nan
    if not math.isfinite(seconds):
        return math.nan
    return seconds / 1000 if _plain(name).endswith("ms") else seconds
