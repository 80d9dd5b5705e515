"""EMER: explanations of emotions in film clips (Lian et al. 2023), both releases.

Version 1 (`gt-eng.csv`, `gt-chi.csv`): 100 clips of MER2023 with an emotion, the subtitle and a written reason. Version
2 (`final-EMER-reason.csv`): 332 clips with a longer description in Chinese and English. The clips come from MER2023
under its own agreement and are looked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="emer",
    title="EMER",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="annotations: Apache-2.0 repository; clips: MER2023 agreement, academic use",
    obtain="repository zeroQiaoba/AffectGPT, folder EMER (csv, free); clips by request to the MER2023 organisers",
    size="100 clips (version 1), 332 clips (version 2)",
    layout="gt-eng.csv (names, emotions, subtitles, reasons), final-EMER-reason.csv (name, chinese, english)",
    citation="Lian, Sun, Xu, Sun, Xu, Chen, Liu, Tao: Explainable multimodal emotion reasoning, 2023",
    labels=orders("mer6"),
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `meta:version`, `meta:reason`, `meta:reason_chinese`, and for version 1 `text`, `label:mer6`."""
    first, second = files.match("gt-eng.csv"), files.match("final-EMER-reason.csv")
    if not first and not second:
        raise CorpusError(files.root, "neither gt-eng.csv nor final-EMER-reason.csv is there", INFO.obtain)
    for ref in first:
        for line, row in files.records(ref):
            label = notes.lookup("mer6", row["emotions"], ref, line)
            if label is not None:
                yield _row(files, row["names"], 1, row["reasons"]) | {
                    "text": row["subtitles"],
                    "label:mer6": label,
                }
    for ref in second:
        for line, row in files.records(ref):
            if not row["english"]:
                notes.error(ref, line, "no English description", "fetch the file again")
                continue
            yield _row(files, row["name"], 2, row["english"]) | {"meta:reason_chinese": row.get("chinese")}


def _row(files: Files, name: str, version: int, reason: str | None) -> dict[str, Any]:
    clips = files.named(name, VIDEO_SUFFIXES)
    return {
        "id": f"v{version}/{name}",
        "media": clips[0] if clips else None,
        "group:video": name,
        "meta:version": version,
        "meta:reason": reason,
    }


def write_tiny(tiny: Tiny) -> None:
    """Two clips per version, one shared."""
    tiny.table("gt-eng.csv", ("names", "emotions", "subtitles", "reasons"), [
        ("sample_00000648", "angry", "Enough.", "He shouts."), ("sample_00000680", "worried", "Careful.", "He frowns."),
    ])  # fmt: skip
    tiny.table("final-EMER-reason.csv", ("name", "chinese", "english"), [
        ("sample_00000648", "他大声说话。", "He speaks loudly."), ("sample_00000007", "她笑了。", "She laughs."),
    ])  # fmt: skip
    tiny.video("video/sample_00000648.avi")
