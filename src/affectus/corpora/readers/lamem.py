"""LaMem: pictures with memorability scores (Khosla et al. 2015), five official random splits.

`splits/train_1.txt`, `val_1.txt`, `test_1.txt` … `_5` hold lines `00025038.jpg 0.95`. Every split divides all pictures,
so the split number must be chosen; the table is split 1, the others are in `meta:split_2` … `meta:split_5`. Scores are
already corrected for false alarms and lie in 0–1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="lamem",
    title="LaMem",
    modalities=("image",),
    perspective="evoked",
    licence="research use",
    obtain="LaMem page of MIT (free, no form)",
    size="58,741 pictures, 2.6 GB",
    layout="splits/train_1.txt, val_1.txt, test_1.txt … test_5.txt; images/00000001.jpg …",
    citation="Khosla, Raju, Torralba, Oliva: Understanding and predicting image memorability at a large scale, ICCV "
    "2015",
    units={"memorability": "0–1"},
    needs_media=True,
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `raw:memorability`, `dim:memorability`, `meta:split_2` … `meta:split_5`."""
    scores: dict[str, float] = {}
    parts: dict[str, dict[int, str]] = {}
    for part in ("train", "val", "test"):
        for ref in files.match(f"{part}_?.txt"):
            number = files.stem(ref).rpartition("_")[2]
            for line, row in enumerate(files.text(ref).splitlines(), 1):
                name, _, text = row.strip().partition(" ")
                if not name:
                    continue
                score = notes.number(text, 0, 1, "score", ref, line)
                if score is None or not number.isdigit():
                    continue
                if abs(scores.setdefault(name, score) - score) > 1e-6:
                    notes.error(ref, line, f"{name} has another score in another list", "fetch the lists again")
                parts.setdefault(name, {})[int(number)] = SPLIT_NAMES[part]
    if not scores:
        raise CorpusError(files.root, "no splits/train_1.txt, val_1.txt, test_1.txt", INFO.obtain)
    for name, score in scores.items():
        pictures = files.named(name)
        yield {
            "id": name.partition(".")[0],
            "split": parts[name].get(1),
            "media": pictures[0] if pictures else None,
            "raw:memorability": score,
            "dim:memorability": rescale(score, 0, 1),
            **{f"meta:split_{k}": parts[name].get(k) for k in range(2, 6)},
        }


def write_tiny(tiny: Tiny) -> None:
    """Five pictures in five splits."""
    names = [f"{k:08d}.jpg" for k in range(1, 6)]
    for name in names:
        tiny.image(f"images/{name}", "neutral", 48)
    for number in range(1, 6):
        turned = names[number - 1 :] + names[: number - 1]
        for part, chosen in (("train", turned[:3]), ("val", turned[3:4]), ("test", turned[4:])):
            tiny.lines(f"splits/{part}_{number}.txt", [f"{n} {0.15 * int(n[:8]):.2f}" for n in chosen])
