"""FI (Flickr and Instagram): pictures with the eight emotions they evoke (You et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="fi",
    title="FI (Flickr and Instagram)",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="request to the authors; pictures of public image sites",
    size="23,308 pictures",
    layout="{train,val,test}/amusement/*.jpg … or emotion_dataset/amusement/*.jpg",
    citation="You, Luo, Jin, Yang: Building a large scale dataset for image emotion recognition: the fine print and "
    "the benchmark, AAAI 2016",
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
            tiny.image(f"{split}/{label}/{label}_0001.jpg", label, 32)
