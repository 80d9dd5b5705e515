"""Exact Gaussian-process regression for a few hundred to a few thousand items.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006: chapter 2 (prediction, algorithm 2.1) and
section 5.4.1 (marginal likelihood). The kernel is a linear term plus a squared-exponential one over feature blocks, each
block with its own relevance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GaussianProcess(nn.Module):
    """One target. Features come as blocks (column ranges); every block has a learned length scale.

    k(x, z) = a² Σ_b w_b (x_b·z_b)/d_b + s² exp(-½ Σ_b |x_b - z_b|² / (d_b l_b²)),  noise variance n².
    """

    def __init__(self, blocks: list[int]) -> None:
        super().__init__()
        self.blocks = blocks
        self.log_length = nn.Parameter(torch.full((len(blocks),), math.log(1.5)))
        self.log_linear = nn.Parameter(torch.full((len(blocks),), math.log(0.3)))
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.6)))

    def weights(self) -> tuple[Tensor, Tensor]:
        """Per-column factors of the distance and of the linear term, each (d,)."""
        sizes = torch.tensor(self.blocks)
        distance = torch.exp(-2 * self.log_length) / sizes
        linear = torch.exp(2 * self.log_linear) / sizes
        return distance.repeat_interleave(sizes), linear.repeat_interleave(sizes)

    def kernel(self, x: Tensor, z: Tensor) -> Tensor:  # (n, d), (m, d) → (n, m)
        distance, linear = self.weights()
        root = distance.sqrt()
        a, b = x * root, z * root
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        return torch.exp(2 * self.log_scale - 0.5 * squared.clamp(min=0)) + (x * linear) @ z.T

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative log marginal likelihood per item of standardised targets y (n,)."""
        factor = torch.linalg.cholesky(self._noisy(x))
        alpha = torch.cholesky_solve(y[:, None], factor)[:, 0]
        value = 0.5 * (y @ alpha) + factor.diagonal().log().sum() + 0.5 * len(y) * math.log(2 * math.pi)
        return value / len(y)

    def _noisy(self, x: Tensor) -> Tensor:
        return self.kernel(x, x) + (torch.exp(2 * self.log_noise) + 1e-5) * torch.eye(len(x))

    def condition(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n,) and inverse covariance (n, n) that `predict` needs, for training items x (n, d), y (n,)."""
        inverse = torch.linalg.inv(self._noisy(x).double())
        return (inverse @ y.double()).float(), inverse.float()

    def predict(self, x: Tensor, known: Tensor, alpha: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (m,) of new observations (noise included) for x (m, d)."""
        cross = self.kernel(x, known)
        _, linear = self.weights()
        prior = torch.exp(2 * self.log_scale) + ((x**2) * linear).sum(1)
        explained = ((cross @ inverse) * cross).sum(1)
        variance = (prior - explained).clamp(min=1e-6) + torch.exp(2 * self.log_noise)
        return cross @ alpha, variance.sqrt()
