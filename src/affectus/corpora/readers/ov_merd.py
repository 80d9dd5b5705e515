"""OV-MERD: any number of emotion words per film clip, in free vocabulary (Lian et al. 2024); also the MER2024 pair.

Files are csv with `name` and `openset`, a written list of words: `check-openset.csv` (332 clips, the truth of MER2024's
open track), `track2_train_ovmerd.csv`, or the 532 clips of OV-MERD+. Predictions in the same form are not part of the
corpus. OV-MERD lies wholly inside OV-MERD+, so one must not be trained on when the other is tested.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="ov_merd",
    title="OV-MERD (and the MER2024 open-vocabulary truth)",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="MER agreement, academic use, no redistribution",
    obtain="repository zeroQiaoba/MERTools, folder MER2024/ov_store (check-openset.csv); OV-MERD+: model hub, data set "
    "MERChallenge/MER2025 after signing the agreement",
    size="332 clips (OV-MERD), 532 (OV-MERD+)",
    layout="check-openset.csv, track2_train_ovmerd.csv or ovmerdplus.csv with name, openset",
    citation="Lian et al.: OV-MER: towards open-vocabulary multimodal emotion recognition, ICML 2025",
)

#: Files that hold the truth, in order of preference for an item that several list.
LISTS = ("check-openset.csv", "track2_train_ovmerd.csv", "ovmerd*.csv")


def word_list(written: str | None) -> list[str] | None:
    """Words of a written list (`"['happy', 'joyful']"` or `[happy, joyful]`), None where it is none."""
    text = (written or "").strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        listed = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        listed = text[1:-1].split(",")
    words = [str(w).strip().strip("'\"").lower() for w in listed]
    return [w for w in words if w]


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `labels:openset` (words as written, lower case), `group:video`."""
    refs = list(dict.fromkeys(ref for pattern in LISTS for ref in files.match(pattern)))
    if not refs:
        raise CorpusError(files.root, "no check-openset.csv or other list with name, openset", INFO.obtain)
    seen: set[str] = set()
    for ref in refs:
        for line, row in files.records(ref):
            name, words = row.get("name"), word_list(row.get("openset"))
            if not name or words is None:
                notes.error(
                    ref, line, f"openset is {row.get('openset')!r}, not a list of words", "fetch the file again"
                )
                continue
            if name not in seen:
                seen.add(name)
                clips = files.named(name, VIDEO_SUFFIXES)
                yield {"id": name, "media": clips[0] if clips else None, "group:video": name, "labels:openset": words}


def write_tiny(tiny: Tiny) -> None:
    """Three clips."""
    rows = [
        (f"sample_0000000{k}", str(words)) for k, words in enumerate((["happy", "joyful"], ["sad"], ["angry", "mad"]))
    ]
    tiny.table("check-openset.csv", ("name", "openset"), rows)
