"""Losses that hold codes together or apart: central moments, and correlation between subspaces (MISA, 2020)."""

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


def mean_squares(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean over pairs of the mean squared difference."""
    return torch.stack([(a - b).square().mean() for a, b in pairs]).mean()
