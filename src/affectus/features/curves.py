"""Curves over time: bins of a rating, scaling, and the smoothing that turns steps into a continuous trace.

The chain of `continuous` is that of Thao, Herremans & Roig, "Multimodal deep models for predicting affective responses
evoked by movies", ICCV-W 2019, as in their public code: low-pass, moving average, rescaling, median.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from affectus.errors import ConfigError

#: Number of equal bins of [-1, 1].
BINS = 7


def bin_of(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin 0 … bins - 1 of values in [-1, 1], int64 of the same shape; 1 belongs to the last bin.

    Raises ConfigError for values outside of [-1, 1].
    """
    values = np.asarray(values, np.float64)
    if values.size and not (np.abs(values) <= 1 + 1e-6).all():
        raise ConfigError("ratings", "reach beyond [-1, 1] or are missing", "map them to [-1, 1] first")
    return np.clip(np.floor((values + 1) * (bins / 2)), 0, bins - 1).astype(np.int64)


def centre_of(classes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Centre of a bin in [-1, 1], float64; also of fractions between bins (means over bins)."""
    return (2 * np.asarray(classes, np.float64) + 1) / bins - 1


def min_max(features: np.ndarray) -> np.ndarray:
    """Every column of (steps, size) stretched to [0, 1] over the steps, float32; a constant column becomes 0."""
    features = np.asarray(features, np.float32)
    low = features.min(0)
    spread = features.max(0) - low
    return (features - low) / np.where(spread > 0, spread, 1)


def segment_means(features: np.ndarray, segments: int) -> np.ndarray:
    """Means of `segments` equal stretches of (steps, size): float32 (segments, size); stretches overlap by a step when
    there are fewer steps than segments. Raises ConfigError for no step."""
    count = len(features)
    if not count:
        raise ConfigError("features", "hold no step", "give a longer recording")
    edges = np.linspace(0, count, segments + 1)
    spans = [(min(int(a), count - 1), max(int(np.ceil(b)), int(a) + 1)) for a, b in pairwise(edges)]
    return np.stack([features[a:b].mean(0) for a, b in spans]).astype(np.float32)


def low_pass(curve: np.ndarray, cutoff: float = 3.667, rate: float = 30.0, order: int = 6) -> np.ndarray:
    """Butterworth low-pass in one forward pass from rest: (steps,) float64. Needs SciPy."""
    from scipy.signal import butter, lfilter

    b, a = butter(order, cutoff / (rate / 2), btype="low")
    return lfilter(b, a, np.asarray(curve, np.float64))


def moving_average(curve: np.ndarray, window: int) -> np.ndarray:
    """Mean over `window` (odd) steps around each; the half windows at both ends hold the mean of the first and last
    whole window. A window longer than the curve is cut to the longest odd one that fits."""
    curve = np.asarray(curve, np.float64)
    window = min(window, len(curve) - 1 + len(curve) % 2)
    if window < 2:
        return curve.copy()
    if window % 2 == 0:
        raise ConfigError("window", f"{window} is even", "give an odd number of steps")
    middle = np.convolve(curve, np.full(window, 1 / window), "valid")
    return np.pad(middle, window // 2, mode="edge")


def median3(curve: np.ndarray) -> np.ndarray:
    """Median of each step and its two neighbours; zeros lie beyond the ends."""
    padded = np.pad(np.asarray(curve, np.float64), 1)
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), 0)


def continuous(classes: np.ndarray, window: int) -> np.ndarray:
    """Predicted bins (steps,) → smooth trace (steps,) in about [-1, 1]: low-pass, moving average, (c - 3) / 3, median.

    Bin 6 becomes 1 here although its centre is 6/7; compare with truths after `median3` only.
    """
    half = (BINS - 1) / 2
    return median3((moving_average(low_pass(classes), window) - half) / half)
