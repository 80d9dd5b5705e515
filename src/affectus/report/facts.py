"""What a timeline says, in a few rows and plain sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.report.runs import UNCERTAIN, Run, decision_runs, merge, shares
from affectus.report.view import Mark, Person, View, views
from affectus.types import Timeline

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


#: Speakers of a conversation that the key facts speak of, and whose extremes they name.
PEOPLE_TOLD = 6


def clock(seconds: float, tenths: bool = False) -> str:
    """Seconds as `m:ss` or `h:mm:ss`, with tenths on wish."""
    if not np.isfinite(seconds):
        return "–"
    units = round(max(0.0, seconds) * (10 if tenths else 1))
    whole, tenth = divmod(units, 10) if tenths else (units, 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{text}.{tenth}" if tenths else text


def signed(value: float) -> str:
    """A value of a dimension with its sign, `+0.42` or `−0.42`."""
    return f"{value:+.2f}".replace("-", "−")


def place(view: View, start: float, end: float | None = None) -> str:
    """A position or stretch of a file in words: a clock time, or the number of a text."""
    if view.timed:
        return clock(start) if end is None or clock(end) == clock(start) else f"{clock(start)}–{clock(end)}"
    return f"no. {int(start) + 1}" if np.isfinite(start) else "–"


def missing(info: Mapping[str, Any]) -> dict[str, str]:
    """What was not analysed and why, whatever shape the meta data has."""
    value = info.get("missing") or {}
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    return dict.fromkeys([value] if isinstance(value, str) else map(str, value), "")


def warnings_of(info: Mapping[str, Any]) -> list[str]:
    """Warnings of a file as a list of sentences."""
    value = info.get("warnings") or []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def sources_of(label: str) -> str:
    """The pair named by a conflict row, as words: `face-voice` → `face and voice`."""
    return " and ".join(part for part in re.split(r"[^\w]+|_|\bvs\b", label) if part)


def cue_text(cue: Mark) -> str:
    """An evidence row in words; most texts name the cue already."""
    if not cue.text or cue.text == cue.label:
        return cue.label
    return cue.text if cue.label.lower() in cue.text.lower() else f"{cue.label}: {cue.text}"


def foremost_cues(cues: Sequence[Mark], limit: int) -> list[Mark]:
    """At most `limit` evidence rows in order of time: the strongest of each of `limit` equal stretches."""
    if len(cues) > limit:
        first, last = min(m.start for m in cues), max(m.start for m in cues)
        best: dict[int, Mark] = {}
        for cue in cues:
            slot = int((cue.start - first) / max(last - first, 1e-9) * (limit - 1))
            if slot not in best or abs(cue.score) > abs(best[slot].score):
                best[slot] = cue
        cues = list(best.values())
    return sorted(cues, key=lambda m: m.start)


def conflict_runs(view: View) -> list[tuple[Person | None, Run]]:
    """Stretches of disagreement per person and pair of sources, in order of time; the score is their mean (bits)."""
    groups: dict[tuple[int, str], list[Mark]] = {}
    for mark in view.conflicts:
        groups.setdefault((view.person_of(mark), mark.label), []).append(mark)
    found = [
        (view.people[who] if who >= 0 else None, run)
        for (who, _), marks in groups.items()
        for run in merge([Run(m.start, m.end, m.label, m.score) for m in marks])
    ]
    return sorted(found, key=lambda pair: pair[1].start)


def in_words(share: Mapping[str, float], most: int = 3) -> str:
    """`neutral 46 %, happiness 31 %`: the largest shares, uncertain left out."""
    named = [(label, part) for label, part in share.items() if label != UNCERTAIN and part >= 0.005][:most]
    return ", ".join(f"{label} {part:.0%}" for label, part in named)


def key_facts(view: View) -> list[str]:
    """The main findings of a file as plain sentences (not escaped)."""
    facts = []
    shown = sorted(view.people, key=lambda p: -len(p.decisions))[:PEOPLE_TOLD] if view.spoken else view.people
    for person in shown:
        runs = decision_runs(person)
        if not runs:
            continue
        share = shares(runs)
        doubt = share.get(UNCERTAIN, 0.0)
        said = in_words(share)
        who = person.name
        if view.kind == "image":
            best = max(runs, key=lambda r: r.score)
            hedge = "too uncertain to name; closest is" if best.uncertain else "most likely"
            facts.append(f"{who}: {hedge} {best.label} ({best.score:.0%}).")
        elif said:
            left = f"; {doubt:.0%} left open as uncertain" if doubt >= 0.005 else ""
            facts.append(f"{who}: perceived expression is {said} of the {_unit(view)}{left}.")
        else:
            facts.append(f"{who}: no stretch was clear enough to name an emotion.")
    facts += _affect_facts(view)
    split = conflict_runs(view)
    foremost = sorted(split, key=lambda pair: -pair[1].score * max(pair[1].end - pair[1].start, 1e-3))[:3]
    for whose, run in sorted(foremost, key=lambda pair: pair[1].start):
        who = f" for {whose.name}" if whose else ""
        where = f" at {place(view, run.start, run.end)}" if view.kind != "image" else ""
        facts.append(f"{sources_of(run.label).capitalize()} disagree{who}{where} ({run.score:.2f} of 1 bit).")
    if len(split) > 3:
        facts.append(f"{len(split) - 3} more stretches where sources disagree are marked below.")
    return facts


def _unit(view: View) -> str:
    return "time" if view.timed else "turns" if view.spoken else "texts"


def _affect_facts(view: View) -> list[str]:
    facts: list[str] = []
    for person in () if view.spoken else view.people:
        curve = person.main_affect
        if curve is None or "valence" not in curve.labels:
            continue
        values = curve.scores[:, curve.labels.index("valence")]
        if not np.isfinite(values).any():
            continue
        what = "evoked valence" if curve.perspective == "evoked" else "perceived valence"
        if len(values) == 1:
            facts.append(f"{person.name}: {what} {signed(values[0])} on a scale from −1 to +1.")
        elif np.nanmax(values) - np.nanmin(values) > 0.1:
            best, worst = int(np.nanargmax(values)), int(np.nanargmin(values))
            facts.append(
                f"{person.name}: {what} is highest at {place(view, curve.start[best])} and lowest at "
                f"{place(view, curve.start[worst])}."
            )
    return facts


def summary(timeline: Timeline) -> list[dict[str, Any]]:
    """One row per file and person: `file, who, seconds, mostly, shares, uncertain, valence, arousal, conflicts, turns,
    shifts, note`.

    `shares` maps labels to their shares of the decided time, `mostly` names the largest; `uncertain` is the share left
    open (0…1, None when there is nothing to decide); `valence`/`arousal` are means on [-1, 1] or None; `conflicts`
    counts stretches; `turns` and `shifts` count those of a speaker of a conversation, None elsewhere. A file without
    any result keeps one row whose `note` says why.
    """
    return [row for view in views(timeline) for row in summary_rows(view)]


def summary_rows(view: View) -> list[dict[str, Any]]:
    """The rows of `summary` for one file."""
    split = conflict_runs(view)
    note = "; ".join([*warnings_of(view.info), *(f"{k}: {v}".rstrip(": ") for k, v in missing(view.info).items())])
    rows = []
    shifts, turns = Counter(m.speaker for m in view.shifts), view.info.get("turns_of") or {}
    for person in view.people or (Person("–"),):
        runs = decision_runs(person)
        share = shares(runs)
        nameless = person.track == -1 and not person.speaker  # a recording in which nobody was told apart
        rows.append(
            {
                "file": view.file,
                "who": person.name,
                "seconds": sum(r.end - r.start for r in runs) if view.timed else None,
                "mostly": in_words(share, 2) or (UNCERTAIN if runs else ""),
                "shares": {label: part for label, part in share.items() if label != UNCERTAIN},
                "uncertain": share.get(UNCERTAIN, 0.0) if runs else None,
                "valence": _mean(person, "valence"),
                "arousal": _mean(person, "arousal"),
                "conflicts": sum(who is person or (who is None and nameless) for who, _ in split),
                "turns": turns.get(person.speaker, 0) if view.spoken else None,
                "shifts": shifts[person.speaker] if view.spoken else None,
                "note": note,
            }
        )
    return rows


def _mean(person: Person, name: str) -> float | None:
    curve = person.main_affect
    if curve is None or name not in curve.labels:
        return None
    values = curve.scores[:, curve.labels.index(name)]
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def terminal(timeline: Timeline) -> RenderableType:
    """The summary as a rich table; on a narrow terminal files stand in lines of their own and empty columns go."""
    return _Summary(summary(timeline))


#: Width of a terminal (characters) below which a table of all columns would break its words.
NARROW = 110


class _Summary:
    """Rows of `summary`, drawn as wide as there is room."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        narrow = options.max_width < NARROW
        numbers = [("unsure", "uncertain"), *((name, name) for name in ("valence", "arousal", "conflicts"))]
        if any(row["turns"] is not None for row in self.rows):
            numbers += [("turns", "turns"), ("shifts", "shifts")]
        if narrow:
            numbers = [(title, name) for title, name in numbers if any(_cell(name, r[name]) != "–" for r in self.rows)]
        # Text objects, because file names and speakers may hold what rich would read as markup.
        title, alone = Text("Perceived expression"), len({row["file"] for row in self.rows}) == 1
        if narrow and alone:
            title.append(f" in {self.rows[0]['file']}")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=narrow)
        if not narrow:
            table.add_column("file", overflow="fold")
        table.add_column("who", overflow="fold" if narrow else "ellipsis", min_width=10 if narrow else None)
        table.add_column("mostly", min_width=14 if narrow else None)
        for name, _ in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        last = None
        for row in self.rows:
            new, last = row["file"] != last, row["file"]
            if narrow and new and not alone:
                table.add_row(Text(row["file"], style="bold"), "", *("" for _ in numbers))
            indent = "  " if narrow and not alone else ""
            cells = [indent + row["who"], row["mostly"] or "–", *(_cell(name, row[name]) for _, name in numbers)]
            if not narrow:
                cells.insert(0, row["file"] if new else "")
            table.add_row(*(Text(cell) for cell in cells))
        yield table


def _cell(name: str, value: Any) -> str:
    """A number of the summary in few characters."""
    if value is None or (not value and name in ("conflicts", "turns", "shifts")):
        return "–"
    return f"{value:.0%}" if name == "uncertain" else str(value) if isinstance(value, int) else signed(value)
