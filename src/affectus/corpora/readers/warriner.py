"""Warriner norms: valence, arousal and dominance of 13,915 English words on 1–9 (Warriner, Kuperman & Brysbaert 2013).

The ratings are what a word makes people feel, hence *evoked*. Word lists `warriner_split_{train,dev,test}.txt` give the
split of a word where they lie beside the ratings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

DIMENSIONS = {"V": "valence", "A": "arousal", "D": "dominance"}

INFO = CorpusInfo(
    name="warriner",
    title="Warriner norms",
    modalities=("text",),
    perspective="evoked",
    licence="CC BY-NC-ND 3.0",
    obtain="supplement of the paper: Ratings_Warriner_et_al.csv (free, no form)",
    size="13,915 words, 4 MB",
    layout="Ratings_Warriner_et_al.csv with Word, {V,A,D}.{Mean,SD,Rat}.Sum; optional warriner_split_*.txt",
    citation="Warriner, Kuperman, Brysbaert: Norms of valence, arousal, and dominance for 13,915 English lemmas, "
    "Behavior Research Methods 45, 2013",
    units=dict.fromkeys(DIMENSIONS.values(), "1–9"),
    counts={"all": 13915},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (the word), `dim:`/`raw:` valence, arousal, dominance, `meta:` their SD and number of raters."""
    lists = files.match("Ratings_Warriner_et_al.csv")
    if not lists:
        raise CorpusError(files.root, "no Ratings_Warriner_et_al.csv", INFO.obtain)
    splits: dict[str, str] = {}
    for ref in files.match("warriner_split_*.txt"):
        part = SPLIT_NAMES.get(files.stem(ref).rpartition("_")[2])
        splits |= {word.strip(): part for word in files.text(ref).splitlines() if part and word.strip()}
    for ref in lists:
        for line, row in files.records(ref):
            if (filled := _row(row, ref, line, notes)) is not None:
                yield {**filled, "split": splits.get(filled["text"])}


def _row(row: dict[str, Any], ref: str, line: int, notes: Notes) -> dict[str, Any] | None:
    word = (row.get("Word") or "").strip()
    if not word:
        notes.error(ref, line, "no word", "fetch the file again")
        return None
    filled: dict[str, Any] = {"id": word, "text": word}
    for key, name in DIMENSIONS.items():
        value = notes.number(row.get(f"{key}.Mean.Sum"), 1, 9, f"{key}.Mean.Sum", ref, line)
        if value is None:
            return None
        filled[f"dim:{name}"], filled[f"raw:{name}"] = rescale(value, 1, 9), value
        filled[f"meta:{name}_sd"] = notes.number(row.get(f"{key}.SD.Sum"), 0, 8, f"{key}.SD.Sum", ref, line)
        filled[f"meta:{name}_n"] = notes.number(row.get(f"{key}.Rat.Sum"), 0, 1e6, f"{key}.Rat.Sum", ref, line)
    return filled


def write_tiny(tiny: Tiny) -> None:
    """Four words, one per split and one in none."""
    header = ["", "Word", *(f"{k}.{s}.Sum" for k in DIMENSIONS for s in ("Mean", "SD", "Rat"))]
    words = ("aardvark", "able", "abuse", "zoo")
    tiny.table("Ratings_Warriner_et_al.csv", header, [(i, w, *(3.5 + i, 1.5, 20) * 3) for i, w in enumerate(words, 1)])
    for part, word in zip(("train", "dev", "test"), words, strict=False):
        tiny.lines(f"warriner_split_{part}.txt", [word])
