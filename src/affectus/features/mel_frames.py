"""Sound as a sequence of log-mel frames, for audio encoders of Whisper's kind inside larger models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from affectus.errors import MediaError
from affectus.features.inputs import InputSpec
from affectus.features.mel import log_mel_whisper


@dataclass(frozen=True)
class MelFrames(InputSpec):
    """The first `seconds` of a sound, a shorter one followed by silence: float32 mono at 16 kHz → (100 * seconds,
    bins)."""

    seconds: float = 10.0
    bins: int = 128

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, bins)."""
        return (round(100 * self.seconds), self.bins)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        if not len(raw):
            raise MediaError("sound", "holds no sample")
        length = 160 * self.shape[0]
        samples = np.pad(raw[:length], (0, max(0, length - len(raw)))).astype(np.float32)
        return np.ascontiguousarray(log_mel_whisper(samples, bins=self.bins).T)
