"""Charades-CD: Charades-STA re-split so that test spans lie elsewhere than training spans (Yuan et al. 2021).

`meta:subset` is `iid` (spans distributed as in training) or `ood` (distributed differently).
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
    name="charades_cd",
    title="Charades-CD (changed span distribution)",
    modalities=("video", "text"),
    perspective="expressed",
    licence="none stated; videos: Charades licence, academic use",
    obtain="repository yytzsy/grounding_changing_distribution (free, no form)",
    size="4,198 test sentences beside the training part",
    layout="Charades-CD_charades_{train,val,test_iid,test_ood}.json or charades_{train,val,test_iid,test_ood}.json in "
    "Charades-CD/",
    citation="Yuan, Lan, Wang, Chen, Wang, Zhu: A closer look at temporal sentence grounding in videos: dataset and "
    "metric, HUMA 2021",
    counts={"test": 4198},
)

_PARTS = {"train": ("train", None), "val": ("valid", None), "test_iid": ("test", "iid"), "test_ood": ("test", "ood")}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns of `charades_sta` and `meta:subset`."""
    found = False
    for stem, (split, subset) in _PARTS.items():
        name = f"charades_{stem}.json"
        for ref in [*files.match(f"Charades-CD_{name}"), *files.match(f"Charades-CD/{name}")]:
            found = True
            for row in json_rows(files, ref, split, stem, notes):
                yield {**row, "meta:subset": subset}
    if not found:
        raise CorpusError(files.root, "no Charades-CD_charades_*.json", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """One sentence per part."""
    for number, stem in enumerate(_PARTS):
        record = {
            "sentences": ["person sits"],
            "timestamps": [[28.0, 36.0]],
            "video_duration": 36.5,
            "decode_fps": 16.0,
        }
        tiny.json(f"Charades-CD_charades_{stem}.json", {f"WXXY{number}": record})
