"""`save` and `read`: the format is chosen by the suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from affectus.errors import AffectusError
from affectus.report import tables, tiers
from affectus.report.atomic import write_atomic
from affectus.types import Timeline


def _write_json(timeline: Timeline, path: Path) -> None:
    write_atomic(path, tables.json_chunks(timeline))


#: Suffix (lower case) → writer, beside `.html`.
WRITERS: dict[str, Callable[[Timeline, Path], object]] = {
    ".parquet": tables.write_parquet,
    ".csv": tables.write_csv,
    ".json": _write_json,
    ".vtt": tiers.write_vtt,
    ".eaf": tiers.write_eaf,
    ".textgrid": tiers.write_textgrid,
}
_NAMES = ".parquet .csv .json .vtt .eaf .TextGrid .html"


def save(timeline: Timeline, path: str | Path, home: str | Path | None = None) -> Path:
    """Write a timeline atomically and return the path; `home` is the folder a report will lie in, else that of `path`.

    `.parquet`, `.csv`, `.json` and `.html` take any number of files; `.vtt`, `.eaf` and `.TextGrid` describe one
    recording each, so the timeline must hold one file with times. Raises `AffectusError` for an unknown suffix, for
    a timeline that does not suit the format, and where the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".html":
        from affectus.report.page import write_html

        return write_html(timeline, path, home)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise AffectusError(path, f"unknown format {path.suffix or '(no suffix)'!r}", f"use one of {_NAMES}")
    writer(timeline, path)
    return path


def read(path: str | Path) -> Timeline:
    """Read a timeline back from `.parquet` (exact) or `.json` (NaN and infinities are NaN)."""
    path = Path(path)
    if not path.is_file():
        raise AffectusError(path, "no such file")
    if path.suffix.lower() == ".parquet":
        return tables.read_parquet(path)
    if path.suffix.lower() == ".json":
        return tables.read_json(path)
    raise AffectusError(path, "only .parquet and .json timelines can be read back")
