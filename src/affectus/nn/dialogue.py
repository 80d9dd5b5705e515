"""Conversations as batches: turns with slots for text, sound and picture, and attention among the turns.

A batch holds one array per modality, (B, turns, …), padded on the right to the longest conversation. Turns that are not
there have padding ids (NaN where the text is a vector); a turn without sound or picture has NaN in that slot. What is
padded is neither attended to nor looked at, so it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError


def pieces(count: int, longest: int, context: int) -> list[tuple[int, int, int]]:
    """Divide a conversation of `count` turns: (start, first turn that counts, end) of pieces of at most `longest`
    turns; `context` turns before the first that counts are seen once more."""
    if not 0 <= context < longest:
        raise ConfigError("turns", f"pieces of {longest} turns cannot repeat {context}")
    found = [(0, 0, min(count, longest))]
    while found[-1][2] < count:
        first = found[-1][2]
        found.append((first - context, first, min(count, first - context + longest)))
    return found


class DialogueItems(Sequence[dict[str, Any]]):
    """Conversations as training items, one dict each: slots (turns, …), `turn_labels`, `speaker`, `id`, all padded to
    the longest.

    `slots` hold an array over all rows by modality, `fill` what pads it (NaN unless given); `rows` the rows of every
    conversation in order; `labels` (rows,) or of several annotators (rows, annotators), -1 unknown. Speakers are
    numbered in order of appearance, -1 for padding. `kept` lists the rows with a label in the order of the items.
    """

    def __init__(
        self,
        slots: Mapping[str, np.ndarray],
        rows: Mapping[str, np.ndarray],
        labels: np.ndarray,
        speakers: Sequence[str | None],
        longest: int = 64,
        context: int = 16,
        fill: Mapping[str, float] | None = None,
    ) -> None:
        self.slots, self.labels, self.fill = slots, labels, fill or {}
        self.parts = [
            (name, order, part) for name, order in rows.items() for part in pieces(len(order), longest, context)
        ]
        self.turns = max((end - start for _, _, (start, _, end) in self.parts), default=0)
        self.speakers = np.full(len(labels), -1, np.int64)
        for order in rows.values():
            known: dict[str, int] = {}
            for row in order:
                self.speakers[row] = known.setdefault(speakers[row] or "", len(known))
        counted = [order[first:end] for _, order, (_, first, end) in self.parts]
        together = np.concatenate(counted) if counted else np.zeros(0, np.int64)
        known_rows = labels[together] >= 0
        self.kept = together[known_rows if labels.ndim == 1 else known_rows.any(1)]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        name, order, (start, first, end) = self.parts[index]
        rows = order[start:end]
        labels = self.labels[rows].copy()
        labels[: first - start] = -1
        item = {slot: padded(values[rows], self.turns, self.fill.get(slot)) for slot, values in self.slots.items()}
        return item | {
            "turn_labels": padded(labels, self.turns, -1),
            "speaker": padded(self.speakers[rows], self.turns, -1),
            "id": name if len(rows) == len(order) else f"{name}:{start}-{end - 1}",
        }


def padded(values: np.ndarray, turns: int, fill: float | None = None) -> np.ndarray:
    """An array (n, …) with rows of `fill` (NaN) up to `turns`."""
    out = np.full((turns, *values.shape[1:]), np.nan if fill is None else fill, values.dtype)
    out[: len(values)] = values
    return out


def turns_present(text: Tensor, pad: int) -> Tensor:
    """Which turns there are, (B, k) bool: ids (B, k, L) that are not all padding, or vectors (B, k, D) without NaN."""
    return ~text.isnan().any(-1) if text.is_floating_point() else (text != pad).any(-1)


def turns_seen(present: Tensor, causal: bool) -> Tensor:
    """Which turns each one may look at, (B, 1, k, k) bool; `causal` hides the later ones. Every turn sees itself."""
    k = present.shape[1]
    seen = present[:, None, None, :].expand(-1, 1, k, -1)
    if causal:
        seen = seen & torch.ones(k, k, dtype=torch.bool, device=present.device).tril()
    return seen | torch.eye(k, dtype=torch.bool, device=present.device)


class TurnAttention(nn.Module):
    """Multi-head attention among turns whose queries, keys and values may come from different modalities.

    `reach` > 0 adds to every score a learnt number per head and distance in turns, up to that many either way; 0 leaves
    the order of the turns unknown.
    """

    def __init__(self, width: int, heads: int, reach: int = 0) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError("heads", f"{heads} do not divide a width of {width}")
        self.heads, self.reach = heads, reach
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.distance = nn.Parameter(torch.zeros(heads, 2 * reach + 1)) if reach else None

    def forward(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """(B, k, width) each and (B, 1, k, k) bool → (B, k, width)."""
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, k, width / H)
        q, k, v = split(self.query(query)), split(self.key(key)), split(self.value(value))
        mask = seen
        if self.distance is not None:
            place = torch.arange(seen.shape[-1], device=seen.device)
            steps = (place[None] - place[:, None]).clamp(-self.reach, self.reach) + self.reach
            mask = self.distance[:, steps].to(q.dtype).masked_fill(~seen, -torch.inf)
        x = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(x.transpose(1, 2).flatten(2))


class TurnLayer(nn.Module):
    """A transformer encoder layer over turns (normalisation after each part): (B, k, width) → same."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, reach: int = 0) -> None:
        super().__init__()
        self.attention = TurnAttention(width, heads, reach)
        self.inner = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )  # fmt: skip
        self.norm1, self.norm2, self.dropout = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """One layer."""
        x = self.norm1(x + self.dropout(self.attention(x, x, x, seen)))
        return self.norm2(x + self.dropout(self.inner(x)))


class DialogueEncoder(nn.Module):
    """Layers over turns, each with a skip around the whole of it: `x + layer(x)`."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int, dropout: float, reach: int = 0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TurnLayer(width, heads, hidden, dropout, reach) for _ in range(layers))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, k, width) → same."""
        for layer in self.layers:
            x = x + layer(x, seen)
        return x


class KeyFusion(nn.Module):
    """One fusion layer: text asks and answers, another modality is what is asked for; (B, k, D) → same."""

    def __init__(self, width: int, heads: int, others: int, text_skip: bool, dropout: float) -> None:
        super().__init__()
        self.attend = nn.ModuleList(TurnAttention(width, heads) for _ in range(others))
        self.text_skip = text_skip
        self.mix = nn.Linear(width * (others + text_skip), width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: Tensor, others: Sequence[Tensor], seen: Tensor) -> Tensor:
        """One layer; `others` hold what was made of the other modalities, (B, k, D) each."""
        heard = [attend(text, key, text, seen) for attend, key in zip(self.attend, others, strict=True)]
        joined = torch.cat([*heard, text] if self.text_skip else heard, -1)
        return self.dropout(torch.relu(self.mix(torch.relu(joined))))
