"""CMU-MOSI: sentiment of opinion utterances in web videos, -3…3 (Zadeh et al. 2016), with the standard split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._sentiment import read_scores, write_tiny_scores
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="cmu_mosi",
    title="CMU-MOSI",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="research use",
    obtain="CMU Multimodal SDK (free, no form); label archive cmumosi_label.npz from the MER toolkits",
    size="2,199 utterances of 93 videos",
    layout="cmumosi_label.npz (or label.npz), transcription*.csv, clips named like the utterance",
    citation="Zadeh, Zellers, Pincus, Morency: MOSI: multimodal corpus of sentiment intensity and subjectivity "
    "analysis in online opinion videos, IEEE Intelligent Systems 31(6), 2016",
    units={"sentiment": "-3…3"},
    counts={"train": 1284, "valid": 229, "test": 686},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:sentiment`, `raw:sentiment`, `text`, `group:video`."""
    return read_scores(files, notes, INFO, "cmumosi_label.npz", 3)


def write_tiny(tiny: Tiny) -> None:
    """Label archive, transcript and one clip."""
    write_tiny_scores(tiny, "cmumosi_label.npz", 3, "OQvJTdtJ2H")
