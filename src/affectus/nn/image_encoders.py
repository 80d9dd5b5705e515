"""Image encoders that can stand in for each other, pictures (B, 3, S, S) → features (B, width), and their adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from affectus import assets
from affectus.errors import ConfigError
from affectus.nn.clip import ClipSizes, ClipVision
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.nn.lora import adapt

Backbone = Literal["clip", "efficientnet-lite0", "efficientnet-lite2", "efficientnet-tiny"]


def image_encoder(backbone: Backbone, clip: ClipSizes, pretrained: bool = False) -> tuple[nn.Module, int]:
    """An encoder and the width of its features: CLIP's image tower (random), or an EfficientNet-Lite, whose ImageNet
    weights come as an asset when `pretrained`.

    Raises ConfigError for CLIP weights: no package holds them; they are given as a start.
    """
    if backbone == "clip":
        if pretrained:
            raise ConfigError("pretrained", "no package holds CLIP's weights", "give start: the folder of a CLIP model")
        return ClipVision(clip), clip.projection
    trunk = EfficientNetLite(LiteConfig.named(backbone.removeprefix("efficientnet-")), drop_path=0.0)
    if pretrained:
        trunk.load_published(torch.load(assets.resolve(backbone), map_location="cpu", weights_only=True))
    return trunk, trunk.width


def adapt_encoder(
    encoder: nn.Module, targets: Sequence[str], rank: int, alpha: float, dropout: float, first_block: int = 0
) -> nn.Module:
    """Low-rank adapters in the layers `targets` of a transformer, or in the pointwise convolutions of a convolutional
    trunk from its block `first_block` on; all other weights are frozen."""
    if isinstance(encoder, EfficientNetLite):
        targets = [name for name, module in encoder.named_modules()
                   if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
                   and (name.startswith("head.") or int(name.split(".")[1]) >= first_block)]  # fmt: skip
    return adapt(encoder, targets, rank, alpha, dropout)


def keep_statistics(encoder: nn.Module) -> None:
    """Put batch norms in evaluation mode, so that a frozen encoder keeps the statistics it was trained with."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
