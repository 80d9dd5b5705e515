"""ActivityNet Captions: sentences with their span in web videos (Krishna et al. 2017), and its compositional re-split.

`train.json`, `val_1.json`, `val_2.json` in the form of Charades-STA. Grounding work validates on val_1 and tests on
val_2. `ActivityNet-CG_*.json` (or files in `ActivityNet-CG/`) hold the re-split with unseen words and word pairs; it is
read when it is there alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers.charades_sta import json_rows
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="activitynet_captions",
    title="ActivityNet Captions",
    modalities=("video", "text"),
    perspective="expressed",
    licence="annotations: research use; videos of a public site",
    obtain="page of the dense-captioning project (annotations, free); videos through the ActivityNet form",
    size="71,957 sentences of 14,926 videos",
    layout="train.json, val_1.json, val_2.json (duration, timestamps, sentences per video)",
    citation="Krishna, Hata, Ren, Fei-Fei, Niebles: Dense-captioning events in videos, ICCV 2017",
    leaks={
        "text": "stock sentences recur for other videos",
        "near text": "small changes of such sentences",
    },
)

_PARTS = {"train": "train", "val_1": "valid", "val_2": "test"}
_SUBSETS = {"train": "train", "test_trivial": "test", "novel_composition": "test", "novel_word": "test"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `start`, `end`, `group:video`, `meta:duration`, `meta:subset`."""
    plain = [(r, s, p, None) for p, s in _PARTS.items() for r in files.match(f"{p}.json") if "CG" not in r]
    composed = [
        (r, s, p, p.replace("_", " "))
        for p, s in _SUBSETS.items()
        for r in [*files.match(f"ActivityNet-CG_{p}.json"), *files.match(f"ActivityNet-CG/{p}.json")]
    ]
    if not plain and not composed:
        raise CorpusError(files.root, "no train.json, val_1.json, val_2.json", INFO.obtain)
    for ref, split, part, subset in plain or composed:
        for row in json_rows(files, ref, split, part, notes):
            yield {**row, "meta:subset": subset}


def write_tiny(tiny: Tiny) -> None:
    """One video per part."""
    for number, part in enumerate(_PARTS):
        record = {"duration": 82.7, "timestamps": [[0.0, 10.2], [9.8, 60.0]], "sentences": ["A dog runs.", "It stops."]}
        tiny.json(f"{part}.json", {f"v_{number}uqnWFXbqdw": record})
