"""Connectors of several sources: tokens that already mix modalities before the language model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from affectus.lm.connectors import Connector, Projector, register
from affectus.lm.encoders import Tokens


@register("prefusion")
class PreFusion(Connector):
    """AffectGPT's pre-fusion by attention.

    Every source is averaged and mapped to the largest width C; weights w = W2 (W1 [v; u; ...]) have neither
    non-linearity nor softmax; m = sum_i w_i x_i, then a linear map to the language model, repeated. Since w depends
    linearly on all sources, m holds products between them, which no separate token does.
    """

    sources: ClassVar[int | None] = None

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        common = max(widths)
        self.embed = nn.ModuleList(nn.Linear(own, common) for own in widths)
        self.mix = nn.Linear(common * len(widths), common)
        self.weigh = nn.Linear(common, len(widths))
        self.project = nn.Linear(common, width)

    def fuse(self, sources: Sequence[Tokens]) -> Tensor:
        """Sources (B, N_i, D_i) → fused (B, C)."""
        parts = torch.stack([embed(source.mean()) for embed, source in zip(self.embed, sources, strict=True)], 1)
        weights = self.weigh(self.mix(parts.flatten(1)))
        self.trace = {"weights": weights.detach()}
        return (weights.unsqueeze(-1) * parts).sum(1)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Sources (B, N_i, D_i) → (B, tokens, width)."""
        return self.fixed(self.project(self.fuse(sources)), sources)


@register("joint_mean")
class JointMean(Connector):
    """Means of all sources side by side, then one linear map, repeated (AffectGPT's "mean" for several sources)."""

    sources: ClassVar[int | None] = None

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        self.project = nn.Linear(sum(widths), width)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Sources (B, N_i, D_i) → (B, tokens, width)."""
        return self.fixed(self.project(torch.cat([source.mean() for source in sources], -1)), sources)


@register("gated_mean")
class GatedMean(Connector):
    """Softmax weights over sources decided by the question, then the weighted sum of their projections (HumanOmni)."""

    sources: ClassVar[int | None] = None

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        self.project = nn.ModuleList(nn.Linear(own, width) for own in widths)
        self.gate = nn.Linear(width, len(widths))

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Sources (B, N_i, D_i) → (B, tokens, width); an absent source has no share."""
        parts = torch.stack([p(source.mean()) for p, source in zip(self.project, sources, strict=True)], 1)
        asked = question.mean() if question is not None else parts.new_zeros(len(parts), self.width)
        present = torch.stack([source.present for source in sources], 1)
        scores = self.gate(asked).masked_fill(~present, torch.finfo(parts.dtype).min)
        shares = scores.softmax(-1) * present
        self.trace = {"gate": shares.detach()}
        values = (shares.unsqueeze(-1) * parts).sum(1).unsqueeze(1).expand(-1, self.tokens, -1)
        return Tokens(values, present.any(1, keepdim=True).expand(-1, self.tokens))

    def count(self, lengths: Sequence[int], grids: Sequence[tuple[int, int, int] | None] = ()) -> int:
        """Fixed; one present source is enough."""
        return self.tokens if any(length > 0 for length in lengths) else 0


@register("instructed")
class InstructedProjector(Projector):
    """A projector whose tokens are scaled by how much the question asks for this branch (HumanOmni).

    The gate gives a softmax over `branches`, of which this is number `place`, from the mean of the embedded question;
    times the number of branches, so that an even gate changes nothing. Branches that belong together share one gate
    (`self.gate`); one that is not there keeps its share.
    """

    def __init__(
        self, widths: Sequence[int], width: int, tokens: int = 1, place: int = 0, branches: int = 2, **options: Any
    ) -> None:
        super().__init__(widths, width, tokens, **options)
        self.place, self.branches = place, branches
        self.gate = nn.Linear(width, branches)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """(B, N, D) → (B, n, width)."""
        found = super().forward(sources)
        asked = question.mean() if question is not None else found.values.new_zeros(len(found.values), self.width)
        shares = self.gate(asked).softmax(-1)
        self.trace = {"gate": shares.detach()}
        weight = self.branches * shares[:, self.place, None, None]
        return Tokens(weight * found.values, found.mask, found.grid)
