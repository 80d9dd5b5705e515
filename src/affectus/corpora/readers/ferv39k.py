"""FERV39K: clips of 22 scenes with seven expressions, one split (Wang et al. 2022).

Lists hold a path `Scene/Label/0063` and a number. Several numberings are in circulation, so the label is read from the
path, by name, and the number is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="ferv39k",
    title="FERV39K",
    modalities=("video",),
    perspective="expressed",
    licence="research use after a signed form",
    obtain="form on the FERV39K page; lists travel with several public repositories",
    size="38,935 clips of 22 scenes",
    layout="train.csv and test.csv (path, id) in Annotation/, or train_All.csv and test_All.csv; clips as "
    "Scene/Label/0063/*.jpg or Scene/Label/0063.mp4",
    citation="Wang, Sun, Huang, Liu, Gao, Zhang, Ge, Zhang: FERV39k: a large-scale multi-scene dataset for facial "
    "expression recognition in videos, CVPR 2022",
    labels=orders("ferv39k7"),
    counts={"train": 31088, "test": 7847},
    needs_media=True,
)

_LISTS = {"train": ("Annotation/train.csv", "train_All.csv"), "test": ("Annotation/test.csv", "test_All.csv")}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:ferv39k7` and `meta:scene`."""
    clips = _clips(files)
    found = False
    numbers: dict[str, str] = {}
    for split, patterns in _LISTS.items():
        for ref in [r for pattern in patterns for r in files.match(pattern)]:
            found = True
            for line, row in enumerate(files.text(ref).splitlines(), 1):
                cells = row.replace(",", " ").split()
                if not cells or cells[0] == "path":
                    continue
                parts = cells[0].strip("/").split("/")
                if len(parts) < 3:
                    notes.error(ref, line, f"path {cells[0]!r} is not Scene/Label/number", "fetch the lists again")
                    continue
                scene, emotion, name = parts[-3:]
                label = notes.lookup("ferv39k7", emotion, ref, line)
                if label is not None and len(cells) > 1 and numbers.setdefault(label, cells[1]) != cells[1]:
                    notes.error(ref, line, f"{label} has the number {cells[1]} here and {numbers[label]} elsewhere")
                elif label is not None:
                    key = f"{scene}/{emotion}/{name.partition('.')[0]}"
                    yield {"id": key, "split": split, "media": clips.get(key.lower()), "label:ferv39k7": label,
                           "meta:scene": scene}  # fmt: skip
    if not found:
        raise CorpusError(files.root, "no Annotation/train.csv, Annotation/test.csv or *_All.csv", INFO.obtain)


def _clips(files: Files) -> dict[str, str]:
    """Clips by `scene/label/number`: folders of frames, and videos."""
    found: dict[str, str] = {}
    for ref, logical in files.logical.items():
        parts = logical.lower().split("/")
        if files.suffix(ref) in IMAGE_SUFFIXES and len(parts) > 4:
            found.setdefault("/".join(parts[-4:-1]), ref.rpartition("/")[0] + "/")
        elif files.suffix(ref) in VIDEO_SUFFIXES and len(parts) > 3:
            found["/".join(parts[-3:]).rpartition(".")[0]] = ref
    return found


def write_tiny(tiny: Tiny) -> None:
    """Seven clips in train and in test, the first two with frames."""
    for split in ("train", "test"):
        rows = []
        for k, label in enumerate(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")):
            path = f"{('Interview', 'DailyLife')[k % 2]}/{label}/{k:03d}{len(split)}"
            rows.append((path, k))
            for frame in range(2):
                tiny.image(f"clips/{path}/{frame:05d}.jpg", label.lower())
        tiny.table(f"Annotation/{split}.csv", ("path", "id"), rows)
