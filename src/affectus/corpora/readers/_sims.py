"""Reading of CH-SIMS, both versions: one csv with a score for everything together and for each modality alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._sentiment import read_scores
from affectus.corpora.synthetic import Tiny
from affectus.media.files import VIDEO_SUFFIXES

_SIDES = {
    "label": "dim:sentiment",
    "label_T": "meta:text_score",
    "label_A": "meta:audio_score",
    "label_V": "meta:video_score",
}
_HEADER = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")


def read_sims(files: Files, notes: Notes, facts: CorpusInfo, archive: str) -> Iterator[dict[str, Any]]:
    """Rows from `label.csv` or `meta.csv`, else from the label archive of the MER toolkits."""
    lists = [
        r
        for name in ("label.csv", "meta.csv")
        for r in files.match(name)
        if {"video_id", "mode"} <= set(files.header(r))
    ]
    if not lists:
        yield from read_scores(files, notes, facts, archive, 1, "chinese")
        return
    for ref in lists:
        for line, row in files.records(ref):
            split = SPLIT_NAMES.get((row.get("mode") or "").strip().lower())
            scores = {c: notes.number(row.get(k), -1, 1, k, ref, line) for k, c in _SIDES.items()}
            if split is None:
                notes.error(ref, line, f"unknown mode {row.get('mode')!r}", "expected train, valid or test")
            if split is None or scores["dim:sentiment"] is None:
                continue
            video, clip = str(row["video_id"]), str(row["clip_id"]).zfill(4)
            name = f"{video}_{clip}"
            yield {
                "id": name,
                "split": split,
                "media": _media(files, video, clip),
                "text": row["text"],
                "group:video": video,
                **scores,
                "raw:sentiment": scores["dim:sentiment"],
            }


def _media(files: Files, video: str, clip: str) -> str | None:
    for spelling in (clip, clip.lstrip("0")):
        for ref in files.named(spelling, VIDEO_SUFFIXES):
            if files.folders(ref)[0] == video:
                return ref
    return None


def write_tiny_sims(tiny: Tiny, name: str) -> None:
    """Three videos, two clips each, one video per split."""
    rows = []
    for k, mode in enumerate(("train", "valid", "test"), 1):
        for clip in (1, 2):
            video = f"video_{k:04d}"
            tiny.video(f"Raw/{video}/{clip:04d}.mp4", "neutral", 0.2)
            rows.append((video, f"{clip:04d}", "我不想嫁给李茶", 0.2 * k - 0.6, -0.2, 0.0, 1.0, "Negative", mode))
    tiny.table(name, _HEADER, rows)
