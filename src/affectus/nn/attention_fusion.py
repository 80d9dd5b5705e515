"""Fusion of two feature maps by a gate that looks at the whole map and at every place of it.

Dai et al., "Attentional feature fusion", WACV 2021; the selective form with two inputs and complementary weights is
that of Ma, Sun & Li, "Facial expression recognition with visual transformers and attentional selective fusion", 2021.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError

#: What the gate sees: the pooled map, every place, or both.
Scope = Literal["both", "global", "local"]


class SelectiveFusion(nn.Module):
    """Two maps (B, C, H, W) → one: `gate · first + (1 − gate) · second`.

    The maps are mixed by one 1×1 convolution each; the gate is σ(G + L) with G from the pooled mix (B, C, 1, 1) and L
    from the mix itself (B, `local_channels`, H, W). `sigmoid` "double" squashes G and L once more before they are
    added, which keeps the gate within (0.5, 0.88). `norm` "layer" learns from batches of one, "batch" cannot.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 8,
        scope: Scope = "both",
        sigmoid: Literal["single", "double"] = "single",
        local_channels: int = 1,
        norm: Literal["batch", "layer"] = "batch",
    ) -> None:
        super().__init__()
        if local_channels not in (1, channels):
            raise ConfigError("fusion", f"{local_channels} local channels fit neither 1 nor {channels}")
        self.sigmoid, self.norm = sigmoid, norm
        self.first = nn.Conv2d(channels, channels, 1)
        self.second = nn.Conv2d(channels, channels, 1)
        narrow = max(2, channels // reduction)  # layer norm of one pooled channel would erase it
        self.whole = _squeeze(channels, narrow, channels, norm) if scope != "local" else None
        self.place = _squeeze(channels, narrow, local_channels, norm) if scope != "global" else None

    def gate(self, first: Tensor, second: Tensor) -> Tensor:
        """Weight of the first map, in (0, 1), broadcastable to (B, C, H, W)."""
        if self.training and self.norm == "batch" and len(first) == 1 and self.whole is not None:
            raise ConfigError(
                "batch",
                "holds one item, which batch norm of pooled maps cannot learn from",
                'use more, or norm="layer"',
            )
        mixed = self.first(first) + self.second(second)
        parts: list[Tensor] = []
        if self.whole is not None:
            parts.append(self.whole(mixed.mean((2, 3), keepdim=True)))
        if self.place is not None:
            parts.append(self.place(mixed))
        if self.sigmoid == "double":
            parts = [part.sigmoid() for part in parts]
        return sum(parts[1:], parts[0]).sigmoid()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:  # two of (B, C, H, W) → (B, C, H, W)
        """The fused map, between the two at every value."""
        return torch.lerp(second, first, self.gate(first, second))


def _squeeze(channels: int, narrow: int, outputs: int, norm: str) -> nn.Sequential:
    def normed(width: int) -> nn.Module:
        return nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(1, width)

    return nn.Sequential(
        nn.Conv2d(channels, narrow, 1),
        normed(narrow),
        nn.ReLU(),
        nn.Conv2d(narrow, outputs, 1),
        normed(outputs) if norm == "batch" or outputs > 1 else nn.Identity(),
    )
