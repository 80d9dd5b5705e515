"""Subtitles and annotation tiers: WebVTT, ELAN `.eaf` and Praat `.TextGrid`, times exact to 1 ms.

A tier holds intervals that do not overlap. Scores become one interval per run of the same label, with a twin tier for
the probability; turns and remarks that do overlap go to a second tier, so that no text is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from affectus.errors import AffectusError
from affectus.report.atomic import write_atomic
from affectus.report.runs import UNCERTAIN, Run, curve_runs, decision_runs, turn_runs, unsure_turns
from affectus.report.view import Mark, View, views
from affectus.types import Timeline

#: (start ms, end ms, text), end > start.
Interval = tuple[int, int, str]


@dataclass(frozen=True)
class Tier:
    """A named row of intervals sorted by start, none overlapping the next. `parent` names the tier it repeats."""

    name: str
    intervals: tuple[Interval, ...]
    participant: str = ""
    parent: str = ""


def tiers_of(view: View) -> list[Tier]:
    """All tiers of a file: per person the decision and each source with its probabilities, then turns, conflicts and
    explanations."""
    tiers: list[Tier] = []
    for person in view.people:
        if person.decisions:
            tiers += _twins(f"{person.name} · decision", decision_runs(person), person.name)
        for curve in person.curves:
            tiers += _twins(f"{person.name} · {curve.source} · {curve.space}", curve_runs(curve), person.name)
    by_speaker: dict[str, list[Mark]] = {}
    for turn in view.turns:
        by_speaker.setdefault(turn.speaker, []).append(turn)
    for speaker, turns in by_speaker.items():
        texts = [(_ms(t.start), _ms(t.end), t.text) for t in turns]
        tiers += _apart(f"{speaker or 'Transcript'} · transcript" if speaker else "transcript", texts, speaker)
    tiers += _apart("conflict", [(_ms(c.start), _ms(c.end), f"{c.label} {c.score:.2f}") for c in view.conflicts])
    tiers += _apart("shift", [(_ms(s.start), _ms(s.end), f"{s.speaker}: {s.label}") for s in view.shifts])
    tiers += _apart("explanation", [(_ms(e.start), _ms(e.end), e.text) for e in view.explanations])
    tiers += _apart("description", [(_ms(d.start), _ms(d.end), text) for d, text in _told(view)])
    return _unique([tier for tier in tiers if tier.intervals])


def _told(view: View) -> list[tuple[Mark, str]]:
    """The sentences about each turn as one text."""
    found: dict[tuple[float, float, int, str], list[Mark]] = {}
    for mark in sorted(view.descriptions, key=lambda m: m.row):
        found.setdefault((mark.start, mark.end, mark.track, mark.speaker), []).append(mark)
    return [(marks[0], " ".join(m.text for m in marks)) for marks in found.values()]


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _twins(name: str, runs: Sequence[Run], participant: str) -> list[Tier]:
    """A tier of labels and one of probabilities on the same intervals."""
    cut = [(_ms(r.start), max(_ms(r.end), _ms(r.start) + 1), r) for r in runs]
    spans = []
    for i, (start, end, run) in enumerate(cut):
        stop = min(end, cut[i + 1][0]) if i + 1 < len(cut) else end
        if stop > start:
            spans.append((start, stop, run))
    labels = tuple((s, e, UNCERTAIN if run.uncertain else run.label) for s, e, run in spans)
    scores = tuple((s, e, f"{run.score:.3f}") for s, e, run in spans)
    return [Tier(name, labels, participant), Tier(f"{name} · probability", scores, participant, parent=name)]


def _apart(name: str, intervals: Iterable[Interval], participant: str = "") -> list[Tier]:
    """Spread overlapping intervals over as many tiers as needed (each goes to the first tier that is free)."""
    rows: list[list[Interval]] = []
    for start, end, text in sorted(intervals, key=lambda i: (i[0], i[1])):
        span = (start, max(end, start + 1), text)
        row = next((r for r in rows if r[-1][1] <= start), None)
        if row is None:
            rows.append([span])
        else:
            row.append(span)
    return [Tier(name if i == 0 else f"{name} ({i + 1})", tuple(row), participant) for i, row in enumerate(rows)]


def _unique(tiers: Sequence[Tier]) -> list[Tier]:
    """Tier names are ids in ELAN: give a second one of the same name a number."""
    renamed: dict[str, int] = {}
    result = []
    for tier in tiers:
        count = renamed[tier.name] = renamed.get(tier.name, 0) + 1
        suffix = f" #{count}" if count > 1 else ""
        parent = tier.parent + (suffix if tier.parent else "")
        result.append(Tier(tier.name + suffix, tier.intervals, tier.participant, parent))
    return result


def _single(timeline: Timeline, path: Path) -> View:
    """The one view of a timeline that is to become tiers."""
    found = [view for view in views(timeline) if view.rows]
    if len(found) != 1:
        remedy = "save timeline.filter(file=...) for each file" if found else ""
        raise AffectusError(path, f"this format describes one recording, the timeline holds {len(found)}", remedy)
    if not found[0].timed:
        raise AffectusError(path, f"{found[0].file} has no times to put on tiers", "use .csv, .json, .parquet or .html")
    return found[0]


# --- WebVTT -----------------------------------------------------------------------------------------------------------


def write_vtt(timeline: Timeline, path: Path) -> None:
    """WebVTT: turns as cues with the perceived emotion below the words; decisions per person as cues at the top."""
    write_atomic(path, _vtt(_single(timeline, path)))


def _vtt(view: View) -> Iterator[str]:
    yield "WEBVTT\n\nNOTE Perceived expression as estimated by affectus; not what a person thinks or wants.\n"
    cues: list[tuple[int, int, str, str]] = []
    for turn, found, unsure in zip(view.turns, turn_runs(view), unsure_turns(view), strict=True):
        who = f"<v {_vtt_text(turn.speaker)}>" if turn.speaker else ""
        # The joint answer comes first in `found`, then single sources.
        hedge = "? (uncertain)" if unsure else ""
        told = (f"\n({_vtt_text(run.label)}{hedge} {run.score:.0%}, {source})" for source, run in found.items())
        below = next(told, "")
        cues.append((_ms(turn.start), _ms(turn.end), "", f"{who}{_vtt_text(turn.text)}{below}"))
    for person in view.people:
        for run in decision_runs(person):
            label = f"{run.label}? (uncertain)" if run.uncertain else run.label
            text = f"{_vtt_text(person.name)}: {_vtt_text(label)} {run.score:.0%}"
            cues.append((_ms(run.start), _ms(run.end), " line:0", text))
    for start, end, place, text in sorted(cues, key=lambda c: (c[0], c[1])):
        yield f"\n{_vtt_time(start)} --> {_vtt_time(max(end, start + 1))}{place}\n{text}\n"


def _vtt_time(ms: int) -> str:
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _vtt_text(text: str) -> str:
    """Escape markup (and with `>` the arrow); a blank line would end the cue, so white space becomes one blank."""
    return escape(" ".join(_printable(text).split()))


def _printable(text: str) -> str:
    """Drop control characters and lone surrogates, which neither XML 1.0 nor UTF-8 can hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "", text)


