"""Which modalities an item has: said by the batch, seen from its content, or taken away at random in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from affectus.errors import ConfigError


def modalities_present(batch: Mapping[str, Any], modalities: Sequence[str]) -> Tensor:
    """(B, M) bool: a modality is there when the batch has its key, no number of the item is NaN, and `present` (B, M)
    of the batch, where given, agrees. Raises ConfigError when the batch has none of the keys."""
    known = [batch[name] for name in modalities if batch.get(name) is not None]
    if not known:
        raise ConfigError(", ".join(modalities), "are all missing from the batch", "give one of them")
    absent = torch.zeros(len(known[0]), dtype=torch.bool, device=known[0].device)
    columns = []
    for name in modalities:
        x = batch.get(name)
        columns.append(absent if x is None else ~x.isnan().flatten(1).any(1) if x.is_floating_point() else ~absent)
    found = torch.stack(columns, 1)
    return found & batch["present"].to(found.device) if "present" in batch else found


def drop_modalities(present: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Take each modality away with probability `rate`, but never the last one of an item: (B, M) bool → same."""
    draw = torch.rand(present.shape, generator=generator).to(present.device)
    kept = present & (draw >= rate)
    luckiest = (draw * present).argmax(1)  # of those that were there, the one that was nearest to staying
    rescued = torch.zeros_like(present).scatter(1, luckiest[:, None], True) & present
    return torch.where(kept.any(1, keepdim=True), kept, rescued)


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All parts of the modalities that leave something: single ones first, the whole set last."""
    return [part for size in range(1, len(modalities) + 1) for part in combinations(modalities, size)]
