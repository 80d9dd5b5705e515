"""Prompts whose context words are learnt (Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022).

A class is described by `[start] context… class text [end]`; the context is a few free vectors, one set per class or one
for all, which stand before, behind or on both sides of the class text. Everything else is the frozen embedding of the
tokens of `X X … X <class text>`, whose X's the context replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError

Position = Literal["end", "middle", "front"]


def with_placeholders(texts: Sequence[str], count: int) -> list[str]:
    """Class texts behind `count` placeholder words, to be tokenised."""
    return [" ".join(["X"] * count + [text]) for text in texts]


class LearntPrompts(nn.Module):
    """Prompt embeddings of K classes. `position` says where the class text stands: behind the context ("end"), in its
    middle, or in front of it.

    `ids` (K, length) are the tokens of the texts with `count` placeholders and `embeddings` (K, length, width) those of
    the text tower; the read-out of a text is its end token, the highest id.
    """

    ids: Tensor
    order: Tensor
    token_prefix: Tensor
    token_suffix: Tensor

    def __init__(
        self, ids: Tensor, embeddings: Tensor, count: int = 8, specific: bool = True, position: Position = "end"
    ) -> None:
        super().__init__()
        classes, length, width = embeddings.shape
        if ids.shape != (classes, length):
            raise ConfigError(
                "prompts", f"ids {tuple(ids.shape)} and embeddings {tuple(embeddings.shape)} do not match"
            )
        if int(ids.argmax(-1).min()) <= count:
            raise ConfigError("prompts", f"a class text ends within the {count} context words", "use fewer of them")
        self.count = count
        self.context = nn.Parameter(torch.empty(*((classes,) if specific else ()), count, width).normal_(std=0.02))
        self.register_buffer("token_prefix", embeddings[:, :1].detach().clone())
        self.register_buffer("token_suffix", embeddings[:, 1 + count :].detach().clone())
        self.register_buffer("ids", ids.clone(), persistent=False)
        self.register_buffer("order", _order(ids.argmax(-1) - 1 - count, count, length, position), persistent=False)

    @property
    def read_out(self) -> Tensor:
        """Positions of the end tokens (K,)."""
        return self.ids.argmax(-1)

    def forward(self) -> Tensor:  # → (K, length, width)
        context = self.context.expand(len(self.token_prefix), -1, -1)
        parts = torch.cat([self.token_prefix, context, self.token_suffix], 1)
        return parts.gather(1, self.order[..., None].expand_as(parts))

    @torch.no_grad()
    def take(self, embeddings: Tensor) -> None:
        """Other embeddings (K, length, width) of the same tokens, for example after CLIP's weights were loaded."""
        self.token_prefix.copy_(embeddings[:, :1])
        self.token_suffix.copy_(embeddings[:, 1 + self.count :])


def recovered_ids(embeddings: Tensor, table: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Token ids (…,) of embeddings (…, width): the rows of the token table (vocabulary, width) that they are.

    Raises ModelError when one of them is no row of it.
    """
    flat = embeddings.reshape(-1, embeddings.shape[-1]).float()
    found = torch.cdist(flat, table.float()).argmin(1)
    worst = float((table[found] - flat).abs().max())
    if worst > tolerance:
        raise ModelError("prompts", f"an embedding differs from every token by {worst:.2g}", "give matching weights")
    return found.reshape(embeddings.shape[:-1])


def _order(name_lengths: Tensor, count: int, length: int, position: Position) -> Tensor:
    """Row r of class k's prompt is row order[k, r] of [start, context, class text and rest]: (K, length)."""
    order = torch.arange(length).repeat(len(name_lengths), 1)
    ahead = {"end": count, "middle": count // 2, "front": 0}[position]
    for row, name in zip(order, name_lengths.tolist(), strict=True):
        context, text = row[1 : 1 + count].clone(), row[1 + count : 1 + count + name].clone()
        row[1 : 1 + count + name] = torch.cat([context[:ahead], text, context[ahead:]])
    return order
