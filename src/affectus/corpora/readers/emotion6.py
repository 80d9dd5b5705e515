"""Emotion6: pictures with the distribution of seven evoked emotions, valence and arousal (Peng et al. 2015).

`ground_truth.txt` is tab-separated: picture (`anger/1.jpg`), valence, arousal (1–9), then the shares of anger, disgust,
fear, joy, sadness, surprise, neutral among fifteen raters. The folder name is the search word, not the label. Copies
sorted into folders `train/val/test` by class are read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="emotion6",
    title="Emotion6",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="page of the authors at Cornell University (free, no form)",
    size="1,980 pictures, 330 per search word",
    layout="ground_truth.txt and images/anger/1.jpg …, or {train,val,test}/<class>/*.jpg",
    citation="Peng, Chen, Sadovnik, Gallagher: A mixed bag of emotions: model, predict, and transfer emotion "
    "distributions, CVPR 2015",
    labels=orders("emotion6", "emotion6_7"),
    units={"valence": "1–9", "arousal": "1–9"},
    counts={"all": 1980},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dist:emotion6_7`, `label:emotion6_7` (largest share), `label:emotion6` (search word), `dim:`/`raw:`."""
    truth = files.match("ground_truth.txt")
    if not truth:
        classes = {label: label for label in INFO.labels["emotion6"]}
        yield from class_rows(files, INFO, "emotion6", IMAGE_SUFFIXES, classes)
        return
    pictures = {
        "/".join(files.logical[r].split("/")[-2:]): r for r in files.logical if files.suffix(r) in IMAGE_SUFFIXES
    }
    for ref in truth:
        for line, row in enumerate(files.text(ref).splitlines(), 1):
            cells = row.split("\t")
            if not row.strip() or not cells[1:] or (line == 1 and "[" in cells[0]):
                continue
            if (filled := _row(cells, ref, line, notes)) is not None:
                yield {**filled, "media": pictures.get(cells[0].strip())}


def _row(cells: list[str], ref: str, line: int, notes: Notes) -> dict[str, Any] | None:
    if len(cells) < 10:
        notes.error(ref, line, f"{len(cells)} fields instead of 10", "fetch the file again")
        return None
    valence, arousal = (
        notes.number(c, 1, 9, n, ref, line) for c, n in zip(cells[1:3], ("valence", "arousal"), strict=True)
    )
    shares = [notes.number(c, 0, 1, "share", ref, line) for c in cells[3:10]]
    if valence is None or arousal is None or any(s is None for s in shares):
        return None
    known = [s or 0.0 for s in shares]
    label = notes.lookup("emotion6", cells[0].partition("/")[0], ref, line)
    return {
        "id": cells[0].strip(),
        "label:emotion6": label,
        "label:emotion6_7": INFO.labels["emotion6_7"][known.index(max(known))],
        "dist:emotion6_7": [s / (sum(known) or 1.0) for s in known],
        "dim:valence": rescale(valence, 1, 9),
        "dim:arousal": rescale(arousal, 1, 9),
        "raw:valence": valence,
        "raw:arousal": arousal,
    }


def write_tiny(tiny: Tiny) -> None:
    """Two pictures per search word."""
    names = INFO.labels["emotion6_7"]
    rows = ["\t".join(("[image name]", "[valence]", "[arousal]", *(f"[prob. of {n}]" for n in names)))]
    for k, name in enumerate(INFO.labels["emotion6"]):
        for number in (1, 2):
            tiny.image(f"images/{name}/{number}.jpg", name, 64)
            shares = [0.6 if i == k else 0.4 if i == 6 else 0.0 for i in range(7)]
            rows.append("\t".join([f"{name}/{number}.jpg", str(3.5 + k / 2), "4.2", *(str(s) for s in shares)]))
    tiny.lines("ground_truth.txt", rows)
