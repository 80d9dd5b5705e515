"""Vent: posts of a social network with the emotion the writer chose (Lykousas et al. 2019); LEIA's five groups.

`vents.csv` (emotion_id, user_id, created_at, text), `emotions.csv` (id, emotion_category_id, name, enabled) and
`emotion_categories.csv` (id, name). LEIA keeps the categories Affection, Anger, Fear, Happiness and Sadness. Posts are
personal: this reader gives hashed writers and never leaves the machine.
The file is read in pieces; the table takes about as much memory as the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

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

_CELLS = ("emotion_id", "user_id", "created_at", "text")


def read(files: Files, notes: Notes) -> dict[str, Any]:
    """Columns `text`, `label:vent10`, `label:leia5` (null outside), `group:writer`, `meta:` emotion, created_at."""
    parts = {name: files.match(f"{name}.csv")[:1] for name in ("vents", "emotions", "emotion_categories")}
    missing = [name for name, refs in parts.items() if not refs]
    if missing:
        raise CorpusError(files.root, f"no {missing[0]}.csv", INFO.obtain)
    (posts,), (emotions,), (categories,) = parts.values()
    groups = {row["id"]: row["name"] for _, row in files.records(categories)}
    known: dict[str, _Emotion] = {}
    five = {name.lower(): name for name in INFO.labels["leia5"]}
    for line, row in files.records(emotions):
        group = groups.get(row["emotion_category_id"])
        label = None if group is None else notes.lookup("vent10", group, emotions, line)
        known[row["id"]] = (row["name"], label, None if group is None else five.get(group.lower()))
    if not known:
        raise CorpusError(emotions, "lists no emotion", INFO.obtain)
    filled: dict[str, list[pa.Array]] = {name: [] for name in _FILLED}
    before = 0
    for batch in _batches(files, posts, notes):
        for name, array in _columns(batch, known, posts, before, notes).items():
            filled[name].append(array)
        before += batch.num_rows
    return {name: pa.chunked_array(chunks, _FILLED[name]) for name, chunks in filled.items()}


#: Name, label and group of LEIA of an emotion; without a category it has no label.
_Emotion = tuple[str, str | None, str | None]

_FILLED: dict[str, pa.DataType] = dict.fromkeys(
    ("id", "text", "group:writer", "label:vent10", "label:leia5", "meta:emotion", "meta:created_at"), pa.string()
)


def _batches(files: Files, ref: str, notes: Notes) -> Iterator[pa.RecordBatch]:
    """Posts in pieces of some ten thousand, all cells as text."""
    broken: list[csv.InvalidRow] = []

    def skip(row: csv.InvalidRow) -> str:
        broken.append(row)  # an error raised here would be lost in the parser
        return "skip"

    cells = dict.fromkeys(_CELLS, pa.string())
    with files.stream(ref) as stream:
        try:
            pieces = csv.open_csv(
                stream,
                csv.ReadOptions(block_size=1 << 23),
                csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                csv.ConvertOptions(column_types=cells, include_columns=list(_CELLS), strings_can_be_null=False),
            )
            for piece in pieces:
                yield piece
                _note_broken(broken, ref, notes)
            _note_broken(broken, ref, notes)
        except (pa.ArrowInvalid, KeyError) as error:
            reason = str(error).strip("'\"").partition("\n")[0]
            raise CorpusError(ref, f"malformed ({reason})", "fetch the file again") from None


def _note_broken(broken: list[csv.InvalidRow], ref: str, notes: Notes) -> None:
    for row in broken:
        reason = f"{row.actual_columns} cells instead of {row.expected_columns}"
        notes.error(ref, row.number or 0, reason, "fetch vents.csv again")
    broken.clear()


def _columns(
    batch: pa.RecordBatch, known: dict[str, _Emotion], ref: str, before: int, notes: Notes
) -> dict[str, pa.Array]:
    """Columns of one piece; posts of an emotion without a category are left out."""
    ids = pa.array([str(k) for k in range(before, before + batch.num_rows)])
    rows = pa.RecordBatch.from_arrays([ids, *(batch[c] for c in _CELLS)], ["id", *_CELLS])
    found = pc.index_in(rows["emotion_id"], pa.array(list(known), pa.string()))
    for position in np.flatnonzero(np.asarray(pc.is_null(found))):
        value = rows["emotion_id"][int(position)].as_py()
        notes.error(ref, before + int(position) + 2, f"unknown emotion {value!r}", "fetch emotions.csv again")
    columns = [pa.array(list(part), pa.string()) for part in zip(*known.values(), strict=True)]
    names, labels, groups = (column.take(found) for column in columns)
    kept = pc.is_valid(labels)
    writers = rows["user_id"].dictionary_encode()
    hashed = [hashlib.blake2b(w.encode(), digest_size=8).hexdigest() for w in writers.dictionary.to_pylist()]
    filled = {
        "id": rows["id"],
        "text": rows["text"],
        "group:writer": pa.array(hashed, pa.string()).take(writers.indices),
        "label:vent10": labels,
        "label:leia5": groups,
        "meta:emotion": names,
        "meta:created_at": rows["created_at"],
    }
    return {name: array.filter(kept) for name, array in filled.items()}


def write_tiny(tiny: Tiny) -> None:
    """Ten posts of four writers, one per category."""
    names = INFO.labels["vent10"]
    tiny.table("emotion_categories.csv", ("id", "name"), enumerate(names, 1))
    rows = [(k, k, f"Very {name}", "true") for k, name in enumerate(names, 1)]
    tiny.table("emotions.csv", ("id", "emotion_category_id", "name", "enabled"), rows)
    posts = [(k, f"user{k % 4}", f"2017-03-0{k % 9 + 1} 10:00:00", tiny.text()) for k in range(1, 11)]
    tiny.table("vents.csv", ("emotion_id", "user_id", "created_at", "text"), posts)
