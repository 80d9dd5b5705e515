"""Faces of a stream of frames: detect every k-th, follow in between, score in batches across frames and faces."""

from __future__ import annotations

import base64
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from affectus.analysis import face_cues
from affectus.analysis.fusion import NEUTRAL, to_common
from affectus.analysis.rows import RowSink
from affectus.analysis.tally import Tally
from affectus.media.alignment import align_many
from affectus.media.quality import quality_factors
from affectus.media.tracking import FaceTracker
from affectus.types import Face, Frame

if TYPE_CHECKING:
    from affectus.media.faces import FaceDetector
    from affectus.media.landmarks import FaceLandmarker
    from affectus.models.face import FaceModel

#: Faces per call of the model.
BATCH = 32
#: Detections a track needs before it counts, so that a stray false alarm is not a person.
CONFIRMED = 2
#: Detections per second of recording; in between faces are followed.
DETECTIONS_PER_SECOND = 2.5
#: Side (px) and largest number of the pictures of people that go into a report.
THUMBNAIL, MOST_THUMBNAILS = 96, 60
#: Windows whose best frame shows an emotion with at least this probability are looked at for cues.
CUE_FROM = 0.35


@dataclass
class Peak:
    """The frame of a window that shows an emotion most clearly: what the explanation points at.

    `crop` is the aligned face in grey (a few kilobytes), `blendshapes` (52,) its facial movements where they were
    looked at; `patch` is dropped once that is done.
    """

    strength: float
    label: str
    probability: float
    row: int
    frame: int
    time: float
    crop: np.ndarray | None
    patch: face_cues.Patch | None
    blendshapes: np.ndarray | None = None


@dataclass
class FaceWindow:
    """What one face showed in one window of the fused timeline."""

    tally: Tally = field(default_factory=Tally)
    motion: float = 0.0
    peak: Peak | None = None


@dataclass
class FaceEvidence:
    """Result of a pass over a recording: windows by (track, number), thumbnails by track, pictures seen."""

    windows: dict[tuple[int, int], FaceWindow]
    thumbnails: dict[int, str]
    frames: int = 0
    dropped: int = 0

    def tracks(self) -> list[int]:
        """Ids of all tracks that were scored, in order."""
        return sorted({track for track, _ in self.windows})


@dataclass
class _Seen:
    """One face in one frame, waiting for the model."""

    frame: int
    time: float
    track: int
    face: Face
    crop: np.ndarray
    patch: face_cues.Patch | None


class FixedCut:
    """Tells the tracker what is already known about the next frame, so that cuts are looked for only once."""

    def __init__(self) -> None:
        self.cut = False

    def push(self, image: np.ndarray) -> bool:
        """Whether this frame starts a new shot."""
        return self.cut


