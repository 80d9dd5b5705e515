"""Corpora that are folders of pictures or clips, one folder per class, with or without train/val/test folders above."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo
from affectus.corpora.files import Files
from affectus.errors import CorpusError


def class_rows(
    files: Files,
    facts: CorpusInfo,
    space: str,
    suffixes: Collection[str],
    classes: Mapping[str, str],
    depth: int = 1,
) -> Iterator[dict[str, Any]]:
    """Rows `id` (path), `split`, `media`, `label:SPACE` of every file whose folder is a class.

    `classes` maps lower-case folder names to labels; `depth` is how many folders above the file may be the class.
    """
    found = False
    for ref, logical in files.logical.items():
        if files.suffix(ref) not in suffixes:
            continue
        folders = logical.split("/")[-2::-1]
        place = next((k for k, name in enumerate(folders[:depth]) if name.lower() in classes), None)
        if place is None:
            continue
        found = True
        split = next((SPLIT_NAMES[n.lower()] for n in folders[place + 1 :] if n.lower() in SPLIT_NAMES), None)
        name = "/".join([*folders[place::-1], logical.rpartition("/")[2]])
        yield {
            "id": f"{split}/{name}" if split else name,
            "split": split,
            "media": ref,
            f"label:{space}": classes[folders[place].lower()],
        }
    if not found:
        raise CorpusError(files.root, f"no folders named {', '.join(classes)} with pictures or clips", facts.obtain)
