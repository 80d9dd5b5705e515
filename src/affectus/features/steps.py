"""Content of an utterance laid on a fixed number of equal steps, so that modalities share their places in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from affectus.errors import ConfigError, MediaError
from affectus.features.mel import slaney_filters
from affectus.features.signal import mono

_RATE, _FFT = 16000, 1024


def on_steps(rows: np.ndarray, steps: int) -> np.ndarray:
    """Rows (T, …) at the middles of `steps` equal stretches: (steps, …); short utterances repeat rows.

    Raises MediaError for an empty utterance.
    """
    if not len(rows):
        raise MediaError("utterance", "is empty")
    return rows[((np.arange(steps) + 0.5) * len(rows) / steps).astype(np.int64)]


@dataclass(frozen=True)
class MelSteps:
    """Sound → mel spectrogram in dB below the loudest cell (at least -80), one row per step: (steps, bins)."""

    steps: int
    bins: int = 128

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        audio = mono(audio, _RATE)
        if not len(audio):
            raise MediaError("audio", "is empty")
        centres = (np.arange(self.steps) + 0.5) * len(audio) / self.steps
        padded = np.pad(audio, _FFT // 2)
        rows = padded[centres.astype(np.int64)[:, None] + np.arange(_FFT)]
        power = np.abs(np.fft.rfft(rows * np.hanning(_FFT).astype(np.float32))) ** 2
        mel = np.maximum(power @ slaney_filters(self.bins, _FFT, _RATE), 1e-10)
        return np.maximum(10 * np.log10(mel / mel.max()), -80.0).astype(np.float32)


@dataclass(frozen=True)
class UnitLandmarks:
    """Face points (T, 68 or 51, 2) → (steps, 51, 2): without the 17 points of the jaw, x and y each stretched to [0, 1]
    over the utterance."""

    steps: int

    def __call__(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, np.float32)
        if points.ndim != 3 or points.shape[1] not in (51, 68) or points.shape[2] != 2:
            raise MediaError("landmarks", f"have shape {points.shape}; (frames, 68 or 51, 2) is needed")
        rows = on_steps(points[:, -51:], self.steps)
        low = points[:, -51:].min((0, 1))
        reach = points[:, -51:].max((0, 1)) - low
        return (rows - low) / np.where(reach > 0, reach, 1)


@dataclass(frozen=True)
class WordSteps:
    """Text → vectors of its words spread over the steps: (steps, size); words without a vector are zeros.

    `path` is a text file of word vectors (GloVe's format). Raises ConfigError without one.
    """

    steps: int
    size: int = 300
    path: str = ""

    def __call__(self, text: str) -> np.ndarray:
        words = [word.strip(".,;:!?\"'()[]").lower() for word in text.split()]
        known = word_vectors(self.path, self.size)
        blank = np.zeros(self.size, np.float32)
        return on_steps(np.stack([known.get(word, blank) for word in words] or [blank]), self.steps)


@lru_cache(maxsize=2)
def word_vectors(path: str, size: int) -> dict[str, np.ndarray]:
    """Vectors by word from lines `word v1 … vn`; raises ConfigError naming a line that does not fit."""
    if not path or not Path(path).is_file():
        raise ConfigError(
            path or "word_vectors", "is no file of word vectors", "name one (such as GloVe's) in the config"
        )
    found = {}
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            word, _, rest = line.rstrip("\n").partition(" ")
            vector = np.array(rest.split(), np.float32) if rest else np.zeros(0, np.float32)
            if len(vector) != size:
                raise ConfigError(f"{path}, line {number}", f"holds {len(vector)} numbers, {size} are needed")
            found[word] = vector
    return found
