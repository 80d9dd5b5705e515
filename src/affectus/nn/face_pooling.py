"""Several faces per frame and several frames per utterance → one vector (Chudasama et al., "M2FNet", section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def area_weighted(faces: Tensor, areas: Tensor) -> Tensor:
    """Sum of face vectors (…, F, D) weighted by their share of the areas (…, F) → (…, D); zeros without a face.

    Faces that are not there have area 0.
    """
    share = areas / areas.sum(-1, keepdim=True).clamp(min=1e-12)
    return (faces * share.unsqueeze(-1)).sum(-2)


def utterance_picture(scene: Tensor, faces: Tensor, areas: Tensor) -> Tensor:
    """Scene vectors (B, T, D), face vectors (B, T, F, D) and their areas (B, T, F) → (B, 2 D), largest over frames."""
    return torch.cat([scene.amax(1), area_weighted(faces, areas).amax(1)], -1)
