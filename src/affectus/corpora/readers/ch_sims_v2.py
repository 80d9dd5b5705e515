"""CH-SIMS v2 (supervised part): sentiment of film clips in Chinese, -1…1, judged together and for each modality alone.

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
    name="ch_sims_v2",
    title="CH-SIMS v2 (supervised part)",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="research use",
    obtain="links in the repository thuiar/MMSA (free, no form)",
    size="4,402 labelled clips of 145 videos",
    layout="meta.csv (as label.csv of version 1), Raw/video_0001/0001.mp4",
    citation="Liu, Yuan, Mao, Liang, Yang, Qiu, Cheng, Li, Xu, Gao: Make acoustic and visual cues matter: CH-SIMS "
    "v2.0 dataset "
    "and AV-Mixup consistent module, ICMI 2022",
    units={"sentiment": "-1…1"},
    counts={"train": 2722, "valid": 647, "test": 1034},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:sentiment`, `meta:` text, audio and video score, `group:video`."""
    return read_sims(files, notes, INFO, "simsv2_label.npz")


def write_tiny(tiny: Tiny) -> None:
    """Two clips per split."""
    write_tiny_sims(tiny, "meta.csv")
