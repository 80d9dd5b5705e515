"""The lower part of a Whisper speech encoder as a feature extractor.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022. Early blocks keep how something is
said; late ones keep what is said. Input: log-mel as in `features.log_mel_whisper`, of any length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


def sinusoids(length: int, width: int, longest: float = 10_000.0) -> Tensor:
    """Fixed position table (length, width): sines first, then cosines (section 2.2 of the paper)."""
    step = math.log(longest) / (width // 2 - 1)
    angles = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(width // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and MLP; the key projection has no bias, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) → (B, T, D)
        y = self.attn_norm(x)
        batch, length, width = y.shape
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = (part(y).view(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(mixed)
        return x + self.down(gelu(self.up(self.mlp_norm(x))))


class WhisperTrunk(nn.Module):
    """Two convolutions and the first `blocks` transformer blocks; log-mel (B, 80, T) → list of (B, T/2, width)."""

    positions: Tensor

    def __init__(
        self, blocks: int = 2, width: int = 384, heads: int = 6, mels: int = 80, positions: int = 1500
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(positions, width), persistent=False)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(blocks))
        self.width = width

    def forward(self, mel: Tensor) -> list[Tensor]:
        """States before the first and after every block; at most 2·`positions` mel frames (30 s)."""
        x = gelu(self.conv2(gelu(self.conv1(mel)))).transpose(1, 2)  # (B, T/2, D)
        x = x + self.positions[: x.shape[1]]
        states = [x]
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return states

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load `encoder.*` of an OpenAI checkpoint's `model_state_dict`; strict for the blocks used here."""
        names = {
            "attn_ln": "attn_norm",
            "mlp_ln": "mlp_norm",
            "attn.query": "query",
            "attn.key": "key",
            "attn.value": "value",
            "attn.out": "out",
            "mlp.0": "up",
            "mlp.2": "down",
        }
        own = {
            f"conv{i}.{kind}": state[f"encoder.conv{i}.{kind}"].float() for i in (1, 2) for kind in ("weight", "bias")
        }
        for index, _ in enumerate(self.blocks):
            for source, target in names.items():
                for kind in ("weight", "bias"):
                    if (value := state.get(f"encoder.blocks.{index}.{source}.{kind}")) is not None:
                        own[f"blocks.{index}.{target}.{kind}"] = value.float()
        self.load_state_dict(own, strict=True)


class AttentivePooling(nn.Module):
    """Mean and standard deviation over time under learned weights (Okabe et al., Interspeech 2018)."""

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) → (B, 2D)
        weight = self.score(x).softmax(1)
        mean = (weight * x).sum(1)
        variance = (weight * (x - mean[:, None]) ** 2).sum(1)
        return torch.cat([mean, (variance + 1e-5).sqrt()], 1)
