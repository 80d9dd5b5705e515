"""Changes of whole clips on tensors: every frame of a clip is changed alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def turned(frames: Tensor, angle: Tensor, mirror: Tensor) -> Tensor:
    """Clips (B, T, C, H, W) turned by `angle` (B,) in radians and mirrored where `mirror` (B,) is true.

    What comes into the picture from outside is zero.
    """
    cos, sin, none = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    side = 1 - 2 * mirror.float()
    matrix = torch.stack([torch.stack([cos * side, -sin, none], 1), torch.stack([sin * side, cos, none], 1)], 1)
    flat = frames.flatten(1, 2)
    grid = functional.affine_grid(matrix.to(flat), list(flat.shape), align_corners=False)
    return functional.grid_sample(flat, grid, align_corners=False).view_as(frames)


def zoomed(images: Tensor, smallest: float, flip: float = 0.0) -> Tensor:
    """A random part of each picture (B, C, H, W), scaled back to its size, and mirrored with probability `flip`.

    The part covers `smallest`…1 of the area; its aspect ratio changes by up to 4/3 (Szegedy et al., CVPR 2015).
    """
    count = len(images)
    area = smallest + (1 - smallest) * torch.rand(count)
    stretch = torch.exp((torch.rand(count) * 2 - 1) * 0.5 * torch.log(torch.tensor(4 / 3)))
    wide, high = ((area.sqrt() * s).clamp(max=1.0) for s in (stretch, 1 / stretch))
    mirror = 1 - 2 * (torch.rand(count) < flip).float()
    x, y = ((torch.rand(count) * 2 - 1) * (1 - extent) for extent in (wide, high))
    none = torch.zeros(count)
    matrix = torch.stack([torch.stack([wide * mirror, none, x], 1), torch.stack([none, high, y], 1)], 1)
    grid = functional.affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def crops(images: Tensor, size: int, corners: Tensor) -> Tensor:
    """Squares of side `size` out of pictures (B, C, H, W), one each, with their upper left `corners` (B, 2) as (row,
    column): (B, C, size, size)."""
    span = torch.arange(size, device=images.device)
    rows, columns = (corners[:, axis, None].to(images.device) + span for axis in (0, 1))
    item = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
