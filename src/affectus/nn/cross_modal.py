"""MulT (Tsai et al., ACL 2019): every modality is read again through the eyes of every other one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.nn.modality_encoders import sinusoids
from affectus.nn.utterance_fusion import Fused, steps_present


class CrossLayer(nn.Module):
    """Pre-norm transformer layer in which one sequence asks and another is read: (B, L, W), (B, S, W) → (B, L, W)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.norm_query, self.norm_key, self.norm_inner = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.inner = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, other: Tensor, seen: Tensor) -> Tensor:
        """`seen` (B, S) says which steps of the other sequence are real."""
        split = lambda part: part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, W / heads)
        asked, read = self.norm_query(x), self.norm_key(other)
        found = functional.scaled_dot_product_attention(
            split(self.query(asked)), split(self.key(read)), split(self.value(read)),
            attn_mask=seen[:, None, None, :], dropout_p=self.rate if self.training else 0.0,
        )  # fmt: skip
        x = x + self.dropout(self.out(found.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.inner(self.norm_inner(x)))


class CrossReader(nn.Module):
    """Layers in which the first sequence asks the second, with positions: (B, L, W), (B, S, W) → (B, L, W)."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor, seen: tuple[Tensor, Tensor]) -> Tensor:
        """`seen` are the real steps of both."""
        scale = x.shape[-1] ** 0.5
        x, other = (scale * part + places(part, real) for part, real in zip((x, other), seen, strict=True))
        for layer in self.layers:
            x = layer(x, other, seen[1])
        return self.norm(x)


def places(x: Tensor, seen: Tensor) -> Tensor:
    """Positions (B, L, W) counted from the first real step, so that padding in front moves nothing."""
    table = sinusoids(x.shape[1], x.shape[2]).to(x)
    return table[(seen.cumsum(1) - 1).clamp(min=0)]


class CrossModalFusion(nn.Module):
    """Front-padded frame sequences (B, L_m, D_m) → feature (B, H / 2).

    Convolution to H; for every modality the readers of all others side by side, a self reader on top, its last step;
    then a residual perceptron over all of them.
    """

    def __init__(
        self, sizes: Sequence[int], width: int, heads: int = 8, layers: int = 4, kernel: int = 1, dropout: float = 0.3
    ) -> None:
        super().__init__()
        count = len(sizes)
        self.width = max(1, width // 2)
        self.narrow = nn.ModuleList(nn.Conv1d(size, width, kernel, bias=False, padding="same") for size in sizes)
        self.cross = nn.ModuleList(
            CrossReader(width, heads, layers, dropout) for _ in range(count) for _ in range(count - 1)
        )
        joined = width * (count - 1)
        self.own = nn.ModuleList(CrossReader(joined, heads, max(layers, 3), dropout) for _ in range(count))
        whole = joined * count
        self.inner = nn.Sequential(nn.Linear(whole, whole), nn.ReLU(), nn.Dropout(dropout), nn.Linear(whole, whole))
        self.out = nn.Linear(whole, self.width)

    def forward(self, sequences: Sequence[Tensor], present: Tensor) -> Fused:
        """`present` (B, count) says which modalities there are; the others are read as one zero step."""
        seen, x = [], []
        for place, (net, rows) in enumerate(zip(self.narrow, sequences, strict=True)):
            there = present[:, place, None]
            real = steps_present(rows) & there
            # attention over nothing is undefined: the last step is always looked at, and is zero when missing
            real = real | (torch.arange(rows.shape[1], device=rows.device) == rows.shape[1] - 1)
            seen.append(real)
            x.append(net((rows * real[..., None]).transpose(1, 2)).transpose(1, 2) * there[..., None])
        readers, ends = iter(self.cross), []
        for i, own in enumerate(self.own):
            heard = [next(readers)(x[i], x[j], (seen[i], seen[j])) for j in range(len(x)) if j != i]
            ends.append(own(together := torch.cat(heard, -1), together, (seen[i], seen[i]))[:, -1])
        joined = torch.cat(ends, -1)
        return self.out(joined + self.inner(joined)), {}
