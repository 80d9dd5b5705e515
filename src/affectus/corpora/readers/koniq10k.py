"""KonIQ-10k: photographs with perceived technical quality (Hosu et al. 2020).

`koniq10k_scores_and_distributions.csv` has image_name, the counts c1…c5, the mean (MOS) and SD of about 120 raters;
`koniq10k_distributions_sets.csv` adds the scale 0–100 and the official set. Used beside emotion as a task of
perception.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="koniq10k",
    title="KonIQ-10k",
    modalities=("image",),
    perspective="evoked",
    licence="research use; pictures under Creative Commons licences",
    obtain="KonIQ-10k page of the University of Konstanz (free, no form)",
    size="10,073 pictures, 1024×768 or 512×384",
    layout="koniq10k_scores_and_distributions.csv or koniq10k_distributions_sets.csv; 1024x768/*.jpg or 512x384/*.jpg",
    citation="Hosu, Lin, Sziranyi, Saupe: KonIQ-10k: an ecologically valid database for deep learning of blind image "
    "quality assessment, IEEE Transactions on Image Processing 29, 2020",
    units={"quality": "mean opinion 1–5"},
    needs_media=True,
)

_LISTS = ("koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `raw:quality` (1–5), `dim:quality`, `meta:` sd, counts."""
    refs = [r for name in _LISTS for r in files.match(name)][:1]
    if not refs:
        raise CorpusError(files.root, f"neither {_LISTS[0]} nor {_LISTS[1]} is there", INFO.obtain)
    for line, row in files.records(refs[0]):
        counts = [notes.number(row.get(f"c{k}"), 0, 1e5, f"c{k}", refs[0], line) for k in range(1, 6)]
        known = [c for c in counts if c is not None]
        if len(known) < 5 or sum(known) <= 0:
            continue
        mean = sum(k * c for k, c in enumerate(known, 1)) / sum(known)  # MOS is 1–5 in one list and 0–100 in the other
        pictures = files.named(row["image_name"])
        yield {
            "id": row["image_name"],
            "split": SPLIT_NAMES.get((row.get("set") or "").lower()),
            "media": pictures[0] if pictures else None,
            "raw:quality": mean,
            "dim:quality": rescale(mean, 1, 5),
            "meta:sd": notes.number(row.get("SD"), 0, 100, "SD", refs[0], line),
            "meta:counts": known,
        }


def write_tiny(tiny: Tiny) -> None:
    """Three pictures, one per official set."""
    rows = []
    for k, part in enumerate(("training", "validation", "test")):
        tiny.image(f"512x384/1000{k}.jpg", "neutral", 64)
        rows.append((f"1000{k}.jpg", 0, 1 + k, 25, 73, 7, 3.78, 0.6, part))
    tiny.table(_LISTS[0], ("image_name", "c1", "c2", "c3", "c4", "c5", "MOS", "SD", "set"), rows)
