"""VCE: silent videos with the mean intensity of 27 emotions evoked in viewers (Mazeika et al. 2022).

`train_labels.json` and `test_labels.json` map a video to `{emotions: {27 names: 0…1}, file, topK: [three names,
strongest first]}`. The label is the strongest emotion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="vce",
    title="VCE (video cognitive empathy)",
    modalities=("video",),
    perspective="evoked",
    licence="MIT (labels); videos of public sites, research use",
    obtain="links in the repository hendrycks/emodiversity (free, no form)",
    size="61,046 videos, 30 GB",
    layout="vce_dataset with metadata.json, train_labels.json, test_labels.json, videos/00000.mp4 …",
    citation="Mazeika, Tang, Zou, Basart, Chan, Song, Forsyth, Steinhardt, Hendrycks: How would the viewer feel? "
    "Estimating wellbeing from video scenarios, NeurIPS 2022",
    labels=orders("vce27"),
    units={"vce27": "mean intensity 0–1"},
    counts={"train": 50000, "test": 11046},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `scores:vce27`, `label:vce27` (strongest), `labels:vce27` (three strongest, in order)."""
    found = False
    for split in ("train", "test"):
        for ref in files.match(f"{split}_labels.json"):
            found = True
            try:
                content = json.loads(files.text(ref))
            except json.JSONDecodeError as error:
                notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
                continue
            items = content.values() if isinstance(content, dict) else content
            for number, item in enumerate(items, 1):
                if (row := _row(files, item, ref, number, notes)) is not None:
                    yield {**row, "split": split}
    if not found:
        raise CorpusError(files.root, "neither train_labels.json nor test_labels.json is there", INFO.obtain)


def _row(files: Files, item: dict[str, Any], ref: str, number: int, notes: Notes) -> dict[str, Any] | None:
    order = INFO.labels["vce27"]
    scores = {notes.lookup("vce27", name, ref, number): value for name, value in item.get("emotions", {}).items()}
    if set(scores) != set(order):
        notes.error(ref, number, f"{len(scores)} known emotions instead of {len(order)}", "fetch the file again")
        return None
    values = [notes.number(scores[name], 0, 1, name, ref, number) or 0.0 for name in order]
    listed = item.get("topK") or [name for _, name in sorted(zip(values, order, strict=True), reverse=True)[:3]]
    top = [label for name in listed if (label := notes.lookup("vce27", name, ref, number)) is not None]
    name = str(item.get("file", ""))
    return {
        "id": name.partition(".")[0],
        "media": next(iter(files.named(name)), None),
        "scores:vce27": values,
        "label:vce27": top[0] if top else None,
        "labels:vce27": top,
    }


def write_tiny(tiny: Tiny) -> None:
    """Two videos per split."""
    order = INFO.labels["vce27"]
    for part, split in enumerate(("train", "test")):
        items = {}
        for k in range(2):
            name = f"{2 * part + k:05d}.mp4"
            emotions = {e: round(((7 * i + 5 * k) % 27) / 27, 3) for i, e in enumerate(order)}
            top = sorted(emotions, key=emotions.__getitem__, reverse=True)[:3]
            items[name] = {"emotions": emotions, "file": name, "topK": top}
            tiny.video(f"videos/{name}", "neutral", 0.2)
        tiny.json(f"{split}_labels.json", items)
