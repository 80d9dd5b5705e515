"""UnbiasedEmo: pictures with the six emotions they evoke, the same things in every emotion (Panda et al. 2018).

Pictures lie in a folder per emotion, in some copies one level deeper in a folder per search word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="unbiased_emo",
    title="UnbiasedEmo",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="page of the authors (free, no form)",
    size="3,045 pictures",
    layout="anger/*.jpg …, or {train,val,test}/anger/*.jpg …",
    citation="Panda, Zhang, Li, Lee, Lu, Roy-Chowdhury: Contemplating visual emotions: understanding and overcoming "
    "dataset bias, ECCV 2018",
    labels=orders("unbiasedemo6"),
    needs_media=True,
)

_CLASSES = {label.lower(): label for label in INFO.labels["unbiasedemo6"]}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:unbiasedemo6`."""
    return class_rows(files, INFO, "unbiasedemo6", IMAGE_SUFFIXES, _CLASSES, depth=2)


def write_tiny(tiny: Tiny) -> None:
    """One item per class and split."""
    for split in ("train", "val", "test"):
        for label in INFO.labels["unbiasedemo6"]:
            tiny.image(f"{split}/{label}/dog/0001.jpg", label, 32)
