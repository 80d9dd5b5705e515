"""Contrast between every ordered pair of modalities of the same items in two views.

Franceschini et al., "Multimodal emotion recognition with modality-pairwise unsupervised contrastive loss", ICPR 2022,
as in the public code, and the plainer reading of its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Literal

import torch
from torch import Tensor

from affectus.errors import ConfigError
from affectus.nn.losses.contrastive import similarities

Positives = Literal["other_view", "same_view", "both"]


def pairwise_contrast(
    projections: Sequence[Tensor],
    temperature: float = 0.07,
    positives: Positives = "other_view",
    labels: Tensor | None = None,
) -> Tensor:
    """Mean of `view_contrast` over all ordered pairs of modalities, each (B, views, D); raises ConfigError for fewer
    than two."""
    if len(projections) < 2:
        raise ConfigError("projections", f"are of {len(projections)} modality; contrast needs two", "give another one")
    pairs = [view_contrast(a, b, temperature, positives, labels) for a, b in permutations(projections, 2)]
    return torch.stack(pairs).mean()


def view_contrast(
    anchors: Tensor,
    candidates: Tensor,
    temperature: float = 0.07,
    positives: Positives = "other_view",
    labels: Tensor | None = None,
) -> Tensor:
    """Loss of finding an item's vectors of the second modality from those of the first: two of (B, views, D) → scalar.

    "other_view" (the public code): the same view of the same item is neither positive nor candidate, and the sum over
    positives is divided by their number plus one. "same_view": InfoNCE, the same item in the same view is the only
    positive. "both": all views of the item, divided by their number. With `labels` (B,) all items of a label are
    positives; with (B, L) indicators those that share one.
    """
    count, views = anchors.shape[:2]
    first, second = (x.transpose(0, 1).flatten(0, 1) for x in (anchors, candidates))  # (views · B, D), view by view
    logits = similarities(first, second, temperature)
    same = torch.eye(count * views, dtype=torch.bool, device=logits.device)
    found = _alike(count, labels, logits.device).repeat(views, views)
    if positives == "same_view":
        found = same if labels is None else found
    elif positives == "other_view":
        found = found & ~same
        logits = logits.masked_fill(same, float("-inf"))
    chances = logits - logits.logsumexp(1, keepdim=True)
    total = torch.where(found, chances, torch.zeros_like(chances)).sum(1)
    number = found.sum(1) + (1 if positives == "other_view" else 0)
    return -(total / number.clamp(min=1)).mean()


def joined_contrast(projections: Sequence[Tensor], temperature: float = 0.07) -> Tensor:
    """The ablation: modalities side by side as one vector per view, contrasted between the views."""
    joined = torch.cat(list(projections), -1)
    return view_contrast(joined, joined, temperature)


def _alike(count: int, labels: Tensor | None, device: torch.device) -> Tensor:
    if labels is None:
        return torch.eye(count, dtype=torch.bool, device=device)
    if labels.ndim == 1:
        return labels[:, None] == labels[None, :]
    return (labels.float() @ labels.float().T) > 0
