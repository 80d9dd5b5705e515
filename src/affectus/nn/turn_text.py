"""Turns of conversations as vectors, each read by a text encoder together with the turns beside it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError
from affectus.features.turns import TurnsInput
from affectus.nn.text import pool, text_encoder


class TurnEncoder(nn.Module):
    """Ids of turns (n, L), as `TurnsInput` makes them, → vectors (n, width).

    `source` is one of `affectus.nn.text`. `pooling` "turn" is the mean over the words of the turn itself and the
    separator before it, "cls" the first token. `dropout` replaces the encoder's own.
    """

    def __init__(self, source: str, pooling: Literal["turn", "cls"] = "turn", dropout: float | None = None) -> None:
        super().__init__()
        if pooling not in ("turn", "cls"):
            raise ConfigError(pooling, "is no way of pooling turns", "use turn or cls")
        self.body, self.pooling = text_encoder(source, dropout), pooling
        self.width, self.pad = self.body.width, self.body.pad

    def spec(self, length: int, neighbours: bool = True, causal: bool = False) -> TurnsInput:
        """Input specification of its ids."""
        tokens = self.body.tokens
        return TurnsInput(tokens.encode, length, tokens.pad, neighbours, causal)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, L) → (n, width)."""
        if not len(ids):
            return torch.zeros(0, self.width, device=ids.device)
        states, mask = self.body(ids)
        if self.pooling == "cls":
            return pool(states, mask, "cls")
        ends = ids[:, : mask.shape[1]] == self.body.tokens.encode("", 8)[-1]
        return pool(states, (ends.cumsum(1) == 1) & mask, "mean")

    @torch.no_grad()
    def vectors(self, ids: np.ndarray, batch_size: int = 64) -> np.ndarray:
        """Vectors (n, width) of many turns without learning anything; those of like length go together."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        order = np.argsort((ids != self.pad).sum(1), kind="stable")
        out = np.zeros((len(ids), self.width), np.float32)
        for start in range(0, len(ids), batch_size):
            part = order[start : start + batch_size]
            out[part] = self(torch.from_numpy(ids[part]).to(device)).float().cpu().numpy()
        self.train(training)
        return out
