"""RAF-DB, basic set: faces from the web with seven expressions (Li, Deng & Du 2017).

`list_patition_label.txt` (the published spelling) has lines `train_00001.jpg 5`, numbers 1…7 = surprise, fear, disgust,
happiness, sadness, anger, neutral. Aligned faces are named `train_00001_aligned.jpg`. Copies sorted into folders
`train/1 … test/7` are read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="rafdb",
    title="RAF-DB (basic expressions)",
    modalities=("image",),
    perspective="expressed",
    licence="research use after a request",
    obtain="request by e-mail on the RAF-DB page, by a permanent staff member",
    size="15,339 faces, 100×100 aligned",
    layout="basic/EmoLabel/list_patition_label.txt, basic/Image/aligned/train_00001_aligned.jpg",
    citation="Li, Deng, Du: Reliable crowdsourcing and deep locality-preserving learning for expression recognition in "
    "the wild, CVPR 2017",
    labels=orders("rafdb7"),
    counts={"train": 12271, "test": 3068},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:rafdb7`."""
    lists = [*files.match("list_patition_label.txt"), *files.match("list_partition_label.txt")]
    if not lists:
        numbered = {str(k): label for k, label in enumerate(INFO.labels["rafdb7"], 1)}
        yield from class_rows(files, INFO, "rafdb7", (".jpg", ".png"), numbered)
        return
    for ref in lists:
        for line, row in enumerate(files.text(ref).splitlines(), 1):
            cells = row.split()
            if not cells:
                continue
            if len(cells) != 2 or not cells[0].startswith(("train_", "test_")):
                notes.error(ref, line, f"{row!r} is not 'train_00001.jpg 5'", "fetch the list again")
                continue
            label = notes.decode("rafdb7", cells[1], ref, line, "publisher")
            name = cells[0].partition(".")[0]
            pictures = [*files.named(f"{name}_aligned.jpg"), *files.named(f"{name}.jpg")]
            if label is not None:
                yield {"id": name, "split": name.partition("_")[0], "media": pictures[0] if pictures else None,
                       "label:rafdb7": label}  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Seven faces in train and in test."""
    rows = []
    for split in ("train", "test"):
        for k, label in enumerate(INFO.labels["rafdb7"], 1):
            tiny.image(f"basic/Image/aligned/{split}_{k:05d}_aligned.jpg", label, 100)
            rows.append(f"{split}_{k:05d}.jpg {k}")
    tiny.lines("basic/EmoLabel/list_patition_label.txt", rows)
