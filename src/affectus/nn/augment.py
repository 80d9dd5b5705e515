"""Augmentation of image batches on tensors: no per-sample Python loop, one random draw per image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate


@dataclass(frozen=True)
class ImageAugment:
    """Strengths; probabilities are per image. Images are float (B, C, H, W) in [0, 255]."""

    rotation: float = 15.0  # degrees, ±
    scale: float = 0.2  # ±, in log space
    shift: float = 0.1  # ±, share of the side
    shear: float = 0.05
    flip: float = 0.5
    brightness: float = 30.0  # ±, grey levels
    contrast: float = 0.35  # ±, in log space
    gamma: float = 0.3  # ±, in log space
    blur: float = 0.15
    low_resolution: float = 0.15
    noise: float = 0.15
    erase: float = 0.25

    def scaled(self, strength: float) -> ImageAugment:
        """The same changes, all `strength` times as strong and as probable; flips stay."""
        factors = {f.name: strength * getattr(self, f.name) for f in fields(self) if f.name != "flip"}
        return replace(self, **factors)

    def __call__(self, images: Tensor) -> Tensor:
        """Return an augmented copy, clamped to [0, 255]."""
        images = self._geometry(images)
        images = self._soften(images)
        images = self._light(images)
        return self._erase(images).clamp_(0, 255)

    def _geometry(self, images: Tensor) -> Tensor:
        angle = _spread(images, math.radians(self.rotation))
        scale = torch.exp(_spread(images, self.scale))
        mirror = 1 - 2 * (torch.rand(len(images), device=images.device) < self.flip).float()
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        shear = _spread(images, self.shear)
        top = torch.stack([cos * mirror, -sin + shear, _spread(images, 2 * self.shift)], 1)
        bottom = torch.stack([sin * mirror, cos, _spread(images, 2 * self.shift)], 1)
        grid = affine_grid(torch.stack([top, bottom], 1), list(images.shape), align_corners=False)
        return grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _soften(self, images: Tensor) -> Tensor:
        """Blur some images and squeeze others through a lower resolution, as distant or compressed faces are."""
        height, width = images.shape[-2:]
        blurred = avg_pool2d(avg_pool2d(images, 3, 1, 1, count_include_pad=False), 3, 1, 1, count_include_pad=False)
        images = torch.where(_chance(images, self.blur), blurred, images)
        factor = float(torch.empty(()).uniform_(0.33, 0.7))
        small = interpolate(images, scale_factor=factor, mode="area")
        coarse = interpolate(small, (height, width), mode="bilinear", align_corners=False)
        return torch.where(_chance(images, self.low_resolution), coarse, images)

    def _light(self, images: Tensor) -> Tensor:
        gamma = torch.exp(_spread(images, self.gamma)).view(-1, 1, 1, 1)
        images = 255 * (images.clamp(0, 255) / 255 + 1e-6) ** gamma
        middle = images.mean((1, 2, 3), keepdim=True)
        gain = torch.exp(_spread(images, self.contrast)).view(-1, 1, 1, 1)
        images = (images - middle) * gain + middle + _spread(images, self.brightness).view(-1, 1, 1, 1)
        noise = torch.randn_like(images) * images.new_empty(len(images), 1, 1, 1).uniform_(2, 16)
        return torch.where(_chance(images, self.noise), images + noise, images)

    def _erase(self, images: Tensor) -> Tensor:
        """Cover a rectangle of up to half the side with the image mean: hands, hair, microphones."""
        n, _, height, width = images.shape
        centre = torch.rand(n, 2, device=images.device)
        half = images.new_empty(n, 2).uniform_(0.06, 0.24)
        rows = (torch.arange(height, device=images.device) + 0.5) / height
        columns = (torch.arange(width, device=images.device) + 0.5) / width
        inside_rows = (rows[None] - centre[:, :1]).abs() < half[:, :1]
        inside_columns = (columns[None] - centre[:, 1:]).abs() < half[:, 1:]
        inside = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]
        return torch.where(inside & _chance(images, self.erase), images.mean((1, 2, 3), keepdim=True), images)


def change_standardised(
    images: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]], strengths: Mapping[str, float]
) -> Tensor:
    """`ImageAugment` on images (B, C, H, W) that were divided by 255 and standardised per channel; same scale out."""
    mean, std = (images.new_tensor(values[: images.shape[1]]).view(-1, 1, 1) for values in statistics)
    return (ImageAugment(**strengths)(255 * (images * std + mean)) / 255 - mean) / std


def _spread(images: Tensor, width: float) -> Tensor:
    return (torch.rand(len(images), device=images.device) * 2 - 1) * width


def _chance(images: Tensor, probability: float) -> Tensor:
    return (torch.rand(len(images), device=images.device) < probability).view(-1, 1, 1, 1)


def mixup(inputs: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Convex mixes of samples and of their targets (Zhang et al., ICLR 2018); one λ ~ Beta(α, α) per sample."""
    if alpha <= 0:
        return inputs, targets
    weight = torch.distributions.Beta(alpha, alpha).sample((len(inputs),)).to(inputs)
    weight = torch.maximum(weight, 1 - weight)
    order = torch.randperm(len(inputs), device=inputs.device)
    shape = (-1, *(1,) * (inputs.ndim - 1))
    mixed = weight.view(shape) * inputs + (1 - weight.view(shape)) * inputs[order]
    spread = (-1, *(1,) * (targets.ndim - 1))
    return mixed, weight.view(spread) * targets + (1 - weight.view(spread)) * targets[order]
