"""Open words on an emotion wheel, and what is told about each turn: a part of the page, and one line for the terminal.

The wheel is the second arrangement of the library's own tables: eight emotions around a circle, each in three
intensities, weak inside, strong outside. A cell is the more opaque the more its words weigh.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from affectus.labels import wheels
from affectus.labels.label_space import read_table
from affectus.report.facts import place
from affectus.report.markup import esc, percent
from affectus.report.palette import family
from affectus.report.view import Mark, View

#: The arrangement that is drawn, and the colour family of each of its sectors.
WHEEL = 2
SECTORS = {"joy": "happiness", "trust": "calm", "fear": "fear", "surprise": "surprise", "sadness": "sadness",
           "disgust": "disgust", "anger": "anger", "anticipation": "other"}  # fmt: skip
#: Radii of the rings (weak, middling, strong) and of the neutral disc, in units of the drawing, which is 400 wide.
RINGS, NEUTRAL = (26.0, 72.0, 118.0, 164.0), 22.0
#: Turns, words per person, rows and raw answers that a page shows per file.
TURNS_SHOWN, WORDS_SHOWN, ROWS_SHOWN, RAW_SHOWN = 300, 12, 300, 200
#: Weight of a word whose probability is unknown, such as one that was only said.
UNKNOWN = 0.3
_STATES = {"empty": "empty", "looping": "looping", "unparsable": "unreadable", "timeout": "too late",
           "failed": "failed", "nothing left": "nothing of it had a row"}  # fmt: skip


@dataclass
class WordUse:
    """One word of one person: its weight, in how many turns, the highest probability, and its cell on the wheel."""

    word: str
    weight: float = 0.0
    turns: int = 0
    score: float = float("nan")
    sector: str = ""
    ring: int = -1


@dataclass
class Turn:
    """What is told about one turn."""

    mark: Mark
    words: list[Mark] = field(default_factory=list)
    sentences: list[Mark] = field(default_factory=list)


def cell(word: str) -> tuple[str, int]:
    """Sector and ring (0 weak … 2 strong) of a word, ("", -1) when the wheel does not hold it."""
    tables = wheels.load()
    text = word.replace("_", " ")
    return _cells().get(tables.cluster(text, "M3", WHEEL, 2), ("", -1))


@cache
def _cells() -> dict[str, tuple[str, int]]:
    """Level-2 cluster → sector and ring."""
    record = read_table("wheels/builtin.toml")["wheels"][str(WHEEL)]
    return {name: (sector, ring) for sector, names in record.items() for ring, name in enumerate(names)}


def word_family(word: str) -> str:
    """Colour family of an open word: its own, else that of its sector."""
    own = family(word)
    return own if own != "other" else SECTORS.get(cell(word)[0], "other")


def words_of(marks: Sequence[Mark]) -> list[WordUse]:
    """Words of one person over all turns, the weightiest first."""
    found: dict[str, WordUse] = {}
    for mark in marks:
        use = found.setdefault(mark.label, WordUse(mark.label))
        use.sector, use.ring = cell(mark.label)
        use.weight += mark.score if np.isfinite(mark.score) else UNKNOWN
        use.turns += 1
        use.score = float(np.fmax(use.score, mark.score))
    return sorted(found.values(), key=lambda use: (-use.weight, use.word))


def counted(record: Mapping[str, Any]) -> str:
    """What became of the turns of a file, as one sentence; "" when nothing was described."""
    turns = int(record.get("turns") or 0)
    if not turns:
        return ""
    states: Mapping[str, int] = record.get("states") or {}
    dropped: Mapping[str, int] = record.get("dropped") or {}
    parts = [f"{turns} turn{'s' if turns > 1 else ''} worded by {record.get('writer', 'template')}"]
    if record.get("fallbacks"):
        why = ", ".join(f"{n} {_STATES.get(name, name)}" for name, n in states.items() if name != "ok")
        parts.append(f"{record['fallbacks']} of them by the template instead ({why})")
    if out := sum(dropped.values()):
        whole = out + int(record.get("sentences") or 0)
        why = ", ".join(f"{n} {name}" for name, n in dropped.items())
        parts.append(f"{out} of {whole} sentences taken out because no row holds them ({why})")
    if record.get("dropped_words"):
        parts.append(f"{record['dropped_words']} words taken out")
    if record.get("left_out"):
        parts.append(f"{record['left_out']} further turns not described")
    return "; ".join(parts)


def description_section(view: View, key: str, rows: Mapping[int, Mapping[str, Any]]) -> str:
    """The part of a page about open words and descriptions, or nothing where there are none."""
    if not (view.words or view.descriptions):
        return ""
    blocks = []
    people = sorted({view.person_of(m) for m in view.words})
    for index in people:
        uses = words_of([m for m in view.words if view.person_of(m) == index])
        name = view.people[index].name if index >= 0 else _nobody(view)
        blocks.append(_person(name, uses))
    shown: dict[int, Mapping[str, Any]] = {}
    turns = _turns(view)
    items = "".join(_turn(view, turn, f"{key}-d", rows, shown) for turn in turns[:TURNS_SHOWN])
    rest = len(turns) - TURNS_SHOWN
    more = f'<p class="hint">{rest:,} more turns stand in the data files only.</p>' if rest > 0 else ""
    record = view.info.get("descriptions")
    note = counted(record) if isinstance(record, Mapping) else ""
    lead = f'<p class="lead">{esc(note)}.</p>' if note else ""
    return (
        f'<section class="card"><h3>In open words</h3>{lead}<div class="worded{" one" if len(blocks) == 1 else ""}">'
        f'<div class="wheels">{"".join(blocks)}</div>'
        f'<ol class="told" tabindex="0" aria-label="What is told about each turn">{items}</ol></div>{more}'
        f"{behind(view, shown, f'{key}-d')}{_raw(view)}</section>\n"
    )


def _nobody(view: View) -> str:
    """Name of whoever has neither a face nor a name."""
    return next((p.name for p in view.people if p.track < 0 and not p.speaker), "Nobody in particular")


def _turns(view: View) -> list[Turn]:
    """Words and sentences by turn, in order of time."""
    found: dict[tuple[float, float, int, str], Turn] = {}
    for mark in (*view.descriptions, *view.words):
        turn = found.setdefault((mark.start, mark.end, mark.track, mark.speaker), Turn(mark))
        (turn.words if mark.label else turn.sentences).append(mark)
    for turn in found.values():
        turn.words.sort(key=lambda m: m.row)
        turn.sentences.sort(key=lambda m: m.row)
    return sorted(found.values(), key=lambda turn: (turn.mark.start, turn.mark.row))


def _turn(
    view: View, turn: Turn, prefix: str, rows: Mapping[int, Mapping[str, Any]], shown: dict[int, Mapping[str, Any]]
) -> str:
    chips = "".join(
        f'<li class="chip e-{word_family(m.label)}">{esc(m.label.replace("_", " "))}'
        f"{f' {percent(m.score)}' if np.isfinite(m.score) else ''}</li>"
        for m in turn.words
    )
    said = []
    for mark in turn.sentences:
        links = []
        for ref in mark.refs:
            if ref in rows and (ref in shown or len(shown) < ROWS_SHOWN):
                shown[ref] = rows[ref]
            links.append(f'<a href="#{prefix}-r{ref}">{ref}</a>' if ref in shown else str(ref))
        basis = f' <small class="refs">row {", ".join(links)}</small>' if links else ""
        said.append(f'<span dir="auto">{esc(mark.text)}</span>{basis}')
    by = turn.sentences[0].method if turn.sentences else turn.mark.method
    record = view.info.get("descriptions")
    writer = record.get("writer") if isinstance(record, Mapping) else ""
    instead = " <small>by the template</small>" if by == "template" and writer not in ("template", "", None) else ""
    when = esc(place(view, turn.mark.start))
    button = f'<button type="button" class="time" data-seek="{turn.mark.start:.3f}">{when}</button>'
    return f'<li>{button}<div><ul class="chips">{chips}</ul><p>{" ".join(said)}{instead}</p></div></li>\n'


def behind(view: View, shown: Mapping[int, Mapping[str, Any]], prefix: str) -> str:
    """The table rows that sentences refer to, closed until asked for; ids are `<prefix>-r<row>`."""
    if not shown:
        return ""
    table = "".join(
        f'<tr id="{prefix}-r{number}"><td>{number}</td><td>{esc(place(view, row["start"], row["end"]))}</td>'
        f"<td>{esc(row['source'])} · {esc(row['method'])}</td><td>{esc(row['space'])}: {esc(row['label'])}</td>"
        f'<td>{_number(row["score"])}</td><td dir="auto">{esc(row["text"])}</td></tr>'
        for number, row in sorted(shown.items())
    )
    head = "".join(f'<th scope="col">{n}</th>' for n in ("row", "when", "source", "label", "score", "text"))
    return (
        f'<details class="behind"><summary>The {len(shown)} rows these sentences rest on</summary><div class="wide">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{table}</tbody></table></div></details>"
    )


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and np.isfinite(value) else "–"


def _raw(view: View) -> str:
    """Raw answers of a language model and what was taken out of them."""
    if not view.generations:
        return ""
    items = "".join(
        f'<tr><td>{esc(place(view, m.start))}</td><td>{esc(m.label)}</td><td dir="auto">{esc(m.text)}</td></tr>'
        for m in sorted(view.generations, key=lambda m: m.row)[:RAW_SHOWN]
    )
    head = "".join(f'<th scope="col">{n}</th>' for n in ("when", "state", "text"))
    return (
        '<details class="behind"><summary>Raw answers of the language model, and what was taken out</summary>'
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{items}</tbody></table></div></details>'
    )


def _person(name: str, uses: Sequence[WordUse]) -> str:
    """The wheel of one person and the words beside it."""
    items = "".join(
        f'<li class="e-{word_family(use.word)}"><i class="key"></i>{esc(use.word.replace("_", " "))}'
        f"<small> {'' if not np.isfinite(use.score) else f'up to {percent(use.score)}'}"
        f"{f', {use.turns} turns' if use.turns > 1 else ''}</small></li>"
        for use in uses[:WORDS_SHOWN]
    )
    off = [use.word.replace("_", " ") for use in uses if not use.sector and use.word != "neutral"]
    beside = f'<p class="hint">Not on the wheel: {esc(", ".join(off[:20]))}.</p>' if off else ""
    more = f'<p class="hint">{len(uses) - WORDS_SHOWN} more words.</p>' if len(uses) > WORDS_SHOWN else ""
    return (
        f'<div class="wheelbox"><h4 dir="auto">{esc(name)}</h4>{wheel_svg(name, uses)}'
        f'<ul class="uses">{items}</ul>{more}{beside}</div>'
    )


def wheel_svg(name: str, uses: Sequence[WordUse]) -> str:
    """The wheel as SVG; colours are the page's own, so it follows its theme."""
    cells: dict[tuple[str, int], list[WordUse]] = {}
    for use in uses:
        if use.sector:
            cells.setdefault((use.sector, use.ring), []).append(use)
    top = max((sum(u.weight for u in own) for own in cells.values()), default=1.0)
    shapes, labels = [], []
    for number, (sector, colour) in enumerate(SECTORS.items()):
        middle = number * 45.0
        for ring in range(3):
            own = cells.get((sector, ring), [])
            weight = sum(use.weight for use in own) / top
            strength = f' style="fill-opacity:{0.2 + 0.6 * weight:.2f}"' if own else ""
            title = f"<title>{esc(sector)}: {esc(', '.join(u.word for u in own))}</title>" if own else ""
            name_of = f"e-{colour} on" if own else "e-other"
            shapes.append(f'<path class="{name_of}" d="{_sector(middle, ring)}"{strength}>{title}</path>')
            labels += _labels(own, middle, ring)
        x, y = _at(middle, RINGS[3] + (13 if abs(math.sin(math.radians(middle))) < 0.1 else 5))
        side = "" if abs(x) < 1 else " right" if x > 0 else " left"
        y -= 24 if abs(y) < 1 else 0
        labels.append(f'<text class="rim{side}" x="{x:.1f}" y="{y + 4:.1f}">{esc(sector)}</text>')
    neutral = next((use for use in uses if use.word == "neutral"), None)
    dot = ' class="e-neutral on" style="fill-opacity:.6"' if neutral else ""
    shapes.append(f'<circle r="{NEUTRAL:g}"{dot}><title>neutral</title></circle>')
    if neutral:
        labels.append('<text y="4">neutral</text>')
    listed = ", ".join(use.word.replace("_", " ") for use in uses[:WORDS_SHOWN]) or "no words"
    return (
        f'<svg class="wheel" viewBox="-208 -192 416 384" role="img" aria-label="{esc(f"Emotion wheel of {name}")}: '
        f'{esc(listed)}">{"".join(shapes)}{"".join(labels)}</svg>'
    )


