"""What CMU-MOSI, CMU-MOSEI and CH-SIMS have in common: a sentiment score per utterance of a web video or film.

The score is read from the label archives of the MER toolkits (`*label.npz`); the words, where a transcript csv (`name`,
`english`, `chinese`) lies beside it. The part of the name before the last `_` is the source video.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.readers._labels_npz import entries
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES


def transcripts(files: Files, language: str) -> dict[str, str]:
    """Name → words from every csv with a `name` column and one of that language."""
    words: dict[str, str] = {}
    for ref in files.match("transcription*.csv"):
        if {"name", language} <= set(files.header(ref)):
            words |= {row["name"]: row[language] or "" for _, row in files.records(ref)}
    return words


def read_scores(
    files: Files, notes: Notes, facts: CorpusInfo, name: str, limit: float, language: str = "english"
) -> Iterator[dict[str, Any]]:
    """Rows with `dim:`/`raw:` sentiment on ±`limit` from `name` (or `label.npz`), `group:video`, `media` by name."""
    refs = files.match(name) or files.match("label.npz")
    if not refs:
        raise CorpusError(files.root, f"no {name}", facts.obtain)
    words = transcripts(files, language)
    for entry in entries(files, refs[0], notes):
        score = notes.number(entry.val, -limit, limit, "val", refs[0], entry.row)
        if score is None:
            continue
        clips = files.named(entry.name, VIDEO_SUFFIXES)
        yield {
            "id": entry.name,
            "split": entry.split,
            "text": words.get(entry.name),
            "media": clips[0] if clips else None,
            "group:video": entry.name.rpartition("_")[0],
            "dim:sentiment": rescale(score, -limit, limit),
            "raw:sentiment": score,
        }


def write_tiny_scores(tiny: Tiny, name: str, limit: float, stem: str) -> None:
    """Two utterances per split with scores and transcripts; the first has a clip."""
    parts: dict[str, dict[str, dict[str, float]]] = {}
    rows = []
    for number, part in enumerate(("train", "val", "test")):
        items = {f"{stem}{number}_{k}": {"emo": 0, "val": float(limit * (k - 0.5))} for k in range(2)}
        parts[f"{part}_corpus"] = items
        rows += [(item, "今天", tiny.text()) for item in items]
    tiny.npz(name, parts)
    tiny.table("transcription-engchi-polish.csv", ("name", "chinese", "english"), rows)
    tiny.video(f"video/{stem}0_0.mp4")
