"""A `Timeline` as files and pictures: tables, subtitles, annotation tiers, and one self-contained HTML report.

`save(timeline, path)` chooses the format by suffix, `read(path)` brings Parquet and JSON back, `figure` and
`write_html` draw, `summary` and `terminal` say the same in a few rows. Names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "save": "files",
    "read": "files",
    "json_chunks": "tables",
    "figure": "plots",
    "write_html": "page",
    "summary": "facts",
    "write_overview": "overview",
    "terminal": "facts",
}

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.report.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.report' has no attribute {name!r}")
