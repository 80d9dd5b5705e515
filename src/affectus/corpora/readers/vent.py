"""Vent: posts of a social network with the emotion the writer chose (Lykousas et al. 2019); LEIA's five groups.

`vents.csv` (emotion_id, user_id, created_at, text), `emotions.csv` (id, emotion_category_id, name, enabled) and
`emotion_categories.csv` (id, name). LEIA keeps the categories Affection, Anger, Fear, Happiness and Sadness. Posts are
personal: this reader gives hashed writers and never leaves the machine.
The whole file is held in memory, about three times its size.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="vent",
    title="Vent",
    modalities=("text",),
    perspective="felt",
    licence="request, research use, no redistribution",
    obtain="Zenodo record of the Vent data set, by request",
    size="33 million posts of nearly a million writers",
    layout="vents.csv, emotions.csv, emotion_categories.csv",
    citation="Lykousas, Patsakis, Kaltenbrunner, Gomez: Sharing emotions at scale: the Vent dataset, ICWSM 2019",
    labels=orders("vent10", "leia5"),
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `label:vent10`, `label:leia5` (null outside), `group:writer`, `meta:` emotion, created_at."""
    parts = {name: files.match(f"{name}.csv")[:1] for name in ("vents", "emotions", "emotion_categories")}
    missing = [name for name, refs in parts.items() if not refs]
    if missing:
        raise CorpusError(files.root, f"no {missing[0]}.csv", INFO.obtain)
    (posts,), (emotions,), (categories,) = parts.values()
    groups = {row["id"]: row["name"] for _, row in files.records(categories)}
    known = {row["id"]: (row["name"], groups.get(row["emotion_category_id"])) for _, row in files.records(emotions)}
    five = {name.lower(): name for name in INFO.labels["leia5"]}
    for number, row in enumerate(csv.DictReader(io.StringIO(files.text(posts), newline="")), 2):
        if row["emotion_id"] not in known:
            notes.error(posts, number, f"unknown emotion {row['emotion_id']!r}", "fetch emotions.csv again")
            continue
        name, group = known[row["emotion_id"]]
        if group is None:
            continue
        label = notes.lookup("vent10", group, emotions, 0)
        writer = hashlib.blake2b(str(row["user_id"]).encode(), digest_size=8).hexdigest()
        yield {"id": str(number - 2), "text": row["text"], "group:writer": writer, "label:vent10": label,
               "label:leia5": five.get(group.lower()), "meta:emotion": name,
               "meta:created_at": row["created_at"]}  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Ten posts of four writers, one per category."""
    names = INFO.labels["vent10"]
    tiny.table("emotion_categories.csv", ("id", "name"), enumerate(names, 1))
    rows = [(k, k, f"Very {name}", "true") for k, name in enumerate(names, 1)]
    tiny.table("emotions.csv", ("id", "emotion_category_id", "name", "enabled"), rows)
    posts = [(k, f"user{k % 4}", f"2017-03-0{k % 9 + 1} 10:00:00", tiny.text()) for k in range(1, 11)]
    tiny.table("vents.csv", ("emotion_id", "user_id", "created_at", "text"), posts)
