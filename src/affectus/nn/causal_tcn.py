"""Causal temporal convolutions (Bai, Kolter & Koltun, 2018): what comes out at a frame knows no later frame."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class CausalBlock(nn.Module):
    """Two dilated convolutions that look back alone, with a residual: (B, inputs, T) → (B, outputs, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.back = (kernel - 1) * dilation
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, kernel, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, kernel, dilation=dilation))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """One level."""
        found = x
        for conv in (self.conv1, self.conv2):
            found = self.dropout(functional.leaky_relu(conv(functional.pad(found, (self.back, 0)))))
        return functional.leaky_relu(found + self.skip(x))


class CausalTCN(nn.Module):
    """Streams (B, T, inputs) → (B, T, channels[-1]): one block per entry of `channels`, dilations 1, 2, 4, …, then
    batch normalisation. A frame sees 1 + 2 (kernel - 1)(1 + 2 + 4 + …) frames, itself the last."""

    def __init__(self, inputs: int, channels: Sequence[int], kernel: int = 5, dropout: float = 0.1) -> None:
        super().__init__()
        widths = [inputs, *channels]
        self.blocks = nn.Sequential(
            *(CausalBlock(a, b, kernel, 2**i, dropout) for i, (a, b) in enumerate(zip(widths, channels, strict=False)))
        )
        self.norm = nn.BatchNorm1d(widths[-1])
        self.width, self.reach = widths[-1], 1 + 2 * (kernel - 1) * (2 ** len(channels) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """One vector per frame."""
        return self.norm(self.blocks(x.transpose(1, 2))).transpose(1, 2)
