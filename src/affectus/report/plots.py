"""Plot specifications for plotly: emotion curves with their uncertainty, valence-arousal paths, bars for one picture.

A specification is a plain dictionary `{"data", "layout"}` with colour tokens (`@anger`, `@grid`) and numpy arrays, so
that one text serves `figure` here and the light and dark page, and plotly need not be imported to write a report.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.errors import AffectusError
from affectus.report.facts import conflict_runs, cue_text, foremost_cues, place, sources_of
from affectus.report.palette import Theme, family, ordered, resolve
from affectus.report.runs import decision_runs, in_steps, thin
from affectus.report.view import Curve, Person, View, one_view
from affectus.types import Timeline

if TYPE_CHECKING:
    import plotly.graph_objects

#: Points per curve drawn in a figure or in a report about one file.
POINTS = 600
#: Curves drawn one by one; of a larger label space the strongest.
ROWS = 9
#: Time zero on the axis, in milliseconds: plotly would read small numbers on a date axis as years (1500 → year 1500).
ZERO = 86_400_000
#: Steps in which a conversation is drawn that has more than twice as many turns.
STEPS = 120
_SHARE, _ROW, _AFFECT, _GAP = 130, 44, 120, 22

Spec = dict[str, Any]


def curves_spec(view: View, person: Person, limit: int = POINTS) -> Spec:
    """Emotion curves of one person: shares stacked, each emotion with its band (low to high), valence and arousal.

    Hatching marks stretches the analyzer left uncertain, diamonds those where sources disagree. The x axis is time
    (shown as a clock) or the number of the text. `height` is in pixels.
    """
    curve, affect = person.main, person.main_affect
    labels = strongest(curve) if curve is not None else []
    heights = ([_SHARE] if labels else []) + [_ROW] * len(labels) + ([_AFFECT] if affect else [])
    total = sum(heights) + _GAP * len(heights)
    layout: Spec = _frame(view) | {"height": total + 46, "barmode": "overlay", "bargap": 0, "annotations": []}
    tops = total - np.cumsum([0, *(h + _GAP for h in heights)]) - _GAP + 6
    domains = [(float(top - h) / total, float(top) / total) for top, h in zip(tops, heights, strict=False)]
    data: list[Spec] = []
    if curve is not None and labels:
        shown = _pieces(view, _thinned(view, curve, limit))
        grid = shown.scores / np.maximum(np.nansum(shown.scores, axis=1, keepdims=True), 1e-9)
        _axis(layout, 1, domains[0], "all together", [0, 1.14], [0, 1])
        data += [_area(view, shown, label, grid[:, shown.labels.index(label)]) for label in labels]
        data += [_hatching(view, person)] if turns_per_step(view) == 1 else []
        data += _diamonds(view, person)
        layout["yaxis99"] = {"overlaying": "y", "range": [0, 1.14], "visible": False, "fixedrange": True}
        for number, label in enumerate(labels, 2):
            _axis(layout, number, domains[number - 1], label, [0, 1], [0, 1])
            data += _band(view, shown, label, number, f"@{family(label)}")
    if affect is not None:
        number = len(domains)
        _axis(
            layout, number, domains[-1], " and ".join(f"{n} ({w})" for n, w in _dimensions(affect)), [-1, 1], [-1, 0, 1]
        )
        if affect.perspective == "evoked":
            layout["annotations"][-1]["text"] += " (evoked in viewers)"
        thinned = _pieces(view, _thinned(view, affect, limit))
        for name, stroke in _dimensions(affect):
            token = "@text" if stroke == "line" else "@accent"
            data += _band(view, thinned, name, number, token, ":+.2f", "solid" if stroke == "line" else "dash")
    return {"data": data, "layout": layout}


def turns_per_step(view: View) -> float:
    """Turns of a conversation that share a step of its curves: 1 unless there are too many to be seen one by one."""
    return len(view.turns) / STEPS if view.spoken and len(view.turns) > 2 * STEPS else 1


def _thinned(view: View, curve: Curve, limit: int) -> Curve:
    return in_steps(curve, view.duration, STEPS) if turns_per_step(view) > 1 else thin(curve, limit)


def path_spec(view: View, person: Person, limit: int = 240) -> Spec | None:
    """The way through the valence-arousal plane, coloured from start (pale) to end; None where either is unknown."""
    affect = person.main_affect
    if affect is None or not {"valence", "arousal"} <= set(affect.labels):
        return None
    curve = thin(affect, limit)
    v, a = (curve.scores[:, curve.labels.index(name)] for name in ("valence", "arousal"))
    known = np.isfinite(v) & np.isfinite(a)
    if not known.any():
        return None
    v, a, times = v[known], a[known], curve.start[known]
    where = [place(view, t) for t in times.tolist()]
    marker: Spec = {"size": 7, "color": times.astype(np.float32), "colorscale": [[0, "@line"], [1, "@accent"]]}
    marker |= {"line": {"width": 0.8, "color": "@accent"}}
    trace: Spec = {"type": "scatter", "mode": "lines+markers", "x": _f4(v), "y": _f4(a), "text": where}
    trace |= {"marker": marker, "line": {"width": 1, "color": "@muted/band"}, "name": "path"}
    trace["hovertemplate"] = "%{text}<br>valence %{x:+.2f}<br>arousal %{y:+.2f}<extra></extra>"
    axis: Spec = {"range": [-1.05, 1.05], "tickvals": [-1, 0, 1], "zeroline": True, "zerolinecolor": "@line"}
    axis |= {"gridcolor": "@line", "fixedrange": True}
    layout = _frame(view) | {"height": 330, "showlegend": False, "hovermode": "closest", "annotations": []}
    layout["margin"] = {"l": 44, "r": 10, "t": 10, "b": 40}
    layout["xaxis"] = axis | {"title": {"text": "valence: unpleasant to pleasant", "font": {"size": 12}}}
    layout["yaxis"] = axis | {"title": {"text": "arousal: quiet to lively", "font": {"size": 12}}}
    corners = ((-1, 1, "tense"), (1, 1, "elated"), (-1, -1, "downcast"), (1, -1, "at ease"))
    layout["annotations"] += [
        _note(text, x, y, xanchor="left" if x < 0 else "right", yanchor="top" if y > 0 else "bottom")
        for x, y, text in corners
    ]
    if len(where) > 1:
        layout["annotations"] += [
            _note(text, float(v[i]), float(a[i]), yshift=shift)
            for i, text, shift in ((0, "start", 14), (-1, "end", -14))
        ]
    return {"data": [trace], "layout": layout}


def bars_spec(view: View) -> Spec:
    """Probabilities for one picture: a bar per label and person, with bounds where known."""
    data, labels = [], []
    for person in view.people:
        curve = person.main
        if curve is None:
            continue
        names = list(reversed(strongest(curve)))
        at = [curve.labels.index(name) for name in names]
        mean, low, high = (grid[0, at] for grid in (curve.scores, curve.low, curve.high))
        error: Spec = {"type": "data", "symmetric": False, "array": high - mean, "arrayminus": mean - low}
        error["visible"] = bool(np.isfinite(high).any())
        colours = [f"@{family(name)}" for name in names]
        trace: Spec = {"type": "bar", "orientation": "h", "x": mean, "y": names, "name": person.name}
        data.append(trace | {"error_x": error, "marker": {"color": colours}})
        labels += names
    layout = _frame(view) | {"height": 120 + 26 * len(labels), "barmode": "group", "showlegend": len(data) > 1}
    layout["xaxis"] = {"range": [0, 1], "tickformat": ".0%", "gridcolor": "@line"}
    layout["margin"] = {"l": 100, "r": 16, "t": 40, "b": 36}
    return {"data": data, "layout": layout}


def figure(timeline: Timeline, file: str | None = None, theme: Theme = "light") -> plotly.graph_objects.Figure:
    """Plotly figure of one file (the first by default): curves with a menu of people, or bars for a picture.

    Raises `AffectusError` for a file that the timeline does not hold.
    """
    import plotly.graph_objects as go

    if file and file not in {*timeline.files, *timeline.meta.get("files", ())}:
        raise AffectusError(file, "is not in this timeline", f"it holds {', '.join(timeline.files[:12]) or 'nothing'}")
    view = one_view(timeline, file)
    if view.kind == "image" or not view.people:
        spec = bars_spec(view)
    else:
        specs = [curves_spec(view, person) for person in view.people]
        spec = {"data": [], "layout": specs[0]["layout"]}
        buttons = []
        for number, (person, each) in enumerate(zip(view.people, specs, strict=True)):
            spec["data"] += [trace | {"visible": number == 0} for trace in each["data"]]
            shown = [i == number for i, other in enumerate(specs) for _ in other["data"]]
            buttons.append({"label": person.name, "method": "update", "args": [{"visible": shown}, each["layout"]]})
        if len(buttons) > 1:
            menu = {"buttons": buttons, "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"}
            spec["layout"] = spec["layout"] | {"updatemenus": [menu]}
    spec["layout"] = spec["layout"] | {
        "title": {"text": _hover(view.file), "font": {"size": 15}},
        "paper_bgcolor": "@surface",
        "margin": spec["layout"]["margin"] | {"t": 60},
    }
    return go.Figure(resolve(spec, theme))


def _frame(view: View) -> Spec:
    """Layout that all plots share: no chrome, page colours, clock axis."""
    x: Spec = {"showgrid": True, "gridcolor": "@line", "zeroline": False, "ticks": "outside", "tickcolor": "@line"}
    if view.timed:
        # Milliseconds on a date axis: the only axis of plotly whose ticks read as a clock at every zoom.
        form = "%-H:%M:%S" if view.duration >= 3600 else "%M:%S"
        x |= {"type": "date", "range": [ZERO, ZERO + view.duration * 1000], "tickformat": form, "hoverformat": form}
    else:
        x |= {
            "range": [0.5, view.duration + 0.5],
            "dtick": max(1, round(view.duration / 10)),
            "title": {"text": "turn" if view.spoken else "text"},
        }
    return {
        "xaxis": x,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": "@text"},
        "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@text"}},
        "hovermode": "x unified",
        "showlegend": False,
        "dragmode": "zoom",
        "margin": {"l": 44, "r": 12, "t": 6, "b": 34},
    }


def _axis(
    layout: Spec, number: int, domain: tuple[float, float], title: str, span: list[float], ticks: list[int]
) -> None:
    """Add y axis `number` with its name as a small caption above it."""
    name = f"yaxis{number if number > 1 else ''}"
    words = [f"{t:+d}" if span[0] < 0 and t else ("0" if t == 0 else "100%") for t in ticks]
    layout[name] = {"domain": domain, "range": span, "tickvals": ticks, "ticktext": words, "fixedrange": True}
    layout[name] |= {"gridcolor": "@line", "zeroline": False, "tickfont": {"size": 10, "color": "@muted"}}
    # All x ticks stand below the lowest row.
    layout["xaxis"]["anchor"] = f"y{number if number > 1 else ''}"
    caption = _note(_hover(title), 0, domain[1], xref="paper", yref="paper", xanchor="left", yanchor="bottom")
    layout["annotations"].append(caption)


def _note(text: str, x: float, y: float, **more: Any) -> Spec:
    return {"text": text, "x": x, "y": y, "showarrow": False, "font": {"size": 11, "color": "@muted"}, **more}


def _x(view: View, values: np.ndarray) -> np.ndarray:
    """Positions on the x axis: milliseconds, or numbers from 1."""
    return (ZERO + values * 1000 if view.timed else values + 1).astype(np.float32)


def _middle(view: View, curve: Curve) -> np.ndarray:
    return _x(view, (curve.start + curve.end) / 2 if view.timed else curve.start)


def _f4(values: np.ndarray) -> np.ndarray:
    return np.round(values, 4).astype(np.float32)


def strongest(curve: Curve) -> list[str]:
    """Labels worth a row: all of a small space, of a large one those that come highest at some time."""
    if len(curve.labels) <= ROWS:
        return ordered(curve.labels)
    peak = np.nanmax(np.nan_to_num(curve.scores), axis=0)
    return ordered([curve.labels[i] for i in np.argsort(-peak, kind="stable")[:ROWS]])


def _dimensions(affect: Curve) -> list[tuple[str, str]]:
    """Dimensions that are drawn, with the stroke that tells them apart."""
    return [(name, stroke) for name, stroke in (("valence", "line"), ("arousal", "dashes")) if name in affect.labels]


def _broken(curve: Curve) -> Curve:
    """Two points without value in every pause (its first and last moment), so that no line or area crosses it."""
    if len(curve.start) < 3:
        return curve
    step = np.diff(curve.start)
    after = np.flatnonzero(step > 2.5 * np.median(step)) + 1
    after = np.repeat(after, 2)
    edges = np.where(np.arange(len(after)) % 2 == 0, curve.end[after - 1], curve.start[after])
    start, end = (np.insert(v, after, edges) for v in (curve.start, curve.end))
    grids = [np.insert(g, after, np.nan, axis=0) for g in (curve.scores, curve.low, curve.high)]
    return Curve(curve.source, curve.method, curve.perspective, curve.space, curve.labels, start, end, *grids)


def _pieces(view: View, curve: Curve) -> Curve:
    """A curve with its pauses. In a conversation a speaker's turns stand for themselves: each is a level from its first
    to its last moment, and nothing is drawn while others speak."""
    if not view.spoken:
        return _broken(curve)
    shift = 0.0 if view.timed else 0.5  # turns are drawn around their number
    edges = np.stack([curve.start - shift, curve.end - shift], axis=1).ravel()
    after = np.repeat(2 * (np.flatnonzero(curve.start[1:] > curve.end[:-1] + 1e-6) + 1), 2)
    pauses = np.where(np.arange(len(after)) % 2 == 0, edges[after - 1], edges[np.minimum(after, len(edges) - 1)])
    at = np.insert(edges, after, pauses)
    grids = [np.insert(np.repeat(g, 2, axis=0), after, np.nan, axis=0) for g in (curve.scores, curve.low, curve.high)]
    return Curve(curve.source, curve.method, curve.perspective, curve.space, curve.labels, at, at, *grids)


def _area(view: View, curve: Curve, label: str, share: np.ndarray) -> Spec:
    token = f"@{family(label)}"
    trace: Spec = {"type": "scatter", "mode": "lines", "x": _middle(view, curve), "y": _f4(share), "name": label}
    trace |= {"stackgroup": "share", "fillcolor": token, "line": {"width": 0.5, "color": "@surface"}}
    if not view.timed and not view.spoken:
        trace["line"]["shape"] = "hvh"
    return trace | {"hovertemplate": "%{y:.0%}"}


def _band(
    view: View, curve: Curve, label: str, number: int, token: str, form: str = ":.0%", dash: str = "solid"
) -> list[Spec]:
    """The pale band between low and high, and the curve itself."""
    at = curve.labels.index(label)
    x, axis = _middle(view, curve), f"y{number if number > 1 else ''}"
    low, mean, high = (_f4(grid[:, at]) for grid in (curve.low, curve.scores, curve.high))
    mode = "lines+markers" if len(x) < 4 else "lines"
    base: Spec = {"type": "scatter", "x": x, "yaxis": axis}
    line: Spec = base | {"mode": mode, "y": mean, "name": label, "line": {"color": token, "width": 2, "dash": dash}}
    line["marker"] = {"color": token, "size": 6}
    line["hovertemplate"] = f"%{{y{form}}}"
    if not view.timed and not view.spoken:
        return [_steps(line, low, mean, high)]
    if not np.isfinite(low).any():
        if form != ":.0%":
            return [line]
        # Without bounds, shade probabilities down to zero; a signed dimension stays a bare line.
        low, high = np.where(np.isfinite(mean), 0, np.nan).astype(np.float32), mean
    else:
        line |= {"customdata": np.stack([low, high], axis=1)}
        line["hovertemplate"] = f"%{{y{form}}} (%{{customdata[0]{form}}} to %{{customdata[1]{form}}})"
    around: Spec = base | {"mode": "none", "hoverinfo": "skip", "fill": "toself", "fillcolor": f"{token}/band"}
    return [around | _outline(x, low, high), line]


def _steps(line: Spec, low: np.ndarray, mean: np.ndarray, high: np.ndarray) -> Spec:
    """A curve over texts: nothing lies between two texts, so it goes in steps, with bounds as error bars."""
    line |= {"line": line["line"] | {"shape": "hvh"}, "fill": "tozeroy", "fillcolor": f"{line['line']['color']}/band"}
    if np.isfinite(low).any():
        line["error_y"] = {"type": "data", "array": high - mean, "arrayminus": mean - low, "symmetric": False}
        line["error_y"] |= {"thickness": 1, "width": 2, "color": line["line"]["color"]}
    return line


def _outline(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> Spec:
    """A closed outline around low and high per stretch without pauses, separated by points without value."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    xs, ys = [], []
    for part in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        xs += [x[part], x[part][::-1], x[part][:1], x[part][-1:]]
        ys += [high[part], low[part][::-1], high[part][:1], np.array([np.nan], np.float32)]
    return {"x": np.concatenate(xs), "y": np.concatenate(ys)}


