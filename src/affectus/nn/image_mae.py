"""The image ViT of MAE (He et al., "Masked autoencoders are scalable vision learners", 2021), encoder and decoder.

Class token first, position tables from 2-D sines and cosines kept in the state dict as published, fused qkv bias.
Parameter names are those of the public code, below `encoder.` and `decoder.`; see `own_names`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn import vit
from affectus.nn.masking import Mask, gather, scatter


class ImageEncoder(nn.Module):
    """Pictures (B, 3, size, size) → tokens (B, 1 + visible, width), class token first, before any last norm."""

    def __init__(
        self,
        size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        drop_path: float = 0.0,
        learn_positions: bool = False,
    ) -> None:
        super().__init__()
        self.size, side = size, size // patch
        self.patch_embed = vit.PatchEmbedding(width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(vit.sincos_2d(width, side, side, True)[None], learn_positions)
        rates = vit.drop_path_rates(drop_path, depth)
        self.blocks = nn.ModuleList(vit.Block(width, heads, bias="fused", drop_path=rate) for rate in rates)

    def forward(self, pixels: Tensor, visible: Tensor | None = None) -> Tensor:
        """All patches, or the `visible` ones (B, V) alone. Raises ConfigError for another size."""
        if tuple(pixels.shape[1:]) != (3, self.size, self.size):
            raise ConfigError("image", f"has shape {tuple(pixels.shape)}", f"give (items, 3, {self.size}, {self.size})")
        x = self.patch_embed(pixels, visible)
        places = self.pos_embed[:, 1:].expand(len(x), -1, -1)
        x = x + (places if visible is None else gather(places, visible))
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x], 1)
        for block in self.blocks:
            x = block(x)
        return x


class ImageDecoder(nn.Module):
    """Encoder tokens → pixels of every patch; `embed` alone gives tokens at the decoder's width."""

    def __init__(self, size: int, patch: int, source: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        side = size // patch
        self.embed = nn.Linear(source, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(vit.sincos_2d(width, side, side, True)[None], requires_grad=False)
        self.blocks = nn.Sequential(*(vit.Block(width, heads, bias="fused") for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pred = nn.Linear(width, 3 * patch**2)

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        """Embedded tokens (B, 1 + V, width) → (B, 1 + N, 3 · patch²); the first row belongs to the class token."""
        full = torch.cat([x[:, :1], scatter(x[:, 1:], self.mask_token, mask)], 1)
        return self.pred(self.norm(self.blocks(full + self.pos_embed)))


def visible_count(tokens: int, ratio: float) -> int:
    """How many tokens a mask of this ratio leaves: rounded down as in MAE, and at least one."""
    return max(1, int(tokens * (1 - ratio) + 1e-9))


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the public layout under the names used here: `blocks.0…` → `encoder.blocks.0…`, `decoder_blocks…` →
    `decoder.blocks…`. Norms, heads and what is not known keep their names."""
    inner = ("patch_embed.", "blocks.", "cls_token", "pos_embed")
    named = {}
    for key, value in state.items():
        if key.startswith(inner):
            key = f"encoder.{key}"
        elif key.startswith("decoder_") or key == "mask_token":
            key = f"decoder.{key.removeprefix('decoder_')}"
        named[key] = value
    return named


def resized_positions(table: Tensor, tokens: int) -> Tensor:
    """A position table (1, 1 + n², width) for another number of patches, bicubic; the class token keeps its row."""
    old, new = round((table.shape[1] - 1) ** 0.5), round(tokens**0.5)
    if old == new:
        return table
    grid = table[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)
