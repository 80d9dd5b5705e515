"""The vision tower of Qwen2.5-VL in front of its patch merger, for connectors that merge patches themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError


class QwenVision(nn.Module):
    """Pairs of frames (n, 2, 3, height, width) → patch tokens (n, rows * columns, dim), four neighbours in a row.

    One item is one step in time. In this tower a step attends to itself alone, so steps of a clip may go through in any
    company. Windows, full-attention layers and rotary positions are those of the tower; its own merger is taken out.
    Tokens come in the tower's order, every four a 2 x 2 neighbourhood (a compressor with `grouped=True` takes them).
    """

    def __init__(self, tower: Any, height: int, width: int) -> None:
        super().__init__()
        settings = tower.config
        self.patch, self.merge = int(settings.patch_size), int(settings.spatial_merge_size)
        unit = self.patch * self.merge
        if height % unit or width % unit:
            raise ConfigError("frames", f"of {height} x {width} pixels do not divide into blocks of {unit}")
        self.rows, self.columns = height // self.patch, width // self.patch
        self.tokens_per_item = self.rows * self.columns
        tower.merger = _Neighbours(self.merge**2)
        self.tower = tower

    def patches(self, items: Tensor) -> Tensor:
        """(n, 2, 3, H, W) → (n * rows * columns, 3 * 2 * patch²) in the order and layout the tower takes."""
        height, width = items.shape[-2:]
        if (height, width) != (self.rows * self.patch, self.columns * self.patch):
            raise ModelError("frames", f"have {height} x {width} pixels; the tower was set up for another size")
        return pair_patches(items, self.patch, self.merge)

    def forward(self, items: Tensor) -> Tensor:
        """See the class."""
        grid = torch.tensor([[1, self.rows, self.columns]], device=items.device).expand(len(items), 3)
        found = self.tower(self.patches(items), grid_thw=grid).pooler_output
        return found.reshape(len(items), self.tokens_per_item, -1)


def pair_patches(items: Tensor, patch: int, merge: int) -> Tensor:
    """Pairs of frames (n, 2, 3, H, W) → (n * rows * columns, 3 * 2 * patch²), `merge` x `merge` neighbours in a row."""
    n, pair, channels, height, width = items.shape
    rows, columns = height // patch, width // patch
    cut = items.reshape(n, pair, channels, rows // merge, merge, patch, columns // merge, merge, patch)
    return cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(n * rows * columns, channels * pair * patch**2)


class _Neighbours(nn.Module):
    """Stands in for a patch merger: neighbours are laid side by side and not merged, (n, D) → (n / 4, 4 D)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        return tokens.reshape(-1, self.count * tokens.shape[-1])


def load_tower(source: str, precision: str = "float32") -> Any:
    """The vision tower of a Qwen2.5-VL model by hub id or folder; "tiny" is a random one of width 32 and 7-pixel
    patches, always the same. No foreign code is run."""
    from transformers import Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    if source == "tiny":
        settings = Qwen2_5_VLVisionConfig(
            depth=2, hidden_size=32, intermediate_size=64, num_heads=4, patch_size=7, window_size=28,
            fullatt_block_indexes=[1], out_hidden_size=32, initializer_range=0.2,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Qwen2_5_VisionTransformerPretrainedModel(settings).eval()
    try:
        whole: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            source, dtype=getattr(torch, precision), trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(source, f"cannot be loaded as a Qwen2.5-VL model: {str(error).splitlines()[0]}") from None
    return whole.model.visual
