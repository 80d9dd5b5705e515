"""What a page shows about a conversation beyond lanes and curves: shifts, who follows whom, hints at gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affectus.report.facts import place
from affectus.report.markup import esc
from affectus.report.palette import family
from affectus.report.runs import Run
from affectus.report.view import Mark, Person, View

#: Shifts, pairs and hints that a page lists per file.
SHIFTS_SHOWN, PAIRS_SHOWN, GAPS_SHOWN = 100, 20, 100
#: Files whose hints the terminal counts one by one.
FILES_COUNTED = 5
#: Characters of a turn that are quoted beside a hint.
QUOTED = 160


def own_marks(person: Person, marks: Sequence[Mark]) -> list[Run]:
    """Those of some marks that belong to a speaker, as pieces of a strip."""
    mine = [m for m in marks if m.speaker == person.speaker and person.track < 0]
    return [Run(m.start, m.end, m.label, m.score, m.low, m.high) for m in mine]


def tags_of(view: View) -> Mapping[tuple[float, str], str]:
    """Position and speaker of a turn → what is marked about it, as markup."""
    found: dict[tuple[float, str], str] = defaultdict(str)
    for mark in view.shifts:
        _, _, now = mark.label.partition("→")
        text = esc(mark.label.replace("→", " → "))
        found[round(mark.start, 3), mark.speaker] += f'<span class="tag e-{family(now)}">shift: {text}</span> '
    for mark in view.gaps:
        found[round(mark.start, 3), mark.speaker] += (
            f'<span class="tag gap" title="{esc(mark.text)}">hint: {esc(mark.label)}</span> '
        )
    return found


def dialogue_sections(view: View) -> str:
    """The cards of a conversation, empty for other files."""
    return _shifts(view) + _influences(view) + _gaps(view) if view.spoken else ""


def _listed(view: View, marks: Sequence[Mark], limit: int) -> str:
    items = "".join(
        f'<li><button type="button" class="time" data-seek="{mark.start:.3f}">{esc(place(view, mark.start))}</button> '
        f'<span dir="auto">{esc(mark.text)}</span></li>'
        for mark in marks[:limit]
    )
    more = f'<p class="hint">{len(marks) - limit:,} more are in the table.</p>' if len(marks) > limit else ""
    return f'<ul class="plain long" tabindex="0">{items}</ul>{more}'


def _shifts(view: View) -> str:
    if not view.shifts:
        return ""
    often = esc(view.info.get("shifts_right") or "How often such marks are right was not measured for this reading.")
    return (
        '<section class="card"><h3>Shifts of perceived expression</h3><p class="lead">Two successive turns of one '
        f"speaker whose leading labels differ, both sure enough to be named. {often}</p>"
        f"{_listed(view, view.shifts, SHIFTS_SHOWN)}</section>\n"
    )


def _influences(view: View) -> str:
    if not view.influences:
        return ""
    ranked = sorted(view.influences, key=lambda m: -m.score)[:PAIRS_SHOWN]
    rows = "".join(
        f'<tr><th scope="row" dir="auto">{esc(mark.label.replace("→", " → "))}</th><td>{100 * mark.score:+.0f}</td>'
        f'<td>{_bounds(mark)}</td><td dir="auto">{esc(mark.text)}</td></tr>'
        for mark in ranked
    )
    heads = ("who before → who replies", "beyond chance, points", "95%", "in words")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rest = len(view.influences) - len(ranked)
    more = f'<p class="hint">{rest} more pairs are in the table.</p>' if rest else ""
    return (
        '<section class="card"><h3>Who follows whom</h3><p class="lead">How often a reply takes up the perceived '
        "expression of the turn before it, beyond what the habits of both speakers give by chance. Where the bounds "
        'hold zero, nothing is shown.</p><div class="wide"><table class="pairs">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}</section>\n"
    )


def _bounds(mark: Mark) -> str:
    if not np.isfinite(mark.low):
        return "–"
    return f"{100 * mark.low:+.0f} to {100 * mark.high:+.0f}"


def _gaps(view: View) -> str:
    if not view.gaps:
        return ""
    said = {(round(turn.start, 3), turn.speaker): turn.text for turn in view.turns}
    items = "".join(
        f'<li><button type="button" class="time" data-seek="{mark.start:.3f}">{esc(place(view, mark.start))}</button> '
        f'<b dir="auto">{esc(mark.speaker or "No name")}</b>: <q dir="auto">'
        f"{esc(_short(said.get((round(mark.start, 3), mark.speaker), '')))}</q></li>"
        for mark in view.gaps[:GAPS_SHOWN]
    )
    rest = len(view.gaps) - GAPS_SHOWN
    more = f'<p class="hint">{rest:,} more are in the table.</p>' if rest > 0 else ""
    about = _hints(view)
    meaning = f"{about['meaning']}. {about['how_often']}" if about else "the two may differ. Most hints are wrong."
    return (
        '<section class="card"><h3>Writer and reader may differ</h3><p class="lead">Weak hints, learnt from sentences '
        f"rated from the writer's and from the reader's side. A hint says: {esc(meaning)} Take a hint as a reason to "
        "ask, never as a finding; --no-gap-hints leaves them out.</p>"
        f'<ul class="plain long" tabindex="0">{items}</ul>{more}</section>\n'
    )


def _short(text: str) -> str:
    """The beginning of a turn as a quotation."""
    return text if len(text) <= QUOTED else text[:QUOTED].rsplit(" ", 1)[0] + " …"


def _hints(view: View) -> Mapping[str, Any]:
    """What the analysis noted about hints at gaps; empty for tables that do not say."""
    return view.info.get("gap_hints") or {}


def hint_line(files: Mapping[str, Mapping[str, Any]]) -> str:
    """The hints of all files (their meta data by name) in a line for the terminal, empty where there are none."""
    found = {name: info["gap_hints"] for name, info in files.items() if (info.get("gap_hints") or {}).get("marked")}
    if not found:
        return ""
    counts = [f"{about['marked']} of {about['of']} turns in {name}" for name, about in found.items()][:FILES_COUNTED]
    rest = len(found) - len(counts)
    listed = ", ".join(counts) + (f", and more in {rest} more files" if rest else "")
    about = next(iter(found.values()))
    return f"Weak hints: {listed}. A hint says: {about['meaning']}. {about['how_often']}"


def dialogue_facts(view: View) -> list[str]:
    """Findings about a conversation as plain sentences (not escaped)."""
    if not view.spoken:
        return []
    facts = []
    if view.shifts:
        most = max(view.shifts, key=lambda m: m.score)
        where = f"{most.speaker or 'No name'}, {most.label.replace('→', ' → ')}, {place(view, most.start)}"
        if len(view.shifts) == 1:
            facts.append(f"One shift of perceived expression is marked: {where}.")
        else:
            facts.append(f"{len(view.shifts)} shifts of perceived expression are marked; the largest: {where}.")
    sure = [m for m in view.influences if m.low > 0]
    facts += [mark.text for mark in sorted(sure, key=lambda m: -m.score)[:2]]
    if view.gaps:
        one, about = len(view.gaps) == 1, _hints(view)
        turns = "One turn carries" if one else f"{len(view.gaps)} turns carry"
        odds = f" ({about['odds']})" if about else ""
        facts.append(f"{turns} a weak hint{odds} that writer and reader may see {'it' if one else 'them'} differently.")
    return facts
