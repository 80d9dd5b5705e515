"""Charades-CG: Charades-STA re-split so that test sentences hold unseen words or word pairs (Li et al. 2022).

`meta:subset` is `train`, `trivial`, `novel composition` or `novel word`; `meta:unseen` names what was
not seen, as JSON.
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
    name="charades_cg",
    title="Charades-CG (compositional generalisation)",
    modalities=("video", "text"),
    perspective="expressed",
    licence="none stated; videos: Charades licence, academic use",
    obtain="repository YYJMJC/Compositional-Temporal-Grounding (free, no form)",
    size="15,514 sentences",
    layout="Charades-CG_{train,test_trivial,novel_composition,novel_word}.json or without prefix in Charades-CG/",
    citation="Li, Xie, Qian, Zhu, Tang, Wang, Yang, Zhuang: Compositional temporal grounding with structured "
    "variational cross-graph correspondence learning, CVPR 2022",
    counts={"train": 8281, "test": 7233},
)

_SUBSETS = {
    "train": "train", "test_trivial": "trivial", "novel_composition": "novel composition", "novel_word": "novel word",
}  # fmt: skip


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns of `charades_sta` and `meta:subset`."""
    found = False
    for stem, subset in _SUBSETS.items():
        for ref in [*files.match(f"Charades-CG_{stem}.json"), *files.match(f"Charades-CG/{stem}.json")]:
            found = True
            for row in json_rows(files, ref, "train" if stem == "train" else "test", stem, notes):
                yield {**row, "meta:subset": subset}
    if not found:
        raise CorpusError(files.root, "no Charades-CG_*.json", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """One sentence per subset."""
    for number, stem in enumerate(_SUBSETS):
        record: dict[str, Any] = {"sentences": ["a person sits."], "timestamps": [[0.0, 6.9]], "duration": 33.67}
        if stem == "novel_composition":
            record["novels"] = [{"v-adv": [["put", "on"]]}]
        if stem == "novel_word":
            record["news"] = [{"ADV": ["freshly"]}]
        tiny.json(f"Charades-CG_{stem}.json", {f"AO8R{number}": record})