def _hatching(view: View, person: Person) -> Spec:
    runs = [run for run in decision_runs(person, 400) if run.uncertain]
    start, end = (np.array([getattr(run, name) for run in runs]) for name in ("start", "end"))
    width = (end - start) * (1000 if view.timed else 1)
    middle = _x(view, (start + end) / 2 if view.timed else (start + end - 1) / 2)
    pattern = {"shape": "/", "fgcolor": "@hatch", "bgcolor": "rgba(0,0,0,0)", "size": 6, "solidity": 0.25}
    marker = {"color": "rgba(0,0,0,0)", "pattern": pattern, "line": {"width": 0}}
    # On an axis laid over the first one: plotly draws bars below areas of the same axis.
    return {
        "type": "bar",
        "yaxis": "y99",
        "x": middle,
        "y": np.ones(len(runs)),
        "width": width,
        "marker": marker,
        "hoverinfo": "skip",
    }


def _diamonds(view: View, person: Person) -> list[Spec]:
    """Conflicts and the evidence near them, to be read on hover above the shares."""
    marks: list[tuple[float, str, str]] = []
    for whose, run in conflict_runs(view):
        if whose is person or whose is None:
            text = f"{sources_of(run.label)} disagree ({run.score:.2f} bit)"
            marks.append(((run.start + run.end) / 2 if view.timed else run.start, text, "diamond"))
    cues = [e for e in view.evidence if view.person_of(e) in (-1, view.people.index(person))]
    for cue in foremost_cues(cues, 60):
        text = f"{cue.source}: {cue_text(cue)}"
        marks.append(((cue.start + cue.end) / 2 if view.timed else cue.start, text, "circle-open"))
    if not marks:
        return []
    marks.sort()
    trace: Spec = {"type": "scatter", "mode": "markers", "x": _x(view, np.array([m[0] for m in marks]))}
    trace |= {"y": np.full(len(marks), 1.07), "text": [_hover(m[1]) for m in marks], "name": "evidence"}
    shapes: Sequence[str] = [m[2] for m in marks]
    colours = ["@notice" if shape == "diamond" else "@muted" for shape in shapes]
    trace["marker"] = {"symbol": shapes, "color": colours, "size": [10 if s == "diamond" else 6 for s in shapes]}
    return [trace | {"hovertemplate": "%{text}<extra></extra>"}]


def _hover(text: str) -> str:
    """Plotly reads a little HTML in texts: escape it, and break long lines."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "<br>".join(textwrap.wrap(safe, 60))
