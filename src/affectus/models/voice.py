"""Vocal expression of stretches of speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affectus.errors import ModelError
from affectus.features.mel import log_mel_whisper
from affectus.models.face import derived_dimensions
from affectus.models.package import open_model
from affectus.types import Prediction

RATE = 16000


class VoiceModel:
    """Eight-class distribution over `ravdess8`, arousal, and valence derived from the distribution."""

    def __init__(self, folder: Path) -> None:
        self.card, self._session = open_model(folder)
        self._va = derived_dimensions(self.card.space, self.card.labels)
        self.shortest = float(self.card.inputs.get("min_seconds", 0.5))
        self.longest = float(self.card.inputs.get("max_seconds", 10.0))

    def prepare(self, audio: np.ndarray) -> np.ndarray:
        """Log-mel (80, frames) of float32 mono speech at 16 kHz; too short is padded with silence, too long is cut."""
        if audio.ndim != 1 or not len(audio):
            raise ModelError("speech", f"has shape {audio.shape}", "pass mono samples at 16 kHz")
        if not np.issubdtype(audio.dtype, np.floating):
            raise ModelError("speech", f"holds {audio.dtype}", "pass samples in [-1, 1] as float32")
        audio = np.nan_to_num(np.asarray(audio, np.float32), posinf=0.0, neginf=0.0)[: int(self.longest * RATE)]
        missing = int(self.shortest * RATE) - len(audio)
        return log_mel_whisper(np.pad(audio, (0, missing)) if missing > 0 else audio)

    def outputs(self, audio: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities and arousal (n, 9)."""
        rows = [self._session.run(None, {"mel": self.prepare(a)[None]})[0][0] for a in audio]
        return np.stack(rows) if rows else np.empty((0, len(self.card.labels) + 1), np.float32)

    def predict(self, audio: Sequence[np.ndarray]) -> list[Prediction]:
        """One prediction per stretch of speech."""
        outputs = self.outputs(audio)
        count = len(self.card.labels)
        valence = outputs[:, :count] @ self._va[:, 0]
        return [
            Prediction(
                self.card.space,
                self.card.labels,
                row[:count],
                self.card.perspective,
                dimensions={"valence": float(v), "arousal": float(row[count])},
            )
            for row, v in zip(outputs, valence, strict=True)
        ]
