"""Scores of models and of predictions files: benchmarks as data, result records, a scoreboard.

`evaluate` runs an embedded model over a corpus folder, `score` needs predictions only, `scoreboard` shows records with
published numbers beside them. Works without torch; names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "evaluate": "embedded",
    "Record": "record",
    "read_record": "record",
    "write_record": "record",
    "environment": "record",
    "score": "scoring",
    "scoreboard": "board",
    "benchmark": "presets",
    "benchmarks": "presets",
    "Benchmark": "presets",
    "read_items": "items",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.evaluation.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
