"""Scoreboards: result records as tables, with published numbers of the same benchmark and variant beside them.

A table holds one benchmark (or corpus split), one variant and one set of label tables, because numbers of different
rules cannot be ranked.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from affectus.errors import ConfigError
from affectus.evaluation.record import Entry, Record, read_record

Form = Literal["markdown", "html"]

#: Metrics that are no shares of items, by the start of their name; the others are printed in percent.
_NATURAL = ("nll", "mae", "mean_rank", "median_rank", "clue", "label_overlap", "width", "depth_gap")
_COEFFICIENTS = ("pcc", "ccc", "srcc", "plcc", "auc", "mrr", "consistency")
_COLUMNS = 6


@dataclass(frozen=True)
class Board:
    """One table: `rows` of (kind, name, n, cells, remark); kinds are "ours", "baseline" and "published"."""

    title: str
    rule: str
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, str, str, tuple[str, ...], str], ...]


def scoreboard(records: Iterable[str | Path], form: Form = "markdown") -> str:
    """Tables of result records (files written from `evaluate` and `score`) as Markdown or one HTML page.

    Within a table records are sorted by the headline metric. Raises ConfigError for a file that is no record.
    """
    if form not in ("markdown", "html"):
        raise ConfigError(str(form), "is no form of a scoreboard", "use markdown or html")
    read = [read_record(path) for path in records]
    if not read:
        raise ConfigError("scoreboard", "no records were given", "pass JSON files of affectus evaluate or score")
    made = boards(read)
    return _html(made) if form == "html" else _markdown(made)


def boards(records: Sequence[Record]) -> list[Board]:
    """Records sorted into tables that may be compared."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_key(record), []).append(record)
    return [_board(held) for _, held in sorted(groups.items())]


def _key(record: Record) -> tuple[str, ...]:
    """What must be equal for two records to stand in one table."""
    tables = " ".join(f"{k}={v}" for k, v in sorted(record.tables.items()))
    if record.benchmark:
        return (record.benchmark, record.variant, tables)
    return (f"{record.corpus}, {record.split}", record.target, " ".join(record.labels), tables)


def _board(records: list[Record]) -> Board:
    first = records[0]
    title = first.benchmark or f"{first.corpus}, split {first.split}"
    if first.variant:
        title += f" ({first.variant})"
    if version := first.tables.get("wheels"):
        title += f", tables {version}"
    metrics = _metrics(records)
    headline = metrics[0]
    ordered = sorted(records, key=lambda r: -_value(r.metrics.get(headline)))
    rows = [
        ("ours", r.model + (f" {r.version}" if r.version else ""), str(r.n), _cells(r.metrics, metrics), _remark(r))
        for r in ordered
    ]
    for name, scores in first.baselines.items():
        known = {metric: Entry(value=value) for metric, value in scores.items()}
        rows.append(("baseline", name.replace("_", " "), str(first.n), _cells(known, metrics), "of the same items"))
    rows += _published(records, metrics)
    rule = first.notes[0] if first.benchmark and first.notes else f"scored on {first.target or 'labels'}"
    if first.benchmark and not first.published:
        rule += ". No published number follows this rule"
    return Board(title, rule[:1].upper() + rule[1:], metrics, tuple(rows))


def _metrics(records: Sequence[Record]) -> tuple[str, ...]:
    """Columns: the headline, metrics with published numbers, then the others, up to a handful."""
    known = list(dict.fromkeys(name for record in records for name in record.metrics))
    first = [records[0].headline, *(str(entry["metric"]) for record in records for entry in _printed(record))]
    order = [name for name in dict.fromkeys(first) if name in known]
    return tuple((order + [name for name in known if name not in order])[: max(_COLUMNS, len(order))])


def _printed(record: Record) -> list[dict[str, Any]]:
    """Printed numbers that belong beside a record: those of its benchmark, or those on its card for its corpus, which
    name their own protocol."""
    found = []
    for entry in record.published:
        if "system" in entry:
            found.append(entry)
        elif entry.get("corpus") == record.corpus:
            source = "; ".join(str(entry[key]) for key in ("protocol", "source") if entry.get(key))
            found.append({**entry, "system": f"{record.model} as printed", "source": source})
    return found


