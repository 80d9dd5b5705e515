"""Rows of a table as turns of conversations: doubled rows, ids that start again, wrong order, dates as times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from affectus.types import Turn

#: Times (s) from this on are dates, counted from 1970; from the second on they are in milliseconds.
DATES_FROM, MILLISECONDS_FROM = 1e8, 1e11


@dataclass(frozen=True)
class Row:
    """A turn with the id of its conversation and its own id within it; empty where the table has no such column."""

    turn: Turn
    conversation: str = ""
    utterance: str = ""


def parse_date(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 date and time; without a zone it counts as UTC. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def settle(rows: Sequence[Row], notes: list[str]) -> list[tuple[str, Turn]]:
    """Turns with the ids of their conversations, in the order of the file; what was mended is told in `notes`.

    A blank conversation id is that of the row above. The same utterance id with the same words and speaker twice is one
    turn; an utterance id that comes again with other words begins another conversation, named `ID (2)`, where the ids
    start again at their first, else both turns stay. Dates become seconds from the first one.
    """
    filled = _filled(rows, notes)
    kept = _restarted(filled, notes)
    return _from_first([(row.conversation, row.turn) for row in kept], notes)


def _filled(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    if not any(row.conversation for row in rows):
        return list(rows)
    found: list[Row] = []
    blank = 0
    for row in rows:
        if not row.conversation and found:
            row = replace(row, conversation=found[-1].conversation)
            blank += 1
        found.append(row)
    if blank:
        told = "one row counts" if blank == 1 else f"{blank} rows count"
        notes.append(f"{told} to the conversation of the row above, having no conversation id")
    return found


def _restarted(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Rows without doubles, conversations told apart whose ids are used twice."""
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    first: dict[str, str] = {}
    uses: dict[str, int] = {}
    found: list[Row] = []
    doubled = repeated = 0
    for row in rows:
        name = row.conversation
        if row.utterance:
            part = f"{name} ({uses[name]})" if uses.get(name, 1) > 1 else name
            said = (row.turn.speaker, row.turn.text)
            first.setdefault(part, row.utterance)
            known = seen.get((part, row.utterance))
            if known == said and not _same_row(found, row):
                doubled += 1
                continue
            if known is not None and known != said and not _same_row(found, row):
                if row.utterance == first[part]:
                    uses[name] = uses.get(name, 1) + 1
                    part = f"{name} ({uses[name]})"
                    first[part] = row.utterance
                else:
                    repeated += 1
            seen[part, row.utterance] = said
            row = replace(row, conversation=part)
        found.append(row)
    if doubled:
        told = "one row repeats" if doubled == 1 else f"{doubled} rows repeat"
        notes.append(f"{told} a turn with its id: left out")
    for name, count in uses.items():
        which = f"the conversation id {name!r} begins" if name else "utterance ids begin"
        notes.append(f"{which} {count} times: taken for {count} conversations")
    if repeated:
        told = "one utterance id is" if repeated == 1 else f"{repeated} utterance ids are"
        notes.append(f"{told} used twice for different turns; all were kept")
    return found


def _same_row(found: Sequence[Row], row: Row) -> bool:
    """Whether this is another piece of the row before, whose text was long."""
    return bool(found) and found[-1].turn.row == row.turn.row


def _from_first(turns: list[tuple[str, Turn]], notes: list[str]) -> list[tuple[str, Turn]]:
    """Dates as seconds from the first one."""
    starts = [turn.start for _, turn in turns if turn.start >= DATES_FROM]
    if not starts:
        return turns
    scale = 1000.0 if min(starts) >= MILLISECONDS_FROM else 1.0
    zero = min(starts)
    notes.append("times are dates; they count in seconds from the first one")

    def shifted(time: float) -> float:
        return (time - zero) / scale if time >= DATES_FROM else math.nan

    return [(name, replace(turn, start=shifted(turn.start), end=shifted(turn.end))) for name, turn in turns]
