"""CH-SIMS: sentiment of film clips in Chinese, -1…1, judged together and for each modality alone.

Clips whose modalities disagree make a natural set for conflict tests: compare `meta:text_score`, `meta:audio_score` and
`meta:video_score` with `dim:sentiment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._sims import read_sims, write_tiny_sims
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="ch_sims",
    title="CH-SIMS",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="MIT (repository); clips of films and series, research use",
    obtain="links in the repository thuiar/MMSA (free, no form)",
    size="2,281 clips of 60 videos",
    layout="label.csv (video_id, clip_id, text, label, label_T, label_A, label_V, annotation, mode), "
    "Raw/video_0001/0001.mp4",
    citation="Yu, Xu, Meng, Zhu, Ma, Wu, Zou, Yang: CH-SIMS: a Chinese multimodal sentiment analysis dataset with "
    "fine-grained "
    "annotation of modality, ACL 2020",
    units={"sentiment": "-1…1"},
    counts={"train": 1368, "valid": 456, "test": 457},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:sentiment`, `meta:` text, audio and video score, `group:video`."""
    return read_sims(files, notes, INFO, "sims_label.npz")


def write_tiny(tiny: Tiny) -> None:
    """Two clips per split."""
    write_tiny_sims(tiny, "label.csv")
