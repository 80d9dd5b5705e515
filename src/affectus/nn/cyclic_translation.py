"""MCTN (Pham et al., "Found in Translation", AAAI 2019): codes of one modality from which the others can be told.

    source (B, L, D_s) → encoder → codes (B, L, H) → decoder → first target (B, L, D_1) → the same encoder and decoder →
    source again; codes → second encoder → codes (B, L, H) → decoder → second target; last codes → GRU → feature

Losses: squared errors of the targets and of the source that came back. Only the first pair is translated there and
back; a further target is told from the codes of the pair before it (the hierarchical model of the paper). The feature
comes from the source alone, so that targets which are missing in use are not missed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.nn.utterance_fusion import Fused, from_first_step, steps_present


class Translator(nn.Module):
    """Sequences with padding behind (B, L, source) → codes (B, L, H) → sequences (B, T, target), and back if `cyclic`.

    GRU encoder; decoder GRU with attention over the codes, which reads what it said last, or in training with
    probability `forced` per item and step what it should have said. Both directions share all but the first and last
    linear maps, which differ in width.
    """

    def __init__(self, source: int, target: int, width: int, dropout: float, forced: float, cyclic: bool) -> None:
        super().__init__()
        sizes = (source, target)
        self.forced, self.dropout = forced, nn.Dropout(dropout)
        self.enter = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.ask = nn.Linear(width, width, bias=False)
        self.cell = nn.GRUCell(2 * width, width)
        self.leave = nn.ModuleList(nn.Linear(2 * width, size) for size in (sizes[::-1] if cyclic else sizes[1:]))

    def encode(self, x: Tensor, back: bool = False) -> Tensor:
        """Codes (B, L, H) of a source, or with `back` of a target."""
        return self.encoder(self.dropout(self.enter[int(back)](x)))[0]

    def decode(self, codes: Tensor, real: Tensor, target: Tensor, back: bool = False) -> Tensor:
        """As many steps (B, T, D) as `target` (B, T, D) has, which is read where steps are forced; `real` (B, L) are
        the steps of the codes."""
        state = last_step(codes, real)
        said, found = torch.zeros_like(target[:, 0]), []
        for step in range(target.shape[1]):
            scores = torch.einsum("bh,blh->bl", self.ask(state), codes).masked_fill(~real, -torch.inf)
            heard = torch.einsum("bl,blh->bh", scores.softmax(-1), codes)
            read = torch.cat([self.enter[int(not back)](said), heard], -1)
            state = self.cell(self.dropout(read), state)
            said = self.leave[int(back)](torch.cat([state, heard], -1))
            found.append(said)
            if self.training and self.forced:
                told = torch.rand(len(said), 1, device=said.device) < self.forced
                said = torch.where(told, target[:, step], said)
        return torch.stack(found, 1)


def last_step(codes: Tensor, real: Tensor) -> Tensor:
    """The code (B, H) of the last real step of sequences (B, L, H) with padding behind."""
    last = (real.sum(1) - 1).clamp(min=0)
    return codes.gather(1, last[:, None, None].expand(-1, 1, codes.shape[-1]))[:, 0]


class TranslationFusion(nn.Module):
    """See the module text: front-padded steps (B, L_m, D_m) → feature (B, H).

    `lead` is the place of the source, all others are targets in their order; `weight` is that of the losses. An item
    takes part in the loss of a translation when it has both sides.
    """

    def __init__(
        self, sizes: Sequence[int], width: int, lead: int = 0, dropout: float = 0.3, weight: float = 0.3,
        forced: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.lead, self.weight = width, lead, weight
        self.targets = [place for place in range(len(sizes)) if place != lead]
        self.translators = nn.ModuleList(
            Translator(width if level else sizes[lead], sizes[place], width, dropout, forced, level == 0)
            for level, place in enumerate(self.targets)
        )
        self.reader = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequences: Sequence[Tensor], present: Tensor) -> Fused:
        """`present` (B, M) says which modalities there are; the feature depends on the source alone."""
        source, real = _of(sequences, present, self.lead)
        codes, losses = source, {"translated": source.new_zeros(()), "returned": source.new_zeros(())}
        for level, (net, place) in enumerate(zip(self.translators, self.targets, strict=True)):
            assert isinstance(net, Translator)
            codes = net.encode(codes)
            if not (both := present[:, place] & present[:, self.lead]).any():
                continue  # nothing of this target is at hand: in use it need not be translated to
            target, wanted = _of(sequences, present, place)
            made = net.decode(codes, real, target)
            losses["translated"] = losses["translated"] + self.weight * _missed(made, target, wanted, both)
            if level == 0:
                again = net.decode(net.encode(made, back=True), wanted, source, back=True)
                losses["returned"] = self.weight * _missed(again, source, real, both)
        return self.dropout(last_step(self.reader(codes)[0], real)), losses


def _of(sequences: Sequence[Tensor], present: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """One modality with its padding behind (B, L, D), zero where missing, and its real steps (B, L), at least one."""
    rows = sequences[place] * present[:, place, None, None]
    lengths = steps_present(rows).sum(1).clamp(min=1)
    return from_first_step(rows, lengths), torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]


def _missed(made: Tensor, wanted: Tensor, real: Tensor, both: Tensor) -> Tensor:
    """Mean squared error over the real steps of the items that have both sides."""
    counted = real & both[:, None]
    errors = functional.mse_loss(made, wanted, reduction="none").mean(-1)
    return (errors * counted).sum() / counted.sum().clamp(min=1)
