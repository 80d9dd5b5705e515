"""Vision-transformer parts whose parameter names are those of the published VideoMAE, MAE and AudioMAE families.

A block is `norm1`, `attn.{qkv, proj}`, `norm2`, `mlp.{fc1, fc2}`; VideoMAE and its descendants learn a bias for queries
and values only (`attn.q_bias`, `attn.v_bias`, none for keys), MAE and timm one fused `attn.qkv.bias`. Position tables
are buffers outside the state dict. Embeddings hold a convolution for the sake of its published weight shape and compute
it as one matrix product over patches, so that a masked encoder embeds visible patches only.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn.masking import gather

#: How a block's query-key-value projection is biased: separately for q and v, one fused vector, or not at all.
Bias = Literal["split", "fused", "none"]


class DropPath(nn.Module):
    """Drops a residual branch per sample with probability `rate` in training, and scales the kept ones by 1/(1 - rate).

    Huang et al., "Deep Networks with Stochastic Depth", 2016.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device, dtype=torch.float32) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))


class Mlp(nn.Module):
    """Linear, GELU (erf), linear, dropout."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.fc2(functional.gelu(self.fc1(x))), self.dropout, self.training)


class Attention(nn.Module):
    """Multi-head self-attention with one `qkv` matrix (rows: all queries, all keys, all values)."""

    def __init__(self, width: int, heads: int, bias: Bias = "split", dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError("attention", f"{width} channels do not divide into {heads} heads")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias == "fused")
        self.q_bias = nn.Parameter(torch.zeros(width)) if bias == "split" else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if bias == "split" else None
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width) → same; `mask` is boolean (True = attend) or additive, broadcastable to (B, heads, N, N)."""
        bias: Tensor | None = self.qkv.bias
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = functional.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, N, width / heads)
        out = functional.scaled_dot_product_attention(q, k, v, mask)
        out = self.proj(out.transpose(1, 2).flatten(2))
        return functional.dropout(out, self.dropout, self.training)


class CrossAttention(nn.Module):
    """Attention of tokens to a context of any width; separate `q` and `kv` matrices, biases for q and v only."""

    def __init__(self, width: int, context: int, heads: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(context, 2 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, N, width), context (B, M, context) → (B, N, width)."""
        bias = None if self.v_bias is None else torch.cat([torch.zeros_like(self.v_bias), self.v_bias])
        q = functional.linear(x, self.q.weight, self.q_bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        kv = functional.linear(context, self.kv.weight, bias)
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(q, k, v)
        out = self.proj(out.transpose(1, 2).flatten(2))
        return functional.dropout(out, self.dropout, self.training)


class Block(nn.Module):
    """Pre-norm transformer block: x += Attn(LN x); x += MLP(LN x), each branch optionally scaled per channel.

    `layer_scale` > 0 adds `gamma_1` and `gamma_2` with that start value. A subclass may extend the second branch by
    overriding `feed`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ratio: float = 4.0,
        bias: Bias = "split",
        drop_path: float = 0.0,
        layer_scale: float = 0.0,
        dropout: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, bias, dropout)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * ratio), dropout)
        self.drop_path = DropPath(drop_path)
        self.gamma_1, self.gamma_2 = (_scale(width, layer_scale) for _ in range(2))

    def feed(self, x: Tensor) -> Tensor:
        """The second branch, from normalised tokens."""
        return self.mlp(x)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width) → same."""
        x = x + self.drop_path(_times(self.gamma_1, self.attn(self.norm1(x), mask)))
        return x + self.drop_path(_times(self.gamma_2, self.feed(self.norm2(x))))


class CrossSelfBlock(nn.Module):
    """x += CrossAttn(LN x, LN context); x += Attn(LN x); x += MLP(LN x) (Sun et al., HiCMAE, 2024)."""

    def __init__(
        self,
        width: int,
        context: int,
        heads: int,
        ratio: float = 4.0,
        drop_path: float = 0.0,
        layer_scale: float = 0.0,
        dropout: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(width, context, heads, dropout=dropout)
        self.cross_norm1 = nn.LayerNorm(width, eps=eps)
        self.cross_norm2 = nn.LayerNorm(context, eps=eps)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, "split", dropout)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * ratio), dropout)
        self.drop_path = DropPath(drop_path)
        self.gamma_0, self.gamma_1, self.gamma_2 = (_scale(width, layer_scale) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x (B, N, width), context (B, M, context) → (B, N, width)."""
        crossed = self.cross_attn(self.cross_norm1(x), self.cross_norm2(context))
        x = x + self.drop_path(_times(self.gamma_0, crossed))
        x = x + self.drop_path(_times(self.gamma_1, self.attn(self.norm1(x))))
        return x + self.drop_path(_times(self.gamma_2, self.mlp(self.norm2(x))))


