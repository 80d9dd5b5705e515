"""Local binary patterns of image batches, so that textures can follow an augmented picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Clockwise from the top left, as in `features.texture`: neighbour p has the weight 2**p.
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def lbp_maps(grey: Tensor) -> Tensor:
    """Codes divided by 255 of grey pictures: (B, 1, H, W) of any scale → float32 of the same shape in [0, 1].

    The same codes as `features.texture.lbp` with radius 1: bit p is set where the neighbour is at least as bright as
    the centre, and pixels outside repeat the border (Ojala et al., 2002).
    """
    height, width = grey.shape[-2:]
    padded = pad(grey.float(), (1, 1, 1, 1), mode="replicate")
    codes = torch.zeros_like(grey, dtype=torch.float32)
    for bit, (down, across) in enumerate(_NEIGHBOURS):
        neighbour = padded[..., 1 + down : 1 + down + height, 1 + across : 1 + across + width]
        codes += (neighbour >= grey) * float(2**bit)
    return codes / 255


def grey_levels(images: Tensor) -> Tensor:
    """Whole grey levels of RGB or grey pictures in [0, 255]: (B, 3 or 1, H, W) → float32 (B, 1, H, W), rounded."""
    if images.shape[1] == 1:
        return images.round()
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).round()
