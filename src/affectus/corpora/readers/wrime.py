"""WRIME: Japanese posts with eight intensities from the writer and from three readers (Kajiwara et al. 2021).

Intensities run from 0 (none) to 3 (strong). The writer's are *felt*, the readers' are *expressed* (what they perceive).
Version 1 spells some columns `Saddness`; version 2 adds a sentiment polarity from -2 to 2. Writers occur in several
splits, so use `group:writer` for a split without shared writers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

EMOTIONS = ("Joy", "Sadness", "Anticipation", "Surprise", "Anger", "Fear", "Disgust", "Trust")

INFO = CorpusInfo(
    name="wrime",
    title="WRIME",
    modalities=("text",),
    perspective="expressed",
    licence="CC BY-NC-ND 4.0",
    obtain="repository ids-cv/wrime (free, no form): wrime-ver1.tsv or wrime-ver2.tsv",
    size="43,200 posts of 80 writers (version 1), 35,000 of 60 (version 2), 10 MB",
    layout="tab-separated: Sentence, UserID, Datetime, Train/Dev/Test, {Writer,Reader1..3,Avg. Readers}_{Joy..Trust}",
    citation="Kajiwara, Chu, Takemura, Nakashima, Nagahara: WRIME: a new dataset for emotional intensity estimation "
    "with subjective and objective annotations, NAACL 2021",
    labels=orders("wrime8"),
    units={"wrime8": "0–3", "sentiment": "-2…2"},
)

_SIDES = ("Writer", "Reader1", "Reader2", "Reader3", "Avg. Readers")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `scores:wrime8@felt` (writer), `scores:wrime8` (mean of readers), `meta:reader1..3`, `group:writer`."""
    found = False
    for ref in files.logical:
        if files.suffix(ref) != ".tsv":
            continue
        lines = files.cells(ref)
        header = [name.strip().replace("Saddness", "Sadness") for name in next(lines, (1, []))[1]]
        if not {"Sentence", "UserID", "Train/Dev/Test", "Writer_Joy"} <= set(header):
            continue
        missing = [f"{side}_{e}" for side in _SIDES for e in EMOTIONS if f"{side}_{e}" not in header]
        if missing:
            notes.error(ref, 1, f"column {missing[0]!r} is missing", "fetch the file again")
            continue
        found = True
        for number, cells in lines:
            if len(cells) != len(header):
                notes.error(ref, number, f"{len(cells)} fields instead of {len(header)}", "fetch the file again")
                continue
            row = dict(zip(header, cells, strict=True))
            if (filled := _row(row, ref, number, notes)) is not None:
                yield filled
    if not found:
        raise CorpusError(files.root, "no tsv file with the columns of WRIME", INFO.obtain)


def _row(row: dict[str, str], ref: str, number: int, notes: Notes) -> dict[str, Any] | None:
    split = SPLIT_NAMES.get(row["Train/Dev/Test"].strip().lower())
    sides: dict[str, list[float]] = {}
    for side in _SIDES:
        values = [notes.number(row[f"{side}_{e}"], 0, 3, f"{side}_{e}", ref, number) for e in EMOTIONS]
        sides[side] = [v for v in values if v is not None]
    if split is None or any(len(v) != len(EMOTIONS) for v in sides.values()):
        if split is None:
            notes.error(ref, number, f"unknown split {row['Train/Dev/Test']!r}", "expected train, dev or test")
        return None
    readers = [sides[f"Reader{k}"] for k in (1, 2, 3)]
    filled: dict[str, Any] = {
        "id": _key(row),
        "split": split,
        "text": row["Sentence"],
        "group:writer": row["UserID"],
        "scores:wrime8@felt": sides["Writer"],
        "scores:wrime8": [sum(v) / 3 for v in zip(*readers, strict=True)],
        **{f"meta:reader{k}": values for k, values in enumerate(readers, 1)},
        "meta:rounded_mean": sides["Avg. Readers"],
        "meta:datetime": row["Datetime"],
    }
    for side, column in (("Writer", "raw:sentiment@felt"), ("Avg. Readers", "raw:sentiment")):
        if f"{side}_Sentiment" in row:
            value = notes.number(row[f"{side}_Sentiment"], -2, 2, f"{side}_Sentiment", ref, number)
            filled[column] = value
            filled[column.replace("raw:", "dim:")] = rescale(value, -2, 2)
    return filled


def _key(row: dict[str, str]) -> str:
    """Posts have no number; writer, time and text together are unique."""
    content = f"{row['UserID']}\t{row['Datetime']}\t{row['Sentence']}".encode()
    return f"{row['UserID']}_{hashlib.blake2b(content, digest_size=8).hexdigest()}"


def write_tiny(tiny: Tiny) -> None:
    """Six posts of three writers, in the version 2 layout with one misspelt column."""
    header = ["Sentence", "UserID", "Datetime", "Train/Dev/Test"]
    for side in _SIDES:
        header += [f"{side}_{'Saddness' if side == 'Reader1' and e == 'Sadness' else e}" for e in EMOTIONS]
        header.append(f"{side}_Sentiment")
    lines = ["\t".join(header)]
    for k in range(6):
        cells = [f"今日は雨だった{k}。", str(k % 3 + 1), f"2012/07/3{k % 2} 23:4{k}", ("train", "dev", "test")[k % 3]]
        readers = tiny.random.integers(0, 4, (3, 8))
        mean = (readers.sum(0) * 2 + 3) // 6
        for values in (tiny.random.integers(0, 4, 8), *readers, mean):
            cells += [*(str(v) for v in values), "-1"]
        lines.append("\t".join(cells))
    tiny.lines("wrime-ver2.tsv", lines)
