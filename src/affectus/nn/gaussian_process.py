"""Exact Gaussian-process regression for a few hundred to a few thousand items.

Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006: chapter 2 (prediction, algorithm 2.1) and
section 5.4.1 (marginal likelihood). The kernel is a linear term plus a squared-exponential one over feature blocks,
each block with its own relevance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def products(x: Tensor, z: Tensor, blocks: list[int]) -> tuple[Tensor, Tensor]:
    """Mean products and mean squared distances per block of columns: x (n, d), z (m, d) → two (blocks, n, m)."""
    inner, squared = [], []
    for a, b in zip(x.split(blocks, 1), z.split(blocks, 1), strict=True):
        size = a.shape[1]
        product = a @ b.T / size
        inner.append(product)
        squared.append((a**2).sum(1)[:, None] / size + (b**2).sum(1)[None] / size - 2 * product)
    return torch.stack(inner), torch.stack(squared).clamp(min=0)


class GaussianProcess(nn.Module):
    """One target; every block of feature columns has a learned length scale l_b and linear weight a_b.

    k(x, z) = Σ_b a_b² (x_b·z_b)/d_b + s² exp(-½ Σ_b |x_b - z_b|² / (d_b l_b²)), noise variance n²; the inputs of the
    methods are the `products` of two sets of items.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.log_length = nn.Parameter(torch.full((blocks,), math.log(1.5)))
        self.log_linear = nn.Parameter(torch.full((blocks,), math.log(0.3)))
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.6)))

    def kernel(self, inner: Tensor, squared: Tensor) -> Tensor:  # (blocks, n, m) twice → (n, m)
        linear = torch.einsum("b,bnm->nm", torch.exp(2 * self.log_linear), inner)
        distance = torch.einsum("b,bnm->nm", torch.exp(-2 * self.log_length), squared)
        return linear + torch.exp(2 * self.log_scale - 0.5 * distance)

    def covariance(self, inner: Tensor, squared: Tensor) -> Tensor:
        """Covariance (n, n) of noisy observations."""
        noise = torch.exp(2 * self.log_noise) + 1e-5
        return self.kernel(inner, squared) + noise * torch.eye(inner.shape[-1])

    def loss(self, inner: Tensor, squared: Tensor, y: Tensor) -> Tensor:
        """Negative log marginal likelihood per item of standardised targets y (n,)."""
        factor = torch.linalg.cholesky(self.covariance(inner, squared))
        alpha = torch.cholesky_solve(y[:, None], factor)[:, 0]
        value = 0.5 * (y @ alpha) + factor.diagonal().log().sum() + 0.5 * len(y) * math.log(2 * math.pi)
        return value / len(y)

    def condition(self, inner: Tensor, squared: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (n,) and inverse covariance (n, n) that `predict` needs, for the training items."""
        inverse = torch.linalg.inv(self.covariance(inner, squared).double())
        return (inverse @ y.double()).float(), inverse.float()

    def predict(
        self, inner: Tensor, squared: Tensor, own: Tensor, alpha: Tensor, inverse: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (m,) of new observations, noise included.

        `inner`, `squared` (blocks, m, n) relate new to training items; `own` (blocks, m) holds their mean squares.
        """
        cross = self.kernel(inner, squared)
        prior = torch.exp(2 * self.log_scale) + torch.einsum("b,bm->m", torch.exp(2 * self.log_linear), own)
        explained = ((cross @ inverse) * cross).sum(1)
        variance = (prior - explained).clamp(min=1e-6) + torch.exp(2 * self.log_noise)
        return cross @ alpha, variance.sqrt()
