"""What is known about one person during one turn, as facts that each rest on rows of the timeline.

A turn is a stretch of the transcript; where there are no words, a stretch of speech; for a face that never speaks, a
stretch with one decision; in a picture, a face; in a text, one text. Everything is read from the finished table, so a
saved timeline can be described as well as a fresh one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from affectus.analysis.facts import Fact, facts_of
from affectus.types import Timeline

#: Turns that are described per file, and stretches of one decision per person and minute.
MOST_ACCOUNTS, MOST_RUNS = 2000, 6
#: Reserved spaces that facts are taken from, and all that hold no scores of a label space.
KINDS = ("transcript", "evidence", "decision", "conflict")
NO_SCORES = (*KINDS, "va", "quality", "explanation", "open_words", "description", "generation", "state", "shift",
             "influence", "gap")  # fmt: skip


@dataclass(frozen=True)
class Account:
    """One person during one turn.

    `start`, `end` in seconds (NaN without times), `frame` the number of a text or -1; `said` is what was said, and
    `facts` what the timeline says about it. `others` are the names of the other people of the file, `low` maps labels
    that every source denies to the row that says so most clearly.
    """

    who: str
    track: int
    speaker: str
    start: float
    end: float
    frame: int = -1
    said: str = ""
    facts: tuple[Fact, ...] = ()
    others: tuple[str, ...] = ()
    low: Mapping[str, int] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """Whether the turn has a place in time."""
        return bool(np.isfinite(self.start) and np.isfinite(self.end) and self.end > self.start)

    @property
    def words(self) -> dict[str, tuple[float, tuple[int, ...], str]]:
        """Emotion words that a fact allows → (highest probability or NaN, rows, source), the strongest first."""
        found: dict[str, tuple[float, tuple[int, ...], str]] = {}
        for fact in self.facts:
            for word, score in fact.words.items():
                value, rows, source = found.get(word, (float("nan"), (), fact.source))
                if score > value or (np.isnan(value) and not np.isnan(score)):
                    value, source = score, fact.source
                found[word] = (value, tuple(dict.fromkeys((*rows, *fact.rows))), source)
        return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1][0], nan=0.3)))


class Rows:
    """Rows of one file in order of time, as columns; `longest` is the longest of them (s)."""

    def __init__(self, table: Any) -> None:
        start = table["start"].to_numpy()
        order = np.argsort(start, kind="stable")
        self.start = start[order]
        names = ("row", "end", "frame", "track", "score")
        self.row, self.end, self.frame, self.track, self.score = (table[n].to_numpy()[order] for n in names)
        texts = ("speaker", "source", "method", "space", "label", "text")
        picked = [np.asarray(table[n].to_pylist(), object)[order] for n in texts]
        self.speaker, self.source, self.method, self.space, self.label, self.text = picked
        length = self.end - self.start
        self.longest = float(length[np.isfinite(length)].max()) if np.isfinite(length).any() else 0.0

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def people(self) -> set[tuple[int, str]]:
        """Pairs of track and speaker that occur."""
        return set(zip(self.track.tolist(), self.speaker.tolist(), strict=True))

    def within(self, start: float, end: float, frame: int, track: int, speaker: str) -> np.ndarray:
        """Places of the rows of a person that touch a span (of the same text number, where there are no times)."""
        if np.isfinite(start):
            first = int(np.searchsorted(self.start, start - self.longest - 1e-6))
            some = np.arange(first, int(np.searchsorted(self.start, end + 1e-9)))
            inside = (self.end[some] > start + 1e-6) | (self.start[some] >= start)
            some = some[inside & ((self.start[some] < end - 1e-6) | (end <= start))]
        else:
            some = np.flatnonzero(self.frame == frame)
        named = (self.speaker[some] == speaker) & bool(speaker)
        if track >= 0:
            return some[named | (self.track[some] == track)]
        return some[named] if speaker else some[(self.track[some] < 0) & (self.speaker[some] == "")]


@dataclass(frozen=True)
class _Span:
    start: float
    end: float
    track: int
    speaker: str
    frame: int = -1
    said: str = ""
    row: int = -1


def accounts(timeline: Timeline, file: str) -> tuple[list[Account], int]:
    """Accounts of one file in order of time, and how many more there would be beyond `MOST_ACCOUNTS`."""
    import pyarrow.compute as pc

    own = timeline.filter(file=file).table
    kind = str((timeline.meta.get("files", {}).get(file) or {}).get("kind", ""))
    marks = Rows(own.filter(pc.is_in(own["space"], value_set=_array(KINDS))))
    perceived = pc.is_in(own["source"], value_set=_array(("face", "voice", "words")))
    scores = Rows(own.filter(pc.and_(perceived, pc.invert(pc.is_in(own["space"], value_set=_array(NO_SCORES))))))
    affect = Rows(own.filter(pc.and_(pc.equal(own["space"], "va"), pc.equal(own["source"], "fusion"))))
    spans = sorted(_spans(marks, scores, kind), key=lambda s: (np.nan_to_num(s.start), s.frame, s.track))
    people = {name for _, name in marks.people | scores.people if name}
    found = []
    for span in spans[:MOST_ACCOUNTS]:
        who = name_of(span.track, span.speaker, kind)
        place = (span.start, span.end, span.frame, span.track, span.speaker)
        parts = [(rows, rows.within(*place)) for rows in (marks, scores, affect)]
        said = (span.said, span.row)
        facts, low = facts_of(who, said, *parts)
        others = tuple(sorted(people - {span.speaker}))
        at = place[:2]
        found.append(Account(who, span.track, span.speaker, *at, span.frame, span.said, facts, others, low))
    return found, max(0, len(spans) - MOST_ACCOUNTS)


def name_of(track: int, speaker: str, kind: str) -> str:
    """What a person is called in a sentence."""
    if speaker:
        return speaker
    if kind in ("video", "image") and track >= 0:
        return f"Face {track}"
    return "The speaker" if kind in ("video", "audio", "image") else "The text"


def _array(names: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(list(names), pa.string())


def _spans(marks: Rows, scores: Rows, kind: str) -> Iterator[_Span]:
    turns = list(_turns(marks))
    yield from turns
    spoken = list(_spoken(scores, turns))
    yield from spoken
    heard = {s.track for s in (*turns, *spoken)}
    yield from _stretches(marks, heard, kind)


def _turns(marks: Rows) -> Iterator[_Span]:
    """Texts of the transcript: by number where they have one, else by their times; others have no place."""
    for i in np.flatnonzero(marks.space == "transcript"):
        who = (int(marks.track[i]), str(marks.speaker[i]))
        said = (str(marks.text[i]), int(marks.row[i]))
        if marks.frame[i] >= 0:
            yield _Span(float("nan"), float("nan"), *who, int(marks.frame[i]), *said)
        elif np.isfinite(marks.start[i]) and marks.end[i] > marks.start[i]:
            yield _Span(float(marks.start[i]), float(marks.end[i]), *who, -1, *said)


def _spoken(scores: Rows, turns: Sequence[_Span]) -> Iterator[_Span]:
    """Stretches of speech that no text covers: overlapping windows of one voice, joined."""
    groups: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for i in np.flatnonzero(scores.source == "voice"):
        groups[int(scores.track[i]), str(scores.speaker[i])].append((float(scores.start[i]), float(scores.end[i])))
    for (track, speaker), windows in groups.items():
        for start, end in _joined(sorted(set(windows))):
            shared = sum(max(0.0, min(end, t.end) - max(start, t.start)) for t in turns)
            if shared < 0.5 * (end - start):
                yield _Span(start, end, track, speaker)


def _joined(windows: Sequence[tuple[float, float]], gap: float = 0.0) -> list[tuple[float, float]]:
    """Windows that overlap (or lie at most `gap` seconds apart) as one."""
    found: list[tuple[float, float]] = []
    for start, end in windows:
        if found and start <= found[-1][1] + gap - (1e-3 if gap == 0 else 0):
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _stretches(marks: Rows, heard: set[int], kind: str) -> Iterator[_Span]:
    """Stretches of one decision of each face that never speaks: the clearest of each minute, in order of time."""
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for place in np.flatnonzero(marks.space == "decision").tolist():
        if marks.track[place] >= 0 and marks.track[place] not in heard:
            groups[int(marks.track[place]), str(marks.speaker[place])].append(place)
    for (track, speaker), places in groups.items():
        if kind == "image":
            frame = int(marks.frame[places[0]])
            yield _Span(float("nan"), float("nan"), track, speaker, frame)
            continue
        named: list[int] = [i for i in places if marks.label[i] != "uncertain"] or places
        runs: list[list[int]] = []
        for i in named:
            last = runs[-1][-1] if runs else -1
            follows = last >= 0 and marks.label[i] == marks.label[last]
            if follows and marks.start[i] <= marks.end[last] + 0.01:
                runs[-1].append(i)
            else:
                runs.append([i])
        taken: Counter[int] = Counter()
        for run in sorted(runs, key=lambda r: -sum(float(marks.score[i]) for i in r)):
            minute = int(marks.start[run[0]] // 60)
            taken[minute] += 1
            if taken[minute] <= MOST_RUNS:
                yield _Span(float(marks.start[run[0]]), float(marks.end[run[-1]]), track, speaker)