class FacePass:
    """Takes frames in order of time, writes rows of scores and gathers windows.

    `every` is the number of frames from one detection to the next. Memory is bounded by the batch and the faces in
    sight, plus a few kilobytes for each window of each face.
    """

    def __init__(
        self,
        model: FaceModel,
        detector: FaceDetector,
        sink: RowSink,
        window: float,
        fps: float,
        landmarker: FaceLandmarker | None = None,
    ) -> None:
        self.model, self.detector, self.sink = model, detector, sink
        self.window, self.fps, self.landmarker = window, fps, landmarker
        self.every = max(1, round(fps / DETECTIONS_PER_SECOND))
        self._cut = FixedCut()
        self._tracker = FaceTracker(cuts=self._cut)  # type: ignore[arg-type]
        self._detections: dict[int, int] = defaultdict(int)
        self._waiting: dict[int, list[_Seen]] = defaultdict(list)
        self._queue: list[_Seen] = []
        self._open: dict[int, int] = {}
        self._last_crop: dict[int, np.ndarray] = {}
        self._looks: dict[int, tuple[float, str]] = {}
        self._in_sight: dict[int, float] = {}
        self._since = 0
        self._looked = 0
        self.evidence = FaceEvidence({}, {})

    def push(self, frame: Frame, cut: bool = False) -> None:
        """Take the next frame; `cut` says that it starts a new shot."""
        self._cut.cut = cut
        detect = cut or self.evidence.frames == 0 or self._since >= self.every
        faces = self.detector.detect(frame.image) if detect else None
        self._since = 1 if detect else self._since + 1
        self._looked += detect
        self.evidence.frames += 1
        tracked = self._tracker.update(frame, faces)
        self._forget([track for track, _ in tracked], frame.time)
        found = [(track, face) for track, face in tracked if _usable(face)]
        if not found:
            return
        for track, _ in found:
            self._detections[track] += detect
        factors = quality_factors(frame.image, [face for _, face in found])
        crops = align_many(
            frame.image, np.stack([face.points for _, face in found]), self.model.size, self.model.template
        )
        for (track, face), factor, crop in zip(found, factors, crops, strict=True):
            self._thumbnail(track, frame, face, factor.quality)
            patch = face_cues.cut_out(frame.image, face) if self.landmarker else None
            self._waiting[track].append(
                _Seen(frame.index, frame.time, track, replace(face, quality=factor.quality), crop, patch)
            )
            if self._detections[track] >= CONFIRMED:
                self._queue += self._waiting.pop(track)
        while len(self._queue) >= BATCH:
            self._score(self._queue[:BATCH])
            del self._queue[:BATCH]

    def finish(self) -> FaceEvidence:
        """Score what is left; a track counts unconfirmed only where there was no second detection to confirm it."""
        for seen in self._waiting.values():
            if self._looked < CONFIRMED:
                self._queue += seen
            else:
                self.evidence.dropped += 1
        self._waiting.clear()
        for start in range(0, len(self._queue), BATCH):
            self._score(self._queue[start : start + BATCH])
        self._queue.clear()
        for track, number in self._open.items():
            self._close(track, number)
        known = set(self.evidence.tracks())
        kept = [t for t in sorted(self._looks) if t in known][:MOST_THUMBNAILS]
        self.evidence.thumbnails = {track: self._looks[track][1] for track in kept}
        return self.evidence

    def _forget(self, seen: list[int], time: float) -> None:
        """Let go of tracks that are long out of sight: they end, and those that were never confirmed do not count."""
        self._in_sight |= dict.fromkeys(seen, time)
        unscored = {face.track for face in self._queue}
        for track, last in list(self._in_sight.items()):
            if time - last <= 2 * self._tracker.patience or track in unscored:
                continue
            for kept in (self._in_sight, self._detections, self._last_crop):
                kept.pop(track, None)  # type: ignore[attr-defined]
            if self._waiting.pop(track, None):
                self._looks.pop(track, None)
                self.evidence.dropped += 1
            if (number := self._open.pop(track, None)) is not None:
                self._close(track, number)

    def _thumbnail(self, track: int, frame: Frame, face: Face, quality: float) -> None:
        """Keep the best picture of a person so far."""
        best = self._looks.get(track, (-1.0, ""))[0]
        if quality < best + 0.05 or (track not in self._looks and len(self._looks) >= 4 * MOST_THUMBNAILS):
            return
        crop = align_many(frame.image, face.points[None], THUMBNAIL, self.model.template * 0.8 + 0.1)[0]
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
        if ok:
            uri = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
            self._looks[track] = (quality, uri)

    def _score(self, batch: list[_Seen]) -> None:
        predictions = self.model.predict([seen.crop for seen in batch])
        common = to_common(self.model.card.space, np.stack([p.scores for p in predictions]))
        for seen, prediction, posterior in zip(batch, predictions, common, strict=True):
            row = self._write(seen, prediction)
            self._gather(seen, prediction, posterior, row)

    def _write(self, seen: _Seen, prediction: Any) -> int:
        shared = {
            "start": seen.time,
            "end": seen.time,
            "frame": seen.frame,
            "track": seen.track,
            "source": "face",
            "method": self.model.card.name,
            "perspective": prediction.perspective,
        }
        first = self.sink.add_scores(prediction.labels, prediction.scores, space=prediction.space, **shared)
        self.sink.add_scores(tuple(prediction.dimensions), tuple(prediction.dimensions.values()), space="va", **shared)
        quality = shared | {"method": "face-quality"}
        self.sink.add(space="quality", label="quality", score=seen.face.quality, **quality)
        return first + int(np.argmax(prediction.scores))

    def _gather(self, seen: _Seen, prediction: Any, posterior: np.ndarray, row: int) -> None:
        number = int(seen.time / self.window)
        before = self._open.get(seen.track)
        if before is not None and before != number:
            self._close(seen.track, before)
        self._open[seen.track] = number
        entry = self.evidence.windows.setdefault((seen.track, number), FaceWindow())
        dimensions = prediction.dimensions
        affect = (dimensions.get("valence", np.nan), dimensions.get("arousal", np.nan))
        quality = seen.face.quality
        entry.tally.add(posterior, affect, weight=0.05 + quality, quality=quality)
        entry.motion += face_cues.mouth_motion(self._last_crop.get(seen.track), seen.crop)
        self._last_crop[seen.track] = seen.crop
        strength = float(1 - posterior[NEUTRAL]) * (0.2 + quality)
        if entry.peak is None or strength > entry.peak.strength:
            label, probability = prediction.top()
            grey = cv2.cvtColor(seen.crop, cv2.COLOR_RGB2GRAY)
            entry.peak = Peak(strength, label, probability, row, seen.frame, seen.time, grey, seen.patch)

    def _close(self, track: int, number: int) -> None:
        """A window is complete: look at the movements of its peak, and let go of what is no longer needed."""
        peak = self.evidence.windows[track, number].peak
        if peak is None:
            return
        if peak.probability < CUE_FROM or peak.label == "neutral":
            peak.crop = None
        elif self.landmarker is not None and peak.patch is not None:
            peak.blendshapes = face_cues.blendshapes(self.landmarker, peak.patch)
        peak.patch = None


def _usable(face: Face) -> bool:
    """Whether the five points can be aligned: finite and apart."""
    points = face.points
    return bool(np.isfinite(points).all() and np.ptp(points, axis=0).max() > 1.0)
