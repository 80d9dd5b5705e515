"""MER2023: Chinese film and series clips with six emotions and valence (Lian et al. 2023).

`train-label.csv` has name, discrete (in some copies emo), valence; label archives of the toolkits (`label-6way.npz`)
have train and three test parts. Both give emotions by name or numbered neutral, angry, happy, sad, worried, surprise,
which differs between copies. Test 1 (MER-MULTI, 411 clips) is the set of
MER-UniBench.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._labels_npz import entries
from affectus.corpora.readers._mer import LICENCE, clip, subtitles
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="mer2023",
    title="MER2023",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence=LICENCE,
    obtain="form of the MER2023 organisers; label archive: repository zeroQiaoba/MERTools, MERBench",
    size="3,373 labelled training clips, 411 + 412 + 834 test clips, 73,148 without label",
    layout="train-label.csv (name, discrete or emo, valence) or label-6way.npz; train/*.avi, test1/*.avi …",
    citation="Lian et al.: MER 2023: multi-label learning, modality robustness, and semi-supervised learning, ACM MM "
    "2023",
    labels=orders("mer6"),
    units={"valence": "published score"},
)

_PARTS = {"test1": "MER-MULTI", "test2": "MER-NOISE", "test3": "MER-SEMI"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mer6`, `raw:valence`, `text` (English subtitle), `meta:` chinese, part."""
    archives = [*files.match("label-6way.npz"), *files.match("mer2023*label*.npz")]
    lists = files.match("train-label.csv")
    if not archives and not lists:
        raise CorpusError(files.root, "neither train-label.csv nor label-6way.npz is there", INFO.obtain)
    words = subtitles(files)
    for ref in archives[:1]:
        for entry in entries(files, ref, notes):
            label = notes.decode("mer6", entry.emo, ref, entry.row, "mer2026")
            if label is not None:
                yield _row(files, entry.name, label, entry.val, words) | {
                    "split": entry.split,
                    "meta:part": _PARTS.get(entry.part, entry.part),
                }
    for ref in [] if archives else lists:
        for line, cells in files.records(ref):
            label = notes.decode("mer6", cells.get("discrete") or cells.get("emo"), ref, line, "mer2026")
            valence = (
                notes.number(cells.get("valence"), -100, 100, "valence", ref, line) if cells.get("valence") else None
            )
            if label is not None:
                yield _row(files, cells["name"], label, valence, words) | {"split": "train", "meta:part": "train"}


def _row(
    files: Files, name: str, label: str, valence: float | None, words: dict[str, dict[str, str]]
) -> dict[str, Any]:
    spoken = words.get(name, {})
    return {
        "id": name,
        "media": clip(files, name),
        "text": spoken.get("english"),
        "group:clip": name,
        "label:mer6": label,
        "raw:valence": valence,
        "meta:chinese": spoken.get("chinese"),
    }


def write_tiny(tiny: Tiny) -> None:
    """Six clips with subtitles, the first with its recording."""
    rows = [(f"sample_{k:08d}", label, k / 2 - 1) for k, label in enumerate(INFO.labels["mer6"])]
    tiny.table("train-label.csv", ("name", "discrete", "valence"), rows)
    tiny.table("subtitle_chieng.csv", ("name", "chinese", "english"), [(r[0], "今天", tiny.text()) for r in rows])
    tiny.video("train/sample_00000000.avi", "happiness", 0.3)
