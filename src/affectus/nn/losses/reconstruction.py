"""Targets and losses of masked autoencoders: cubes and patches, normalised one by one, optionally as frame differences.

Layout of a flattened patch is (rows, columns, channels), of a cube (frames, rows, columns, channels), as in the public
code of MAE, VideoMAE and HiCMAE.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from affectus.nn.masking import gather


def cubes(video: Tensor, tubelet: int = 2, patch: int = 16) -> Tensor:
    """Clips (B, C, T, H, W) → cubes (B, N, tubelet · patch², C), numbered like the tokens of a tubelet embedding."""
    cells = video.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).unflatten(2, (-1, tubelet))
    return cells.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(1, 3)


def video_of(pieces: Tensor, size: tuple[int, int, int], tubelet: int = 2, patch: int = 16) -> Tensor:
    """Inverse of `cubes`; `size` is (frames, height, width) of the clip."""
    frames, height, width = size
    grid = (frames // tubelet, height // patch, width // patch)
    cells = pieces.unflatten(2, (tubelet, patch, patch)).unflatten(1, grid)  # (B, t, h, w, p0, p1, p2, C)
    return cells.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def patches(picture: Tensor, patch: int = 16) -> Tensor:
    """Pictures or filter banks (B, C, H, W) → patches (B, N, patch², C), numbered like the tokens of an embedding."""
    cells = picture.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def picture_of(pieces: Tensor, size: tuple[int, int], patch: int = 16) -> Tensor:
    """Inverse of `patches`; `size` is (height, width)."""
    grid = (size[0] // patch, size[1] // patch)
    cells = pieces.unflatten(2, (patch, patch)).unflatten(1, grid)
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def normalised(pieces: Tensor, eps: float = 1e-6, in_root: bool = False, joint: bool = False) -> Tensor:
    """Pieces (B, N, P, C) standardised by their own mean and unbiased variance, per channel or `joint`ly.

    The divisor is sqrt(variance) + eps as in VideoMAE, or sqrt(variance + eps) when `in_root`, as in MAE.
    """
    axes = (-2, -1) if joint else (-2,)
    variance, mean = torch.var_mean(pieces, axes, correction=1, keepdim=True)
    return (pieces - mean) / ((variance + eps).sqrt() if in_root else variance.sqrt() + eps)


def frame_difference(video: Tensor, group: int = 2) -> Tensor:
    """Clips (B, C, T, H, W) with every frame but the first of a group replaced by its difference to that first one."""
    grouped = video.unflatten(2, (-1, group))
    first = grouped[:, :, :, :1]
    return torch.cat([first, grouped[:, :, :, 1:] - first], 3).flatten(2, 3)


def frames_of_difference(video: Tensor, group: int = 2) -> Tensor:
    """Inverse of `frame_difference`."""
    grouped = video.unflatten(2, (-1, group))
    first = grouped[:, :, :, :1]
    return torch.cat([first, grouped[:, :, :, 1:] + first], 3).flatten(2, 3)


@torch.no_grad()
def video_target(
    video: Tensor,
    statistics: tuple[Sequence[float], Sequence[float]],
    tubelet: int = 2,
    patch: int = 16,
    normalise: bool = True,
    difference: int = 0,
    in_root: bool = False,
) -> Tensor:
    """Targets (B, N, tubelet · patch² · C) of standardised clips (B, C, T, H, W).

    The clip is brought back to [0, 1] by `statistics` (mean, deviation per channel); cubes are normalised per channel;
    `difference` > 1 then makes frame differences inside groups of that many frames (HiCMAE: 2).
    """
    mean, deviation = (video.new_tensor(values).view(1, -1, 1, 1, 1) for values in statistics)
    pieces = cubes(video * deviation + mean, tubelet, patch)
    if normalise:
        pieces = normalised(pieces, in_root=in_root)
    if difference > 1:
        size = (video.shape[2], video.shape[3], video.shape[4])
        pieces = cubes(frame_difference(video_of(pieces, size, tubelet, patch), difference), tubelet, patch)
    return pieces.flatten(2)


@torch.no_grad()
def patch_target(
    picture: Tensor, patch: int = 16, normalise: bool = True, in_root: bool = False, joint: bool = False
) -> Tensor:
    """Targets (B, N, patch² · C) of pictures or filter banks (B, C, H, W); see `normalised`."""
    pieces = patches(picture, patch)
    return (normalised(pieces, in_root=in_root, joint=joint) if normalise else pieces).flatten(2)


def masked_mse(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of predictions (B, H, D) for the `hidden` (B, H) of all targets (B, N, D): a scalar."""
    return torch.nn.functional.mse_loss(prediction.float(), gather(target, hidden).float())
