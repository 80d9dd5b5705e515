"""Label archives of the MER toolkits: `train/val/test/test1…/whole_corpus` → name → {emo, val}.

`emo` is a number or, in some copies, the name itself; `val` is a score, -10 where there is none. The dictionaries are
pickled, so they go through the restricted reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from affectus.corpora.base import SPLIT_NAMES, Notes
from affectus.corpora.files import Files
from affectus.corpora.safe import load_npz


@dataclass(frozen=True)
class Entry:
    """One item of a label archive; `emo` is the published number or name, `val` None where missing."""

    name: str
    part: str
    split: str | None
    emo: int | str
    val: float | None
    row: int


def entries(files: Files, ref: str, notes: Notes) -> Iterator[Entry]:
    """All items of an archive in order; malformed ones are noted and left out."""
    for key, content in load_npz(files.read(ref), ref).items():
        part = key.removesuffix("_corpus")
        if not isinstance(content, dict):
            notes.error(ref, 0, f"{key!r} is no table of names", "fetch the archive again")
            continue
        for row, (name, label) in enumerate(content.items(), 1):
            if not isinstance(label, dict) or not {"emo", "val"} <= set(label):
                notes.error(ref, row, f"{name!r} in {key!r} has no emo and val", "fetch the archive again")
                continue
            emo = label["emo"]
            score = float(label["val"])
            emo = int(emo) if str(emo).lstrip("-").isdigit() else str(emo)
            split = "test" if part.startswith("test") else SPLIT_NAMES.get(part)
            yield Entry(str(name), part, split, emo, None if score == -10 else score, row)
