"""Artphoto: artistic photographs with the emotion their photographer wanted to evoke (Machajdik & Hanbury 2010).

All pictures lie in one folder; the part of the name before `_` is the emotion (`amusement_0012.jpg`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="artphoto",
    title="Artphoto",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="page of the authors: testImages_artphoto.zip (free, no form)",
    size="806 pictures",
    layout="testImages_artphoto/amusement_0012.jpg …",
    citation="Machajdik, Hanbury: Affective image classification using features inspired by psychology and art theory, "
    "ACM MM 2010",
    labels=orders("mikels8"),
    counts={"all": 806},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:mikels8`."""
    refs = [r for r in files.logical if files.suffix(r) in IMAGE_SUFFIXES]
    if not refs:
        raise CorpusError(files.root, "no pictures named like amusement_0012.jpg", INFO.obtain)
    for ref in refs:
        stem = files.stem(ref)
        label = notes.lookup("mikels8", stem.rpartition("_")[0] or stem, ref, 0)
        if label is not None:
            yield {"id": stem, "media": ref, "label:mikels8": label}


def write_tiny(tiny: Tiny) -> None:
    """One picture per emotion."""
    for k, label in enumerate(INFO.labels["mikels8"]):
        tiny.image(f"testImages_artphoto/{label}_{k:04d}.jpg", label, 32)
