"""OASIS: open affective standardised image set (Kurdi, Lozano & Banaji 2017): valence and arousal evoked in viewers.

Themes are numbered (`Acorns 1`, `Acorns 2`), and pictures of one theme look alike, so `group:theme` is the name without
its number. Some published theme names end in a blank; names are matched to files without regard to case and blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="oasis",
    title="OASIS",
    modalities=("image",),
    perspective="evoked",
    licence="open access, free for research; cite the paper",
    obtain="open science framework, project 6pnd7 (free, no form)",
    size="900 pictures, 120 MB",
    layout="OASIS.csv (Theme, Category, Source, Valence_mean, Valence_SD, Valence_N, Arousal_…) and images/*.jpg",
    citation="Kurdi, Lozano, Banaji: Introducing the open affective standardized image set (OASIS), Behavior Research "
    "Methods 49, 2017",
    units={"valence": "1–7", "arousal": "1–7"},
    counts={"all": 900},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:` and `raw:` valence and arousal (means), `meta:` their SD and number of raters, `group:theme`."""
    lists = [r for r in files.match("OASIS*.csv") if {"Theme", "Valence_mean"} <= set(files.header(r))]
    if not lists:
        raise CorpusError(files.root, "no OASIS.csv with columns Theme and Valence_mean", INFO.obtain)
    pictures = {_key(files.stem(r)): r for r in files.logical if files.suffix(r) in IMAGE_SUFFIXES}
    seen: set[str] = set()
    for ref in lists:
        for line, row in files.records(ref):
            theme = (row.get("Theme") or "").strip()
            if not theme:
                notes.error(ref, line, "no theme name")
                continue
            if theme in seen:
                continue
            seen.add(theme)
            yield from _row(row, theme, pictures.get(_key(theme)), ref, line, notes)


def _row(row: dict, theme: str, media: str | None, ref: str, line: int, notes: Notes) -> Iterator[dict[str, Any]]:
    filled: dict[str, Any] = {}
    for name in ("Valence", "Arousal"):
        value = notes.number(row.get(f"{name}_mean"), 1, 7, f"{name}_mean", ref, line)
        if value is None:
            return
        low = name.lower()
        filled[f"dim:{low}"], filled[f"raw:{low}"] = rescale(value, 1, 7), value
        filled[f"meta:{low}_sd"] = notes.number(row.get(f"{name}_SD"), 0, 4, f"{name}_SD", ref, line)
        filled[f"meta:{low}_n"] = notes.number(row.get(f"{name}_N"), 1, 1e6, f"{name}_N", ref, line)
    group = re.sub(r"\s*\d+$", "", theme)
    yield {"id": theme, "media": media, "group:theme": group, "meta:category": row.get("Category", ""), **filled}


def _key(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().lower()


def write_tiny(tiny: Tiny) -> None:
    """Six pictures of three themes, one name with a trailing blank."""
    header = ["", "Theme", "Category", "Source"]
    header += [f"{d}_{s}" for d in ("Valence", "Arousal") for s in ("mean", "SD", "N")]
    rows = []
    for k in range(6):
        theme = f"{('Acorns', 'Angry face', 'Zebra')[k // 2]} {k % 2 + 1}"
        tiny.image(f"images/{theme}.jpg", ("neutral", "anger", "happiness")[k // 2], 64)
        rows.append((f"I{k + 1}", theme + " " * (k == 3), "Object", "Pixabay", 2.5 + k / 2, 1.1, 102, 3.2, 1.5, 101))
    tiny.table("OASIS.csv", header, rows)
