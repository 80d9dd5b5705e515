"""Chats that messengers export as plain text: one dated line per message, `12/05/2023, 21:04 - Anna: Hello`.

Brackets around the date, points or strokes in it, seconds and AM/PM are all seen. Lines without a date belong to the
message above; lines with a date and no name are notices of the messenger and left out, as are placeholders of pictures.
"""

from __future__ import annotations

import itertools
import math
import re
from datetime import UTC, datetime

from affectus.media.text import MAX_CHARACTERS, split_sentences
from affectus.types import Turn

_LINE = re.compile(
    r"^[\u200e\u202a]?\[?(?P<date>\d{1,4}[./-]\d{1,2}[./-]\d{2,4}),?\s+(?P<clock>\d{1,2}[:.]\d{2}(?:[:.]\d{2})?)"
    r"(?:[\s\u202f]?(?P<half>[AaPp])\.?[Mm]\.?)?\]?\s*(?:[-–—]\s*)?(?P<rest>.*)$"
)
_SAID = re.compile(r"^[\u200e\u202a]?(?P<name>[^:\n]{1,60}):\s(?P<words>.*)$", re.S)
_PLACEHOLDER = re.compile(r"^\u200e?<[^<>]{3,40}>$|^\u200e?(?:image|video|audio|sticker|GIF|document) omitted$", re.I)
#: Share of the lines of a text that must be dated messages.
LEAST_SHARE = 0.5


def chat_turns(text: str) -> list[Turn]:
    """One turn per message; empty when the text is no such export. `Turn.row` is the number of the line (from 0).

    `start` counts seconds from the first message, NaN where the order of day and month cannot be told.
    """
    lines = text.split("\n")
    found = [_LINE.match(line.strip()) for line in lines]
    dated = sum(match is not None for match in found)
    if dated < max(2, LEAST_SHARE * sum(bool(line.strip()) for line in lines)):
        return []
    messages: list[tuple[int, re.Match[str], list[str]]] = []
    for row, (line, match) in enumerate(zip(lines, found, strict=True)):
        if match is not None:
            messages.append((row, match, [match["rest"]]))
        elif line.strip() and messages:
            messages[-1][2].append(line.strip())
    times = _times([match for _, match, _ in messages])
    turns = []
    for (row, _, parts), start in zip(messages, times, strict=True):
        said = _SAID.match("\n".join(parts))
        if said is None or _PLACEHOLDER.match(said["words"].strip()):
            continue
        words = " ".join(said["words"].split())
        pieces = [words] if len(words) <= MAX_CHARACTERS else split_sentences(words)
        turns += [
            Turn(piece, start, speaker=said["name"].strip("\u200e\u202a\u202c ~"), row=row) for piece in pieces if piece
        ]
    return turns


def _times(matches: list[re.Match[str]]) -> list[float]:
    """Seconds from the first message, by the first order of day, month and year in which time never runs back."""
    for order in ("dmy", "mdy", "ymd"):
        try:
            found = [_seconds(match, order) for match in matches]
        except ValueError:
            continue
        if all(a <= b for a, b in itertools.pairwise(found)):
            return [time - found[0] for time in found]
    return [math.nan] * len(matches)


def _seconds(match: re.Match[str], order: str) -> float:
    numbers = dict(zip(order, map(int, re.split(r"[./-]", match["date"])), strict=True))
    clock = [int(part) for part in re.split(r"[:.]", match["clock"])]
    if match["half"]:
        clock[0] = clock[0] % 12 + (12 if match["half"] in "pP" else 0)
    year = numbers["y"] + (2000 if numbers["y"] < 100 else 0)
    hour, minute, second = (*clock, 0)[:3]
    return datetime(year, numbers["m"], numbers["d"], hour, minute, second, tzinfo=UTC).timestamp()
