"""FER2013: 48×48 grey faces with seven expressions, one label each (Goodfellow et al. 2013).

`fer2013.csv` holds emotion (0…6 = angry, disgust, fear, happy, sad, surprise, neutral), 2,304 pixel values and Usage
(Training, PublicTest, PrivateTest). `icml_face_data.csv` is the same with other blanks in the header. The pixels are in
the csv, so `pixels` gives the pictures; folders `train/happy/*.jpg` are read as files. FER+ relabels the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny, face_image
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="fer2013",
    title="FER2013",
    modalities=("image",),
    perspective="expressed",
    licence="research use (ICML 2013 challenge)",
    obtain="ICML 2013 challenges in representation learning (free after registration): fer2013.tar.gz",
    size="35,887 faces, 300 MB",
    layout="fer2013.csv (emotion, pixels, Usage), or {train,test}/<class>/*.jpg",
    citation="Goodfellow et al.: Challenges in representation learning: a report on three machine learning contests, "
    "ICONIP 2013",
    labels=orders("fer7"),
    counts={"train": 28709, "valid": 3589, "test": 3589},
)

_USAGE = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
_LISTS = ("fer2013.csv", "icml_face_data.csv")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:fer7`; `meta:row` is the line of the csv, for `pixels`."""
    lists = [r for name in _LISTS for r in files.match(name)][:1]
    if not lists:
        classes = {label: label for label in INFO.labels["fer7"]}
        yield from class_rows(files, INFO, "fer7", IMAGE_SUFFIXES, classes)
        return
    for ref in lists:
        for line, row in files.records(ref):
            split = _USAGE.get((row.get("Usage") or "").strip())
            label = notes.decode("fer7", row.get("emotion"), ref, line)
            count = (row.get("pixels") or "").count(" ") + 1
            if split is None or count != 2304:
                notes.error(
                    ref, line, f"usage {row.get('Usage')!r} or {count} pixels instead of 2304", "fetch it again"
                )
            elif label is not None:
                yield {"id": f"fer{line - 2:07d}", "split": split, "label:fer7": label, "meta:row": line}


def pixels(files: Files) -> Iterator[tuple[str, np.ndarray]]:
    """`(id, picture)` of every row of the csv, grey uint8 `(48, 48)`, in order."""
    lists = [r for name in _LISTS for r in files.match(name)]
    if not lists:
        raise CorpusError(files.root, "no fer2013.csv", INFO.obtain)
    for line, row in files.records(lists[0]):
        yield f"fer{line - 2:07d}", np.array(row["pixels"].split(), np.uint8).reshape(48, 48)


def write_tiny(tiny: Tiny) -> None:
    """Seven faces per part."""
    rows = []
    for usage in _USAGE:
        for k, label in enumerate(INFO.labels["fer7"]):
            grey = face_image(label, tiny.random).mean(2).astype(int)
            rows.append((k, " ".join(str(v) for v in grey.ravel()), usage))
    tiny.table("fer2013.csv", ("emotion", "pixels", "Usage"), rows)
