"""Abstract: abstract paintings with votes for the eight emotions they evoke (Machajdik & Hanbury 2010).

`ABSTRACT_groundTruth.csv` holds the picture name in quotes and eight vote counts in the order of its header. The label
is the emotion with most votes, null for a tie; 228 or 229 of 280 pictures were rated by enough people.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="abstract",
    title="Abstract (paintings)",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="page of the authors: testImages_abstract.zip (free, no form)",
    size="280 pictures, 229 used",
    layout="testImages_abstract/ABSTRACT_groundTruth.csv and abstract_0001.jpg …",
    citation="Machajdik, Hanbury: Affective image classification using features inspired by psychology and art theory, "
    "ACM MM 2010",
    labels=orders("mikels8"),
    units={"mikels8": "votes"},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `votes:mikels8` and `label:mikels8` (null for ties)."""
    lists = files.match("ABSTRACT_groundTruth.csv")
    if not lists:
        raise CorpusError(files.root, "no ABSTRACT_groundTruth.csv", INFO.obtain)
    order = INFO.labels["mikels8"]
    for ref in lists:
        lines = [[c.strip().strip("'\"") for c in row.split(",")] for row in files.text(ref).splitlines()]
        columns = [notes.lookup("mikels8", c, ref, 1) for c in lines[0][1:9]]
        for line, cells in enumerate(lines[1:], 2):
            if len(cells) < 9:
                continue
            counts = [notes.number(c, 0, 1000, "votes", ref, line) for c in cells[1:9]]
            if None in counts or None in columns:
                continue
            by_label = dict(zip(columns, counts, strict=True))
            votes = [by_label[label] or 0.0 for label in order]
            top = [label for label, v in zip(order, votes, strict=True) if v == max(votes)]
            pictures = files.named(cells[0])
            yield {"id": cells[0], "media": pictures[0] if pictures else None, "votes:mikels8": votes,
                   "label:mikels8": top[0] if len(top) == 1 else None}  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Three pictures, one with a tie."""
    header = "'Abstract images','Amusement','Anger','Awe','Content','Disgust','Excitement','Fear','Sad'"
    rows = [header]
    for k, counts in enumerate(((5, 0, 1, 3, 0, 2, 0, 0), (0, 4, 0, 0, 4, 0, 1, 2), (0, 0, 0, 1, 0, 0, 2, 7)), 1):
        tiny.image(f"testImages_abstract/abstract_{k:04d}.jpg", "neutral", 32)
        rows.append(",".join([f"'abstract_{k:04d}.jpg'", *(str(c) for c in counts)]))
    tiny.lines("testImages_abstract/ABSTRACT_groundTruth.csv", rows)
