"""What a reader of one file wants to see, taken from the long table: people, curves over time, and marks.

Everything here is numpy on whole columns, so an hour of faces at five frames a second is a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from affectus.types import TIMELINE_COLUMNS, Timeline

#: Spaces of the timeline that hold no scores of a label space.
RESERVED = frozenset({"va", "quality", "transcript", "evidence", "explanation", "decision", "conflict"}) | {
    "state", "shift", "influence", "gap",
    "open_words", "description", "generation"}  # fmt: skip
#: Spaces whose rows are shown one by one.
_MARKED = ("transcript", "conflict", "evidence", "explanation", "open_words", "description", "generation", "shift",
           "influence", "gap")  # fmt: skip
#: Order in which sources are shown, the joint answer first.
SOURCES = ("fusion", "face", "voice", "words", "scene")
_STRINGS = tuple(name for name, kind in TIMELINE_COLUMNS.items() if kind == "string" and name != "text")
_NUMBERS = tuple(name for name, kind in TIMELINE_COLUMNS.items() if kind in ("int64", "float64"))


@dataclass(frozen=True)
class Mark:
    """One row that is shown as such: a turn, a decision, a conflict, a cue or a sentence. Times in seconds or index."""

    row: int
    start: float
    end: float
    track: int
    speaker: str
    source: str
    method: str
    label: str
    score: float
    low: float
    high: float
    text: str
    refs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Curve:
    """Scores of one label space over time, from one source and for one person.

    `start`, `end` (T,) in seconds (or index); `scores`, `low`, `high` (T, L), NaN where unknown.
    """

    source: str
    method: str
    perspective: str
    space: str
    labels: tuple[str, ...]
    start: np.ndarray
    end: np.ndarray
    scores: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Person:
    """Someone seen or heard: a face track, a speaker, both joined, or (neither) the recording as a whole."""

    name: str
    track: int = -1
    speaker: str = ""
    curves: tuple[Curve, ...] = ()
    affect: tuple[Curve, ...] = ()
    decisions: tuple[Mark, ...] = ()

    @property
    def main(self) -> Curve | None:
        """The curve to draw: fusion where there is one, else the first source in the usual order."""
        return self.curves[0] if self.curves else None

    @property
    def main_affect(self) -> Curve | None:
        """Valence and arousal to draw, chosen in the same way."""
        return self.affect[0] if self.affect else None


@dataclass(frozen=True)
class View:
    """One file, ready to be drawn. `timed` is False for texts and images, whose axis is an index (`duration` items)."""

    file: str
    info: Mapping[str, Any]
    kind: str
    duration: float
    timed: bool
    rows: int
    people: tuple[Person, ...] = ()
    turns: tuple[Mark, ...] = ()
    conflicts: tuple[Mark, ...] = ()
    evidence: tuple[Mark, ...] = ()
    explanations: tuple[Mark, ...] = ()
    words: tuple[Mark, ...] = ()
    descriptions: tuple[Mark, ...] = ()
    generations: tuple[Mark, ...] = ()
    shifts: tuple[Mark, ...] = ()
    influences: tuple[Mark, ...] = ()
    gaps: tuple[Mark, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def spoken(self) -> bool:
        """Whether the file was read as a conversation."""
        return "conversations" in self.info

    def person_of(self, mark: Mark) -> int:
        """Index of the person a mark belongs to, or -1."""
        for field_name, nothing in (("track", -1), ("speaker", "")):
            wanted = getattr(mark, field_name)
            if wanted != nothing:
                for index, person in enumerate(self.people):
                    if getattr(person, field_name) == wanted:
                        return index
        return -1


@dataclass(frozen=True)
class Columns:
    """Columns of a timeline as numpy arrays; strings are codes into `names`."""

    numbers: Mapping[str, np.ndarray]
    codes: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    table: Any = field(repr=False)

    @classmethod
    def of(cls, timeline: Timeline) -> Columns:
        """Take the columns apart once for all files."""
        import pyarrow.compute as pc

        table = timeline.table
        numbers = {}
        for name in _NUMBERS:
            blank: float = -1 if TIMELINE_COLUMNS[name] == "int64" else float("nan")
            values = pc.fill_null(table[name], blank).to_numpy()
            if values.dtype.kind == "f" and name not in ("start", "end"):
                values = np.where(np.isfinite(values), values, np.nan)
            numbers[name] = values
        codes, names = {}, {}
        for name in _STRINGS:
            encoded = pc.fill_null(table[name].dictionary_encode().combine_chunks(), "")
            codes[name] = encoded.indices.to_numpy(zero_copy_only=False)
            names[name] = tuple(encoded.dictionary.to_pylist())
        return cls(numbers, codes, names, table)

    def where(self, rows: np.ndarray, **wanted: str) -> np.ndarray:
        """Those of `rows` whose string columns equal the given values."""
        for name, value in wanted.items():
            if value not in self.names[name]:
                return rows[:0]
            rows = rows[self.codes[name][rows] == self.names[name].index(value)]
        return rows

    def word(self, name: str, row: int) -> str:
        """Value of a string column in one row."""
        return self.names[name][self.codes[name][row]]

    def texts(self, rows: np.ndarray) -> list[str]:
        """The `text` column of some rows."""
        return [text or "" for text in self.table["text"].take(rows).to_pylist()]

    def marks(self, rows: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[Mark, ...]:
        """Rows as marks; `start`/`end` are positions of all rows of the table."""
        refs = self.table["refs"].take(rows).to_pylist()
        texts = self.texts(rows)
        number = self.numbers
        return tuple(
            Mark(
                int(number["row"][i]),
                float(start[i]),
                float(end[i]),
                int(number["track"][i]),
                self.word("speaker", i),
                self.word("source", i),
                self.word("method", i),
                self.word("label", i),
                float(number["score"][i]),
                float(number["low"][i]),
                float(number["high"][i]),
                text,
                tuple(ref or ()),
            )
            for i, text, ref in zip(rows.tolist(), texts, refs, strict=True)
        )


def views(timeline: Timeline) -> Iterator[View]:
    """A view per file, in the order of the table; files that are only in the meta data (they failed) come last."""
    columns = Columns.of(timeline)
    infos: Mapping[str, Any] = timeline.meta.get("files") or {}
    codes = columns.codes["file"]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []
    seen = set()
    for rows in groups:
        name = columns.word("file", rows[0])
        seen.add(name)
        yield _view(columns, rows, name, infos.get(name) or {})
    for name, info in infos.items():
        if name not in seen:
            kind = str((info or {}).get("kind", ""))
            yield View(name, info or {}, kind, float((info or {}).get("duration") or 0), False, 0)


def one_view(timeline: Timeline, file: str | None = None) -> View:
    """The view of one file (the first by default)."""
    name = file or (timeline.files[0] if timeline.files else "")
    return next(
        (view for view in views(timeline.filter(file=name)) if view.file == name), View(name, {}, "", 0, False, 0)
    )


def _view(columns: Columns, rows: np.ndarray, name: str, info: Mapping[str, Any]) -> View:
    start, end, duration, timed = _positions(columns, rows, info)
    found = {space: columns.where(rows, space=space) for space in RESERVED}
    reserved = np.isin(rows, np.concatenate(list(found.values())))
    scores, affect = rows[~reserved], found["va"]
    whole = {"image": "Whole picture", "text": "All texts", "table": "All texts"}.get(str(info.get("kind", "")), "")
    whole = "No name" if "conversations" in info else whole
    people = _people(columns, scores, affect, found["decision"], start, end)
    people = tuple(replace(p, name=whole) if whole and p.track < 0 and not p.speaker else p for p in people)
    if "conversations" in info:
        people = tuple(sorted(people, key=lambda p: p.decisions[0].start if p.decisions else duration))
    by_time = {
        space: columns.marks(found[space][np.argsort(start[found[space]], kind="stable")], start, end)
        for space in _MARKED
    }
    present = {columns.word("source", i) for i in np.concatenate([scores, affect])}
    return View(
        file=name,
        info=info,
        kind=str(info.get("kind", "")),
        duration=duration,
        timed=timed,
        rows=len(rows),
        people=people,
        turns=by_time["transcript"],
        conflicts=by_time["conflict"],
        evidence=by_time["evidence"],
        explanations=by_time["explanation"],
        words=by_time["open_words"],
        descriptions=by_time["description"],
        generations=by_time["generation"],
        shifts=by_time["shift"],
        influences=tuple(mark for mark in by_time["influence"] if mark.method == "echo"),
        gaps=by_time["gap"],
        sources=tuple(sorted(present, key=lambda s: SOURCES.index(s) if s in SOURCES else 9)),
    )


def _positions(
    columns: Columns, rows: np.ndarray, info: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Start and end of every row (arrays as long as the table), length of the axis, and whether it is time."""
    start, end = columns.numbers["start"].copy(), columns.numbers["end"].copy()
    mine, stop = start[rows], end[rows]
    finite = np.isfinite(mine)
    length = float(info.get("duration") or 0)
    known = np.concatenate([mine[finite], stop[np.isfinite(stop)]])
    length = max(length if np.isfinite(length) else 0.0, float(known.max()) if len(known) else 0.0)
    if finite.any() and length > 0 and info.get("kind") != "image" and info.get("axis") != "turns":
        # A row without time says something about the whole recording.
        start[rows] = np.where(finite, mine, 0.0)
        end[rows] = np.where(np.isfinite(stop), np.maximum(stop, start[rows]), np.where(finite, mine, length))
        return start, end, length, True
    index = _index(columns, rows) if info.get("kind") != "image" else np.zeros(len(rows))
    start[rows], end[rows] = index, index + 1
    return start, end, float(index.max()) + 1 if len(index) else 0.0, False


