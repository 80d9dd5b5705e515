"""MFM (Tsai et al., "Learning Factorized Multimodal Representations", ICLR 2019): what tells the label, apart from what
is needed to make each modality.

    aligned steps of all modalities → MFN → z_y (B, H / 2)                         → factor f_y → feature
    steps of one modality           → LSTM → z_m (B, H)                            → factor f_m
    [f_y, f_m] → LSTM over L steps → linear → the steps of that modality again (B, L, D_m)

Losses: squared error of the steps made again, and the maximum mean discrepancy of every z from its prior, a standard
normal. The label is told from f_y alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectus.nn.losses.subspaces import distance_to_normal
from affectus.nn.memory_fusion import MemoryFusion, common_steps
from affectus.nn.utterance_fusion import Fused, StepReader


class StepMaker(nn.Module):
    """Factors (B, F) → as many steps as asked for (B, L, outputs): an LSTM that reads the same factors every step."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.rnn, self.linear = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, factors: Tensor, real: Tensor) -> Tensor:
        """`real` (B, L): the first step made stands at the first real one; what stands before it means nothing."""
        made = self.linear(self.rnn(factors[:, None].expand(-1, real.shape[1], -1))[0])
        order = (real.cumsum(1) - 1).clamp(min=0)
        return made.gather(1, order[..., None].expand_as(made))


class FactorisedFusion(nn.Module):
    """See the module text: front-padded aligned steps (B, L, D_m) → feature (B, H / 2).

    `rebuilt` and `prior` weigh the two losses. A missing modality is not made again and its z is matched to nothing;
    what it would have been can still be read from `rebuild`.
    """

    def __init__(
        self, sizes: Sequence[int], width: int, memory: int = 128, dropout: float = 0.3, rebuilt: float = 0.1,
        prior: float = 10.0, padded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weights, self.padded = (rebuilt, prior), padded
        self.whole = MemoryFusion(sizes, width, memory, dropout, padded=padded)
        self.width = shared = self.whole.width
        self.own = nn.ModuleList(StepReader(size, width, dropout, padded) for size in sizes)
        self.factors = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inputs, inputs))
            for inputs in (shared, *[width] * len(sizes))
        )
        self.makers = nn.ModuleList(StepMaker(shared + width, width, size) for size in sizes)

    def codes(self, sequences: Sequence[Tensor], present: Tensor) -> list[Tensor]:
        """z_y (B, H / 2), then z_m (B, H) of every modality, zero where it is missing."""
        own = [net(rows) * present[:, m, None] for m, (net, rows) in enumerate(zip(self.own, sequences, strict=True))]
        return [self.whole(sequences, present)[0], *own]

    def rebuild(self, factors: Sequence[Tensor], real: Tensor) -> list[Tensor]:
        """Steps (B, L, D_m) of every modality from f_y and f_m; `real` (B, L, M)."""
        return [make(torch.cat([factors[0], own], -1), real[..., m])
                for m, (make, own) in enumerate(zip(self.makers, factors[1:], strict=True))]  # fmt: skip

    def forward(self, sequences: Sequence[Tensor], present: Tensor) -> Fused:
        """`present` (B, M) says which modalities there are."""
        steps, real = common_steps(sequences, present, self.padded)
        codes = self.codes(steps, present)
        factors = [net(code) for net, code in zip(self.factors, codes, strict=True)]
        missed = [
            ((made - rows).square().mean(-1) * real[..., m]).sum() / real[..., m].sum().clamp(min=1)
            for m, (made, rows) in enumerate(zip(self.rebuild(factors, real), steps, strict=True))
        ]
        apart = [distance_to_normal(codes[0])]
        apart += [distance_to_normal(code, present[:, m]) for m, code in enumerate(codes[1:])]
        rebuilt, prior = self.weights
        return factors[0], {"rebuilt": rebuilt * torch.stack(missed).mean(), "prior": prior * torch.stack(apart).mean()}
