"""Losses that hold codes together or apart: central moments, correlation between subspaces (MISA, 2020), and how far
codes are from a standard normal (MFM, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def moment_distance(first: Tensor, second: Tensor, moments: int = 5) -> Tensor:
    """Central moment discrepancy of two sets of codes (B, D), (M, D): distance of their means plus those of their
    central moments 2 … `moments` (Zellinger et al., ICLR 2017). 0 for equal sets."""
    means = first.mean(0), second.mean(0)
    found = _length(means[0] - means[1])
    a, b = first - means[0], second - means[1]
    for order in range(2, moments + 1):
        found = found + _length(a.pow(order).mean(0) - b.pow(order).mean(0))
    return found


def _length(x: Tensor) -> Tensor:
    return (x.square().sum() + 1e-12).sqrt()  # the root of exactly 0 has no slope


def squared_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Mean of (AᵀB)² of codes (B, D), centred over the batch and scaled to length 1 per item: 0 when they share no
    direction (Bousmalis et al., 2016)."""

    def unit(x: Tensor) -> Tensor:
        x = x - x.mean(0)
        return x / (x.norm(dim=1, keepdim=True).detach() + 1e-6)

    return (unit(first).T @ unit(second)).square().mean()


def distance_to_normal(codes: Tensor, kept: Tensor | None = None) -> Tensor:
    """Squared maximum mean discrepancy of codes (B, D), those of the rows `kept` (B,), from a standard normal.

    Kernel exp(-|x - y|² / (2 D)). What the normal adds is its exact mean, so that nothing is drawn: for x it is
    (D / (D + 1))^(D / 2) · exp(-|x|² / (2 (D + 1))). 0 when no row is kept (Gretton et al., 2012).
    """
    rows = codes if kept is None else codes[kept]
    if not len(rows):
        return codes.sum() * 0
    size = rows.shape[1]
    among = (-(rows[:, None] - rows).square().sum(-1) / (2 * size)).exp().mean()
    across = (size / (size + 1)) ** (size / 2) * (-rows.square().sum(-1) / (2 * (size + 1))).exp().mean()
    return among - 2 * across + (size / (size + 2)) ** (size / 2)


def mean_squares(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean over pairs of the mean squared difference."""
    return torch.stack([(a - b).square().mean() for a, b in pairs]).mean()