def _index(columns: Columns, rows: np.ndarray) -> np.ndarray:
    """Item number of rows without times: the `frame` number where given, else the turn with the same text, else the
    last turn before the row."""
    frame = columns.numbers["frame"][rows]
    turns = columns.where(rows, space="transcript")
    last = np.maximum(np.cumsum(np.isin(rows, turns)) - 1, 0).astype(float)
    # Later turns must not win over earlier ones with the same text, hence the reversed order.
    number = {text: len(turns) - 1 - i for i, text in enumerate(reversed(columns.texts(turns)))}
    texts = columns.texts(rows)
    matched = [number.get(text, before) if text else before for text, before in zip(texts, last, strict=True)]
    own = dict(zip(turns.tolist(), range(len(turns)), strict=True))
    return np.array(
        [float(f) if f >= 0 else float(own.get(r, m)) for f, r, m in zip(frame, rows.tolist(), matched, strict=True)]
    )


def _people(
    columns: Columns, scores: np.ndarray, affect: np.ndarray, decided: np.ndarray, start: np.ndarray, end: np.ndarray
) -> tuple[Person, ...]:
    """Group score rows by person: a speaker belongs to the face track it shares the most rows with."""
    every = np.concatenate([scores, affect, decided])
    track, speaker = columns.numbers["track"], columns.codes["speaker"]
    pairs, counts = np.unique(np.stack([track[every], speaker[every]], axis=1), axis=0, return_counts=True)
    home: dict[int, int] = {}
    for (t, s), _ in sorted(zip(pairs.tolist(), counts.tolist(), strict=True), key=lambda p: -p[1]):
        if t >= 0 and columns.names["speaker"][s]:
            home.setdefault(s, t)
    keys = dict.fromkeys(
        (home.get(s, t) if t < 0 else t, columns.names["speaker"][s] if t < 0 and s not in home else "")
        for t, s in pairs.tolist()
    )
    people = []
    for key in sorted(keys, key=lambda k: (k == (-1, ""), k[0] < 0, k[0], k[1])):
        t, name = key
        names = [columns.names["speaker"][s] for s, where in home.items() if where == t and t >= 0] or [name]
        # Rows without track and speaker belong to nobody, not to every face whose name is unknown.
        wanted = [s for s, text in enumerate(columns.names["speaker"]) if text in names and (text or t < 0)]

        def mine(rows: np.ndarray, t: int = t, wanted: list[int] = wanted) -> np.ndarray:
            same = track[rows] == t
            return (
                rows[same | ((track[rows] < 0) & np.isin(speaker[rows], wanted))]
                if t >= 0
                else rows[same & np.isin(speaker[rows], wanted)]
            )

        decisions = columns.marks(mine(decided), start, end)
        people.append(
            Person(
                name=_person_name(t, names[0]),
                track=t,
                speaker=names[0],
                curves=_curves(columns, mine(scores), start, end),
                affect=_curves(columns, mine(affect), start, end),
                decisions=tuple(sorted(decisions, key=lambda m: m.start)),
            )
        )
    return tuple(people)


