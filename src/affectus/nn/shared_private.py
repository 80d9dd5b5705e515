"""MISA (Hazarika et al., ACM MM 2020): what modalities share and what is their own, fused by a transformer layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from affectus.nn.losses.subspaces import mean_squares, moment_distance, squared_correlation
from affectus.nn.utterance_fusion import Fused


class SharedPrivateFusion(nn.Module):
    """Codes (B, H) of every modality → shared and private codes → feature (B, H / 2).

    Losses: `apart` (private against shared of the same modality, private against private), `together` (moments of the
    shared codes) and `rebuilt` (private plus shared gives the projected code again), weighted.
    """

    def __init__(
        self, width: int, count: int, dropout: float, heads: int = 2,
        weights: tuple[float, float, float] = (0.1, 0.1, 0.1),
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.weights = max(1, width // 2), weights
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width)) for _ in range(count)
        )
        self.private = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Sigmoid()) for _ in range(count))
        self.shared = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.rebuild = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.mix = nn.TransformerEncoderLayer(width, heads, dropout=dropout, batch_first=True)
        self.join = nn.Sequential(
            nn.Linear(2 * count * width, count * width), nn.Dropout(dropout), nn.ReLU(),
            nn.Linear(count * width, self.width),
        )  # fmt: skip

    def forward(self, codes: Sequence[Tensor]) -> Fused:
        """One feature per item."""
        plain = [project(code) for project, code in zip(self.project, codes, strict=True)]
        own = [private(x) for private, x in zip(self.private, plain, strict=True)]
        both = [self.shared(x) for x in plain]
        feature = self.join(self.mix(torch.stack([*own, *both], 1)).flatten(1))
        apart = [squared_correlation(a, b) for a, b in zip(own, both, strict=True)]
        apart += [squared_correlation(a, b) for a, b in combinations(own, 2)]
        together = [moment_distance(a, b) for a, b in combinations(both, 2)]
        again = [net(a + b) for net, a, b in zip(self.rebuild, own, both, strict=True)]
        difference, similarity, rebuilt = self.weights
        return feature, {
            "apart": difference * torch.stack(apart).sum(),
            "together": similarity * torch.stack(together).mean(),
            "rebuilt": rebuilt * mean_squares(list(zip(again, plain, strict=True))),
        }