class PatchEmbedding(nn.Module):
    """Pictures (B, C, H, W) → tokens (B, H/p · W/p, width), row by row. Filter banks go in as one-channel pictures
    (B, 1, time, mel), which makes their tokens time-major."""

    def __init__(self, width: int, patch: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens of all patches, or of the `visible` ones (B, K) alone."""
        _divides("picture", x.shape[1:], (self.proj.in_channels, self.patch, self.patch))
        p = self.patch
        cells = x.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5)  # (B, h, w, C, p, p)
        return _project(cells.flatten(1, 2).flatten(2), self.proj, visible)


class TubeletEmbedding(nn.Module):
    """Clips (B, C, T, H, W) → tokens (B, T/t · H/p · W/p, width), frame pair by frame pair, row by row."""

    def __init__(self, width: int, patch: int = 16, tubelet: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.patch, self.tubelet = patch, tubelet
        self.proj = nn.Conv3d(channels, width, (tubelet, patch, patch), (tubelet, patch, patch))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens of all cubes, or of the `visible` ones (B, K) alone."""
        t, p = self.tubelet, self.patch
        _divides("clip", x.shape[1:], (self.proj.in_channels, t, p, p))
        cells = x.unflatten(4, (-1, p)).unflatten(3, (-1, p)).unflatten(2, (-1, t))
        cells = cells.permute(0, 2, 4, 6, 1, 3, 5, 7)  # (B, time, h, w, C, t, p, p)
        return _project(cells.flatten(1, 3).flatten(2), self.proj, visible)


class Positions(nn.Module):
    """A fixed position table (N, width) kept out of the state dict."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)

    def forward(self, index: Tensor | None = None) -> Tensor:
        """The whole table (1, N, width), or the rows of `index` (B, K) as (B, K, width)."""
        return self.table[None] if index is None else self.table[index]


def sinusoid_table(count: int, width: int) -> Tensor:
    """Positions 0 … count-1 as float32 (count, width): sin in even and cos in odd columns, base 10,000.

    Vaswani et al., "Attention Is All You Need", 2017; the table of VideoMAE and HiCMAE.
    """
    column = torch.arange(width, dtype=torch.float64)
    rate = torch.pow(10000.0, -2 * (column // 2) / width)
    angle = torch.arange(count, dtype=torch.float64)[:, None] * rate
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def sincos_2d(width: int, rows: int, columns: int, class_token: bool = False) -> Tensor:
    """The 2-D table of MAE and AudioMAE, float32 (rows · columns [+ 1], width).

    First half of the channels: position along a row (the column number), second half: row number; each half is sines,
    then cosines. The class token, where there is one, comes first and has position 0 (all zeros).
    """
    if width % 4:
        raise ConfigError("position table", f"{width} channels do not divide by 4")
    rate = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    row, column = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij"
    )
    angles = [place.reshape(-1, 1) * rate for place in (column, row)]
    table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1).float()
    return torch.cat([torch.zeros(1, width), table]) if class_token else table


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Rates of the blocks, rising linearly from 0 at the first to `rate` at the last."""
    return [rate * i / max(1, depth - 1) for i in range(depth)]


@torch.no_grad()
def initialise(module: nn.Module, linear: Literal["xavier", "normal"] = "xavier") -> None:
    """Published starts: linear weights Xavier-uniform (MAE family) or normal of 0.02 cut at 2 σ; zero biases.

    Normalisation layers start as the identity; convolutions of patch embeddings keep torch's own start, as published.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            if linear == "xavier":
                nn.init.xavier_uniform_(part.weight)
            else:
                nn.init.trunc_normal_(part.weight, std=0.02, a=-0.04, b=0.04)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm) and part.elementwise_affine:
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def _project(cells: Tensor, proj: nn.Conv2d | nn.Conv3d, visible: Tensor | None) -> Tensor:
    chosen = cells if visible is None else gather(cells, visible)
    return functional.linear(chosen, proj.weight.flatten(1), proj.bias)


def _divides(what: str, shape: torch.Size, units: tuple[int, ...]) -> None:
    fits = len(shape) == len(units) and shape[0] == units[0]
    if not fits or any(size < unit or size % unit for size, unit in zip(shape[1:], units[1:], strict=True)):
        names = "×".join(str(unit) for unit in units[1:])
        raise ConfigError(what, f"has shape {tuple(shape)}; {units[0]} channels and multiples of {names} are needed")


def _scale(width: int, start: float) -> nn.Parameter | None:
    return nn.Parameter(torch.full((width,), start)) if start > 0 else None


def _times(scale: Tensor | None, x: Tensor) -> Tensor:
    return x if scale is None else scale * x
