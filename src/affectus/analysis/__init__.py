"""The main job: a recording, picture or text becomes a `Timeline` of perceived expression.

media → faces, turns, sentences and key frames → shipped models → calibrated fusion → conflicts → explanation.
`analyze` does it for any number of files; the parts can be used on their own. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectus.analysis.folder import Outcome, analyze_each
    from affectus.analysis.fusion import Fused, Opinion, fuse, jensen_shannon
    from affectus.analysis.run import analyze
    from affectus.analysis.settings import MODALITIES, Settings

_PUBLIC = {
    "MODALITIES": "settings",
    "Settings": "settings",
    "analyze": "run",
    "Outcome": "folder",
    "analyze_each": "folder",
    "Fused": "fusion",
    "Opinion": "fusion",
    "fuse": "fusion",
    "jensen_shannon": "fusion",
}

__all__ = [
    "MODALITIES",
    "Fused",
    "Opinion",
    "Outcome",
    "Settings",
    "analyze",
    "analyze_each",
    "fuse",
    "jensen_shannon",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.analysis.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.analysis' has no attribute {name!r}")
