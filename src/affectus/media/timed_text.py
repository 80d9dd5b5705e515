"""Transcripts in plain text with times in them, as services and people write them.

Three shapes are seen: a time in front (`[00:01:05] Anna: Hello`, `0:05 - 0:09 Hello`, `00:05<TAB>Anna<TAB>Hello`), a
time behind the name (`Anna (0:05): Hello`), and a line of its own with name and time, the words below it
(`Anna Smith  0:05`).
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field

from affectus.media.speakers import is_name, split_speaker, usual_speakers
from affectus.media.subtitles import parse_clock
from affectus.media.text import MAX_CHARACTERS, split_sentences
from affectus.types import Turn

_CLOCK = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?"
_TIME = rf"[\[(]?(?P<start>{_CLOCK})(?:\s*(?:-->|[-–—])\s*(?P<end>{_CLOCK}))?[\])]?"
_FRONT = re.compile(rf"^{_TIME}(?P<gap>[\s|]*(?:[-–—]\s+)?)(?P<rest>.*)$")
_BEHIND = re.compile(rf"^(?P<name>[^\s\d\[(:][^:\t\[(]{{0,39}}?)[\s,|–—-]+{_TIME}\s*(?::\s*(?P<rest>.*))?$")
#: Share of the written lines that must have a time; a line of names and times has one below it.
LEAST_SHARE = 0.25


@dataclass
class _Part:
    """A line with a time and what follows it; `rest` are the words in the line, maybe with a name."""

    row: int
    start: float
    end: float
    name: str
    rest: str
    below: list[str] = field(default_factory=list)


def timed_turns(text: str) -> list[Turn]:
    """One turn per time; empty when the text has no times, too few, or times that run back.

    `Turn.row` is the number of the line (from 0), `end` is NaN where the text does not say. Lines above the first time
    are turns without one.
    """
    parts: list[_Part] = []
    above: list[tuple[int, str]] = []
    written = 0
    for row, raw in enumerate(text.split("\n")):
        line = raw.strip()
        written += bool(line)
        part = _part(line, row) if line else None
        if part is not None:
            parts.append(part)
        elif line and parts:
            parts[-1].below.append(line)
        elif line:
            above.append((row, line))
    if len(parts) < max(2, LEAST_SHARE * written) or any(a.start > b.start for a, b in itertools.pairwise(parts)):
        return []
    turns = [Turn(piece, row=row) for row, line in above for piece in split_sentences(line)]
    names = usual_speakers([part.rest for part in parts if part.rest])
    return turns + [turn for part in parts for turn in _said(part, names)]


def _part(line: str, row: int) -> _Part | None:
    behind, front = _BEHIND.match(line), _FRONT.match(line)
    match = behind if behind is not None and is_name(behind["name"]) else front
    if match is None or (match is front and match["rest"] and not match["gap"]):
        return None
    try:
        start = parse_clock(match["start"])
        end = parse_clock(match["end"]) if match["end"] else math.nan
    except ValueError:
        return None
    name = match["name"].strip() if match is behind else ""
    return _Part(row, start, end if end >= start else math.nan, name, (match["rest"] or "").strip())


def _said(part: _Part, names: frozenset[str]) -> list[Turn]:
    name, words = part.name, part.rest
    cells = [cell.strip() for cell in words.split("\t") if cell.strip()]
    if not name and len(cells) == 2 and is_name(cells[0]):
        name, words = cells
    elif not name and part.below and is_name(words.rstrip(":")):
        name, words = words.rstrip(":"), ""
    elif not name:
        name, words = split_speaker(words, names)
    whole = " ".join(" ".join([words, *part.below]).split())
    pieces = [whole] if len(whole) <= MAX_CHARACTERS else split_sentences(whole)
    return [Turn(piece, part.start, part.end, name, row=part.row) for piece in pieces if piece]
