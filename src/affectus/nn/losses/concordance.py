"""Concordance correlation as a loss (Lin, "A concordance correlation coefficient …", Biometrics 1989)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor


def concordance(
    outputs: Tensor, targets: Tensor, form: Literal["population", "mixed"] = "population", eps: float = 0.0
) -> Tensor:
    """CCC of every column over the batch: two of (B, D) → (D,) in [-1, 1].

    `form` "population" divides covariance and variances alike by B; "mixed" divides the covariance by B and the
    variances by B − 1, as several published codes do, so that a perfect prediction gives (B − 1)/B. `eps` is added
    to the denominator (constant series are 0/0 without it).
    """
    gap = outputs.mean(0) - targets.mean(0)
    covariance = ((outputs - outputs.mean(0)) * (targets - targets.mean(0))).mean(0)
    unbiased = form == "mixed"
    spread = outputs.var(0, unbiased=unbiased) + targets.var(0, unbiased=unbiased)
    return 2 * covariance / (spread + gap**2 + eps)


def concordance_loss(outputs: Tensor, targets: Tensor, form: Literal["population", "mixed"] = "population") -> Tensor:
    """1 − mean CCC over the columns, in double precision; rows with NaN targets do not count.

    Fewer than two rows with targets have no concordance and give 0.
    """
    known = ~targets.isnan().any(1)
    if int(known.sum()) < 2:
        return outputs.sum().double() * 0
    eps = 0.0 if form == "mixed" else 1e-12
    return 1 - concordance(outputs[known].double(), targets[known].double(), form, eps).mean()


def balanced_weights(counts: Tensor) -> Tensor:
    """Class weights n_min / n_c from class counts (C,): 1 for the rarest class."""
    return counts.min() / counts
