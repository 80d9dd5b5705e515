"""HECO: people in everyday scenes with eight emotions (Yang et al. 2022), in the folder form of UniEmoX.

`{train,val,test}/<class>/*`; the publisher's random 70/10/20 division is not seeded, so scores are comparable only on
the authors' own folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="heco",
    title="HECO",
    modalities=("image",),
    perspective="expressed",
    licence="research use",
    obtain="project page of HECO; the divided folders are linked by the UniEmoX repository",
    size="9,385 pictures",
    layout="HECO/{train,val,test}/Surprise/*.jpg …",
    citation="Yang et al.: Emotion recognition for multiple context awareness, ECCV 2022",
    labels=orders("heco8"),
    needs_media=True,
)

_CLASSES = {label.lower(): label for label in INFO.labels["heco8"]}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:heco8`."""
    return class_rows(files, INFO, "heco8", IMAGE_SUFFIXES, _CLASSES)


def write_tiny(tiny: Tiny) -> None:
    """One picture per class and split."""
    for split in ("train", "val", "test"):
        for label in INFO.labels["heco8"]:
            tiny.image(f"{split}/{label}/{label}_0001.jpg", label, 32)
