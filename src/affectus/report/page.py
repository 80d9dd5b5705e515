"""The HTML report: one file that works offline, with everything it needs inside."""

from __future__ import annotations

import base64
import gzip
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from affectus.errors import AffectusError
from affectus.report.atomic import write_atomic
from affectus.report.cards import cards_section, use_section
from affectus.report.facts import clock, signed, summary_rows
from affectus.report.markup import esc, percent
from affectus.report.palette import css, family
from affectus.report.runs import UNCERTAIN, decision_runs, shares
from affectus.report.sections import file_section
from affectus.report.view import View, views
from affectus.types import Timeline

#: Files that get a section of their own; further ones stand in the overview table alone.
SECTIONS = 60
# The page may run its own script and show its own pictures and the recording beside it, and talk to nobody.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: 'self' file:; "
    "media-src 'self' file:; base-uri 'none'; form-action 'none'"
)


def write_html(timeline: Timeline | Sequence[Timeline], path: str | Path, home: str | Path | None = None) -> Path:
    """Write the report of one timeline (or of several, one after the other) as one self-contained HTML file.

    Nothing is loaded from the network; a recording is played when it can be reached from the folder of the report
    (from `home`, where the file will be moved there).
    Of more than 60 files the first 60 get a section, and the page says so. Raises `AffectusError` when `path` cannot
    be written.
    """
    path = Path(path)
    timelines = [timeline] if isinstance(timeline, Timeline) else list(timeline)
    write_atomic(path, _page(timelines, Path(home) if home is not None else path.parent))
    return path


def _page(timelines: Sequence[Timeline], folder: Path) -> Iterator[str]:
    found = [(view, timeline) for timeline in timelines for view in views(timeline)]
    meta: Mapping[str, Any] = timelines[0].meta if timelines else {}
    names = [view.file for view, _ in found]
    title = Path(names[0]).name if len(names) == 1 else f"{len(names)} files"
    detail = min(1.0, max(0.2, 6 / max(len(found), 1)))
    yield _head(title)
    yield (
        '<header class="top"><a class="skip" href="#main">Skip to the report</a><p class="brand">affectus</p>'
        '<button type="button" id="theme" aria-label="Switch between light and dark">◐</button></header>\n'
        f'<main id="main"><div class="title"><h1 dir="auto">{esc(title)}</h1>'
        "<p>Perceived expression: who, when, from which evidence, how sure.</p></div>\n"
    )
    if not found:
        yield '<p class="notice">This timeline holds no files.</p>'
    if len(found) > 1:
        yield _overview([view for view, _ in found])
    for number, (view, timeline) in enumerate(found[:SECTIONS]):
        body = file_section(view, f"f{number}", folder, _referred(timeline, view), detail)
        yield _wrapped(view, number, body) if len(found) > 1 else f'<article class="file" id="f0">{body}</article>\n'
    yield cards_section(meta) + use_section() + "</main>\n" + _footer([view for view, _ in found], meta)
    if any(view.people and view.kind != "image" for view, _ in found):
        yield f'<script type="text/plain" id="plotly">{_plotly()}</script>\n'
    yield f"<script>{_text('report.js')}</script>\n</body>\n</html>\n"


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{esc(title)} · affectus</title>\n'
        f'<link rel="icon" href="data:,">\n<style>\n{css()}{_text("report.css")}</style>\n</head>\n<body>\n'
    )


def _wrapped(view: View, number: int, body: str) -> str:
    """One of several files: closed until asked for, its plots are drawn on opening."""
    name, folder = esc(Path(view.file).name), esc(Path(view.file).parent)
    beside = f" <small>{folder}</small>" if folder != "." else ""
    first = " open" if number == 0 else ""
    return (
        f'<details class="file" id="f{number}"{first}><summary><h2 dir="auto">{name}</h2>{beside}</summary>'
        f"{body}</details>\n"
    )


def _overview(found: Sequence[View]) -> str:
    """A row per file and person, with the shares of the decided time as a bar."""
    rows = "".join(_overview_rows(view, number) for number, view in enumerate(found))
    heads = ("file", "who", "mostly", "uncertain", "valence", "arousal", "conflicts")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    capped = (
        f'<p class="hint">The first {SECTIONS} files have a section below; the others are in this table and in the '
        "data files only.</p>"
        if len(found) > SECTIONS
        else ""
    )
    return (
        '<section class="card"><h2>Overview</h2><div class="wide"><table class="overview">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{capped}</section>\n"
    )


def _overview_rows(view: View, number: int) -> str:
    name = f'<span title="{esc(view.file)}">{esc(Path(view.file).name)}</span>'
    link = f'<a href="#f{number}">{name}</a>' if number < SECTIONS else name
    rows = []
    for i, line in enumerate(summary_rows(view)):
        share = shares(decision_runs(view.people[i], 400)) if view.people else {}
        pieces = "".join(
            f'<i class="{"u e-neutral" if label == UNCERTAIN else "e-" + family(label)}" '
            f'style="width:{100 * part:.1f}%" title="{esc(label)} {part:.0%}"></i>'
            for label, part in share.items()
        )
        bar = f'<span class="shares" aria-hidden="true">{pieces}</span>' if pieces else ""
        means = "".join(f"<td>{'–' if line[k] is None else signed(line[k])}</td>" for k in ("valence", "arousal"))
        fallback = "–" if line["valence"] is not None else line["note"] or "no result"
        unsure = "–" if line["uncertain"] is None else percent(line["uncertain"])
        rows.append(
            f'<tr><th scope="row" dir="auto">{link if i == 0 else ""}</th><td dir="auto">{esc(line["who"])}</td>'
            f'<td class="mix">{bar}{esc(line["mostly"] or fallback)}</td><td>{unsure}</td>'
            f"{means}<td>{line['conflicts'] or '–'}</td></tr>\n"
        )
    return "".join(rows)


def _referred(timeline: Timeline, view: View) -> dict[int, Mapping[str, Any]]:
    """The table rows that the sentences about a file refer to, by row number."""
    wanted = sorted({ref for mark in (*view.explanations, *view.descriptions) for ref in mark.refs})
    if not wanted:
        return {}
    rows = timeline.filter(file=view.file, row=wanted).to_rows()
    return {row["row"]: row for row in rows}


def _footer(found: Sequence[View], meta: Mapping[str, Any]) -> str:
    settings = meta.get("settings") or {}
    listed = ", ".join(f"{k} {v}" for k, v in settings.items()) if isinstance(settings, Mapping) else str(settings)
    version = f"affectus {meta['version']}" if meta.get("version") else "affectus"
    length = sum(view.duration for view in found if view.timed)
    parts = [version, f"{sum(view.rows for view in found):,} rows"]
    parts += [f"{clock(length)} of recordings"] if length else []
    text = " · ".join(parts + ([listed] if listed else []))
    return f"<footer><p>{esc(text)}</p><p>Plots by plotly.js (MIT licence), embedded.</p></footer>\n"


@cache
def _plotly() -> str:
    """The browser part of the installed plotly package, gzipped, as base64.

    plotly ships one full bundle (about 4.8 MB); packed it adds 2 MB, and every current browser unpacks it itself.
    """
    spec = importlib.util.find_spec("plotly")
    bundle = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if bundle is None or not bundle.is_file():
        raise AffectusError("plotly", "its browser bundle is not installed", "pip install --force-reinstall plotly")
    return base64.b64encode(gzip.compress(bundle.read_bytes(), 6, mtime=0)).decode()


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
