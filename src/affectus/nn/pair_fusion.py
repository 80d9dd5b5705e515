"""Two vectors into one: how a picture's whole and the person in it are joined (UniEmoX, 2024).

All take two (B, width) and give (B, width); they differ in how the first, the context, is changed by the second.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError

FusionKind = Literal["sum", "modulated", "weighted", "attention", "gated"]


class SumFusion(nn.Module):
    """ELU(Linear(LN(a) + LN(b))) with one shared norm: the published default."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.bn = nn.LayerNorm(width)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return functional.elu(self.linear(self.bn(a) + self.bn(b)))


class ModulatedFusion(nn.Module):
    """Linear(λ ⊙ a + b) with a learnt λ (width,): the paper's figure, where the person modulates the scene."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.linear = nn.Linear(width, width)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.linear(self.scale * a + b)


class WeightedFusion(nn.Module):
    """LN(Σ over heads of (α_h ⊙ a + β_h ⊙ b)) + bias."""

    def __init__(self, width: int, heads: int = 3) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.randn(heads, 1, width))
        self.beta = nn.Parameter(torch.randn(heads, 1, width))
        self.layer_norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.full((1, width), 1e-5))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.layer_norm((self.alpha * a + self.beta * b).sum(0)) + self.bias


class AttentionFusion(nn.Module):
    """SiLU(Σ over heads of the two vectors, weighted by a softmax over their two scores) + bias.

    The public code takes the softmax over an axis of one, so that every weight is 1 (`parity="published"`).
    """

    def __init__(self, width: int, heads: int = 3, parity: Literal["correct", "published"] = "correct") -> None:
        super().__init__()
        self.W_a = nn.ModuleList(nn.Linear(width, 1) for _ in range(heads))
        self.W_b = nn.ModuleList(nn.Linear(width, 1) for _ in range(heads))
        self.bias = nn.Parameter(torch.full((1, width), 1e-5))
        self.parity = parity

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        mixed = torch.zeros_like(a)
        for of_a, of_b in zip(self.W_a, self.W_b, strict=True):
            weights = torch.cat([of_a(a), of_b(b)], -1)  # (B, 2)
            weights = torch.ones_like(weights) if self.parity == "published" else weights.softmax(-1)
            mixed = mixed + weights[:, :1] * a + weights[:, 1:] * b
        return functional.silu(mixed) + self.bias


class GatedFusion(nn.Module):
    """Per head softmax(W_a a) ⊙ a + softmax(W_b b) ⊙ b over channels; heads side by side → MLP → ReLU(m ⊙ σ(gate m))
    + bias."""

    def __init__(self, width: int, heads: int = 3) -> None:
        super().__init__()
        self.W_a = nn.ModuleList(nn.Linear(width, width) for _ in range(heads))
        self.W_b = nn.ModuleList(nn.Linear(width, width) for _ in range(heads))
        self.mlp = nn.Sequential(nn.Linear(width * heads, width), nn.ReLU(), nn.Linear(width, width))
        self.gate = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.full((1, width), 1e-5))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        parts = [
            of_a(a).softmax(-1) * a + of_b(b).softmax(-1) * b for of_a, of_b in zip(self.W_a, self.W_b, strict=True)
        ]
        mixed = self.mlp(torch.cat(parts, -1))
        return torch.relu(mixed * self.gate(mixed).sigmoid()) + self.bias


def build_fusion(kind: FusionKind, width: int, parity: Literal["correct", "published"] = "correct") -> nn.Module:
    """The fusion of that name; its parameter names are those of the public code. Raises ConfigError."""
    match kind:
        case "sum":
            return SumFusion(width)
        case "modulated":
            return ModulatedFusion(width)
        case "weighted":
            return WeightedFusion(width)
        case "attention":
            return AttentionFusion(width, parity=parity)
        case "gated":
            return GatedFusion(width)
    raise ConfigError(f"fusion {kind!r}", "is not known", "choose sum, modulated, weighted, attention or gated")
