"""Group-relative policy optimisation (GRPO): advantages inside groups of answers to one prompt, and the clipped loss.

Shao et al. 2024 (arXiv 2402.03300); `scale=False` is the variant without division by the standard deviation, and
`average="token"` the one whose long answers weigh as much per token as short ones.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def group_advantages(rewards: Tensor, scale: bool = True, floor: float = 1e-4) -> Tensor:
    """Rewards (groups, answers) → advantages of the same shape: minus the mean of the group, over its standard
    deviation plus `floor` when `scale`. A group of equal rewards gives zeros."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if not scale:
        return centred
    equal = (rewards == rewards[:, :1]).all(1, keepdim=True)
    return centred.masked_fill(equal, 0.0) / (rewards.std(1, keepdim=True) + floor)


def k3(reference: Tensor, current: Tensor) -> Tensor:
    """Estimate exp(d) - d - 1 with d = reference - current of the divergence from the reference, from log-probabilities
    of drawn tokens; never negative, 0 with gradient 0 where both agree."""
    difference = reference - current
    return difference.exp() - difference - 1


def policy_loss(
    current: Tensor,
    advantages: Tensor,
    mask: Tensor,
    old: Tensor | None = None,
    clip: float = 0.2,
    average: Literal["answer", "token"] = "answer",
) -> Tensor:
    """-mean of min(rho A, clip(rho, 1 - clip, 1 + clip) A) over tokens, with rho = exp(current - old); a scalar.

    `current` and `old` (B, L) are log-probabilities of drawn tokens; without `old` they are those of the policy that
    drew (one step per draw: rho is 1 and only its gradient counts). `advantages` (B,) or, per token, (B, L). `mask`
    (B, L) weighs tokens, 0 outside answers; `average` "answer" takes the mean inside each answer first.
    """
    ratio = (current - (current.detach() if old is None else old)).exp()
    gains = advantages if advantages.ndim == 2 else advantages.unsqueeze(1)
    worth = torch.minimum(ratio * gains, ratio.clamp(1 - clip, 1 + clip) * gains)
    return -masked_average(worth, mask, average)


def masked_average(values: Tensor, mask: Tensor, average: Literal["answer", "token"] = "answer") -> Tensor:
    """Mean of (B, L) over the tokens of a mask: of all, or of the means of each answer. Empty ones count as zeros."""
    weights = mask.to(values.dtype)
    if average == "token":
        return (values * weights).sum() / weights.sum().clamp(min=1)
    return ((values * weights).sum(1) / weights.sum(1).clamp(min=1)).mean()
