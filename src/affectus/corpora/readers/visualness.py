"""Visualness: sentences that evoke an image, or not (Verma et al. 2023).

The published tables are read by their columns: `sentence` or `text` with either nine ratings (`rating_1` … `rating_9`,
1–7), or `mean`, or `label`. Five or more ratings above 4 make a sentence visual, five or more below 4 non-visual, and
the rest is ambiguous or neutral. A column `image_path` names the picture of a sentence; a column `split`, or
train/valid/test in the file name, gives the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="visualness",
    title="Visualness of sentences (TImeD)",
    modalities=("text",),
    perspective="evoked",
    licence="as the repository states, research use",
    obtain="repository of the paper's authors (free, no form)",
    size="3,620 sentences with nine ratings, 48,077 labelled automatically",
    layout="*.csv with sentence (or text) and rating_1 … rating_9, mean or label",
    citation="Verma, Rossi, Tensmeyer, Gu, Nenkova: Learning the visualness of text using large vision-language "
    "models, "
    "EMNLP 2023",
    units={"visualness": "1–7"},
)

_WORDS = {"1": True, "visual": True, "1.0": True, "0": False, "non-visual": False, "nonvisual": False, "0.0": False}


def verdict(ratings: Sequence[float]) -> str:
    """`visual`, `non-visual`, `neutral` (a majority of fours) or `ambiguous`, from nine ratings on 1–7."""
    counts = {"visual": sum(r > 4 for r in ratings), "non-visual": sum(r < 4 for r in ratings)}
    counts["neutral"] = len(ratings) - sum(counts.values())
    top = max(counts, key=counts.__getitem__)
    return top if counts[top] > len(ratings) / 2 else "ambiguous"


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `raw:`/`dim:visualness` (mean), `meta:verdict`, `meta:ratings`."""
    found = False
    for ref in files.match("*.csv"):
        header = set(files.header(ref))
        column = next((c for c in ("sentence", "text") if c in header), None)
        if column is None or not header & {"rating_1", "mean", "label"}:
            continue
        found = True
        named = next((s for k, s in SPLIT_NAMES.items() if k in files.stem(ref).lower().split("_")), None)
        for line, row in files.records(ref):
            ratings = [notes.number(row[f"rating_{k}"], 1, 7, f"rating_{k}", ref, line) for k in range(1, 10)
                       if row.get(f"rating_{k}")]  # fmt: skip
            known = [r for r in ratings if r is not None]
            mean = sum(known) / len(known) if known else None
            if not known and row.get("mean"):
                mean = notes.number(row["mean"], 1, 7, "mean", ref, line)
            label = None if row.get("label") is None else _WORDS.get(str(row["label"]).strip().lower())
            if label is None and mean is None:
                notes.error(ref, line, "neither ratings nor a mean nor a label", "fetch the file again")
                continue
            given = {True: "visual", False: "non-visual", None: None}[label]
            yield {
                "id": f"{files.stem(ref)}/{line}",
                "split": SPLIT_NAMES.get((row.get("split") or "").lower(), named),
                "text": row[column],
                "media": _picture(files, row.get("image_path"), ref, line, notes),
                "raw:visualness": mean,
                "dim:visualness": rescale(mean, 1, 7),
                "meta:verdict": verdict(known) if known else given,
                "meta:ratings": known or None,
            }
    if not found:
        raise CorpusError(files.root, "no csv with sentences and ratings, means or labels", INFO.obtain)


def _picture(files: Files, name: str | None, ref: str, line: int, notes: Notes) -> str | None:
    if not name:
        return None
    found = files.beside(ref, name)
    if found is None:
        notes.error(ref, line, f"no picture {name!r} in the folder", "fetch the pictures too")
    return found


def write_tiny(tiny: Tiny) -> None:
    """Four rated sentences: visual, non-visual, neutral and ambiguous."""
    header = ("sentence", *(f"rating_{k}" for k in range(1, 10)), "split")
    ratings = ((6, 7, 5, 5, 6, 7, 3, 2, 4), (1, 2, 2, 3, 1, 2, 6, 4, 4), (4,) * 9, (6, 6, 6, 6, 1, 1, 1, 1, 4))
    rows = [(tiny.text(), *r, ("train", "dev", "test", "test")[k]) for k, r in enumerate(ratings)]
    tiny.table("human_annotations.csv", header, rows)
