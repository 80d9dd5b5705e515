"""The parts of the page about one file: status, key facts, timeline, curves, transcript, splits, explanations."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from affectus.report import plots
from affectus.report.descriptions import behind, description_section
from affectus.report.dialogue import dialogue_facts, dialogue_sections, tags_of
from affectus.report.facts import (
    clock,
    conflict_runs,
    cue_text,
    foremost_cues,
    key_facts,
    missing,
    place,
    signed,
    sources_of,
    warnings_of,
)
from affectus.report.lanes import TITLES, lanes, legend, most_seen
from affectus.report.markup import Pool, esc, media_tag, percent, script_json, thumbnail
from affectus.report.palette import family, ordered
from affectus.report.runs import UNCERTAIN, Run, turn_runs, unsure_turns
from affectus.report.view import Mark, Person, View

#: Rows behind explanations, cues, and turns, that a page shows per file.
ROWS_SHOWN, CUES_SHOWN, TURNS_SHOWN = 300, 400, 3000
#: Sentences that say why: as many as a page shows, and from which number on in a frame that scrolls.
SENTENCES, SENTENCES_SHOWN = 200, 16
#: Characters of one turn that a page shows.
TEXT_SHOWN = 5000


def file_section(view: View, key: str, folder: Path, rows: Mapping[int, Mapping[str, Any]], detail: float) -> str:
    """Everything about one file. `key` is its id in the page, `rows` holds the table rows that sentences refer to,
    `detail` (0…1] scales down what is drawn when many files share the page."""
    parts = [_status(view), media_tag(view, folder)]
    if not view.rows:
        parts.append('<p class="notice">Nothing could be analysed in this file.</p>')
    facts = [*key_facts(view), *dialogue_facts(view)]
    if facts:
        items = "".join(f'<li dir="auto">{esc(fact)}</li>' for fact in facts)
        parts.append(f'<section class="card facts"><h3>In short</h3><ul>{items}</ul></section>\n')
    if view.kind == "image":
        parts.append(_pictured(view))
    elif view.people:
        parts += [_timeline(view, round(400 * detail)), _curves(view, key, detail)]
    parts += [
        _transcript(view, max(200, round(TURNS_SHOWN * detail))),
        dialogue_sections(view),
        description_section(view, key, rows),
        _disagreements(view),
        _explanations(view, key, rows),
    ]
    return "".join(parts)


def _status(view: View) -> str:
    """What was analysed, what is missing and why, and warnings."""
    chips = []
    if view.kind:
        chips.append(f"<li>{'conversation' if view.spoken else esc(view.kind)}</li>")
    if view.timed:
        chips.append(f"<li>{clock(view.duration, tenths=view.duration < 60)} long</li>")
    elif view.kind != "image" and view.duration:
        what = "turn" if view.spoken else "text"
        chips.append(f"<li>{int(view.duration)} {what}{'' if view.duration == 1 else 's'}</li>")
    if view.spoken:
        counts = ((view.info.get("speakers"), "speakers"), (view.info.get("conversations"), "conversations"))
        chips += [f"<li>{esc(count)} {name}</li>" for count, name in counts if count and count != 1]
    if view.info.get("width") and view.info.get("height"):
        chips.append(f"<li>{esc(view.info['width'])} × {esc(view.info['height'])}</li>")
    found = [TITLES.get(s, s) for s in view.sources]
    chips += [f'<li class="yes">{esc(name)}</li>' for name in found]
    lacking = missing(view.info)
    chips += [f'<li class="no">no {esc(name)}</li>' for name in lacking if name not in found]
    notes = [f"<b>{esc(name)}</b> was not analysed: {esc(why or 'no reason given')}" for name, why in lacking.items()]
    notes += [esc(text) for text in warnings_of(view.info)]
    listed = "".join(f"<li>{note}</li>" for note in notes)
    return f'<ul class="chips" aria-label="Analysed">{"".join(chips)}</ul>\n' + (
        f'<ul class="notice" aria-label="Missing and warnings">{listed}</ul>\n' if notes else ""
    )


def _timeline(view: View, limit: int) -> str:
    drawn = lanes(view, limit)
    if not drawn:
        return ""
    zoom = "".join(
        f'<button type="button" data-zoom="{kind}" aria-label="{name}">{sign}</button>'
        for kind, name, sign in (("in", "Zoom in", "+"), ("out", "Zoom out", "−"), ("all", "Show all", "all"))
    )
    return (
        '<section class="card"><div class="bar"><h3>Who, when, which expression</h3>'
        f'<div class="zoom">{zoom}</div></div>'
        f'{legend(view)}{drawn}<div class="inspector" aria-live="polite" hidden></div>'
        '<p class="hint">Point at a strip to read what it rests on; click to hold that moment everywhere on the page. '
        "With the keyboard, tab to a strip and use the arrow keys.</p></section>\n"
    )


def _curves(view: View, key: str, detail: float) -> str:
    """Tabs of people with their plots (drawn by the page script from the data beside them)."""
    people = most_seen(view, [p for p in view.people if p.curves or p.affect])
    if not people:
        return ""
    pool, specs, tabs, panels = Pool(), [], [], []
    points = max(120, round(plots.POINTS * detail))
    for number, person in enumerate(people):
        spec = plots.curves_spec(view, person, points)
        path = plots.path_spec(view, person, max(60, round(240 * detail)))
        specs.append({"curves": pool.pack(spec), "path": pool.pack(path)})
        chosen = "true" if number == 0 else "false"
        name, where = esc(person.name), f"{key}-p{number}"
        tabs.append(
            f'<button role="tab" id="{where}-tab" aria-controls="{where}" aria-selected="{chosen}" '
            f'tabindex="{0 if number == 0 else -1}" dir="auto">{name}</button>'
        )
        height = int(spec["layout"]["height"])
        side = f'<div class="plot" data-plot="path" role="img" aria-label="{_path_text(person)}"></div>' if path else ""
        side = f'<div class="side">{side}{_means(person)}</div>'
        panels.append(
            f'<div role="tabpanel" id="{where}" aria-labelledby="{where}-tab" class="panel" data-person="{number}"'
            f'{"" if number == 0 else " hidden"}><div class="plot" data-plot="curves" style="min-height:{height}px" '
            f'role="img" aria-label="Emotion curves of {name}; the table beside them holds the means"></div>'
            f"{side}</div>"
        )
    longest = max((len(c.start) for p in people for c in [*p.curves[:1], *p.affect[:1]]), default=0)
    alone = " hidden" if len(people) == 1 else ""
    thinned = f" Curves are drawn with {points} of {longest} points." if longest > points else ""
    if (share := plots.turns_per_step(view)) > 1:
        thinned = f" Each step is the mean of what this speaker said in about {share:.0f} turns of the conversation."
    data = {"plots": specs, "pool": pool.entries, "evidence": _cues(view, round(CUES_SHOWN * detail))}
    data |= {
        "zero": plots.ZERO,
        "people": [p.name for p in view.people],
        "timed": view.timed,
        "duration": view.duration,
    }
    return (
        f'<section class="card"><h3>How strong, how sure</h3>'
        f'<div class="tabs" role="tablist" aria-label="People"{alone}>{"".join(tabs)}</div>'
        f"{''.join(panels)}"
        '<p class="hint">Bands show the uncertainty of the estimate, hatching what was left uncertain, diamonds where '
        f"sources disagree. Drag to zoom, double-click to reset.{thinned}</p></section>\n"
        f"{script_json(data, f'{key}-data')}"
    )


def _path_text(person: Person) -> str:
    affect = person.main_affect
    if affect is None:
        return ""
    known = np.isfinite(affect.scores).any(axis=0)
    means = [
        f"mean {n} {signed(float(np.nanmean(affect.scores[:, i])))}" for i, n in enumerate(affect.labels) if known[i]
    ]
    return esc(f"Valence and arousal of {person.name}: {', '.join(means)}")


def _means(person: Person) -> str:
    """Mean and peak per label as a small table: the plots in numbers."""
    curve = person.main
    if curve is None:
        return ""
    rows = []
    for label in plots.strongest(curve):
        values = curve.scores[:, curve.labels.index(label)]
        if np.isfinite(values).any():
            mean, peak = float(np.nanmean(values)), float(np.nanmax(values))
            rows.append(
                f'<tr class="e-{family(label)}"><th scope="row"><i class="key"></i>{esc(label)}</th>'
                f"<td>{percent(mean)}</td><td>{percent(peak)}</td></tr>"
            )
    head = '<tr><th scope="col">expression</th><th scope="col">mean</th><th scope="col">peak</th></tr>'
    named = f"{TITLES.get(curve.source, curve.source)}, {curve.space}"
    body = f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>"
    return f'<table class="means"><caption>{esc(named)}</caption>{body}</table>'


def _cues(view: View, limit: int) -> list[list[Any]]:
    """The strongest evidence rows for the page script: start, end, person, source, text, row."""
    return [
        [round(m.start, 3), round(m.end, 3), view.person_of(m), TITLES.get(m.source, m.source), cue_text(m), m.row]
        for m in foremost_cues(view.evidence, limit)
    ]


def _pictured(view: View) -> str:
    """Bars per person for one picture."""
    blocks = []
    for person in view.people:
        uri = thumbnail(view, person.track)
        picture = f'<img class="portrait" src="{uri}" alt="{esc(person.name)}">' if uri else ""
        bars = "".join(_bars(c, person) for c in (*person.curves, *person.affect))
        doubt = "left uncertain, no label stands out" if any(m.label == UNCERTAIN for m in person.decisions) else ""
        name = f'<h4 dir="auto">{esc(person.name)} <small>{doubt}</small></h4>'
        blocks.append(f'<div class="pictured">{picture}<div>{name}{bars}</div></div>')
    return f'<section class="card"><h3>What the picture shows</h3>{"".join(blocks)}</section>\n' if blocks else ""


def _bars(curve: Any, person: Person) -> str:
    dimension = curve in person.affect
    rows = []
    for label in curve.labels if dimension else ordered(curve.labels):
        at = curve.labels.index(label)
        score, low, high = (float(grid[0, at]) for grid in (curve.scores, curve.low, curve.high))
        if not np.isfinite(score):
            continue
        left, width = (50 + 50 * min(score, 0), 50 * abs(score)) if dimension else (0, 100 * score)
        span = ""
        if np.isfinite(low) and np.isfinite(high):
            a, b = (50 + 50 * low, 50 + 50 * high) if dimension else (100 * low, 100 * high)
            span = f'<i class="whisker" style="left:{a:.1f}%;width:{b - a:.1f}%"></i>'
        value = signed(score) if dimension else percent(score)
        bounds = (
            "" if not span else (f" ({signed(low)} to {signed(high)})" if dimension else f" ({low:.0%} to {high:.0%})")
        )
        rows.append(
            f'<tr class="e-{"other" if dimension else family(label)}"><th scope="row">{esc(label)}</th>'
            f'<td class="track{" signed" if dimension else ""}"><i class="fill" '
            f'style="left:{left:.1f}%;width:{width:.1f}%"></i>{span}</td>'
            f'<td class="value">{value}<small>{bounds}</small></td></tr>'
        )
    what = "evoked in viewers" if curve.perspective == "evoked" else "perceived"
    title = f"{TITLES.get(curve.source, curve.source)}, {what}"
    return f'<table class="bars"><caption>{esc(title)}</caption><tbody>{"".join(rows)}</tbody></table>'


def _transcript(view: View, limit: int) -> str:
    if not view.turns:
        return ""
    shown = list(zip(view.turns, turn_runs(view), unsure_turns(view), strict=True))[:limit]
    cues = [cue for cue in view.evidence if cue.source == "words"]
    starts = [cue.start for cue in cues]
    items, tags, talk = [], tags_of(view), ""
    for turn, found, unsure in shown:
        if turn.label != talk:
            talk = turn.label
            items.append(f'<li class="talk" dir="auto">conversation {esc(talk)}</li>')
        near = cues[bisect_left(starts, turn.start - 0.01) : bisect_left(starts, turn.end)]
        tag = tags.get((round(turn.start, 3), turn.speaker), "")
        words = {word for cue in near for word in (cue.text, cue.label)}
        items.append(_turn(view, turn, found, words, tag, unsure))
    title = "Transcript" if view.timed or view.spoken else "Texts"
    rest = len(view.turns) - len(shown)
    more = f'<p class="hint">{rest:,} more stand in the data files only.</p>' if rest else ""
    return (
        f'<section class="card"><h3>{title}</h3><ol class="turns" tabindex="0" aria-label="{title}">'
        f"{''.join(items)}</ol>{more}</section>\n"
    )


def _turn(view: View, turn: Mark, found: Mapping[str, Run], words: set[str], tag: str, unsure: bool) -> str:
    source, run = next(iter(found.items()), ("", None))
    kind, hedge = ("chip u", "?") if unsure else ("chip", "")
    chip = f'<span class="{kind}">{esc(run.label)}{hedge} {percent(run.score)}</span>' if run else ""
    named = [f"{TITLES.get(s, s)}: {esc(r.label)} {percent(r.score)}" for s, r in [*found.items()][1:]]
    rest = " · ".join([esc(TITLES.get(source, source)), *named]) if run else ""
    when = esc(place(view, turn.start))
    link = f'<button type="button" class="time" data-seek="{turn.start:.3f}" aria-label="Go to {when}">{when}</button>'
    speaker = f'<b dir="auto">{esc(turn.speaker)}</b>' if turn.speaker else ""
    return (
        f'<li class="turn e-{family(run.label) if run else "other"}" data-s="{turn.start:.3f}" data-e="{turn.end:.3f}">'
        f'{link}<div>{speaker}<p dir="auto">{_marked(turn.text, words)}</p>'
        f'<div class="said">{chip} {tag}<small>{rest}</small></div></div></li>\n'
    )


def _marked(text: str, words: set[str]) -> str:
    """The text of a turn, the words the model leaned on underlined, cut where it is endless."""
    if len(text) > TEXT_SHOWN:
        text = text[:TEXT_SHOWN] + " …"
    words = {word for word in words if 0 < len(word) < 40}
    if not words:
        return esc(text)
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pieces = re.split(rf"(?<!\w)({pattern})(?!\w)", text)
    return "".join(f"<mark>{esc(piece)}</mark>" if i % 2 else esc(piece) for i, piece in enumerate(pieces))


def _disagreements(view: View) -> str:
    split = conflict_runs(view)
    if not split:
        return ""
    items = []
    for person, run in split[:100]:
        when = esc(place(view, run.start, run.end))
        who = f' <b dir="auto">{esc(person.name)}</b>:' if person else ""
        items.append(
            f'<li><button type="button" class="time" data-seek="{run.start:.3f}">{when}</button>{who} '
            f"{esc(sources_of(run.label))} point to different expressions ({run.score:.2f} of 1 bit)</li>"
        )
    more = f"<p>{len(split) - 100} more are in the table.</p>" if len(split) > 100 else ""
    return (
        '<section class="card"><h3>Where sources disagree</h3><p class="lead">Disagreement is shown, not averaged '
        "away: masking, irony and an error of one source look alike from here.</p>"
        f'<ul class="plain long" tabindex="0">{"".join(items)}</ul>{more}</section>\n'
    )


def _explanations(view: View, key: str, rows: Mapping[int, Mapping[str, Any]]) -> str:
    """Sentences with links to the rows they rest on, and those rows."""
    if not view.explanations:
        return ""
    items: list[str] = []
    shown: dict[int, Mapping[str, Any]] = {}
    for mark in view.explanations[:SENTENCES]:
        links = []
        for ref in mark.refs:
            if ref in rows and len(shown) < ROWS_SHOWN:
                shown[ref] = rows[ref]
            link = f'<a href="#{key}-r{ref}">row {ref}</a>' if ref in shown else f"row {ref}"
            links.append(link)
        when = esc(place(view, mark.start))
        basis = f' <small class="refs">{", ".join(links)}</small>' if links else ""
        items.append(
            f'<li><button type="button" class="time" data-seek="{mark.start:.3f}">{when}</button> '
            f'<span dir="auto">{esc(mark.text)}</span>{basis}</li>'
        )
    style = '"plain long" tabindex="0"' if len(items) > SENTENCES_SHOWN else '"plain"'
    rest = len(view.explanations) - len(items)
    more = f'<p class="hint">{rest} more are in the table.</p>' if rest > 0 else ""
    listed = f"<ul class={style}>{''.join(items)}</ul>{more}{behind(view, shown, key)}"
    return f'<section class="card"><h3>Why</h3>{listed}</section>\n'
