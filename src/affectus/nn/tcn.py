"""Temporal convolutions in the style of Conv-TasNet (Luo & Mesgarani, TASLP 2019), averaged over time.

Parameter names are those of the public code of Franceschini et al., ICPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalNorm(nn.Module):
    """Normalisation over channels and time together, gain and bias per channel: (B, C, T) → same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance per item."""
        mean = x.mean((1, 2), keepdim=True)
        variance = (x - mean).pow(2).mean((1, 2), keepdim=True)
        return self.gamma[:, None] * ((x - mean) / (variance + 1e-8).sqrt()) + self.beta[:, None]


class ConvBlock(nn.Module):
    """1×1 up, depthwise dilated, 1×1 down: (B, channels, T) → same."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.shared_block = nn.Sequential(
            nn.Conv1d(channels, hidden, 1),
            nn.PReLU(),
            GlobalNorm(hidden),
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden),
            nn.PReLU(),
            GlobalNorm(hidden),
        )
        self.res_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the input."""
        return self.res_conv(self.shared_block(x))


class TCN(nn.Module):
    """Sequence (B, T, inputs) of any length → (B, outputs)."""

    def __init__(
        self, inputs: int, outputs: int, channels: int = 64, hidden: int = 128, blocks: int = 5, repeats: int = 2
    ) -> None:
        super().__init__()
        self.bottleneck = nn.Sequential(GlobalNorm(inputs), nn.Conv1d(inputs, channels, 1))
        self.TCN = nn.ModuleList(ConvBlock(channels, hidden, 2**i) for _ in range(repeats) for i in range(blocks))
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Sequential(nn.PReLU(), nn.Linear(channels, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Residual blocks, mean over time, linear."""
        x = self.dropout(self.bottleneck(x.transpose(1, 2)))
        for block in self.TCN:
            x = x + self.dropout(block(x))
        return self.out(x.mean(-1))
