"""MER2024: reference labels of the semi-supervised and noise tracks (Lian et al. 2024), six emotions.

`reference-semi.csv` and `reference-noise.csv` have name and discrete or emo (1,169 clips each in the public copies).
Clip names differ between releases (`sample_…`, `samplenew3_…`), so predictions of one must not be joined with labels
of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._mer import LICENCE, clip, subtitles
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="mer2024",
    title="MER2024 (SEMI and NOISE)",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence=LICENCE,
    obtain="form of the MER2024 organisers; reference labels travel with public repositories",
    size="1,169 clips per track",
    layout="reference-semi.csv and reference-noise.csv (name, discrete); video/<name>.mp4",
    citation="Lian et al.: MER 2024: semi-supervised learning, noise robustness, and open-vocabulary multimodal "
    "emotion "
    "recognition, MRAC 2024",
    labels=orders("mer6"),
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mer6`, `meta:track` (`semi`, `noise`), `text` where subtitles lie beside."""
    words = subtitles(files)
    found = False
    for track in ("semi", "noise"):
        for ref in files.match(f"reference-{track}.csv"):
            found = True
            for line, row in files.records(ref):
                label = notes.decode("mer6", row.get("discrete") or row.get("emo"), ref, line, "mer2026")
                if label is not None:
                    name = row["name"]
                    yield {"id": f"{track}/{name}", "split": "test", "media": clip(files, name), "group:clip": name,
                           "text": words.get(name, {}).get("english"), "label:mer6": label,
                           "meta:track": track}  # fmt: skip
    if not found:
        raise CorpusError(files.root, "neither reference-semi.csv nor reference-noise.csv is there", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """Six clips per track."""
    for track in ("semi", "noise"):
        rows = [(f"samplenew3_{k:08d}", label) for k, label in enumerate(INFO.labels["mer6"])]
        tiny.table(f"reference-{track}.csv", ("name", "discrete"), rows)
