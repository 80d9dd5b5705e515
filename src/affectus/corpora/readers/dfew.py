"""DFEW: film clips with seven emotions, five folds (Jiang et al. 2020).

Lists are csv with `video_name, label`. The publisher's `set_k.csv` number labels 1…7, the copies named
`train_set_k.csv`/`test_set_k.csv` 0…6, both in the order happy, sad, neutral, angry, surprise, disgust, fear; which one
a folder holds is told by its numbers and, failing that, by the names. Clip numbers are padded to five digits in some
releases (frames) and not in others (videos, sound).
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
    name="dfew",
    title="DFEW",
    modalities=("video", "audio"),
    perspective="expressed",
    licence="research use after a signed form",
    obtain="form on the DFEW page, by a permanent staff member; lists travel with several public repositories",
    size="16,372 clips, 11,697 with a single label; 20 GB",
    layout="EmoLabel_DataSplit/{train,test}(single-labeled)/set_1.csv … set_5.csv; Clip/clip_224x224/00001/*.jpg or "
    "Clip/original/part_*/1.mp4",
    citation="Jiang, Zong, Zheng, Tang, Xia, Lu, Liu: DFEW: a large-scale database for recognizing dynamic facial "
    "expressions in the wild, ACM MM 2020",
    labels=orders("dfew7"),
    needs_media=True,
)

_LIST = re.compile(r"(?:(?:train|test)_)?set_?(\d)", re.IGNORECASE)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:dfew7` and `fold` (of the test list that holds the clip)."""
    lists = []
    for part in ("train", "test"):
        for ref in files.match(f"{part}(single-labeled)/*.csv"):
            number = _LIST.fullmatch(files.stem(ref))
            lists += [(part, int(number[1]), ref, list(files.records(ref)))] if number else []
    if not lists:
        raise CorpusError(files.root, "no EmoLabel_DataSplit/{train,test}(single-labeled)", INFO.obtain)
    variant = _numbering(files, lists)
    folds = Folds(notes)
    for part, fold, ref, rows in lists:
        for line, row in rows:
            label = notes.decode("dfew7", row.get("label"), ref, line, variant)
            if label is not None:
                folds.add(fold, part, str(row.get("video_name")).strip().zfill(5), label, ref, line)
    folds.check()
    for name, label in folds.labels.items():
        yield {"id": name, "fold": folds.fold.get(name), "media": clip(files, name), "label:dfew7": label}


def _numbering(files: Files, lists: list[tuple[str, int, str, list]]) -> str:
    numbers = {str(row.get("label")).strip() for *_, rows in lists for _, row in rows}
    if "0" in numbers:
        return "s4d"
    if "7" in numbers:
        return "publisher"
    return "publisher" if files.stem(lists[0][2]).lower().startswith("set") else "s4d"


def write_tiny(tiny: Tiny) -> None:
    """Fourteen clips in five folds, publisher's numbering, frames for all."""
    names = [f"{k:05d}" for k in range(1, 15)]
    for fold in range(1, 6):
        for part in ("train", "test"):
            rows = [(n, k % 7 + 1) for k, n in enumerate(names) if (k % 5 + 1 == fold) == (part == "test")]
            tiny.table(f"EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv", ("video_name", "label"), rows)
    for k, name in enumerate(names):
        for frame in range(2):
            emotion = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")[k % 7]
            tiny.image(f"Clip/clip_224x224/{name}/{frame + 1:05d}.jpg", emotion)
