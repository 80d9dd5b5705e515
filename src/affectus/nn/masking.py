"""Masks of token sequences as gather indices: a masked encoder sees visible tokens only, so it costs only those."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from affectus.errors import ConfigError


@dataclass(frozen=True)
class Mask:
    """Which tokens an encoder sees and which it must rebuild; positions are int64 and ascending in every row.

    `visible` is (B, V) and `hidden` (B, H), with V + H tokens in all and the same numbers in every row.
    """

    visible: Tensor
    hidden: Tensor

    @property
    def tokens(self) -> int:
        """Length of the whole sequence."""
        return self.visible.shape[1] + self.hidden.shape[1]

    def as_bool(self) -> Tensor:
        """(B, N) with True where hidden, the form most published code hands around."""
        flags = torch.zeros(len(self.hidden), self.tokens, dtype=torch.bool, device=self.hidden.device)
        return flags.scatter_(1, self.hidden, True)


def hidden_count(tokens: int, ratio: float) -> int:
    """How many of `tokens` a mask of this ratio hides: rounded down, and at least one stays visible."""
    if not 0 <= ratio < 1:
        raise ConfigError("mask ratio", f"{ratio:g} is not in [0, 1)")
    return min(int(ratio * tokens + 1e-9), tokens - 1)


def random_mask(batch: int, tokens: int, hidden: int, device: torch.device | str | None = None) -> Mask:
    """`hidden` of `tokens` positions, drawn uniformly and independently for every row."""
    if not 0 <= hidden < tokens:
        raise ConfigError("mask", f"hides {hidden} of {tokens} tokens; at least one must stay visible")
    order = torch.rand(batch, tokens, device=device).argsort(1)
    return Mask(order[:, hidden:].sort(1).values, order[:, :hidden].sort(1).values)


def tube_mask(batch: int, slots: int, places: int, hidden: int, device: torch.device | str | None = None) -> Mask:
    """The same `hidden` of `places` in every one of `slots` time steps (Tong et al., VideoMAE, 2022).

    Tokens are numbered time step by time step, so place p of slot t is t · places + p.
    """
    flat = random_mask(batch, places, hidden, device)
    steps = torch.arange(slots, device=flat.hidden.device)[None, :, None] * places
    return Mask((steps + flat.visible[:, None]).flatten(1), (steps + flat.hidden[:, None]).flatten(1))


def mask_from_bool(flags: Tensor) -> Mask:
    """The mask of flags (B, N) that are True where hidden; raises ConfigError when rows hide different numbers."""
    flags = flags.flatten(1).bool()
    counts = flags.sum(1)
    hidden = int(counts[0])
    if bool((counts != hidden).any()):
        raise ConfigError("mask", "hides another number of tokens in some rows", "hide the same number in every row")
    order = flags.long().argsort(dim=1, stable=True)
    return Mask(order[:, : flags.shape[1] - hidden], order[:, flags.shape[1] - hidden :])


def gather(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, N, D) at positions (B, K) → (B, K, D)."""
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def scatter(visible: Tensor, filler: Tensor, mask: Mask) -> Tensor:
    """Visible tokens (B, V, D) back at their places, with `filler` (broadcastable to (B, H, D)) at hidden ones."""
    width = visible.shape[-1]
    rest = filler.to(visible.dtype).expand(len(visible), mask.hidden.shape[1], width)
    order = torch.cat([mask.visible, mask.hidden], 1)
    full = torch.empty(len(visible), mask.tokens, width, dtype=visible.dtype, device=visible.device)
    return full.scatter(1, order[..., None].expand(-1, -1, width), torch.cat([visible, rest], 1))
