"""Contrast between paired sets of vectors: InfoNCE in its symmetric form and its relatives, as pure functions.

Features are (B, D); row i of one set belongs to row i of the other unless said otherwise. Every function returns a
scalar and works on float32 whatever comes in.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor
from torch.nn import functional


def similarities(first: Tensor, second: Tensor, temperature: float | Tensor = 0.07) -> Tensor:
    """Cosines of all pairs over the temperature: (B, D), (M, D) → (B, M)."""
    return functional.normalize(first.float(), dim=-1) @ functional.normalize(second.float(), dim=-1).T / temperature


def info_nce(
    first: Tensor,
    second: Tensor,
    temperature: float | Tensor = 0.07,
    duplicates: Tensor | None = None,
    symmetric: bool = True,
) -> Tensor:
    """Cross-entropy of finding one's partner, averaged over both directions (van den Oord et al., 2018; CLIP, 2021).

    `duplicates` (B, B), True where row i of one set is as good as row j of the other, takes those cells out of the
    negatives. Perfect orthonormal pairs give log(1 + (B - 1) · exp(-1 / temperature)), collapse gives log B.
    """
    logits = similarities(first, second, temperature)
    if duplicates is not None:
        other = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(duplicates & other, float("-inf"))
    return paired_cross_entropy(logits, symmetric)


def paired_cross_entropy(logits: Tensor, symmetric: bool = True) -> Tensor:
    """Cross-entropy of square scores (B, B) whose diagonal holds the pairs; over rows, and over columns if wanted."""
    target = torch.arange(len(logits), device=logits.device)
    rows = functional.cross_entropy(logits.float(), target)
    return 0.5 * (rows + functional.cross_entropy(logits.T.float(), target)) if symmetric else rows


def soft_info_nce(first: Tensor, second: Tensor, targets: Tensor, temperature: float | Tensor = 0.07) -> Tensor:
    """InfoNCE towards soft pairings `targets` (B, B), non-negative; rows and columns are scaled to sum to one."""
    logits, weights = similarities(first, second, temperature), targets.float()
    rows = functional.cross_entropy(logits, weights / weights.sum(1, keepdim=True))
    columns = functional.cross_entropy(logits.T, weights.T / weights.sum(0)[:, None])
    return 0.5 * (rows + columns)


def multi_positive_nce(logits: Tensor, positives: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Mean over anchors of the mean -log softmax of their positives (Khosla et al., "SupCon", 2020, L_out).

    `logits` (B, M) are scores, `positives` (B, M) says which cells count as found and `candidates` (B, M) which enter
    the softmax (all by default; positives must be among them). Anchors without a positive are left out; zero when
    there are none at all.
    """
    logits = logits.float()
    if candidates is not None:
        logits = logits.masked_fill(~candidates, float("-inf"))
    chances = logits - logits.logsumexp(1, keepdim=True)
    found = torch.where(positives, chances, torch.zeros_like(chances)).sum(1)
    count = positives.sum(1)
    per_anchor = -found / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum().clamp(min=1)


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float | Tensor = 0.07) -> Tensor:
    """SupCon among features (B, D): everything of the same label (B,) is a positive, oneself is no candidate."""
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    same = (labels[:, None] == labels[None, :]) & others
    return multi_positive_nce(similarities(features, features, temperature), same, others)


def gather_processes(features: Tensor) -> Tensor:
    """Features of all processes, (B, D) → (processes · B, D) in the same order everywhere; gradients reach each owner.

    Without distributed training it returns its input.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return features
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(features)))
