"""EmoVid: animation, film clips and stickers with the emotion they evoke, caption and colour facts (2025).

The layout of the published files is not documented. This reader takes a manifest `*.csv` (or `.jsonl`) with `path` (or
`video`) and `emotion`, and where present `clip_id`, `type`, `source_id`, `order`, `start`, `end`, `caption` (or
`prompt`), `brightness`, `colorfulness`, `hue`, `hue_r`, `split`, `label_source`; without a manifest it takes folders
`<type>/<emotion>/*`. Clips of one film must stay on one side of a split, and sequences must not cross films:
`group:source` names the film, `meta:order` the place in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import VIDEO_SUFFIXES

TYPES = ("animation", "movie", "sticker")

INFO = CorpusInfo(
    name="emovid",
    title="EmoVid",
    modalities=("video", "audio", "text"),
    perspective="evoked",
    licence="research use; clips come from MagicAnime, Condensed Movies and Tenor under their own terms",
    obtain="project page of EmoVid (zane-zyqiu.github.io/EmoVid)",
    size="22,758 clips: 2,807 animation, 13,255 films, 6,696 stickers",
    layout="a manifest csv or jsonl with path, type, emotion, caption …; or folders <type>/<emotion>/*.mp4",
    citation="Qiu, Wang, Chen, He, Wang: EmoVid: a multimodal emotion video dataset for emotion-centric video "
    "understanding and generation, AAAI 2026",
    labels=orders("mikels8"),
    units={"brightness": "mean HSV value 0–1", "colorfulness": "Hasler–Süsstrunk M", "hue": "degrees"},
    counts={"all": 22758},
)

_SUFFIXES = (*VIDEO_SUFFIXES, ".gif", ".webp")
_NUMBERS: dict[str, tuple[float, float]] = {
    "brightness": (0, 1), "colorfulness": (0, 300), "hue": (-360, 360), "hue_r": (0, 1),
}  # fmt: skip


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mikels8`, `text` (caption), `raw:` colour facts, `meta:` type, order, label_source."""
    manifests = [ref for suffix in ("csv", "jsonl") for ref in files.match(f"*.{suffix}") if _usable(files, ref)]
    if manifests:
        for ref in manifests:
            for line, record in _records(files, ref, notes):
                row = _row(files, record, ref, line, notes)
                if row is not None:
                    yield row
        return
    classes = {label.lower(): label for label in INFO.labels["mikels8"]}
    for row in class_rows(files, INFO, "mikels8", _SUFFIXES, classes):
        folders = [name.lower() for name in files.folders(row["media"])]
        kind = next((t for t in TYPES if t in folders or f"{t}s" in folders), None)
        yield row | {"id": f"{kind}/{row['id']}" if kind else row["id"], "meta:type": kind}


def _usable(files: Files, ref: str) -> bool:
    if files.suffix(ref) == ".jsonl":
        first = files.text(ref).partition("\n")[0]
        return '"emotion"' in first
    columns = files.header(ref)
    return "emotion" in columns and bool({"path", "video"} & set(columns))


def _records(files: Files, ref: str, notes: Notes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if files.suffix(ref) == ".csv":
        yield from files.records(ref)
        return
    for line, written in enumerate(files.text(ref).splitlines(), 1):
        if written.strip():
            try:
                yield line, json.loads(written)
            except json.JSONDecodeError as error:
                notes.error(ref, line, f"not JSON ({error.msg})", "fetch the file again")


def _row(files: Files, record: Mapping[str, Any], ref: str, line: int, notes: Notes) -> dict[str, Any] | None:
    path = str(record.get("path") or record.get("video") or "")
    label = notes.lookup("mikels8", str(record.get("emotion") or ""), ref, line)
    kind = str(record.get("type") or "").strip().lower().removesuffix("s") or None
    if kind is not None and kind not in TYPES:
        notes.error(ref, line, f"unknown type {kind!r}", f"expected one of {', '.join(TYPES)}")
        return None
    if label is None or not path:
        return None
    name = path.replace("\\", "/").rpartition("/")[2]
    filled: dict[str, Any] = {}
    for key, (low, high) in _NUMBERS.items():
        value = record.get(key)
        filled[f"raw:{key}"] = None if value in (None, "") else notes.number(value, low, high, key, ref, line)
    times = {key: None if record.get(key) in (None, "") else notes.number(record[key], 0, 1e6, key, ref, line)
             for key in ("start", "end", "order")}  # fmt: skip
    return {
        "id": str(record.get("clip_id") or path),
        "split": SPLIT_NAMES.get(str(record.get("split") or "").lower()),
        "media": _media(files, path, name),
        "start": times["start"],
        "end": times["end"],
        "text": record.get("caption") or record.get("prompt"),
        "group:source": record.get("source_id") or None,
        "label:mikels8": label,
        **filled,
        "meta:type": kind,
        "meta:order": times["order"],
        "meta:label_source": record.get("label_source") or None,
    }


def _media(files: Files, path: str, name: str) -> str | None:
    """The file whose path ends like the one in the manifest, or the only one of that name."""
    found = files.named(name)
    tail = "/" + path.replace("\\", "/").strip("./").lower()
    exact = [r for r in found if ("/" + files.logical[r].lower()).endswith(tail)]
    return exact[0] if exact else found[0] if len(found) == 1 else None


def check(files: Files, table: Any, notes: Notes) -> None:
    """Clips of one film belong to one split."""
    columns = table.column_names
    if "group:source" not in columns:
        return
    splits: dict[str, set[str]] = {}
    for source, split in zip(table["group:source"].to_pylist(), table["split"].to_pylist(), strict=True):
        if source and split:
            splits.setdefault(source, set()).add(split)
    torn = sorted(s for s, held in splits.items() if len(held) > 1)
    if torn:
        notes.warn("emovid", 0, f"clips of {len(torn)} sources are in several splits, such as {torn[0]}")


def write_tiny(tiny: Tiny) -> None:
    """Two clips of one film, one animation and one sticker, with a manifest."""
    header = ("clip_id", "path", "type", "source_id", "order", "start", "end", "emotion", "caption", "brightness",
              "colorfulness", "hue", "hue_r", "audio_path", "split", "label_source")  # fmt: skip
    rows = []
    for k, (kind, source, emotion) in enumerate((("movie", "film1", "fear"), ("movie", "film1", "anger"),
                                                 ("animation", "show1", "amusement"),
                                                 ("sticker", "pack1", "contentment"))):  # fmt: skip
        path = f"{kind}/{emotion}_{k:04d}.mp4"
        tiny.video(path, emotion, 0.2)
        rows.append((f"clip{k:05d}", path, kind, source, k % 2, 4.0 * k, 4.0 * k + 4, emotion, tiny.text(),
                     round(0.3 + 0.1 * k, 3), 30 + 10 * k, 20 * k, 0.5, "", "train" if k < 2 else "test",
                     "human" if k else "model"))  # fmt: skip
    tiny.table("manifest.csv", header, rows)
