"""SRI-ADV: questions and answers on how audiences respond to Chinese advertisements (HMLLM, 2024).

JSON lists of `{video, QA: [{i, q, a}], start, end}` (instruction, question, answer), for the subjective part (from EEG,
eye tracking and reports of viewers) and the objective part. One row is one question.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="sri_adv",
    title="SRI-ADV",
    modalities=("video", "text"),
    perspective="evoked",
    licence="to be stated by the authors",
    obtain="announced in the repository of the authors",
    size="498 advertisements, about 178,547 questions",
    layout="*subjective*.json and *objective*.json with train or test in the name; videos by file name",
    citation="Video understanding: hypergraph multi-modal large language model, ACM MM 2024",
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (question), `meta:` answer, instruction, part; `start`, `end`, `group:video`."""
    refs = [r for pattern in ("*subjective*.json", "*objective*.json") for r in files.match(pattern)]
    if not refs:
        raise CorpusError(files.root, "no *subjective*.json or *objective*.json", INFO.obtain)
    for ref in dict.fromkeys(refs):
        try:
            items = json.loads(files.text(ref))
        except json.JSONDecodeError as error:
            notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
            continue
        stem = files.stem(ref).lower()
        split = next((s for k, s in SPLIT_NAMES.items() if k in stem.split("_")), None)
        for number, item in enumerate(items, 1):
            video = str(item.get("video", "")).rpartition("/")[2]
            for k, pair in enumerate(item.get("QA", ())):
                if not {"q", "a"} <= set(pair):
                    notes.error(ref, number, "question or answer is missing", "fetch the file again")
                    continue
                yield {
                    "id": f"{stem}/{number}_{k}",
                    "split": split,
                    "media": next(iter(files.named(video)), None),
                    "start": item.get("start"),
                    "end": item.get("end"),
                    "text": pair["q"],
                    "group:video": video,
                    "meta:answer": pair["a"],
                    "meta:instruction": pair.get("i"),
                    "meta:part": "subjective" if "subjective" in stem else "objective",
                }


def write_tiny(tiny: Tiny) -> None:
    """One advertisement per split in both parts."""
    for split in ("train", "test"):
        tiny.video(f"videos/{split}_01.mp4", "happiness", 0.2)
        for part in ("subjective", "objective"):
            pairs = [{"i": "Answer.", "q": f"What now {k}?", "a": tiny.text()} for k in range(2)]
            tiny.json(f"{part}_{split}.json", [{"video": f"{split}_01.mp4", "QA": pairs, "start": 0.0, "end": 0.2}])
