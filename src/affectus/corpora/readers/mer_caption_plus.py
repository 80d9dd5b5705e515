"""MER-Caption+ (MER2025): clips with machine-made emotion words and reasons, filtered (AffectGPT, Lian et al. 2025).

`track2_train_mercaptionplus.csv` has name, openset; `track3_train_mercaptionplus.csv` name, reason. The human set
`track2_train_human.csv` is read too (`meta:annotation` tells). Its names must be compared with those of test sets
before training, since the sources overlap: `leaks.compare`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._mer import clip, subtitles
from affectus.corpora.readers.ov_merd import word_list
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="mer_caption_plus",
    title="MER-Caption+",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence="CC BY-NC 4.0 and the agreement of the MER organisers",
    obtain="model hub, data set MERChallenge/MER2025, after signing the agreement",
    size="31,327 clips with 1,972 different words",
    layout="track2_train_mercaptionplus.csv (name, openset), track3_train_mercaptionplus.csv (name, reason), "
    "subtitle_chieng.csv, video/<name>.mp4",
    citation="Lian et al.: AffectGPT: a new dataset, model, and benchmark for emotion understanding with multimodal "
    "large "
    "language models, ICML 2025",
)

_LISTS = {"track2_train_mercaptionplus.csv": "machine", "track2_train_human.csv": "human"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `labels:openset`, `meta:reason`, `meta:annotation`, `text`, `group:clip`."""
    words = subtitles(files)
    reasons: dict[str, str] = {}
    for ref in files.match("track3_train_mercaptionplus.csv"):
        reasons |= {row["name"]: row.get("reason") or "" for _, row in files.records(ref)}
    found = False
    for stem, annotation in _LISTS.items():
        for ref in files.match(stem):
            found = True
            for line, row in files.records(ref):
                name, listed = row.get("name"), word_list(row.get("openset"))
                if not name or listed is None:
                    notes.error(ref, line, f"openset is {row.get('openset')!r}, not a list of words", "fetch it again")
                    continue
                yield {"id": name, "split": "train", "media": clip(files, name), "group:clip": name,
                       "text": words.get(name, {}).get("english"), "labels:openset": listed,
                       "meta:reason": reasons.get(name), "meta:annotation": annotation}  # fmt: skip
    if not found:
        raise CorpusError(files.root, f"none of {', '.join(_LISTS)} is there", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """Three machine-made and two human items."""
    names = [f"samplenew_{k:08d}" for k in range(5)]
    written = ("['calm']", "['sad', 'tired']", "[angry, mad]", "['glad']", "['afraid']")
    rows = list(zip(names, written, strict=True))
    tiny.table("track2_train_mercaptionplus.csv", ("name", "openset"), rows[:3])
    tiny.table("track2_train_human.csv", ("name", "openset"), rows[3:])
    tiny.table(
        "track3_train_mercaptionplus.csv", ("name", "reason"), [(n, f"He says: {tiny.text()}") for n in names[:3]]
    )
    tiny.table("subtitle_chieng.csv", ("name", "chinese", "english"), [(n, "今天", tiny.text()) for n in names])
