"""CMU-MOSEI: sentiment of utterances in web videos, -3…3 (Zadeh et al. 2018), with the standard split.

Test sets of 4,659 and of 4,643 utterances are both in use; the label archive read here has 4,659.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._sentiment import read_scores, write_tiny_scores
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="cmu_mosei",
    title="CMU-MOSEI",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="research use",
    obtain="CMU Multimodal SDK (free, no form); label archive cmumosei_label.npz from the MER toolkits",
    size="22,856 utterances of 3,228 videos",
    layout="cmumosei_label.npz (or label.npz), transcription*.csv, clips named like the utterance",
    citation="Zadeh, Liang, Poria, Cambria, Morency: Multimodal language analysis in the wild: CMU-MOSEI dataset and "
    "interpretable dynamic fusion graph, ACL 2018",
    units={"sentiment": "-3…3"},
    counts={"train": 16326, "valid": 1871, "test": 4659},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:sentiment`, `raw:sentiment`, `text`, `group:video`."""
    return read_scores(files, notes, INFO, "cmumosei_label.npz", 3)


def write_tiny(tiny: Tiny) -> None:
    """Label archive, transcript and one clip."""
    write_tiny_scores(tiny, "cmumosei_label.npz", 3, "cEXJ2zFbC9I")
