"""VideoMind: videos described in three layers, what is seen and heard, in short, and meant (Yang et al. 2025).

Annotation files are JSON (a list or id → item) or JSON lines. Their keys are not documented, so the record read here is
`{id, video, start, end, category, factual: {visual, ocr, asr, audio, text}, abstract, intent: {uploader, character},
tags: {subject, place, time, event, action, intent}}`, with layers also accepted flat (`factual_visual`, `intent_
uploader` …) and in any letter case. Intents follow the rule "<subject> aims to <intent> by <action>".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

FACTS = ("visual", "ocr", "asr", "audio", "text")
ELEMENTS = ("subject", "place", "time", "event", "action", "intent")
_SIDES = ("uploader", "character")

INFO = CorpusInfo(
    name="videomind",
    title="VideoMind (omni-modal video dataset)",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence="Apache-2.0 (annotations); videos: InternVid, fetched by id",
    obtain="data set DixinChen/VideoMind on the model hub or Dixin/VideoMind on OpenDataLab: annotation files and the "
    "videos of the test set",
    size="103,000 clips, 3,000 of them for testing",
    layout="*train*.json and *test*.json (or .jsonl) with factual, abstract and intent texts; <video>.mp4",
    citation="Yang, Li, Chen, Chen, Yao, Lin: VideoMind: an omni-modal video dataset with intent grounding for "
    "deep-cognitive video understanding, 2025",
    counts={"test": 3000},
)

_RULE = re.compile(r"(?P<subject>.+?) (?:primarily )?aims to (?P<intent>.+?) by (?P<action>.+?)\.?", re.DOTALL)
_NOTHING = ("", "none", "null", "n/a")


def parse_intent(sentence: str) -> dict[str, str] | None:
    """Subject, intent and action of a sentence that follows the rule, None for any other sentence."""
    found = _RULE.fullmatch(sentence.strip())
    return found.groupdict() if found else None


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (the abstract), `meta:factual_*`, `meta:intent_*`, `meta:tags_*`, `meta:category`."""
    refs = [r for suffix in ("json", "jsonl") for r in files.match(f"*.{suffix}")]
    found = False
    for ref in refs:
        for number, item in _items(files, ref, notes):
            flat = _flat(item)
            layers = {k: v for k, v in flat.items() if not _nothing(v)}
            for fact in ("ocr", "asr"):
                value = flat.get(f"factual_{fact}")
                if _nothing(value) and str(value).strip() != "None":
                    notes.warn(ref, number, f'{fact} is {value!r}; what is absent should be written "None"')
            if "abstract" in layers or "intent_uploader" in layers:
                found = True
                yield _row(files, item, layers, ref, number)
            elif found:
                notes.error(ref, number, "item has neither abstract nor intent", "fetch the file again")
    if not found:
        raise CorpusError(files.root, "no json file with factual, abstract and intent texts", INFO.obtain)


def _items(files: Files, ref: str, notes: Notes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if files.suffix(ref) == ".jsonl":
        texts = [(n, line) for n, line in enumerate(files.text(ref).splitlines(), 1) if line.strip()]
    else:
        texts = [(0, files.text(ref))]
    for line, text in texts:
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            notes.error(ref, line or error.lineno, f"not JSON ({error.msg})", "fetch the file again")
            continue
        if line:
            yield line, content
        elif isinstance(content, dict):
            yield from ((n, {"id": key, **item}) for n, (key, item) in enumerate(content.items(), 1)
                        if isinstance(item, dict))  # fmt: skip
        elif isinstance(content, list):
            yield from ((n, item) for n, item in enumerate(content, 1) if isinstance(item, dict))


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """Texts of all layers under flat lower-case names."""
    flat: dict[str, Any] = {}
    for key, value in item.items():
        inner = {f"{key}_{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        flat |= {re.sub(r"[^a-z]+", "_", k.lower()).strip("_"): v for k, v in inner.items()}
    return flat


def _nothing(value: Any) -> bool:
    """Whether a text says that there is none."""
    return isinstance(value, str) and value.strip().lower() in _NOTHING


def _row(files: Files, item: Mapping[str, Any], layers: dict[str, Any], ref: str, number: int) -> dict[str, Any]:
    name = str(item.get("id") or layers.get("video") or f"{files.stem(ref)}#{number}")
    video = str(layers.get("video") or name).replace("\\", "/").rpartition("/")[2]
    stem = video.rpartition(".")[0] if video.lower().endswith(tuple(VIDEO_SUFFIXES)) else video
    split = layers.get("split") or next((s for s in ("train", "test", "val") if s in files.stem(ref).lower()), "")
    row: dict[str, Any] = {
        "id": name,
        "split": SPLIT_NAMES.get(str(split).lower()),
        "media": next(iter(files.named(stem, VIDEO_SUFFIXES)), None),
        "start": layers.get("start"),
        "end": layers.get("end"),
        "text": layers.get("abstract"),
        "group:video": stem,
        "meta:category": layers.get("category"),
    }
    row |= {f"meta:factual_{fact}": layers.get(f"factual_{fact}") for fact in FACTS}
    row |= {f"meta:intent_{side}": layers.get(f"intent_{side}") for side in _SIDES}
    for element in ELEMENTS:
        tags = layers.get(f"tags_{element}") or []
        row[f"meta:tags_{element}"] = [tags] if isinstance(tags, str) else [str(t) for t in tags]
    return row


def check(files: Files, table: Any, notes: Notes) -> None:
    """Every layer is there, intents follow the rule, no two items share an id."""
    columns = [c for c in table.column_names if c in ("id", "text") or c.startswith("meta:")]
    for row in table.select(columns).to_pylist():
        if not any(row[f"meta:factual_{fact}"] for fact in FACTS) or not row["text"]:
            notes.warn(str(row["id"]), 0, "a layer is empty", "leave the item out of layer-wise scores")
        for side in _SIDES:
            sentence = row[f"meta:intent_{side}"]
            if sentence and parse_intent(sentence) is None:
                notes.warn(str(row["id"]), 0, f"intent of the {side} breaks the rule: {sentence[:60]!r}")


def write_tiny(tiny: Tiny) -> None:
    """Two training and two test items, the first test item with its video."""
    for part in ("train", "test"):
        items = []
        for k in range(2):
            name = f"{part}_{k:05d}"
            items.append({
                "id": name, "video": f"{name}.mp4", "start": 0.0, "end": 4.0, "category": ("Sports", "Food")[k],
                "factual": {"visual": "A swimmer in a pool.", "ocr": "None" if k else "FINAL", "asr": "None",
                            "audio": "Cheering.", "text": tiny.text()},
                "abstract": f"A swimmer leads race {k} of the {part}ing day.",
                "intent": {"uploader": f"The video aims to excite viewers by showing race {k}.",
                           "character": f"Swimmer {k} aims to keep the lead by focusing on each stroke."},
                "tags": {"subject": [f"Swimmer {k}"], "place": ["pool"], "time": [], "event": ["race"],
                         "action": ["swims"], "intent": ["keep the lead"]},
            })  # fmt: skip
        tiny.json(f"videomind_{part}.json", items)
    tiny.video("videos/test_00000.mp4", "neutral", 0.2)
