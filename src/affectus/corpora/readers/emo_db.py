"""EMO-DB: ten German sentences acted in seven emotions by ten actors (Burkhardt et al. 2005).

File names: speaker (two digits), sentence (`a01`…`b10`), emotion letter (German), version letter: `03a01Fa.wav`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

#: Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral.
EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral",
}  # fmt: skip
WOMEN = ("08", "09", "13", "14", "16")

INFO = CorpusInfo(
    name="emo_db",
    title="EMO-DB (Berlin database of emotional speech)",
    modalities=("audio",),
    perspective="expressed",
    licence="free for research",
    obtain="EMO-DB page of the Technical University of Berlin (free, no form): download.zip",
    size="535 recordings of 10 actors, 40 MB",
    layout="wav/03a01Fa.wav …",
    citation="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A database of German emotional speech, Interspeech 2005",
    labels=orders("emodb7"),
    counts={"all": 535},
    needs_media=True,
)

_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z])")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:emodb7`, `group:subject`, `group:sentence`, `meta:gender`."""
    refs = [r for r in files.logical if files.suffix(r) in (".wav", ".flac")]
    if not refs:
        raise CorpusError(files.root, "no wav folder with recordings", INFO.obtain)
    for ref in refs:
        found = _NAME.fullmatch(files.stem(ref))
        if not found or found[3] not in EMOTIONS:
            notes.error(ref, 0, "file name is not speaker, sentence, emotion, version", "keep the published names")
            continue
        speaker, sentence, emotion, _ = found.groups()
        yield {
            "id": files.stem(ref),
            "media": ref,
            "speaker": speaker,
            "group:subject": speaker,
            "group:sentence": sentence,
            "label:emodb7": EMOTIONS[emotion],
            "meta:gender": "female" if speaker in WOMEN else "male",
        }


def write_tiny(tiny: Tiny) -> None:
    """Seven emotions of two actors."""
    for speaker in ("03", "08"):
        for letter, label in EMOTIONS.items():
            tiny.audio(f"wav/{speaker}a01{letter}a.wav", label, 0.1)
