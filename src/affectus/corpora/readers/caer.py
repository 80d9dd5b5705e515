"""CAER: clips of TV series with seven emotions, whole scenes with context (Lee et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="caer",
    title="CAER",
    modalities=("video", "audio"),
    perspective="expressed",
    licence="research use",
    obtain="CAER page (free after a form)",
    size="13,201 clips of 79 series",
    layout="train/Anger/0001.avi …, validation/…, test/…",
    citation="Lee, Kim, Kim, Park, Sohn: Context-aware emotion recognition networks, ICCV 2019",
    labels=orders("caer7"),
    needs_media=True,
)

_CLASSES = {label.lower(): label for label in INFO.labels["caer7"]}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:caer7`."""
    return class_rows(files, INFO, "caer7", VIDEO_SUFFIXES, _CLASSES)


def write_tiny(tiny: Tiny) -> None:
    """One item per class and split."""
    for split in ("train", "validation", "test"):
        for label in INFO.labels["caer7"]:
            tiny.video(f"{split}/{label}/0001.avi", label, 0.3)
