"""A small transformer over the features of a clip's frames, read at a class token.

Zhao & Liu, "Former-DFER" (ACM MM 2021) and "DFER-CLIP" (BMVC 2023): pre-norm layers, attention without biases for
queries, keys and values, tanh-GELU, learnt positions, no normalisation at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError


class TemporalLayer(nn.Module):
    """x += Attn(LN x); x += MLP(LN x). The heads together may be wider than the features."""

    def __init__(self, width: int, heads: int, head_width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, width) → same
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self._drop(self.out(mixed))
        hidden = self._drop(functional.gelu(self.fc1(self.norm2(x)), approximate="tanh"))
        return x + self._drop(self.fc2(hidden))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class TemporalTransformer(nn.Module):
    """Frame features (B, up to `frames`, width) → clip feature (B, width)."""

    def __init__(
        self,
        width: int,
        frames: int = 16,
        depth: int = 1,
        heads: int = 8,
        head_width: int = 64,
        hidden: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.randn(1, frames + 1, width))
        self.layers = nn.ModuleList(TemporalLayer(width, heads, head_width, hidden, dropout) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] >= self.pos_embedding.shape[1]:
            raise ConfigError("clip", f"has {x.shape[1]} frames; {self.pos_embedding.shape[1] - 1} fit")
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + self.pos_embedding[:, : x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


_NAMES = {
    "0.fn.norm": "norm1",
    "0.fn.fn.to_qkv": "qkv",
    "0.fn.fn.to_out.0": "out",
    "1.fn.norm": "norm2",
    "1.fn.fn.net.0": "fc1",
    "1.fn.fn.net.3": "fc2",
}


def published_temporal_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the layout of DFER-CLIP and CLIP-CAER (`temporal_transformer.layers.0.0.fn.fn.to_qkv.weight` …) under
    the names used here; unknown keys stay as they are."""
    named = {}
    for key, value in state.items():
        match = re.fullmatch(r"temporal_transformer\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        known = match and _NAMES.get(match[2])
        named[f"layers.{match[1]}.{known}.{match[3]}" if match and known else key] = value
    return named