def _published(records: Sequence[Record], metrics: Sequence[str]) -> list[tuple[str, str, str, tuple[str, ...], str]]:
    """One row per system and source of the printed numbers."""
    held: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in (entry for record in records for entry in _printed(record)):
        scale = 0.01 if entry.get("unit") == "percent" else 1.0
        key = (str(entry["system"]), str(entry.get("source", "")))
        held.setdefault(key, {})[str(entry["metric"])] = Entry(value=float(entry["value"]) * scale)
    first = metrics[0]
    ordered = sorted(held.items(), key=lambda item: -_value(item[1].get(first)))
    return [("published", system, "", _cells(scores, metrics), source) for (system, source), scores in ordered]


def _value(entry: Entry | None) -> float:
    return float("-inf") if entry is None else entry.value


def _remark(record: Record) -> str:
    remarks = [record.selection]
    if left := sum(record.left_out.values()):
        remarks.append(f"{left} items left out")
    if record.skipped:
        remarks.append(f"{len(record.skipped)} unreadable")
    return "; ".join(part for part in remarks if part)


def _cells(scores: Mapping[str, Entry], metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(_cell(name, scores.get(name)) for name in metrics)


def _cell(name: str, entry: Entry | None) -> str:
    """A value and its interval in the unit of the metric."""
    if entry is None:
        return "–"
    scale, digits = _unit(name)
    text = f"{entry.value * scale:.{digits}f}"
    if entry.low is None or entry.high is None:
        return text
    return f"{text} [{entry.low * scale:.{digits}f}, {entry.high * scale:.{digits}f}]"


def _unit(name: str) -> tuple[float, int]:
    if name.startswith(_NATURAL) or name.startswith(_COEFFICIENTS):
        return 1.0, 3
    return 100.0, 2


def _heading(name: str) -> str:
    return name.replace("_", " ") + (" %" if _unit(name)[0] == 100.0 else "")


def _markdown(made: Sequence[Board]) -> str:
    lines: list[str] = ["# Scoreboard", ""]
    for board in made:
        lines += [f"## {board.title}", "", f"{board.rule}.", ""]
        lines.append("| | system | n | " + " | ".join(_heading(m) for m in board.metrics) + " | remark |")
        lines.append("|---|---|---|" + "---|" * (len(board.metrics) + 1))
        for kind, name, n, cells, remark in board.rows:
            shown = [kind, f"**{_safe(name)}**" if kind == "ours" else _safe(name), n, *cells, _safe(remark)]
            lines.append("| " + " | ".join(shown) + " |")
        lines.append("")
    return "\n".join(lines)


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--line);padding:.35rem .6rem;text-align:left;vertical-align:top}
td.number{white-space:nowrap}tr.ours{font-weight:600;background:var(--soft)}tr.published{font-style:italic}
"""


def _html(made: Sequence[Board]) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>Scoreboard</title><style>{_STYLE}</style><h1>Scoreboard</h1>",
    ]
    for board in made:
        parts.append(f"<h2>{html.escape(board.title)}</h2><p>{html.escape(board.rule)}.</p>")
        heads: list[Any] = ["", "system", "n", *(_heading(m) for m in board.metrics), "remark"]
        parts.append("<div class=scroll><table><thead><tr>")
        parts += [f"<th scope=col>{html.escape(str(head))}</th>" for head in heads]
        parts.append("</tr></thead><tbody>")
        for kind, name, n, cells, remark in board.rows:
            numbers = "".join(f"<td class=number>{html.escape(cell)}</td>" for cell in (n, *cells))
            system, about = html.escape(name), html.escape(remark)
            parts.append(f"<tr class={kind}><td>{kind}</td><td>{system}</td>{numbers}<td>{about}</td></tr>")
        parts.append("</tbody></table></div>")
    return "\n".join(parts) + "\n</html>\n"