def _person_name(track: int, speaker: str) -> str:
    if track >= 0:
        return f"{speaker} (face {track})" if speaker else f"Face {track}"
    return speaker or "Whole recording"


def _curves(columns: Columns, rows: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[Curve, ...]:
    """One curve per source, method, perspective and space among `rows`, in the usual order of sources."""
    if not len(rows):
        return ()
    names = ("source", "method", "perspective", "space")
    kinds = np.stack([columns.codes[name][rows] for name in names], axis=1)
    curves = []
    for kind in np.unique(kinds, axis=0):
        some = rows[(kinds == kind).all(axis=1)]
        source, method, perspective, space = (columns.names[n][c] for n, c in zip(names, kind, strict=True))
        curves.append(_curve(columns, some, start, end, (source, method, perspective, space)))
    return tuple(sorted(curves, key=lambda c: (SOURCES.index(c.source) if c.source in SOURCES else 9, c.space)))


def _curve(
    columns: Columns, rows: np.ndarray, start: np.ndarray, end: np.ndarray, kind: tuple[str, str, str, str]
) -> Curve:
    """Pivot rows to (T, L); times are told apart at 1 ms, of doubled entries the last one counts."""
    _, first, slot = np.unique(np.round(start[rows] * 1000), return_index=True, return_inverse=True)
    used, at = np.unique(columns.codes["label"][rows], return_inverse=True)
    grids = []
    for name in ("score", "low", "high"):
        grid = np.full((len(first), len(used)), np.nan)
        grid[slot.ravel(), at.ravel()] = columns.numbers[name][rows]
        grids.append(grid)
    begin, stop = start[rows][first], end[rows][first]
    if len(begin) > 1:
        # A score of an instant (one frame) holds until the next one, unless that is far away.
        gaps = np.diff(begin)
        reach = np.minimum(np.append(gaps, np.median(gaps)), 1.5 * np.median(gaps))
        stop = np.where(stop > begin, stop, begin + reach)
    labels = tuple(columns.names["label"][i] for i in used)
    return Curve(*kind, labels, begin, stop, *grids)
