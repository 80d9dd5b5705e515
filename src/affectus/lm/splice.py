"""Putting the tokens of branches into the places that a prompt reserved for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from affectus.errors import ModelError
from affectus.lm.encoders import Tokens


def splice(embeddings: Tensor, modality_ids: Tensor, found: Mapping[int, tuple[str, Tokens]]) -> Tensor:
    """Embeddings (B, L, D) with the reserved places overwritten.

    `modality_ids` (B, L) holds 0 for text and the number of the branch elsewhere; `found` has name and tokens by
    number. The tokens of a row fill its places in order; a row that reserves none for a branch does without it.
    ModelError names branch and row when a row reserves another number of places than it has tokens. No loop over
    samples.
    """
    spliced = embeddings
    wrong: list[tuple[str, Tensor, Tensor]] = []
    for number, (name, tokens) in found.items():
        places = modality_ids == number
        wanted = places.sum(1)
        mask = tokens.mask & (wanted > 0).unsqueeze(1)
        wrong.append((name, wanted, mask.sum(1)))
        values = tokens.values[mask].to(embeddings.dtype)
        if values.shape[0] != int(wanted.sum()):
            break
        spliced = spliced.masked_scatter(places.unsqueeze(-1), values)
    for name, wanted, given in wrong:
        different = wanted != given
        if bool(different.any()):
            row = int(different.int().argmax())
            raise ModelError(
                f"branch {name}",
                f"row {row} reserves {int(wanted[row])} places but has {int(given[row])} tokens",
                "build prompts with the processor of this model",
            )
    return spliced


def positions(attention_mask: Tensor) -> Tensor:
    """Position ids (B, L) of padded rows: tokens count from 0, padding is 1 (as generation does)."""
    return (attention_mask.long().cumsum(-1) - 1).masked_fill(attention_mask == 0, 1)


def fit_length(modality_ids: Tensor, length: int) -> Tensor:
    """Modality ids widened to a longer sequence: what was generated after the prompt is text."""
    missing = length - modality_ids.shape[1]
    return modality_ids if missing <= 0 else torch.nn.functional.pad(modality_ids, (0, missing))
