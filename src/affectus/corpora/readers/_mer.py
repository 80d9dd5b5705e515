"""What the corpora of the MER challenges have in common: clips named by sample, subtitles in Chinese and English."""

from __future__ import annotations

from affectus.corpora.files import Files
from affectus.media.files import VIDEO_SUFFIXES

LICENCE = "agreement of the MER organisers, academic use, no redistribution"


def subtitles(files: Files) -> dict[str, dict[str, str]]:
    """Name → {english, chinese} from `subtitle_chieng.csv` or `transcription*.csv`."""
    found: dict[str, dict[str, str]] = {}
    for ref in [*files.match("subtitle_*.csv"), *files.match("transcription*.csv")]:
        for _, row in files.records(ref):
            if name := row.get("name"):
                found[name] = {k: row.get(k) or row.get("sentence") or "" for k in ("english", "chinese")}
    return found


def clip(files: Files, name: str) -> str | None:
    """Reference of the clip of that name."""
    return next(iter(files.named(name, VIDEO_SUFFIXES)), None)
