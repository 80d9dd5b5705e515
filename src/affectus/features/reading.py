"""Carry out input specifications on a file: open what they need once, and preprocess it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from affectus import media
from affectus.errors import MediaError
from affectus.features.inputs import InputSpec
from affectus.media.alignment import FER_TEMPLATE, align
from affectus.media.faces import FaceDetector
from affectus.types import Face

#: Side of aligned face crops before an input's own resizing (pixels).
FACE_SIDE = 256
#: Frames decoded for one clip are thinned out beyond this many.
MOST_FRAMES = 600


def read_inputs(
    source: str | Path | Mapping[str, Any],
    specs: Mapping[str, InputSpec],
    start: float = 0.0,
    end: float | None = None,
) -> dict[str, np.ndarray]:
    """Arrays by input name from a media file, or from a mapping `source kind → decoded content` (or → path).

    A text file gives its whole text. What a file does not hold is left out, so that a system can say whether it can do
    without; raises MediaError when it holds nothing that any of the specifications takes.
    """
    found: dict[str, np.ndarray] = {}
    decoded: dict[str, Any] = {}
    reasons = []
    for name, spec in specs.items():
        kind = spec.source
        if kind not in decoded:
            try:
                decoded[kind] = open_source(source, kind, start, end)
            except MediaError as error:
                decoded[kind] = None
                reasons.append(str(error))
        if decoded[kind] is not None:
            found[name] = spec(decoded[kind])
    if not found:
        wanted = ", ".join(sorted({spec.source for spec in specs.values()}))
        raise MediaError(str(source)[:200], f"holds none of: {wanted}", "; ".join(dict.fromkeys(reasons)))
    return found


def open_source(source: str | Path | Mapping[str, Any], kind: str, start: float = 0.0, end: float | None = None) -> Any:
    """Decoded content of one kind: "image" and "face" RGB pictures, "frames" and "faces" lists of them, "audio" samples
    at 16 kHz, "text" a string, "turns" the turns of a transcript, "clip" the path itself; None for features
    that no media file holds.

    Raises MediaError.
    """
    if isinstance(source, Mapping):
        content = source.get(kind)
        return open_source(content, kind, start, end) if isinstance(content, Path) else content
    path = Path(source)
    if kind == "clip":
        return path
    if kind == "text":
        return " ".join(turn.text for turn in media.read_turns(path))
    if kind == "turns":
        return media.read_turns(path)
    if kind == "audio":
        samples = media.read_audio(path)
        return samples[round(start * 16000) : None if end is None else round(end * 16000)]
    if kind in ("image", "face"):
        picture = _picture(path, start, end)
        return picture if kind == "image" else largest_face(picture, str(path))
    if kind in ("frames", "faces"):
        frames = _frames(path, start, end)
        return frames if kind == "frames" else _faces(frames, str(path))
    return None  # features made elsewhere cannot be read from media


def _picture(path: Path, start: float, end: float | None) -> np.ndarray:
    if media.probe(path).kind == "image":
        return media.read_image(path)
    frames = _frames(path, start, end)
    return frames[len(frames) // 2]


def _frames(path: Path, start: float, end: float | None) -> list[np.ndarray]:
    info = media.probe(path)
    if info.kind == "image":
        return [media.read_image(path)]
    length = (end if end is not None else info.duration or 0.0) - start
    fps = min(info.fps or 25.0, MOST_FRAMES / length if length > 0 else 25.0)
    frames = [frame.image for frame in media.video_frames(path, fps=fps, max_side=1280, start=start, end=end)]
    if not frames:
        raise MediaError(path, "holds no frame in the wanted span")
    return frames


@lru_cache(maxsize=1)
def face_detector() -> FaceDetector:
    """The face detector of this process."""
    return FaceDetector()


def largest_face(picture: np.ndarray, origin: str = "image") -> np.ndarray:
    """The aligned crop (FACE_SIDE, FACE_SIDE, 3) of the largest face; raises MediaError when there is none."""
    faces = face_detector().detect(picture)
    if not faces:
        raise MediaError(origin, "shows no face", "give a picture with a face of at least 20 pixels")
    return _crop(picture, max(faces, key=lambda face: face.box[2] * face.box[3]))


def _faces(frames: list[np.ndarray], origin: str) -> list[np.ndarray]:
    """Aligned crops of the face nearest to the last one seen; a frame without a face repeats the last crop."""
    crops: list[np.ndarray] = []
    centre: np.ndarray | None = None
    for frame in frames:
        faces = face_detector().detect(frame)
        if not faces:
            crops += crops[-1:]
            continue
        face = max(faces, key=lambda f: f.box[2] * f.box[3])
        if centre is not None:
            at = centre
            face = min(faces, key=lambda f: float(np.sum((f.points.mean(0) - at) ** 2)))
        centre = face.points.mean(0)
        crops.append(_crop(frame, face))
    if not crops:
        raise MediaError(origin, "shows no face in any frame", "use a system that takes whole pictures")
    return crops


def _crop(picture: np.ndarray, face: Face) -> np.ndarray:
    return align(picture, face.points, FACE_SIDE, FER_TEMPLATE)
