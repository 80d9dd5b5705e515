"""Scores of any label space as a posterior over the seven labels in which modalities and turns are compared."""

from __future__ import annotations

import numpy as np

from affectus.labels import map_between, space

SPACE = "ekman7"
LABELS: tuple[str, ...] = space(SPACE).labels
NEUTRAL = LABELS.index("neutral")


def to_common(space_name: str, probabilities: np.ndarray) -> np.ndarray:
    """Scores (…, n) of a label space as posteriors over `LABELS` (…, 7) that sum to one.

    Raises LabelError when the space cannot be mapped. Scores without any mass become uniform.
    """
    found = map_between(space_name, SPACE)
    scores = np.clip(np.asarray(probabilities, np.float64), 0.0, 1.0)
    mapped = found.apply(scores, "any" if space(space_name).multi_label else "sum")
    return normalised(mapped)


def normalised(values: np.ndarray) -> np.ndarray:
    """Non-negative values (…, k) scaled to sum to one along the last axis; uniform where they are all zero."""
    total = values.sum(axis=-1, keepdims=True)
    return np.where(total > 0, values / np.where(total > 0, total, 1.0), 1.0 / values.shape[-1])


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits (…), 0 (equal) … 1 (nothing in common), of distributions (…, k)."""
    middle = (p + q) / 2
    bits = np.zeros(np.broadcast_shapes(p.shape, q.shape)[:-1])
    for side in (p, q):
        ratio = np.divide(side, middle, out=np.ones_like(middle), where=side > 0)
        bits = bits + 0.5 * (side * np.log2(ratio)).sum(axis=-1)
    return np.clip(bits, 0.0, 1.0)
