"""Charades-STA: sentences with their span in a home video (Gao et al. 2017).

Two forms are in use: JSON `{video: {duration, timestamps, sentences}}`, and the original text lines
`VIDEO start end##sentence.` whose durations lie in `Charades_v1_{train,test}.csv`. Empty spans are dropped, ends are
cut to the duration, and one row is one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="charades_sta",
    title="Charades-STA",
    modalities=("video", "text"),
    perspective="expressed",
    licence="annotations: MIT repositories; videos: Charades licence, academic use",
    obtain="annotations: repository jiyanggao/TALL (text form) or MCG-NJU/MMN (JSON form); videos: Charades page",
    size="16,124 sentences of 6,670 videos",
    layout="charades_train.json and charades_test.json, or charades_sta_train.txt and _test.txt",
    citation="Gao, Sun, Yang, Nevatia: TALL: temporal activity localization via language query, ICCV 2017",
    counts={"train": 12404, "test": 3720},
)

_LINE = re.compile(r"(\S+) ([\d.]+) ([\d.]+)##(.+)")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `start`, `end` (s), `group:video`, `meta:duration`."""
    found = False
    for split in ("train", "test"):
        for ref in files.match(f"charades_{split}.json"):
            found = True
            yield from json_rows(files, ref, split, split, notes)
        if not files.match(f"charades_{split}.json"):
            for ref in files.match(f"charades_sta_{split}.txt"):
                found = True
                yield from _text_rows(files, ref, split, notes)
    if not found:
        raise CorpusError(files.root, "no charades_train.json, charades_test.json or charades_sta_*.txt", INFO.obtain)


def json_rows(files: Files, ref: str, split: str, part: str, notes: Notes) -> Iterator[dict[str, Any]]:
    """Rows of one file in JSON form; `part` goes into the id. Also reads `novels` and `news` (unseen words)."""
    try:
        videos = json.loads(files.text(ref))
    except json.JSONDecodeError as error:
        notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
        return
    for number, (video, record) in enumerate(videos.items(), 1):
        spans, sentences = record.get("timestamps"), record.get("sentences")
        if not isinstance(spans, list) or not isinstance(sentences, list) or len(spans) != len(sentences):
            notes.error(ref, number, f"{video}: spans and sentences do not match", "fetch the file again")
            continue
        unseen = record.get("novels") or record.get("news") or [None] * len(spans)
        duration = record.get("duration", record.get("video_duration"))
        for k, ((start, end), sentence) in enumerate(zip(spans, sentences, strict=True)):
            row = _row(files, f"{part}/{video}_{k}", video, sentence, start, end, duration)
            if row is not None:
                yield {**row, "split": split, "meta:unseen": None if unseen[k] is None else json.dumps(unseen[k])}


def _text_rows(files: Files, ref: str, split: str, notes: Notes) -> Iterator[dict[str, Any]]:
    lengths: dict[str, float] = {}
    for table in files.match(f"Charades_v1_{split}.csv"):
        lengths |= {row["id"]: float(row["length"]) for _, row in files.records(table)}
    count: dict[str, int] = {}
    for number, line in enumerate(files.text(ref).splitlines(), 1):
        if not line.strip():
            continue
        if not (found := _LINE.fullmatch(line.strip())):
            notes.error(ref, number, "not 'VIDEO start end##sentence'", "fetch the file again")
            continue
        video, start, end, sentence = found.groups()
        k = count[video] = count.get(video, -1) + 1
        row = _row(files, f"{split}/{video}_{k}", video, sentence, float(start), float(end), lengths.get(video))
        if row is not None:
            yield {**row, "split": split}


def _row(
    files: Files, name: str, video: str, sentence: str, start: float, end: float, duration: float | None
) -> dict[str, Any] | None:
    if start >= end:
        return None
    if duration is not None and duration > start:  # a few spans begin after the stated end of their video
        end = min(end, duration)
    clips = files.named(video, VIDEO_SUFFIXES)
    return {
        "id": name,
        "media": clips[0] if clips else None,
        "start": float(start),
        "end": float(end),
        "text": sentence,
        "group:video": video,
        "meta:duration": duration,
    }


def write_tiny(tiny: Tiny) -> None:
    """One video per split in JSON form, one span beyond the end of its video."""
    for split, video in (("train", "AO8RW"), ("test", "3MSZA")):
        record = {
            "duration": 30.96,
            "timestamps": [[24.3, 30.4], [2.0, 31.5]],
            "sentences": ["person sits.", "person runs."],
        }
        tiny.json(f"charades_{split}.json", {video: record})
