"""What the pictures evoke in a viewer: key frames of a stream. Evoked, never mixed with what people express."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectus.analysis.rows import RowSink
from affectus.features.colour import colour_attributes, colour_cues
from affectus.types import Frame

if TYPE_CHECKING:
    from affectus.models.scene import SceneModel

#: Seconds between key frames at least, so that flicker is not a hundred scenes.
SHORTEST = 1.0
#: Cues noted per key frame.
MOST_CUES = 3


@dataclass(frozen=True)
class KeyFrame:
    """A scored picture: span (s) it stands for, evoked valence and arousal, cues in words and the rows of all these."""

    start: float
    end: float
    valence: float
    arousal: float
    cues: tuple[str, ...]
    rows: tuple[int, ...]


class ScenePass:
    """Takes frames in order of time and scores the first of each shot and one every `every` seconds."""

    def __init__(self, model: SceneModel, sink: RowSink, every: float) -> None:
        self.model, self.sink, self.every = model, sink, every
        self.key_frames: list[KeyFrame] = []
        self._last: Frame | None = None
        self._pending = False

    def push(self, frame: Frame, cut: bool = False) -> None:
        """Take the next frame; `cut` says that it starts a new shot."""
        if self._last is not None:
            passed = frame.time - self._last.time
            self._pending |= cut
            if not ((self._pending and passed >= SHORTEST) or passed >= self.every):
                return
            self._write(self._last, frame.time)
        self._last, self._pending = frame, False

    def finish(self, end: float) -> list[KeyFrame]:
        """Score the last key frame, which stands for the time up to `end` (s)."""
        if self._last is not None:
            self._write(self._last, max(end, self._last.time))
            self._last = None
        return self.key_frames

    def _write(self, frame: Frame, end: float) -> None:
        prediction = self.model.predict([frame.image])[0]
        shared = {"start": frame.time, "end": end, "frame": frame.index, "source": "scene"}
        shared["perspective"] = prediction.perspective
        first = self.sink.add_scores(
            prediction.labels,
            prediction.scores,
            prediction.low,
            prediction.high,
            space="va",
            method=self.model.card.name,
            **shared,
        )
        rows = [first + i for i in range(len(prediction.labels))]
        cues = colour_cues(colour_attributes(frame.image))[:MOST_CUES]
        rows += [
            self.sink.add(space="evidence", method="colours", label=name, score=strength, text=name, **shared)
            for name, strength in cues
        ]
        values = prediction.dimensions
        names = tuple(name for name, _ in cues)
        self.key_frames.append(KeyFrame(frame.time, end, values["valence"], values["arousal"], names, tuple(rows)))
