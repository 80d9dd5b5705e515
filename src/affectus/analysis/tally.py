"""Running sums of one modality's scores within one window, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from affectus.analysis.fusion import LABELS


@dataclass
class Tally:
    """Weighted sums of posteriors (7,) over `ekman7` and of valence and arousal.

    `coverage` is the time (s) or number of samples the entries stand for, `quality` their weighted mean quality.
    """

    weight: float = 0.0
    count: int = 0
    coverage: float = 0.0
    _sum: np.ndarray = field(default_factory=lambda: np.zeros(len(LABELS)))
    _square: np.ndarray = field(default_factory=lambda: np.zeros(len(LABELS)))
    _affect: np.ndarray = field(default_factory=lambda: np.zeros(2))
    _affect_square: np.ndarray = field(default_factory=lambda: np.zeros(2))
    _quality: float = 0.0

    def add(
        self,
        probabilities: np.ndarray,
        affect: tuple[float, float],
        weight: float = 1.0,
        quality: float = 1.0,
        coverage: float = 1.0,
    ) -> None:
        """Take one score: posterior (7,), valence and arousal, and how much it counts."""
        weight = max(weight, 1e-6)
        values = np.nan_to_num(np.asarray(affect, np.float64))
        self.weight += weight
        self.count += 1
        self.coverage += coverage
        self._quality += weight * quality
        self._sum += weight * probabilities
        self._square += weight * np.square(probabilities)
        self._affect += weight * values
        self._affect_square += weight * np.square(values)

    @property
    def probabilities(self) -> np.ndarray:
        """Weighted mean posterior (7,)."""
        return self._sum / self.weight

    @property
    def spread(self) -> np.ndarray:
        """Standard error (7,) of the mean posterior from the spread of the entries."""
        variance = np.maximum(self._square / self.weight - np.square(self.probabilities), 0)
        return np.sqrt(variance / self.count)

    @property
    def affect(self) -> tuple[float, float]:
        """Weighted mean valence and arousal."""
        mean = self._affect / self.weight
        return float(mean[0]), float(mean[1])

    @property
    def affect_spread(self) -> tuple[float, float]:
        """Standard errors of valence and arousal."""
        mean = self._affect / self.weight
        deviation = np.sqrt(np.maximum(self._affect_square / self.weight - np.square(mean), 0) / self.count)
        return float(deviation[0]), float(deviation[1])

    @property
    def quality(self) -> float:
        """Weighted mean quality of the entries, in [0, 1]."""
        return self._quality / self.weight
