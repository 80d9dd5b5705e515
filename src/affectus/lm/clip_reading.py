"""Reading a media file into a `ClipReading` with the models that ship: faces, action units where they can be had, the
voice, and a transcript that is given or made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from affectus import labels, models
from affectus.errors import AffectusError, MediaError
from affectus.features.face_geometry import facial_cues
from affectus.features.inputs import InputSpec
from affectus.features.reading import open_source
from affectus.lm.clip_words import UNITS, ClipReading, clip_text
from affectus.media import probe
from affectus.media.faces import FaceDetector

#: Faces of a clip that are looked at, spread evenly.
FACES = 12


def read_clip(path: str | Path, transcript: str = "", units: bool = True) -> ClipReading:
    """What the shipped models find in a clip; what it does not hold is left out. A text file is a transcript.

    Emotions and units are the largest over its faces. `units` needs the extra `aus`; without it none is named. The
    voice model gives terms of prosody (its classes), arousal and valence; dominance it does not know. Raises MediaError
    when there is neither a face nor a sound.
    """
    if probe(path).kind in ("text", "subtitles", "table"):
        return ClipReading(transcript or open_source(path, "text"))
    faces, audio = (_opened(path, kind) for kind in ("faces", "audio"))
    if faces is None and audio is None and not transcript:
        raise MediaError(str(path), "holds neither a face nor a sound", "give a clip of a person, or a transcript")
    emotions = found_units = prosody = None
    affect: dict[str, float] = {}
    if faces:
        shown = [faces[int(i)] for i in np.linspace(0, len(faces) - 1, min(FACES, len(faces)))]
        face: Any = models.load("face")
        rows = np.stack([p.scores for p in face.predict(shown)])
        common = labels.map_between("ferplus8", "ekman7").apply(rows).max(0)
        emotions = dict(zip(labels.space("ekman7").labels, map(float, common), strict=True))
        found_units = _units(shown) if units else {}
    if audio is not None and len(audio):
        voice: Any = models.load("voice")
        heard = voice.predict([audio[: 10 * 16000]])[0]
        prosody = dict(zip(heard.labels, map(float, heard.scores), strict=True))
        affect = {name: float((value + 1) / 2) for name, value in heard.dimensions.items()}
    return ClipReading(transcript, found_units, emotions, prosody, affect)


def _opened(path: str | Path, kind: str) -> Any:
    try:
        return open_source(path, kind)
    except MediaError:
        return None


def _units(faces: list[np.ndarray]) -> dict[int, float]:
    """Largest strength of each known unit over aligned faces; nothing where landmarks cannot be had."""
    try:
        from affectus.media.landmarks import FaceLandmarker

        detector, landmarker = FaceDetector(), FaceLandmarker()
    except (AffectusError, ImportError):
        return {}
    found: dict[int, float] = {}
    for crop in faces:
        for marks in landmarker.detect(crop, detector.detect(crop)[:1]):
            for cue in facial_cues(marks.blendshapes, least=0.05):
                number = int(cue.unit.removeprefix("AU"))
                if number in UNITS:
                    found[number] = max(found.get(number, 0.0), cue.strength)
    return found


class ClipWords(InputSpec):
    """A clip as ids of its text: a media file (read with the shipped models), a `ClipReading`, or a plain transcript.

    `ids` is the specification of the tokenizer behind.
    """

    def __init__(self, ids: InputSpec, modalities: str, levels: bool, parity: str) -> None:
        self.ids, self.modalities, self.levels, self.parity = ids, modalities, levels, parity

    def __repr__(self) -> str:
        return f"ClipWords({self.ids!r}, {self.modalities!r}, levels={self.levels}, parity={self.parity!r})"

    takes: ClassVar[str] = "clip"

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the ids."""
        return self.ids.shape

    def __call__(self, raw: ClipReading | str | Path) -> np.ndarray:
        if isinstance(raw, Path):
            raw = read_clip(raw)
        reading = ClipReading(raw) if isinstance(raw, str) else raw
        return self.ids(clip_text(reading, self.modalities, self.levels, self.parity))  # type: ignore[arg-type]
