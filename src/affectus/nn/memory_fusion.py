"""Fusions that follow aligned modalities step by step: a memory of what changed in several of them at once.

MFN (Zadeh et al., "Memory Fusion Network for Multi-view Sequential Learning", AAAI 2018) and Graph-MFN (Zadeh et al.,
"Multimodal Language Analysis in the Wild", ACL 2018), which puts a graph of all parts of the modalities in the place of
the attention.

    steps (B, L, D_m) → an LSTM per modality, cells c_m (B, H)
    cells of two steps, all modalities → attention (MFN) or graph (Graph-MFN) → what is noticed (B, N)
    noticed → gated memory (B, memory)
    last states of all LSTMs and the memory → feature (B, H / 2)

A modality takes part from its first real step on, and not at all where it is missing: its states stay zero, so that
padding in front changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.nn.modality_presence import subsets
from affectus.nn.utterance_fusion import Fused, steps_present


def common_steps(sequences: Sequence[Tensor], present: Tensor, padded: bool = False) -> tuple[list[Tensor], Tensor]:
    """Front-padded sequences (B, L_m, D_m) brought to one length L by more zero rows in front, zero where a modality is
    missing, and which of their steps are real, (B, L, M). With `padded` padding counts as real."""
    longest = max(rows.shape[1] for rows in sequences)
    found = [functional.pad(rows, (0, 0, longest - rows.shape[1], 0)) * present[:, place, None, None]
             for place, rows in enumerate(sequences)]  # fmt: skip
    real = [torch.ones_like(rows[..., 0], dtype=torch.bool) if padded else steps_present(rows) for rows in found]
    return found, torch.stack(real, -1) & present[:, None]


def _two_layers(inputs: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs))


class DeltaMemoryAttention(nn.Module):
    """Which cells of which modality to look at, by what they were and what they became, as in MFN.

    With c = [c_1 … c_M at t-1, c_1 … c_M at t]: noticed = softmax(D(c)) · c, of width 2 · M · H.
    """

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        self.outputs = 2 * count * width
        self.weigh = _two_layers(self.outputs, width, self.outputs, dropout)

    def forward(self, before: Sequence[Tensor], now: Sequence[Tensor], there: Tensor) -> Tensor:
        """Cells (B, H) of every modality at two steps → (B, 2 · M · H); missing ones are zero already."""
        cells = torch.cat([*before, *now], -1)
        return self.weigh(cells).softmax(-1) * cells


class FusionGraph(nn.Module):
    """A vertex for every part of the modalities, and edges from each part into every larger one that holds it.

    Single modalities: ReLU(W [c at t-1, c at t]). A larger vertex is a network over its parts, every part times the
    efficacy of that edge; the output is a network over all vertices, again times efficacies. Efficacies, one number per
    edge, are the sigmoid of a network over the single modalities: three of these have 6 edges into pairs, 6 into the
    whole and 7 into the output. This is the dynamic fusion graph of Graph-MFN; the public tool kit leaves the sigmoid
    out and reads the states of the LSTMs instead of their cells.
    """

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        self.outputs = width
        names = [str(place) for place in range(count)]
        vertices = subsets(names)
        self.larger = vertices[count:]
        #: Edges (from, to) in the order of the efficacies; `to` is () for the output.
        self.edges = [(part, whole) for whole in self.larger for part in vertices if set(part) < set(whole)]
        self.edges += [(part, ()) for part in vertices]
        self.singles = nn.ModuleList(nn.Linear(2 * width, width) for _ in names)
        self.efficacy = _two_layers(count * width, width, len(self.edges), dropout)
        self.networks = nn.ModuleList(
            _two_layers(sum(whole == to for _, to in self.edges) * width, width, width, dropout)
            for whole in (*self.larger, ())
        )

    def read(self, before: Sequence[Tensor], now: Sequence[Tensor], there: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (B, H) of every modality at two steps, and which of them there are (B, M), → output (B, H) and
        efficacies (B, edges)."""
        pairs = zip(self.singles, before, now, strict=True)
        single = [torch.relu(net(torch.cat([a, b], -1))) * there[:, m, None] for m, (net, a, b) in enumerate(pairs)]
        strength = torch.sigmoid(self.efficacy(torch.cat(single, -1)))
        held: dict[tuple[str, ...], Tensor] = {(str(place),): x for place, x in enumerate(single)}
        for whole, network in zip((*self.larger, ()), self.networks, strict=True):
            parts = [held[part] * strength[:, k, None] for k, (part, to) in enumerate(self.edges) if to == whole]
            held[whole] = network(torch.cat(parts, -1))
        return held[()], strength

    def forward(self, before: Sequence[Tensor], now: Sequence[Tensor], there: Tensor) -> Tensor:
        """Output (B, H) alone."""
        return self.read(before, now, there)[0]


