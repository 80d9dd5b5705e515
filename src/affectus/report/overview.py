"""One row per file and person as CSV: what a folder of recordings comes to, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectus.labels import space
from affectus.report.atomic import write_atomic
from affectus.report.facts import summary
from affectus.types import Timeline

#: Columns before and after those of the shares.
_BEFORE = ("file", "folder", "who", "seconds", "turns", "uncertain")
_AFTER = ("valence", "arousal", "conflicts", "shifts", "note")


def write_overview(
    timeline: Timeline,
    path: str | Path,
    folders: Mapping[str, str] | None = None,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """Write the rows of `summary` as CSV in UTF-8, one column `share_LABEL` per emotion of the common space.

    Shares and `uncertain` are of the decided time (of turns and texts: of their number) and add up to 1; what is
    unknown is empty. `folders` maps a file to where its result lies, `failures` a file to the reason, told in `note`.
    Raises `AffectusError` where the file cannot be written.
    """
    rows = [_cells(row, folders or {}) for row in summary(timeline)]
    rows += [{"file": name, "note": f"error: {reason}"} for name, reason in (failures or {}).items()]
    found = {label for row in rows for label in row if label.startswith("share_")}
    usual = [f"share_{label}" for label in space("ekman7").labels]
    shares = [*usual, *sorted(found - set(usual))]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_BEFORE, *shares, *_AFTER], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomic(Path(path), [text.getvalue()])


def _cells(row: Mapping[str, Any], folders: Mapping[str, str]) -> dict[str, str]:
    usual = {f"share_{label}": 0.0 for label in space("ekman7").labels} if row["uncertain"] is not None else {}
    values = dict(row) | usual | {f"share_{label}": part for label, part in row["shares"].items()}
    values["folder"] = folders.get(row["file"], "")
    return {name: _cell(value) for name, value in values.items() if name not in ("shares", "mostly")}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
