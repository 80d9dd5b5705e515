"""LIRIS-ACCEDE: excerpts of Creative Commons films with evoked valence and arousal (Baveye et al. 2015).

`annotations/ACCEDEranking.txt` is tab-separated with id, name, valenceRank, arousalRank, valenceValue, arousalValue
(1–5) and variances; `ACCEDEsets.txt` gives the number of the official set, kept in `meta:set`; `ACCEDEdescription.xml`
names the film of each excerpt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="liris_accede",
    title="LIRIS-ACCEDE (discrete part)",
    modalities=("video", "audio"),
    perspective="evoked",
    licence="films: Creative Commons; annotations: research use after a signed agreement",
    obtain="agreement on the LIRIS-ACCEDE page",
    size="9,800 excerpts of 160 films, 27 hours",
    layout="annotations/ACCEDEranking.txt, ACCEDEsets.txt, ACCEDEdescription.xml; data/ACCEDE00000.mp4 …",
    citation="Baveye, Dellandrea, Chamaret, Chen: LIRIS-ACCEDE: a video database for affective content analysis, IEEE "
    "Transactions on Affective Computing 6(1), 2015",
    units={"valence": "1–5", "arousal": "1–5"},
    counts={"all": 9800},
)

_MEDIA = re.compile(r"<media>.*?<name>(.*?)</name>.*?<movie>(.*?)</movie>.*?</media>", re.DOTALL)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:`/`raw:` valence and arousal, `meta:` ranks and set, `group:film`."""
    refs = files.match("ACCEDEranking.txt")
    if not refs:
        raise CorpusError(files.root, "no annotations/ACCEDEranking.txt", INFO.obtain)
    films: dict[str, str] = {}
    for ref in files.match("ACCEDEdescription.xml"):
        films |= {name.strip(): film.strip() for name, film in _MEDIA.findall(files.text(ref))}
    sets: dict[str, str] = {}
    for ref in files.match("ACCEDEsets.txt"):
        sets |= {row["name"]: row["set"] for _, row in files.records(ref, delimiter="\t")}
    for line, row in files.records(refs[0], delimiter="\t"):
        name = row.get("name") or ""
        filled: dict[str, Any] = {}
        for dimension in ("valence", "arousal"):
            value = notes.number(row.get(f"{dimension}Value"), 1, 5, f"{dimension}Value", refs[0], line)
            filled[f"raw:{dimension}"], filled[f"dim:{dimension}"] = value, rescale(value, 1, 5)
            filled[f"meta:{dimension}_rank"] = notes.number(
                row.get(f"{dimension}Rank"), 0, 1e6, f"{dimension}Rank", refs[0], line
            )
        if None not in (filled["raw:valence"], filled["raw:arousal"]):
            yield {
                "id": name.partition(".")[0],
                "media": next(iter(files.named(name)), None),
                "group:film": films.get(name),
                "meta:set": sets.get(name),
                **filled,
            }


def write_tiny(tiny: Tiny) -> None:
    """Four excerpts of two films."""
    header = ("id", "name", "valenceRank", "arousalRank", "valenceValue", "arousalValue", "valenceVariance",
              "arousalVariance")  # fmt: skip
    names = [f"ACCEDE{k:05d}.mp4" for k in range(4)]
    rows = [(k, n, 10 * k, 5 * k, 1.5 + k, 4.5 - k, 0.1, 0.1) for k, n in enumerate(names)]
    tiny.table("annotations/ACCEDEranking.txt", header, rows, "\t")
    tiny.table("annotations/ACCEDEsets.txt", ("id", "name", "set"), [(k, n, k % 3) for k, n in enumerate(names)], "\t")
    media = [f"<media><id>{k}</id><name>{n}</name><movie>Film{k // 2}</movie></media>" for k, n in enumerate(names)]
    tiny.lines("annotations/ACCEDEdescription.xml", ["<library>", *media, "</library>"])
    tiny.video(f"data/{names[0]}", "happiness", 0.2)
