"""Sentences about the notable windows, built from evidence rows alone; no language model.

Notable are conflicts, the clearest emotion of each person in each minute, and turns whose voice departs from the
speaker's own median or whose words carry an emotion. At most `MOST_PER_MINUTE` sentences are written per minute and
`MOST_TEXTS` for a text. Every sentence is an `explanation` row whose `refs` are the rows it rests on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from affectus.analysis import cues
from affectus.analysis.accounts import name_of
from affectus.analysis.cues import Clause
from affectus.analysis.engines import Engines
from affectus.analysis.fusion import LABELS, NEUTRAL, UNCERTAIN, Opinion
from affectus.analysis.perceive_voice import SpokenTurn
from affectus.analysis.perceive_words import WordsTurn, telling_words
from affectus.analysis.persons import FusedWindow, Person
from affectus.analysis.rows import RowSink
from affectus.analysis.settings import Settings

if TYPE_CHECKING:
    from affectus.analysis.pipeline import Findings

#: Bounds that keep a report readable.
MOST_PER_MINUTE, MOST_CONFLICTS, MOST_PEAKS, MOST_TURNS, MOST_TEXTS = 6, 2, 2, 2, 200
#: Turns of a recording whose words are looked at one by one, per minute.
MOST_OCCLUSIONS = 12
#: Least probability of the leading emotion of a turn for its words to be looked at.
WORDS_FROM = 0.25
#: Least change (in usual spreads) of a prosodic measure that is named, and most measures named per turn.
CHANGE_FROM, MOST_CHANGES = 1.5, 2


def explain(found: Findings, engines: Engines, sink: RowSink, settings: Settings, timed: bool = True) -> None:
    """Write evidence and explanation rows of one file."""
    cues.prosodic_changes(found.spoken, sink, CHANGE_FROM, MOST_CHANGES)
    _occlude_words(found.words, engines, sink, timed)
    if found.info.kind not in ("video", "audio"):
        for window in _emotional(found.windows)[:MOST_TEXTS]:
            _write_peak(window, found, engines, sink)
        cues.scenes(found.key_frames, sink)
        return
    minutes: dict[int, list[FusedWindow]] = defaultdict(list)
    for window in found.windows:
        minutes[int(window.start / 60)].append(window)
    for minute in sorted({*minutes, *(int(turn.window.start / 60) for turn in found.spoken if turn.changes)}):
        left = MOST_PER_MINUTE
        for window in _conflicts(minutes[minute])[: min(left, MOST_CONFLICTS)]:
            _write_conflict(window, found, engines, sink)
            left -= 1
        for window in _peaks(minutes[minute])[: min(left, MOST_PEAKS)]:
            _write_peak(window, found, engines, sink)
            left -= 1
        for turn in _notable_turns(found, minute)[: min(left, MOST_TURNS)]:
            _write_turn(turn, found, sink)
    cues.scenes(found.key_frames, sink)


def _occlude_words(words: Sequence[WordsTurn], engines: Engines, sink: RowSink, timed: bool) -> None:
    """Leave-one-out occlusion on the clearest turns of each minute (of each `MOST_TEXTS` turns of a text)."""
    model = engines.model("words")
    if model is None:
        return
    groups: dict[int, list[tuple[float, WordsTurn]]] = defaultdict(list)
    for item in words:
        if item.prediction is None:
            continue
        labels = np.asarray(item.prediction.labels)
        strength = float(item.prediction.scores[labels != "neutral"].max())
        if strength >= WORDS_FROM:
            at = item.turn.start / 60 if timed and np.isfinite(item.turn.start) else item.number / MOST_TEXTS
            groups[int(at)].append((strength, item))
    for number in sorted(groups):
        if not timed and number > 0:
            return
        best = sorted(groups[number], key=lambda pair: -pair[0])[: MOST_OCCLUSIONS if timed else MOST_TEXTS]
        for _, item in sorted(best, key=lambda pair: pair[1].number):
            telling_words(model, item, sink, timed)


def _emotional(windows: Sequence[FusedWindow]) -> list[FusedWindow]:
    """Windows whose decision is an emotion, clearest first."""
    some = [w for w in windows if w.decision not in (UNCERTAIN, "neutral")]
    return sorted(some, key=lambda w: -w.score)


def _conflicts(windows: Sequence[FusedWindow]) -> list[FusedWindow]:
    """The strongest disagreement of each person and pair of modalities, strongest first."""
    best: dict[tuple[Person, str, str], FusedWindow] = {}
    for window in windows:
        if window.conflict is not None:
            key = (window.person, *window.conflict[:2])
            if key not in best or window.conflict[2] > best[key].conflict[2]:  # type: ignore[index]
                best[key] = window
    return sorted(best.values(), key=lambda w: -w.conflict[2] if w.conflict else 0.0)


def _peaks(windows: Sequence[FusedWindow]) -> list[FusedWindow]:
    """The clearest window of each person and emotion, clearest first."""
    best: dict[tuple[Person, str], FusedWindow] = {}
    for window in _emotional(windows):
        best.setdefault((window.person, window.decision), window)
    return sorted(best.values(), key=lambda w: -w.score)


def _notable_turns(found: Findings, minute: int) -> list[SpokenTurn]:
    """Turns of a minute with prosodic changes, the most unusual first."""
    turns = [t for t in found.spoken if int(t.window.start / 60) == minute and t.changes]
    return sorted(turns, key=lambda t: -abs(t.changes[0][1]))


def _clauses(
    window: FusedWindow, found: Findings, engines: Engines, sink: RowSink, sources: Sequence[str]
) -> Iterator[Clause]:
    """What each of some modalities contributes to a window, strongest modality first."""
    for opinion in sorted(window.opinions, key=lambda o: -o.weight):
        if opinion.source not in sources:
            continue
        if opinion.source == "face" and found.faces is not None:
            entry = found.faces.windows.get((window.person[0], window.number))
            if entry is not None and entry.peak is not None:
                usual = cues.usual_blendshapes(found.faces, window.person[0])
                yield cues.face_clause(entry.peak, window.person, sink, usual, engines.model("face"))
        elif opinion.source == "voice":
            turn = _turn_at(found.spoken, window)
            yield cues.voice_clause(opinion, turn)
        elif opinion.source == "words":
            yield cues.words_clause(opinion, _words_at(found.words, window))


def _turn_at(turns: Sequence[SpokenTurn], window: FusedWindow) -> SpokenTurn | None:
    near = [t for t in turns if t.scores and t.window.start < window.end and t.window.end > window.start]
    return next((t for t in near if t.track == window.person[0]), near[0] if near else None)


def _words_at(words: Sequence[WordsTurn], window: FusedWindow) -> list[WordsTurn]:
    if window.frame >= 0 or not np.isfinite(window.start) or window.end <= window.start:
        return [w for w in words if w.number == window.number]
    return [w for w in words if w.posterior is not None and w.turn.start < window.end and w.turn.end > window.start]


def _agreeing(window: FusedWindow) -> list[str]:
    """Modalities that lead to the fused label themselves; the most weighty one where none does."""
    label = LABELS.index(window.label)
    same = [o.source for o in window.opinions if int(np.argmax(o.probabilities)) == label]
    return same or [max(window.opinions, key=lambda o: o.weight).source]


def _write_peak(window: FusedWindow, found: Findings, engines: Engines, sink: RowSink) -> None:
    clauses = list(_clauses(window, found, engines, sink, _agreeing(window)))
    head = f"{_who(window.person, found)}: perceived {window.decision} ({window.score:.0%})."
    _write(window, sink, [head, *(c.text for c in clauses)], [window.row, *(r for c in clauses for r in c.rows)])


def _write_conflict(window: FusedWindow, found: Findings, engines: Engines, sink: RowSink) -> None:
    if window.conflict is None:
        return
    first, second, bits = window.conflict
    sides = {o.source: o for o in window.opinions}
    shown = " while ".join(f"the {name} {_points(sides[name])}" for name in (first, second))
    clauses = list(_clauses(window, found, engines, sink, (first, second)))
    head = f"{_who(window.person, found)}: {shown} ({bits:.2f} of 1 bit apart)."
    rows = [window.conflict_row, *(r for c in clauses for r in c.rows)]
    _write(window, sink, [head, *(c.text for c in clauses)], rows)


def _write_turn(turn: SpokenTurn, found: Findings, sink: RowSink) -> None:
    changes = "; ".join(words for words, _, _ in turn.changes)
    text = f"{_who((turn.track, turn.speaker), found)}, speaking: {changes}."
    sink.add(
        start=turn.window.start,
        end=turn.window.end,
        track=turn.track,
        speaker=turn.speaker,
        source="voice",
        method="evidence",
        perspective="expressed",
        space="explanation",
        text=text,
        refs=[row for _, _, row in turn.changes],
    )


def _write(window: FusedWindow, sink: RowSink, parts: Sequence[str], refs: Sequence[int]) -> None:
    sink.add(
        start=window.start,
        end=window.end,
        frame=window.frame if np.isfinite(window.start) else window.number,
        track=window.person[0],
        speaker=window.person[1],
        source="fusion",
        method="evidence",
        perspective="expressed",
        space="explanation",
        label=window.decision,
        text=" ".join(part for part in parts if part),
        refs=list(dict.fromkeys(row for row in refs if row >= 0)),
    )


def _points(opinion: Opinion) -> str:
    best = int(np.argmax(opinion.probabilities))
    verb = "looks" if opinion.source == "face" else "sounds" if opinion.source == "voice" else "read as"
    word = LABELS[best] if opinion.source == "words" else f"closest to {LABELS[best]}"
    return f"{verb} {word} ({opinion.probabilities[best]:.0%})" if best != NEUTRAL else f"{verb} neutral"


def _who(person: Person, found: Findings) -> str:
    return name_of(*person, found.info.kind)
