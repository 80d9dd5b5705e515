"""Whole words hidden for masked-word prediction, emotion words more often than others (Sosea & Caragea, "eMLM", 2021).

Every function works on a padded batch at once. Words are given by their number per token, -1 on special tokens and
padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Target of tokens that are not predicted (what cross-entropy ignores).
IGNORED = -100


class Masked(NamedTuple):
    """Ids with some replaced, and the original ids where they are to be predicted, IGNORED elsewhere; both (B, L)."""

    ids: Tensor
    targets: Tensor


def word_table(words: Tensor, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens per word (B, W) and whether any of its tokens is flagged (B, W), from word numbers and flags (B, L)."""
    place, real = words.clamp(min=0), words >= 0
    pieces = torch.zeros_like(words).scatter_add_(1, place, real.long())
    flagged = torch.zeros_like(words).scatter_add_(1, place, (real & flags.bool()).long())
    return pieces, flagged > 0


def mask_chances(emotional: Tensor, real: Tensor, rate: float = 0.15, emotion_rate: float = 0.5) -> Tensor:
    """Chance of each word (B, W) to be hidden: `emotion_rate` for emotion words, and for the others what keeps the mean
    at `rate`, max(0, rate · W - emotion_rate · E) / (W - E). `emotion_rate` = `rate` is uniform masking."""
    emotional = emotional & real
    words, loaded = real.sum(1, keepdim=True), emotional.sum(1, keepdim=True)
    rest = (rate * words - emotion_rate * loaded).clamp(min=0) / (words - loaded).clamp(min=1)
    # Without emotion words the rule gives `rate` itself.
    return torch.where(emotional, torch.full_like(rest, emotion_rate), rest) * real


def draw_words(chances: Tensor, pieces: Tensor, cap: Tensor | None = None) -> Tensor:
    """Words (B, W) that are hidden, drawn by their chances in random order.

    With `cap` (B,), no word is added once more than so many tokens are covered; the last one may overshoot.
    """
    drawn = torch.rand(chances.shape, device=chances.device) < chances
    if cap is None:
        return drawn
    order = torch.rand(chances.shape, device=chances.device).argsort(1)
    covered = (pieces * drawn).gather(1, order).cumsum(1) - (pieces * drawn).gather(1, order)
    allowed = torch.zeros_like(drawn).scatter_(1, order, covered <= cap[:, None])
    return drawn & allowed


def hide_words(
    ids: Tensor,
    words: Tensor,
    flags: Tensor,
    mask: int,
    vocabulary: int,
    rate: float = 0.15,
    emotion_rate: float = 0.5,
    capped: bool = True,
) -> Masked:
    """Hide whole words of a batch (B, L): of the chosen tokens 80 % become `mask`, 10 % a random id, 10 % stay.

    `capped` stops after round(rate · tokens) of a text, special tokens not counted. Draws from torch's generator.
    """
    pieces, emotional = word_table(words, flags)
    cap = (rate * (words >= 0).sum(1)).round() if capped else None
    chosen = draw_words(mask_chances(emotional, pieces > 0, rate, emotion_rate), pieces, cap)
    hidden = chosen.gather(1, words.clamp(min=0)) & (words >= 0)
    kind = torch.rand(ids.shape, device=ids.device)
    random = torch.randint(0, vocabulary, ids.shape, device=ids.device)
    replaced = torch.where(kind < 0.8, torch.full_like(ids, mask), torch.where(kind < 0.9, random, ids))
    return Masked(torch.where(hidden, replaced, ids), torch.where(hidden, ids, torch.full_like(ids, IGNORED)))
