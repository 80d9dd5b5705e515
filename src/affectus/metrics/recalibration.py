"""Make scores into probabilities on held-out data: temperature scaling and isotonic regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, binary, class_ids, numbers, paired_numbers, same_length

# Inverse temperatures outside this range mean that the scores carry no, or perfect, information.
_SHARPEST, _FLATTEST = 100.0, 0.01


def softmax(logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities `(N, C)` of logits (or log-probabilities) `(N, C)` divided by `temperature` > 0."""
    values = _logits(logits)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    values = (values - values.max(axis=1, keepdims=True)) / temperature
    np.exp(values, out=values)
    return values / values.sum(axis=1, keepdims=True)


def sigmoid(logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
    """Independent probabilities of logits of any shape divided by `temperature` > 0."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    return 0.5 * (1 + np.tanh(numbers(logits, "logits") / (2 * temperature)))


def _logits(logits: npt.ArrayLike) -> Floats:
    values = numbers(logits, "logits")
    if values.ndim != 2:
        raise ValueError(f"logits must be (N, C), not {values.shape}")
    return values


def fit_temperature(truth: npt.ArrayLike, logits: npt.ArrayLike) -> float:
    """Temperature in [0.01, 100] that minimises the negative log-likelihood of held-out data (Guo et al. 2017).

    `truth` holds class numbers `(N,)` for a softmax over `logits` `(N, C)`, or zeros and ones of the same shape as the
    logits for independent sigmoids. The loss is convex in 1/T, so a bracketed Newton search finds the one minimum.
    """
    values = _logits(logits)
    if np.ndim(truth) == 2:
        labels = binary(truth)
        if labels.shape != values.shape:
            raise ValueError(f"truth {labels.shape} and logits {values.shape} must have the same shape")
        # A sigmoid is the softmax over (z, 0); class 0 is "happens".
        values = np.stack([values.ravel(), np.zeros(values.size)], axis=1)
        true = (1 - labels.ravel()).astype(np.int64)
    else:
        true = class_ids(truth, values.shape[1])
        same_length(true, values, ("truth", "logits"))
    values = values - values.max(axis=1, keepdims=True)
    target = values[np.arange(len(values)), true].mean()
    low, high, inverse = _FLATTEST, _SHARPEST, 1.0
    for _ in range(100):
        weights = np.exp(values * inverse)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = (weights * values).sum(axis=1)
        slope = float(mean.mean() - target)
        if slope > 0:
            high = inverse
        else:
            low = inverse
        curvature = float(((weights * values**2).sum(axis=1) - mean**2).mean())
        step = inverse - slope / curvature if curvature > 0 else -1.0
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= 1e-10 * inverse:
            break
        inverse = following
    return 1.0 / inverse


@dataclass(frozen=True)
class Isotonic:
    """A non-decreasing map from confidence to probability: knots `x` (increasing) and `y`, each `(K,)`."""

    x: Floats
    y: Floats

    def __call__(self, confidence: npt.ArrayLike) -> Floats:
        """Calibrated values, linear between knots and constant beyond them."""
        return np.interp(numbers(confidence, "confidence"), self.x, self.y)


def fit_isotonic(truth: npt.ArrayLike, confidence: npt.ArrayLike) -> Isotonic:
    """Non-decreasing least-squares fit of `truth` `(N,)` on `confidence` `(N,)` by pooling adjacent violators.

    With zeros and ones as truth the result is a calibrated probability. Rows of equal confidence share one value.
    """
    target, score = paired_numbers(truth, confidence, ("truth", "confidence"))
    x, index = np.unique(score, return_inverse=True)
    weight = np.bincount(index.reshape(-1)).astype(np.float64)
    mean = np.bincount(index.reshape(-1), target) / weight
    # Blocks on a stack: mean, weight and number of knots; a block merges with the one before while it lies lower.
    means: list[float] = []
    weights: list[float] = []
    lengths: list[int] = []
    for value, mass in zip(mean.tolist(), weight.tolist(), strict=True):
        length = 1
        while means and means[-1] >= value:
            earlier, earlier_mass = means.pop(), weights.pop()
            value = (earlier * earlier_mass + value * mass) / (earlier_mass + mass)
            mass += earlier_mass
            length += lengths.pop()
        means.append(value)
        weights.append(mass)
        lengths.append(length)
    return Isotonic(x, np.repeat(means, lengths))
