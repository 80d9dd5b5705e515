"""SubRip (.srt) and WebVTT (.vtt) subtitles, as tolerant as players are."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path

from affectus.errors import MediaError
from affectus.media.containers import note
from affectus.media.speakers import split_speaker, usual_speakers
from affectus.types import Turn

_CLOCK = re.compile(r"^(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,7})(?:[.,](\d{1,9}))?$")
_TIMING = re.compile(r"^\s*(?P<start>\S+?)\s*-->\s*(?P<end>[^\s]+)")
_CUE_CLOCK = r"(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_ANY_TIMING = re.compile(rf"^\s*{_CUE_CLOCK}\s*-->\s*{_CUE_CLOCK}", re.M)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?(?:\s+([^>]*))?>", re.I)
_INLINE_TIME = re.compile(rf"<{_CUE_CLOCK}>")
_TAG = re.compile(r"</?(?:b|i|u|s|em|strong|font|c|v|lang|ruby|rt|span|br)(?:[\s.][^>]*)?/?>|\{\\[^}]*\}", re.I)


def parse_clock(text: str) -> float:
    """Seconds of `1:02:03.5`, `02:03,500` or `123.5`. Raises `ValueError`."""
    match = _CLOCK.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    hours, minutes, seconds, fraction = match.groups()
    if minutes is not None and int(seconds) > 59:
        raise ValueError(f"{text!r} has more than 59 seconds in a minute")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def looks_like_subtitles(text: str) -> bool:
    """Whether a text is WebVTT or has a SubRip time line near its beginning."""
    start = text.lstrip("\ufeff \t\n")[:2000]
    return bool(re.match(r"WEBVTT(?:\s|$)", start)) or _ANY_TIMING.search(start) is not None


@dataclass
class _Cue:
    start: float
    end: float
    row: int
    lines: list[str] = field(default_factory=list)


def parse_subtitles(text: str, path: str | Path, warnings: list[str] | None = None) -> list[Turn]:
    """Turns of SubRip or WebVTT text, sorted by time; `Turn.row` is the number of the cue in the file (from 0).

    Times with comma or point, with or without hours; formatting tags are removed; `<v Name>` and `NAME: ` give the
    speaker, and a cue with several speakers gives several turns of the same time. Overlapping and unordered cues are
    fine; the repeated lines of rolling captions are dropped. A block that cannot be understood is left out and noted in
    `warnings` with its line; `MediaError` names that line when nothing else is left.
    """
    notes: list[str] = []
    cues = _cues(text, notes)
    if any(_INLINE_TIME.search(line) for cue in cues for line in cue.lines):
        _drop_repeated(cues)
    names = usual_speakers(_clean(line) for cue in cues for line in cue.lines)
    turns = [turn for cue in cues for turn in _turns(cue, names)]
    if not turns:
        reason = f"holds no subtitle with a time ({notes[0]})" if notes else "holds no subtitle with a time"
        raise MediaError(path, reason, "check that it is a SubRip or WebVTT file")
    if warnings is not None:
        warnings.extend(notes)
    return sorted(turns, key=lambda turn: (turn.start, turn.end, turn.row))


def _cues(text: str, notes: list[str]) -> list[_Cue]:
    cues: list[_Cue] = []
    lines = [line.rstrip() for line in text.split("\n")]
    current: _Cue | None = None
    skipping = bool(lines) and lines[0].lstrip("\ufeff").startswith("WEBVTT")
    for number, line in enumerate(lines, start=1):
        timed_next = number < len(lines) and "-->" in lines[number]
        if "-->" in line:
            current = _timing(line, number, len(cues), notes)
            skipping = current is None
            if current is not None:
                cues.append(current)
        elif not line.strip():
            current, skipping = None, False
        elif timed_next and (current is None or line.strip().isdigit()):
            current = None  # number or name of the next cue
        elif current is not None:
            current.lines.append(line.strip())
        elif re.match(r"(?:NOTE|STYLE|REGION)(?:\s|$)", line):
            skipping = True
        elif not skipping and not line.strip().isdigit():
            note(notes, f"line {number}: text without a time was left out")
            skipping = True
    return cues


def _timing(line: str, number: int, row: int, notes: list[str]) -> _Cue | None:
    match = _TIMING.match(line)
    try:
        if match is None:
            raise ValueError("there is no time on both sides of -->")
        start, end = parse_clock(match["start"]), parse_clock(match["end"])
        if end < start:
            raise ValueError("the end lies before the start")
    except ValueError as error:
        note(notes, f"line {number}: {error}; this subtitle was left out")
        return None
    return _Cue(start, end, row)


def _drop_repeated(cues: list[_Cue]) -> None:
    """Rolling captions show the line before once more on top of each new one."""
    shown: list[str] = []
    for cue in cues:
        plain = [_clean(line) for line in cue.lines]
        cue.lines = [line for line, words in zip(cue.lines, plain, strict=True) if words and words not in shown]
        shown = plain


def _turns(cue: _Cue, names: frozenset[str]) -> list[Turn]:
    spoken: list[tuple[str, list[str]]] = [("", [])]
    for line in cue.lines:
        voices = _VOICE.split(line)  # text, name, text, name, text …
        if words := _clean(voices[0]):
            speaker, words = split_speaker(words, names)
            if speaker:
                spoken.append((speaker, []))
            spoken[-1][1].append(words)
        for name, words in zip(voices[1::2], voices[2::2], strict=True):
            spoken.append((_clean(name or ""), [_clean(words)]))
    turns = []
    for speaker, parts in spoken:
        if words := " ".join(part for part in parts if part):
            turns.append(Turn(words, cue.start, cue.end, speaker, row=cue.row))
    return turns


def _clean(line: str) -> str:
    """A line without tags, with entities resolved."""
    plain = _TAG.sub(lambda tag: " " if tag[0].lower().startswith("<br") else "", _INLINE_TIME.sub("", line))
    return html.unescape(plain).replace("\u200e", "").replace("\u200f", "").strip()
