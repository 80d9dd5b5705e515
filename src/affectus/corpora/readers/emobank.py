"""EmoBank: sentences with valence, arousal and dominance from the writer's and the reader's side (Buechel & Hahn 2017).

`emobank.csv` holds the text, the official split and the weighted mean of both sides; `reader.csv` and `writer.csv` hold
the sides themselves, for slightly different sets of sentences. The unmarked `dim:` columns are the weighted means
(perspective `mixed`), `@evoked` those of readers (what the sentence makes a reader feel), `@expressed` those of writers
(what the sentence expresses, as judged by raters). All were rated from 1 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

DIMENSIONS = {"V": "valence", "A": "arousal", "D": "dominance"}
_SIDES = {"reader.csv": "evoked", "writer.csv": "expressed"}

INFO = CorpusInfo(
    name="emobank",
    title="EmoBank",
    modalities=("text",),
    perspective="mixed",
    licence="CC BY-SA 4.0",
    obtain="repository JULIELab/EmoBank, folder corpus (free, no form)",
    size="10,062 sentences, 2 MB",
    layout="emobank.csv (id, split, V, A, D, text), reader.csv and writer.csv (id, V, A, D, stdV, stdA, stdD, N)",
    citation="Buechel, Hahn: EmoBank: studying the impact of annotation perspective and representation format on "
    "dimensional emotion analysis, EACL 2017",
    units=dict.fromkeys(DIMENSIONS.values(), "1–5"),
    counts={"train": 8062, "valid": 1000, "test": 1000},
    leaks={
        "group:document": "the published split cuts through documents",
        "text": "stock phrases recur within them",
        "near text": "small changes of such phrases",
    },
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:`/`raw:` valence, arousal, dominance: unmarked, `@evoked` (reader), `@expressed` (writer)."""
    lists = files.match("emobank.csv")
    if not lists:
        raise CorpusError(files.root, "no emobank.csv, which holds the texts", INFO.obtain)
    sides = {p: _side(files, ref, notes) for n, p in _SIDES.items() for ref in files.match(n)[:1]}
    for ref in lists:
        for line, row in files.records(ref):
            split = SPLIT_NAMES.get((row.get("split") or "").strip().lower())
            if split is None or row.get("text") is None:
                notes.error(ref, line, f"unknown split {row.get('split')!r} or no text", "fetch emobank.csv again")
                continue
            values = _values(row, ref, line, notes)
            if values is None:
                continue
            name = row["id"]
            filled = {
                "id": name,
                "split": split,
                "text": row["text"],
                "group:document": re.sub(r"_\d+_\d+$", "", name),
                **values,
            }
            for perspective, rated in sides.items():
                filled |= {f"{column}@{perspective}": value for column, value in rated.get(name, {}).items()}
            yield filled


def _values(row: dict[str, Any], ref: str, line: int, notes: Notes) -> dict[str, float] | None:
    values: dict[str, float] = {}
    for key, name in DIMENSIONS.items():
        value = notes.number(row.get(key), 1, 5, key, ref, line)
        if value is None:
            return None
        values[f"dim:{name}"], values[f"raw:{name}"] = rescale(value, 1, 5) or 0.0, value
    return values


def _side(files: Files, ref: str, notes: Notes) -> dict[str, dict[str, float]]:
    rated = {}
    for line, row in files.records(ref):
        if (values := _values(row, ref, line, notes)) is not None:
            rated[row["id"]] = values
    return rated


def write_tiny(tiny: Tiny) -> None:
    """Four sentences per split with both sides."""
    parts = ("train", "dev", "test")
    names = [f"doc{i // 2}_{10 * i}_{10 * i + 9}" for i in range(12)]
    ratings = [(2 + (i % 5) / 2, 3.0, 3.25) for i in range(12)]
    rows = [(n, parts[i // 4], *r, tiny.text()) for i, (n, r) in enumerate(zip(names, ratings, strict=True))]
    tiny.table("emobank.csv", ("id", "split", "V", "A", "D", "text"), rows)
    sides = [(n, *r, 0.4, 0.4, 0.4, 5) for n, r in zip(names, ratings, strict=True)]
    for side in ("reader.csv", "writer.csv"):
        tiny.table(side, ("id", "V", "A", "D", "stdV", "stdA", "stdD", "N"), sides)
