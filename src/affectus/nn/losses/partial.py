"""Losses over targets of which some are missing: a batch without any costs nothing and still gives gradients."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def known_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of (B, C) logits over the targets (B,) that are not -1; 0 when all are."""
    known = (targets >= 0).sum()
    total = functional.cross_entropy(logits.float(), targets.long(), ignore_index=-1, reduction="sum")
    return total / known.clamp(min=1)


def known_binary(logits: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of (B, L) logits against zeros and ones over the rows where `known` (B,) is True (all
    by default); 0 when there is none."""
    cells = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none").mean(1)
    if known is None:
        return cells.mean()
    return (cells * known).sum() / known.sum().clamp(min=1)
