"""Emo8: pictures of five styles with the eight emotions they evoke (UniEmoX)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="emo8",
    title="Emo8",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="link in the repository chincharles/u-emo (free, no form)",
    size="several thousand pictures",
    layout="{train,val,test}/amusement/*.jpg …",
    citation="UniEmoX: cross-modal semantic-guided large-scale pretraining for universal scene emotion perception, "
    "2024",
    labels=orders("mikels8"),
    needs_media=True,
)

_CLASSES = {label.lower(): label for label in INFO.labels["mikels8"]}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:mikels8`."""
    return class_rows(files, INFO, "mikels8", IMAGE_SUFFIXES, _CLASSES)


def write_tiny(tiny: Tiny) -> None:
    """One item per class and split."""
    for split in ("train", "val", "test"):
        for label in INFO.labels["mikels8"]:
            tiny.image(f"{split}/{label}/0001.jpg", label, 32)
