"""Fusions of per-frame streams (B, T, D_m) into one vector per frame (B, T, `width`): leader-follower attention, gated
concatenation, and the joint multimodal transformer.

After the public code of the feature branch of Richet et al., 2024. The first two treat every frame by itself and leave
time to the temporal networks before them; the transformers look at all frames of the window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LeaderFollower(nn.Module):
    """LFAN: attention across the M modalities of a frame, beside the first one (the leader) as it is.

    Every modality gives query, key and value of `heads` · `size` numbers; values are added to what attention finds.
    """

    def __init__(self, widths: Sequence[int], heads: int = 2, size: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads, inner, count = heads, heads * size, len(widths)
        self.parts = nn.ModuleList(nn.Linear(width, 3 * inner) for width in widths)
        self.out = nn.Linear(inner * count, inner * count)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(inner * count)
        self.width = widths[0] + inner * count

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """(B, T, D_m) → (B, T, D_0 + 32 M)."""
        made = torch.stack([part(x) for part, x in zip(self.parts, streams, strict=True)], 2)  # (B, T, M, 3 · inner)
        query, key, value = made.unflatten(-1, (3, self.heads, -1)).movedim(3, 0).transpose(3, 4)  # (B, T, H, M, size)
        mixed = functional.scaled_dot_product_attention(query, key, value) + value
        followers = self.out(mixed.transpose(2, 3).flatten(2))  # (B, T, M · inner)
        return torch.cat([streams[0], self.norm(self.dropout(followers))], -1)


class GatedConcat(nn.Module):
    """CAN: streams of one width side by side, every number weighed by a softmax over all of them, then a layer."""

    def __init__(self, widths: Sequence[int], width: int = 128) -> None:
        super().__init__()
        whole = width * len(widths)
        self.parts = nn.ModuleList(nn.Linear(own, width) for own in widths)
        self.weigh, self.join, self.norm = nn.Linear(whole, whole), nn.Linear(whole, width), nn.BatchNorm1d(width)
        self.width = width

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """(B, T, D_m) → (B, T, width)."""
        joined = torch.cat([part(x) for part, x in zip(self.parts, streams, strict=True)], -1)
        found = self.join(self.weigh(joined).softmax(-1) * joined)
        return functional.leaky_relu(self.norm(found.transpose(1, 2)).transpose(1, 2))


class _CrossAttention(nn.Module):
    """Queries from one sequence, keys and values from another, over time: two (B, T, W) → (B, T, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.out(functional.scaled_dot_product_attention(self.query(x), self.key(other), self.value(other)))


class JointTransformer(nn.Module):
    """JMT for two streams, or without the joint stream MT: each stream through an encoder layer, every ordered pair of
    them through cross-attention, the results of a frame as tokens through an encoder layer and self-attention.

    The last token is taken, which is the second stream asking the first (or the second asking the joint one).
    """

    def __init__(self, widths: Sequence[int], joint: bool = True, width: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        self.joint = nn.Linear(2 * width, width) if joint else None
        self.parts = nn.ModuleList(nn.Linear(own, width) if own != width else nn.Identity() for own in widths)
        self.encode = nn.ModuleList(_layer(width, dropout) for _ in range(3 if joint else 2))
        # who asks whom: 0 and 1 are the streams, 2 is the joint one
        self.pairs = [(0, 1), (1, 0)] + ([(2, 0), (0, 2), (2, 1), (1, 2)] if joint else [])
        self.cross = nn.ModuleList(_CrossAttention(width) for _ in self.pairs)
        self.tokens, self.mix = _layer(width, dropout), nn.MultiheadAttention(width, 1, batch_first=True)
        self.join, self.norm, self.width = nn.Linear(width, width), nn.BatchNorm1d(width), width

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Two (B, T, D) → (B, T, width)."""
        x = [part(stream) for part, stream in zip(self.parts, streams, strict=True)]
        if self.joint is not None:
            x.append(self.joint(torch.cat(x, -1)))
        x = [layer(part) for layer, part in zip(self.encode, x, strict=True)]
        heard = [net(x[i], x[j]) for net, (i, j) in zip(self.cross, self.pairs, strict=True)]
        tokens = self.tokens(torch.stack(heard, 2).flatten(0, 1))  # (B · T, pairs, W)
        last = self.mix(tokens[:, -1:], tokens, tokens, need_weights=False)[0][:, 0]
        found = self.norm(self.join(last)).unflatten(0, x[0].shape[:2])
        return functional.leaky_relu(found)


def _layer(width: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(width, 1, width, dropout, batch_first=True)