class GatedMemory(nn.Module):
    """u_t = γ₁ · u_{t-1} + γ₂ · tanh(D_u(noticed)), γ = σ(D_γ([noticed, u_{t-1}])): the gated memory of MFN.

    The gates see the memory as well, as in the public code; the paper lets them see what is noticed alone.
    """

    def __init__(self, inputs: int, width: int, memory: int, dropout: float) -> None:
        super().__init__()
        self.propose = _two_layers(inputs, width, memory, dropout)
        self.keep, self.take = (_two_layers(inputs + memory, width, memory, dropout) for _ in range(2))

    def forward(self, noticed: Tensor, memory: Tensor) -> Tensor:
        """(B, N) and (B, memory) → the next memory."""
        both = torch.cat([noticed, memory], -1)
        return self.keep(both).sigmoid() * memory + self.take(both).sigmoid() * self.propose(noticed).tanh()


class MemoryFusion(nn.Module):
    """MFN, or with `graph` Graph-MFN: front-padded aligned steps (B, L, D_m) → feature (B, H / 2).

    `padded` runs over the padding as well, as public code does.
    """

    def __init__(
        self, sizes: Sequence[int], width: int, memory: int = 128, dropout: float = 0.3, graph: bool = False,
        padded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.hidden, self.memory, self.padded = max(1, width // 2), width, memory, padded
        self.cells = nn.ModuleList(nn.LSTMCell(size, width) for size in sizes)
        self.notice = (FusionGraph if graph else DeltaMemoryAttention)(width, len(sizes), dropout)
        self.remember = GatedMemory(self.notice.outputs, width, memory, dropout)
        self.join = _two_layers(len(sizes) * width + memory, width, self.width, dropout)

    def states(self, sequences: Sequence[Tensor], present: Tensor) -> tuple[list[Tensor], Tensor]:
        """Last states (B, H) of the modalities and the last memory (B, `memory`)."""
        x, real = common_steps(sequences, present, self.padded)
        blank = x[0].new_zeros(len(present), self.hidden)
        hidden, cells = [blank] * len(x), [blank] * len(x)
        memory = blank.new_zeros(len(present), self.memory)
        for step in range(real.shape[1]):
            before, going = cells, real[:, step]  # (B, M)
            hidden, cells = list(hidden), list(cells)
            for m, cell in enumerate(self.cells):
                state = cell(x[m][:, step], (hidden[m], cells[m]))
                hidden[m], cells[m] = (
                    torch.where(going[:, m, None], new, old)
                    for new, old in zip(state, (hidden[m], cells[m]), strict=True)
                )
            noticed = self.notice(before, cells, present)
            memory = torch.where(going.any(1, keepdim=True), self.remember(noticed, memory), memory)
        return hidden, memory

    def forward(self, sequences: Sequence[Tensor], present: Tensor) -> Fused:
        """`present` (B, M) says which modalities there are."""
        hidden, memory = self.states(sequences, present)
        return self.join(torch.cat([*hidden, memory], -1)), {}
