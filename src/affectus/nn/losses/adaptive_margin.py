"""Triplet loss whose margin adapts to the triplet, with the variance and covariance terms of VICReg.

Chudasama et al., "M2FNet", CVPR-W 2022, section 3.2; Bardes et al., "VICReg", ICLR 2022.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from affectus.errors import ConfigError


def adaptive_margin(positive: Tensor, negative: Tensor) -> Tensor:
    """Margin of distances anchor–positive and anchor–negative: `1 + 2 / exp(4 p)` plus `1 + 2 / exp(4 - 4 n)`."""
    return 2 + 2 * torch.exp(-4 * positive) + 2 * torch.exp(4 * negative - 4)


def adaptive_triplet(positive: Tensor, negative: Tensor, other: Tensor, detach: bool = True) -> Tensor:
    """Loss of each triplet from its distances anchor–positive, anchor–negative and positive–negative, same shape.

    The margin is a constant for the gradient: otherwise the optimum puts negatives nearer than positives, because the
    margin's own slope outweighs the distances (`detach=False` shows it). Not below 0.
    """
    margin = adaptive_margin(positive, negative)
    return torch.relu(positive - (negative + other) / 2 + (margin.detach() if detach else margin))


def variance_term(x: Tensor) -> Tensor:
    """Mean over dimensions of how far the standard deviation over the batch (B, D) falls short of 1."""
    if len(x) < 2:
        return x.sum() * 0
    return torch.relu(1 - torch.sqrt(x.var(0) + 1e-6)).mean()


def covariance_term(x: Tensor) -> Tensor:
    """Sum of squared covariances between different dimensions of a batch (B, D), over D."""
    if len(x) < 2:
        return x.sum() * 0
    centred = x - x.mean(0)
    covariance = centred.T @ centred / (len(x) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / x.shape[1]


def triplets(distances: Tensor, labels: Tensor, mining: Literal["hard", "random"] = "hard") -> tuple[Tensor, ...]:
    """Rows of anchors, positives and negatives (T,) in a batch with distances (B, B) and labels (B,).

    Every item that has both in the batch is an anchor once, with its farthest positive and nearest negative ("hard"),
    or one of each at random. Raises ConfigError.
    """
    if mining not in ("hard", "random"):
        raise ConfigError(mining, "is no way to choose triplets", "use hard or random")
    same = labels[:, None] == labels[None]
    alike = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    key = distances.detach() if mining == "hard" else torch.rand_like(distances)
    positive = key.masked_fill(~alike, -torch.inf).argmax(1)
    negative = key.masked_fill(same, torch.inf).argmin(1)
    anchors = torch.nonzero(alike.any(1) & (~same).any(1)).flatten()
    return anchors, positive[anchors], negative[anchors]


def margin_losses(
    embedding: Tensor, projection: Tensor, labels: Tensor, mining: Literal["hard", "random"] = "hard"
) -> dict[str, Tensor]:
    """`triplet`, `covariance` and `variance` of a batch: embeddings (B, D) of length 1, the same before they were
    scaled, and labels (B,).

    The triplet part is `positive - (negative + other) / 2 + 2`, which has the gradient of `adaptive_triplet`: on the
    unit sphere its hinge never closes, and the growth of the margin would hide what is learnt. The other two are summed
    over anchors, positives and negatives. All are 0 when no item has both a positive and a negative in the batch.
    """
    distances = torch.sqrt((2 - 2 * embedding @ embedding.T).clamp(min=1e-8))
    a, p, n = triplets(distances, labels, mining)
    if not len(a):
        return dict.fromkeys(("triplet", "covariance", "variance"), embedding.sum() * 0 + projection.sum() * 0)
    parts = [projection[rows] for rows in (a, p, n)]
    return {
        "triplet": (distances[a, p] - (distances[a, n] + distances[p, n]) / 2 + 2).mean(),
        "covariance": torch.stack([covariance_term(part) for part in parts]).sum(),
        "variance": torch.stack([variance_term(part) for part in parts]).sum(),
    }
