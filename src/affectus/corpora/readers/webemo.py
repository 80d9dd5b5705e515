"""WebEmo: stock photographs with Parrott's 25 secondary emotions from search words (Panda et al. 2018).

Pictures lie in a folder per emotion, with or without folders per split above and per search word below. The label is
the search word's emotion, not a judgement of viewers. Coarser labels (6 or 7, positive and negative) follow by the
label maps.
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
    name="webemo",
    title="WebEmo",
    modalities=("image",),
    perspective="evoked",
    licence="research use; stock photographs",
    obtain="page of the authors (free, no form)",
    size="268,000 pictures",
    layout="{train,test}/affection/*.jpg … or affection/*.jpg …",
    citation="Panda, Zhang, Li, Lee, Lu, Roy-Chowdhury: Contemplating visual emotions: understanding and overcoming "
    "dataset bias, ECCV 2018",
    labels=orders("webemo25"),
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:webemo25`."""
    classes = {label: label for label in INFO.labels["webemo25"]}
    return class_rows(files, INFO, "webemo25", IMAGE_SUFFIXES, classes, depth=2)


def write_tiny(tiny: Tiny) -> None:
    """One picture per emotion and split."""
    for split in ("train", "test"):
        for label in INFO.labels["webemo25"]:
            tiny.image(f"{split}/{label}/{split}_0001.jpg", label, 24)
