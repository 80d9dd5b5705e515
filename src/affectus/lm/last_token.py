"""A causal language model as an encoder of texts: the state of the last token, with low-rank adapters if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError
from affectus.features.inputs import TextInput
from affectus.lm.adapters import add_lora, lora_settings
from affectus.lm.bases import load_base


class LastTokenEncoder(nn.Module):
    """Ids (B, L), padded on the right, → states (B, width).

    `base` is what `affectus.lm.bases` loads. `rank` > 0 freezes it and adds adapters scaled by alpha / √rank
    (Kalajdzievski, 2023) to layers named by `targets`; rank 0 leaves all of it open.
    """

    def __init__(
        self, base: str, precision: str = "float32", length: int = 512, rank: int = 8, alpha: float = 8.0,
        dropout: float = 0.05, targets: Sequence[str] = ("q_proj", "v_proj"),
    ) -> None:  # fmt: skip
        super().__init__()
        model, self._tokenizer = load_base(base, precision)
        self.net: Any = model.base_model
        self.length, self.width = length, int(model.config.hidden_size)
        pad = self._tokenizer.pad_token_id
        end = self._tokenizer.eos_token_id
        if pad is None and end is None:
            raise ConfigError(base, "its tokenizer has neither a padding nor an end token", "name another base")
        self.pad = int(pad if pad is not None else end)
        if rank:
            add_lora(self.net, lora_settings(rank, alpha, dropout, tuple(targets), rank_stabilised=True))

    def spec(self) -> TextInput:
        """Input specification of its ids; of a longer text the end is cut off."""
        return TextInput(self._encode, self.length, self.pad)

    def _encode(self, text: str) -> list[int]:
        """Ids of a text without the token that also pads; an empty text keeps one token to read."""
        ids = [int(i) for i in self._tokenizer(text or " ")["input_ids"] if i != self.pad]
        return ids or [next(i for i in range(self.pad + 2) if i != self.pad)]

    def forward(self, ids: Tensor) -> Tensor:
        """One state per text."""
        mask = ids != self.pad
        lengths = mask.sum(1).clamp(min=1)
        longest = int(lengths.max())
        states = self.net(
            input_ids=ids[:, :longest], attention_mask=mask[:, :longest].long(), use_cache=False
        ).last_hidden_state
        return states[torch.arange(len(ids), device=ids.device), lengths - 1].float()
