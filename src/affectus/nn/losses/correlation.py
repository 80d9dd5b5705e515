"""Linear correlation as a loss, for scores whose scale does not matter (image quality)."""

from __future__ import annotations

from torch import Tensor


def pearson(outputs: Tensor, targets: Tensor, eps: float = 1e-8) -> Tensor:
    """Pearson's r of every column over the batch: two of (B, D) → (D,) in [-1, 1]; 0 where a column is constant."""
    p, y = outputs - outputs.mean(0), targets - targets.mean(0)
    return (p * y).sum(0) / ((p.square().sum(0) * y.square().sum(0)).clamp(min=0).add(eps**2).sqrt() + eps)


def pearson_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """(1 − mean r) / 2 over the columns of (B, D), in [0, 1]; rows with NaN targets do not count.

    Less than two rows, or targets that are all alike, have no correlation and give 0 without a gradient.
    """
    known = ~targets.isnan().any(1)
    p, y = outputs[known], targets[known]
    if len(y) < 2 or not bool((y.amax(0) > y.amin(0)).all()):
        return outputs.sum() * 0
    return (1 - pearson(p, y).mean()) / 2
