"""MAFW: film clips with eleven emotions, single and compound, five folds (Liu et al. 2022).

The publisher's lists are text (`00025.mp4 anger`, in `set_k/train.txt`); csv copies (`video_name, labels`) number the
eleven labels alphabetically. The compound set names several labels joined by `_` or commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._face_video import Folds, clip
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="mafw",
    title="MAFW (single expressions)",
    modalities=("video", "audio"),
    perspective="expressed",
    licence="research use after a signed form",
    obtain="form on the MAFW page; lists travel with several public repositories",
    size="10,045 clips, 9,172 with a single label",
    layout="single/no_caption/set_1 … set_5, each with train and test as .txt (00025.mp4 anger) or .csv (video_name, "
    "labels); clips as 00025.mp4 or 00025/*.png",
    citation="Liu, Dai, Feng, Wang, Yin, Zeng, Shan: MAFW: a large-scale, multi-modal, compound affective database for "
    "dynamic facial expression recognition in the wild, ACM MM 2022",
    labels=orders("mafw11"),
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mafw11` and `fold` (of the test list that holds the clip)."""
    folds = Folds(notes)
    for part in ("train", "test"):
        for ref in files.match(f"set_?/{part}.txt"):
            for line, row in enumerate(files.text(ref).splitlines(), 1):
                if not row.strip():
                    continue
                name, _, emotion = row.strip().partition(" ")
                label = notes.lookup("mafw11", emotion, ref, line)
                if label is not None:
                    folds.add(_fold(files, ref), part, name.partition(".")[0], label, ref, line)
        for ref in files.match(f"set_?/{part}.csv"):
            for line, cells in files.records(ref):
                label = notes.decode("mafw11", cells.get("labels"), ref, line, "s4d")
                if label is not None:
                    folds.add(_fold(files, ref), part, str(cells.get("video_name")), label, ref, line)
    if not folds.labels:
        raise CorpusError(files.root, "no set_1 … set_5 with train and test lists", INFO.obtain)
    folds.check()
    for name, label in folds.labels.items():
        yield {"id": name, "fold": folds.fold.get(name), "media": clip(files, name), "label:mafw11": label}


def _fold(files: Files, ref: str) -> int:
    found = re.fullmatch(r"set_(\d)", files.folders(ref)[0].lower())
    return int(found[1]) if found else 0


def write_tiny(tiny: Tiny) -> None:
    """Eleven clips in five folds, publisher's text lists, videos for all."""
    names = INFO.labels["mafw11"]
    for fold in range(1, 6):
        for part in ("train", "test"):
            rows = [f"{k:05d}.mp4 {n}" for k, n in enumerate(names) if (k % 5 + 1 == fold) == (part == "test")]
            tiny.lines(f"Train & Test Set/single/no_caption/set_{fold}/{part}.txt", rows)
    for k, name in enumerate(names):
        tiny.video(f"data/clips/{k:05d}.mp4", name, 0.3)