def _labels(uses: Sequence[WordUse], middle: float, ring: int) -> list[str]:
    """The foremost words of a cell, one below the other."""
    room = 1 if ring == 0 else 2
    shown = [use.word.replace("_", " ") for use in uses[:room]]
    if len(uses) > room:
        shown[-1] += f" +{len(uses) - room}"
    x, y = _at(middle, (RINGS[ring] + RINGS[ring + 1]) / 2)
    # Left and right the rings lie side by side: labels of neighbours are set at different heights.
    aside = (15.0, -15.0, 11.0)[ring] if abs(math.sin(math.radians(middle))) > 0.9 else 0.0
    first = y + 4 + aside - 6.5 * (len(shown) - 1)
    return [f'<text x="{x:.1f}" y="{first + 13 * i:.1f}">{esc(text)}</text>' for i, text in enumerate(shown)]


def _at(degrees: float, radius: float) -> tuple[float, float]:
    """A point of the drawing; 0° is up, clockwise."""
    angle = math.radians(degrees - 90)
    return radius * math.cos(angle), radius * math.sin(angle)


def _sector(middle: float, ring: int) -> str:
    """Outline of one cell."""
    inner, outer = RINGS[ring], RINGS[ring + 1]
    (ax, ay), (bx, by) = _at(middle - 22.5, outer), _at(middle + 22.5, outer)
    (cx, cy), (dx, dy) = _at(middle + 22.5, inner), _at(middle - 22.5, inner)
    return (
        f"M{ax:.1f} {ay:.1f}A{outer:g} {outer:g} 0 0 1 {bx:.1f} {by:.1f}"
        f"L{cx:.1f} {cy:.1f}A{inner:g} {inner:g} 0 0 0 {dx:.1f} {dy:.1f}Z"
    )
