"""Graph convolution, and graphs over labels built from how labels go together.

Kipf & Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017; label graphs after Chen
et al., "Multi-label image recognition with graph convolutional networks", CVPR 2019, and Antoniadis et al., "Exploiting
emotional dependencies with graph convolutional networks for facial expression recognition", FG 2021.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError


class GraphConvolution(nn.Module):
    """`adjacency @ nodes @ weight`: nodes (N, inputs) → (N, outputs); `weight` is stored as (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(outputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """One step along the edges: row r of the result mixes the nodes by row r of `adjacency` (N, N)."""
        return adjacency @ (nodes @ self.weight)


def label_correlation(labels: np.ndarray, values: np.ndarray, classes: int) -> np.ndarray:
    """Spearman's ρ among one-hot classes and dimensions: float64 (classes + D, classes + D), ties by mean rank.

    `labels` (n,) are class numbers, `values` (n, D) the dimensions. Columns without spread correlate with nothing
    (ρ = 0) but themselves. Raises ConfigError for lengths that differ, NaN, labels outside and fewer than two rows.
    """
    labels, values = np.asarray(labels), np.asarray(values, np.float64)
    if values.ndim != 2 or len(labels) != len(values) or len(labels) < 2:
        raise ConfigError("labels", f"{len(labels)} labels and values {values.shape} do not go together")
    if np.isnan(values).any() or labels.min() < 0 or labels.max() >= classes:
        raise ConfigError("labels", f"hold NaN, or classes outside 0…{classes - 1}", "leave out rows without a target")
    ranks = np.column_stack([_ranks(column) for column in (*np.eye(classes)[labels].T, *values.T)])
    centred = ranks - ranks.mean(0)
    spread = np.sqrt((centred**2).sum(0))
    safe = np.where(spread > 0, spread, 1.0)
    rho = (centred.T @ centred) / np.outer(safe, safe)
    np.fill_diagonal(rho, 1.0)
    return rho


def label_graph(correlation: np.ndarray, classes: int, threshold: float = 0.1, share: float = 0.5) -> np.ndarray:
    """Adjacency of a label graph, float64 (N, N) with rows that sum to 1.

    |ρ| ≥ `threshold` makes a neighbour, except between two of the first `classes` nodes; a row gives `share` to its
    neighbours in equal parts and the rest to itself, a row without neighbours everything to itself.
    """
    links = np.abs(np.asarray(correlation, np.float64)) >= threshold
    links[:classes, :classes] = False
    np.fill_diagonal(links, False)
    count = links.sum(1)
    weights = links * (share / np.maximum(count, 1))[:, None]
    np.fill_diagonal(weights, np.where(count > 0, 1 - share, 1.0))
    return weights


def propagation(adjacency: Tensor) -> Tensor:
    """(A D)ᵀ D with D = diag(row sums)^-½, as published; for rows that sum to 1 it is the transpose of A."""
    scale = torch.diag(adjacency.sum(1).pow(-0.5))
    return (adjacency @ scale).t() @ scale


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[place]
