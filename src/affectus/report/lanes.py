"""Coloured strips over time, one lane per person and one strip per source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from affectus.report.dialogue import own_marks
from affectus.report.facts import conflict_runs, in_words, place, sources_of
from affectus.report.markup import esc, percent, thumbnail
from affectus.report.palette import family, ordered
from affectus.report.runs import UNCERTAIN, Run, curve_runs, decision_runs, shares
from affectus.report.view import Person, View

#: What a reader sees for each source.
TITLES = {"fusion": "joint", "face": "face", "voice": "voice", "words": "words", "scene": "scene"}
#: People that get a lane; a file of a whole series would drown in them.
LANES = 24
#: Kinds of strips that hold marks → class of their pieces.
_MARKS = {"clashes": "clash", "shifts": "clash shift", "hints": "doubt"}


def most_seen(view: View, people: Sequence[Person]) -> list[Person]:
    """Of the crowd of a conversation those with most turns, in the given order; of other files all."""
    if not view.spoken or len(people) <= LANES:
        return list(people)
    ranked = sorted(range(len(people)), key=lambda i: -len(people[i].decisions))
    return [people[i] for i in sorted(ranked[:LANES])]


def lanes(view: View, limit: int) -> str:
    """All lanes of a file with their axis; `limit` bounds the pieces of a strip."""
    everybody = [p for p in view.people if p.curves or p.decisions]
    if not everybody:
        return ""
    people = most_seen(view, everybody)
    rest = len(everybody) - len(people)
    split = conflict_runs(view)
    body = "".join(_person(view, p, [r for who, r in split if who is p or who is None], limit) for p in people)
    return (
        f'<div class="lanes" data-duration="{view.duration:.3f}" data-timed="{int(view.timed)}">\n'
        f'{body}<div class="person axis" aria-hidden="true"><div class="who"></div><div class="rows"><div class="row">'
        f'<span class="src"></span><div class="strip"><div class="inner ticks">{_ticks(view)}</div></div></div></div>'
        f"</div></div>\n" + (f'<p class="hint">{rest} more people are in the table.</p>' if rest else "")
    )


def legend(view: View) -> str:
    """Colours with their names: the labels of what is drawn, and the two patterns."""
    labels = {label for person in view.people for curve in person.curves[:1] for label in curve.labels}
    families = dict.fromkeys(family(label) for label in ordered(sorted(labels)))
    chips = "".join(f'<li><i class="key e-{name}"></i>{esc(name)}</li>' for name in families)
    if any(mark.label == UNCERTAIN for person in view.people for mark in person.decisions):
        chips += '<li><i class="key u e-neutral"></i>uncertain (colour: closest)</li>'
    if view.conflicts:
        chips += '<li><i class="key clash"></i>sources disagree</li>'
    if view.shifts:
        chips += '<li><i class="key clash shift e-other"></i>shift of perceived expression</li>'
    if view.gaps:
        chips += '<li><i class="key doubt"></i>writer and reader may differ (weak hint)</li>'
    return f'<ul class="legend" aria-label="Colours">{chips}</ul>\n'


def _person(view: View, person: Person, split: Sequence[Run], limit: int) -> str:
    picture = thumbnail(view, person.track)
    face = f'<img class="thumb" src="{picture}" alt="{esc(person.name)}">' if picture else _initial(person)
    strips = []
    if person.decisions:
        strips.append(_strip(view, "joint", "main", decision_runs(person, limit)))
    for curve in person.curves:
        if curve.source == "fusion" and person.decisions:
            continue  # the decisions say the same and know what is uncertain
        size = "main" if not strips else ""
        strips.append(_strip(view, TITLES.get(curve.source, curve.source), size, curve_runs(curve, limit)))
    if split:
        strips.append(_strip(view, "splits", "clashes", split))
    for title, size, marks in (("shifts", "shifts", view.shifts), ("hints", "hints", view.gaps)):
        if own := own_marks(person, marks):
            strips.append(_strip(view, title, size, own))
    detail = f"face {person.track}" if person.speaker and person.track >= 0 else ""
    name = person.speaker or person.name
    return (
        f'<div class="person" role="group" aria-label="{esc(person.name)}"><div class="who">{face}'
        f'<div><b dir="auto">{esc(name)}</b><small>{esc(detail)}</small></div></div>'
        f'<div class="rows">{"".join(strips)}</div></div>\n'
    )


def _initial(person: Person) -> str:
    letter = person.speaker.strip()[:1] or (str(person.track) if person.track >= 0 else "")
    if not letter:
        return ""
    return f'<span class="thumb letter" aria-hidden="true">{esc(letter.upper())}</span>'


def _strip(view: View, title: str, size: str, runs: Sequence[Run]) -> str:
    pieces = []
    for run in runs:
        left = 100 * run.start / view.duration
        width = 100 * max(run.end - run.start, 0) / view.duration
        now = run.label.rpartition("→")[2]
        kind = f"{_MARKS.get(size, 'u' if run.uncertain else '')} e-{family(now)}".strip()
        text = {"clashes": sources_of(run.label).replace(" and ", " ≠ "), "shifts": f"→ {now}"}.get(size, run.label)
        numbers = ",".join(f"{v:.3f}" if np.isfinite(v) else "" for v in (run.score, run.low, run.high))
        data = f"{run.start:.3f},{run.end:.3f},{numbers}"
        shown = esc(text + ("?" if run.uncertain else ""))
        pieces.append(
            f'<i class="{kind}" style="left:{left:.3f}%;width:{width:.3f}%" data-s="{data}"><b>{shown}</b></i>'
        )
    said = f"{title}: {_spoken(view, runs, size)}"
    return (
        f'<div class="row {size}"><span class="src">{esc(title)}</span><div class="strip" tabindex="0" role="slider" '
        f'aria-valuemin="0" aria-valuemax="{view.duration:.2f}" aria-valuenow="0" '
        f'data-source="{esc(title)}" aria-label="{esc(said)}"><div class="inner">{"".join(pieces)}</div></div></div>'
    )


def _spoken(view: View, runs: Sequence[Run], size: str) -> str:
    """The strip in words, for those who do not see it."""
    if not runs:
        return "nothing"
    if size == "clashes":
        first = ", ".join(f"{sources_of(r.label)} at {place(view, r.start, r.end)}" for r in runs[:4])
        return f"{len(runs)} stretches where sources disagree; {first}"
    if size in _MARKS:
        return ", ".join(f"{r.label} at {place(view, r.start)}" for r in runs[:4])
    share = shares(runs)
    doubt = f", uncertain {percent(share[UNCERTAIN])}" if UNCERTAIN in share else ""
    return f"{in_words(share, 4)}{doubt}"


def _ticks(view: View) -> str:
    """About six round positions; the page script draws more when zoomed."""
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400]
    step = next((s for s in steps if view.duration / s <= 7), steps[-1])
    return "".join(
        f'<span style="left:{100 * at / view.duration:.3f}%">{esc(place(view, at))}</span>'
        for at in np.arange(0, view.duration, step).tolist()
    )