# --- ELAN -------------------------------------------------------------------------------------------------------------

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_MIME = {".wav": "audio/x-wav", ".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg"}


def write_eaf(timeline: Timeline, path: Path) -> None:
    """ELAN annotation document (EAF 3.0): aligned tiers, probabilities as symbolic associations of their label tier."""
    write_atomic(path, _eaf(_single(timeline, path)))


def _eaf(view: View) -> Iterator[str]:
    tiers = tiers_of(view)
    aligned = [interval for tier in tiers if not tier.parent for interval in tier.intervals]
    times = sorted({ms for start, end, _ in aligned for ms in (start, end)})
    slots = {ms: f"ts{i + 1}" for i, ms in enumerate(times)}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield (
        f'<ANNOTATION_DOCUMENT AUTHOR="affectus" DATE="{now}" FORMAT="3.0" VERSION="3.0" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="{_SCHEMA}">\n'
    )
    yield '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n' + _eaf_media(view) + "</HEADER>\n<TIME_ORDER>\n"
    for ms, slot in slots.items():
        yield f'<TIME_SLOT TIME_SLOT_ID="{slot}" TIME_VALUE="{ms}"/>\n'
    yield "</TIME_ORDER>\n"
    number = 0
    ids: dict[str, list[str]] = {}
    for tier in tiers:
        kind, parent = ("association", f" PARENT_REF={_attribute(tier.parent)}") if tier.parent else ("default-lt", "")
        who = f" PARTICIPANT={_attribute(tier.participant)}" if tier.participant else ""
        yield f'<TIER LINGUISTIC_TYPE_REF="{kind}"{parent}{who} TIER_ID={_attribute(tier.name)}>\n'
        for i, (start, end, text) in enumerate(tier.intervals):
            number += 1
            ids.setdefault(tier.name, []).append(f"a{number}")
            value = f"<ANNOTATION_VALUE>{escape(_printable(text))}</ANNOTATION_VALUE>"
            if tier.parent:
                link = f'REF_ANNOTATION ANNOTATION_ID="a{number}" ANNOTATION_REF="{ids[tier.parent][i]}"'
                yield f"<ANNOTATION><{link}>{value}</REF_ANNOTATION></ANNOTATION>\n"
            else:
                span = f'TIME_SLOT_REF1="{slots[start]}" TIME_SLOT_REF2="{slots[end]}"'
                yield f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" {span}>'
                yield f"{value}</ALIGNABLE_ANNOTATION></ANNOTATION>\n"
        yield "</TIER>\n"
    yield (
        '<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>\n'
        '<LINGUISTIC_TYPE CONSTRAINTS="Symbolic_Association" GRAPHIC_REFERENCES="false" '
        'LINGUISTIC_TYPE_ID="association" TIME_ALIGNABLE="false"/>\n'
        '<CONSTRAINT DESCRIPTION="1-1 association with a parent annotation" STEREOTYPE="Symbolic_Association"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    )


def _eaf_media(view: View) -> str:
    """Link to the recording, where it is a file on this machine."""
    source = Path(view.file)
    if "\0" in view.file or not source.is_file():
        return ""
    mime = _MIME.get(source.suffix.lower(), f"{view.kind or 'video'}/*")
    return f'<MEDIA_DESCRIPTOR MEDIA_URL={_attribute(source.resolve().as_uri())} MIME_TYPE="{mime}"/>\n'


def _attribute(text: str) -> str:
    return quoteattr(_printable(text))


# --- Praat ------------------------------------------------------------------------------------------------------------


def write_textgrid(timeline: Timeline, path: Path) -> None:
    """Praat TextGrid (long text form, UTF-8): interval tiers that tile the recording without gaps."""
    write_atomic(path, _textgrid(_single(timeline, path)))


def _textgrid(view: View) -> Iterator[str]:
    tiers = tiers_of(view)
    length = max([_ms(view.duration), *(tier.intervals[-1][1] for tier in tiers)])
    yield 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    yield f"xmin = 0\nxmax = {length / 1000:.3f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    for number, tier in enumerate(tiers, 1):
        tiled = _tile(tier.intervals, length)
        yield f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{_quoted(tier.name)}"\n'
        yield f"        xmin = 0\n        xmax = {length / 1000:.3f}\n        intervals: size = {len(tiled)}\n"
        for i, (start, end, text) in enumerate(tiled, 1):
            yield f"        intervals [{i}]:\n            xmin = {start / 1000:.3f}\n"
            yield f'            xmax = {end / 1000:.3f}\n            text = "{_quoted(text)}"\n'


def _tile(intervals: Sequence[Interval], length: int) -> list[Interval]:
    """Fill the gaps with empty intervals from 0 to `length` ms."""
    tiled, at = [], 0
    for start, end, text in intervals:
        if start > at:
            tiled.append((at, start, ""))
        tiled.append((start, end, text))
        at = end
    if at < length:
        tiled.append((at, length, ""))
    return tiled


def _quoted(text: str) -> str:
    """Praat doubles quotation marks; a line break would end the field for simple readers."""
    return " ".join(_printable(text).split()).replace('"', '""')
