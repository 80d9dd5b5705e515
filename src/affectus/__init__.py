"""Emotion understanding for faces, voices, words, images, conversations and EEG.

`affectus.analyze("clip.mp4")` returns a `Timeline`: who, when, which emotion, from which evidence, how sure.
`affectus.load("hicmae", weights=folder)` gives one of the published systems (needs torch).
Names are loaded on first use, so importing the package is cheap and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "analyze": "affectus.analysis",
    "evaluate": "affectus.evaluation",
    "load": "affectus.systems",
    "Timeline": "affectus.types",
    "Prediction": "affectus.types",
    "Card": "affectus.types",
    "AffectusError": "affectus.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'affectus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
