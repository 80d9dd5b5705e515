"""RAVDESS: acted speech and song of 24 professional actors (Livingstone & Russo 2018).

Everything is in the seven numbers of a file name: modality (01 picture and sound, 02 picture, 03 sound), channel
(01 speech, 02 song), emotion, intensity, statement, repetition, actor. Actors with even numbers are women. Neutral has
no strong form, so it has half as many items. The fold is that of the six-fold protocol (four actors each, in order).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.media.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")

INFO = CorpusInfo(
    name="ravdess",
    title="RAVDESS",
    modalities=("audio", "video"),
    perspective="expressed",
    licence="CC BY-NC-SA 4.0",
    obtain="Zenodo record 1188976 (free, no form): Audio_Speech_Actors_01-24.zip for speech",
    size="1,440 speech recordings, 200 MB; with song and video 24.8 GB",
    layout="Actor_01 … Actor_24, each with files such as 03-01-06-01-02-01-12.wav",
    citation="Livingstone, Russo: The Ryerson audio-visual database of emotional speech and song, PLoS ONE 13(5), 2018",
    labels={"ravdess8": EMOTIONS},
    needs_media=True,
)

_NAME = re.compile(r"\d\d(-\d\d){6}")
_LIMITS = (3, 2, 8, 2, 2, 2, 24)
_FIELDS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:ravdess8`, `group:subject` (`actor01`), `meta:` modality, channel, intensity, gender, take."""
    for ref in files.logical:
        if files.suffix(ref) not in (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES):
            continue
        name = files.stem(ref)
        if not _NAME.fullmatch(name):
            notes.error(ref, 0, "file name is not seven two-digit numbers", "keep the published names")
            continue
        codes = [int(part) for part in name.split("-")]
        wrong = [f"{f} {c:02d}" for f, c, top in zip(_FIELDS, codes, _LIMITS, strict=True) if not 1 <= c <= top]
        if wrong:
            notes.error(ref, 0, f"file name holds unknown {', '.join(wrong)}", "keep the published names")
            continue
        yield _row(name, ref, codes)


def _row(name: str, ref: str, codes: list[int]) -> dict[str, Any]:
    modality, channel, emotion, intensity, statement, repetition, actor = codes
    return {
        "id": name,
        "fold": (actor - 1) // 4 + 1,
        "media": ref,
        "text": STATEMENTS[statement - 1],
        "speaker": f"actor{actor:02d}",
        "group:subject": f"actor{actor:02d}",
        "label:ravdess8": EMOTIONS[emotion - 1],
        "meta:modality": ("video with sound", "video", "audio")[modality - 1],
        "meta:channel": ("speech", "song")[channel - 1],
        "meta:intensity": ("normal", "strong")[intensity - 1],
        "meta:gender": "female" if actor % 2 == 0 else "male",
        "meta:take": repetition,
    }


def check(files: Files, table: Any, notes: Notes) -> None:
    """Every actor should have all 60 speech (sound only) recordings."""
    found: dict[str, int] = {}
    for name in table["id"].to_pylist():
        if name.startswith("03-01-"):
            found[name[-2:]] = found.get(name[-2:], 0) + 1
    for actor, count in sorted(found.items()):
        if count != 60:
            notes.error(f"Actor_{actor}", 0, f"{60 - count} of 60 speech recordings missing", "fetch the archive again")


def write_tiny(tiny: Tiny) -> None:
    """All 60 speech recordings of two actors, a tenth of a second each."""
    for actor in (1, 2):
        for emotion in range(1, 9):
            for intensity in (1, 2) if emotion > 1 else (1,):
                for take in range(4):
                    name = f"03-01-{emotion:02d}-{intensity:02d}-{take // 2 + 1:02d}-{take % 2 + 1:02d}-{actor:02d}"
                    tiny.audio(f"Actor_{actor:02d}/{name}.wav", EMOTIONS[emotion - 1], 0.1)
