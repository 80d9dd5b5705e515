"""Mixtures of adapters: a noisy top-k router per token, small experts, and the loss that spreads tokens over them.

After Shazeer et al. 2017 (arXiv 1701.06538, noisy top-k gating) and Fedus et al. 2021 (arXiv 2101.03961, capacity and
balance loss). Evaluation is deterministic: no noise, no capacity, so an item never depends on its batch mates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, one_hot, softplus

from affectus.errors import ConfigError
from affectus.nn.vit import Block

Parity = Literal["correct", "published"]


class Adapter(nn.Module):
    """Bottleneck (…, width) → (…, width): linear down, erf GELU, linear up; no residual inside."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(x)))


@dataclass(frozen=True)
class Routing:
    """Where tokens go: `weights` (tokens, experts) sum to one over the chosen experts and are zero elsewhere, `chosen`
    (tokens, experts) says which, `logits` (tokens, experts) are the scores that were ranked, noise included."""

    weights: Tensor
    chosen: Tensor
    logits: Tensor


class NoisyTopKRouter(nn.Module):
    """Chooses `k` experts per token by g + softplus(n) · ε, ε ~ N(0, 1); softmax over the chosen ones.

    Noise is drawn in training only; `always_noisy` draws it in evaluation too, as some published code does.
    """

    def __init__(self, width: int, experts: int, k: int, always_noisy: bool = False) -> None:
        super().__init__()
        if not 1 <= k <= experts:
            raise ConfigError("router", f"cannot choose {k} of {experts} experts", "1 ≤ k ≤ experts")
        self.k, self.always_noisy = k, always_noisy
        self.score = nn.Linear(width, experts)
        self.noise = nn.Linear(width, experts)

    def forward(self, tokens: Tensor) -> Routing:
        """`tokens` (tokens, width) → `Routing`."""
        logits = self.score(tokens)
        if self.training or self.always_noisy:
            spread = softplus(self.noise(tokens))
            logits = logits + torch.randn_like(logits) * spread
        best, places = logits.topk(self.k, dim=-1)
        kept = torch.full_like(logits, float("-inf")).scatter(-1, places, best)
        chosen = one_hot(places, logits.shape[-1]).sum(-2).bool()
        return Routing(kept.softmax(-1), chosen, logits)


class MixtureOfAdapters(nn.Module):
    """Sum of the chosen adapters' outputs, weighted by the router; returns it with the balance loss.

    In training an expert takes at most `capacity · tokens · k / experts` tokens, first come first served; those beyond
    get nothing from it (infinite capacity: None). `parity="published"` keeps noise and capacity in evaluation and
    takes raw logits in the balance loss.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        experts: int = 8,
        k: int = 2,
        capacity: float | None = 1.0,
        parity: Parity = "correct",
    ) -> None:
        super().__init__()
        self.router = NoisyTopKRouter(width, experts, k, always_noisy=parity == "published")
        self.experts = nn.ModuleList(Adapter(width, hidden) for _ in range(experts))
        self.capacity, self.parity = capacity, parity

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`x` (…, width) → mixture (…, width) and balance loss (scalar)."""
        tokens = x.reshape(-1, x.shape[-1])
        routing = self.router(tokens)
        limit = self._limit(len(tokens))
        mixed = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            rows = routing.chosen[:, number].nonzero().squeeze(-1)[:limit]
            part = expert(tokens[rows]) * routing.weights[rows, number, None]
            mixed.index_add_(0, rows, part.to(mixed.dtype))
        return mixed.view_as(x), self._balance(routing)

    def _limit(self, tokens: int) -> int | None:
        if self.capacity is None or not (self.training or self.parity == "published"):
            return None
        return int(tokens * self.router.k / len(self.experts) * self.capacity)

    def _balance(self, routing: Routing) -> Tensor:
        if self.parity == "published":
            return balance_loss(routing.logits, routing.chosen)
        return balance_loss(routing.logits.softmax(-1), routing.chosen)


class ExpertBlock(Block):
    """A transformer block whose second branch is MLP + mixture, both of the same normalised tokens (S4D, 2024)."""

    def __init__(self, width: int, heads: int, mixture: MixtureOfAdapters, drop_path: float = 0.0) -> None:
        super().__init__(width, heads, drop_path=drop_path)
        self.mixture = mixture

    def feed(self, x: Tensor) -> Tensor:
        return self.mlp(x) + self.mixture(x)[0]

    def routed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, width) → same, and the balance loss of its router."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        y = self.norm2(x)
        extra, balance = self.mixture(y)
        return x + self.drop_path(self.mlp(y) + extra), balance


def balance_loss(scores: Tensor, chosen: Tensor) -> Tensor:
    """E² · mean over experts of (share of tokens that chose it) · (mean score of it).

    `scores` (tokens, experts) are router probabilities; `chosen` (tokens, experts) is boolean. Equals k when both are
    uniform and E for tokens that crowd on one expert (k = 1). With raw logits as scores it has no lower bound.
    """
    experts = scores.shape[-1]
    return experts**2 * (chosen.to(scores.dtype).mean(0) * scores.mean(0)).mean()
