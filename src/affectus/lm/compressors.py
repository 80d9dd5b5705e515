"""The two-expert hybrid compressor of Emotion-Qwen: a general and an emotion patch merger behind one gate per clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.connectors import Connector, register
from affectus.lm.encoders import Tokens


class PatchMerger(nn.Module):
    """RMSNorm, 2 x 2 neighbours side by side, Linear-GELU-Linear (the merger of Qwen2.5-VL).

    (B, N, D) with N a multiple of 4, neighbours in groups of four → (B, N / 4, width).
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.merge = nn.Sequential(nn.Linear(4 * dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, width))

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        return self.merge(self.norm(values).unflatten(1, (-1, 4)).flatten(2))


class RoutedMerger(nn.Module):
    """A merger with several mappings of which every merged token goes through one, scaled by its probability.

    Stands for what the published class name (a mixture inside a compressor) may hide; shapes as `PatchMerger`.
    """

    def __init__(self, dim: int, width: int, experts: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.route = nn.Linear(4 * dim, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(4 * dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, width)) for _ in range(experts)
        )
        self.width = width

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        merged = self.norm(values).unflatten(1, (-1, 4)).flatten(2)
        tokens = merged.flatten(0, 1)
        share, chosen = self.route(tokens).softmax(-1).max(-1)
        out = tokens.new_zeros(len(tokens), self.width)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(-1)
            out = out.index_add(0, rows, share[rows, None] * expert(tokens[rows]))
        return out.unflatten(0, merged.shape[:2])


class Gate(nn.Module):
    """Shares of the experts from the mean token: self-attention, two Linear-ReLU-LayerNorm, Linear, softmax.

    (B, D) → (B, experts), rows sum to one. One mean token attends to itself, as published.
    """

    def __init__(self, dim: int, experts: int = 2, heads: int = 8, hidden: tuple[int, int] = (512, 128)) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        first, second = hidden
        self.score = nn.Sequential(
            nn.Linear(dim, first), nn.ReLU(), nn.LayerNorm(first),
            nn.Linear(first, second), nn.ReLU(), nn.LayerNorm(second),
            nn.Linear(second, experts),
        )  # fmt: skip

    def forward(self, mean: Tensor, temperature: float = 1.0) -> Tensor:
        """See the class."""
        token = mean.unsqueeze(1)
        attended = self.attend(token, token, token, need_weights=False)[0].squeeze(1)
        return (self.score(attended) / temperature).softmax(-1)


@register("hybrid")
class HybridCompressor(Connector):
    """g_0 * general(V) + g_1 * emotion(V), with one gate value per clip (Emotion-Qwen).

    Patches come in frame order on a grid of even rows and columns, or already grouped by four (`grouped=True`, the
    order of Qwen's own vision tower). `inner` > 1 puts that many routed mappings into each expert. `force` fixes the
    shares, e.g. (1, 0) for the general path alone: in the training of one expert and for ablations. `shares` keeps what
    the gate itself says of the last batch, with its gradient.
    """

    def __init__(
        self,
        widths: Sequence[int],
        width: int,
        tokens: int = 1,
        heads: int = 8,
        hidden: Sequence[int] = (512, 128),
        grouped: bool = False,
        temperature: float = 1.0,
        inner: int = 1,
    ) -> None:
        super().__init__(widths, width, tokens)
        if inner < 1:
            raise ConfigError("hybrid compressor", f"cannot have {inner} inner experts")
        self.grouped, self.temperature = grouped, temperature
        self.general, self.emotion = (
            PatchMerger(widths[0], width) if inner == 1 else RoutedMerger(widths[0], width, inner) for _ in range(2)
        )
        self.gate = Gate(widths[0], 2, heads, (hidden[0], hidden[1]))
        self.force: tuple[float, float] | None = None
        self.shares: Tensor | None = None

    def count(self, lengths: Sequence[int], grids: Sequence[tuple[int, int, int] | None] = ()) -> int:
        """A quarter of the patches."""
        return lengths[0] // 4

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Patches (B, N, D) → (B, N / 4, width)."""
        source = sources[0]
        values, mask = (source.values, source.mask) if self.grouped else self._grouped(source)
        if values.shape[1] % 4:
            raise ModelError("hybrid compressor", f"{values.shape[1]} patches are no multiple of four")
        self.shares = self.gate(source.mean(), self.temperature)
        used = self.shares if self.force is None else self.shares.new_tensor(self.force).expand_as(self.shares)
        self.trace = {"gate": used.detach()}
        # An expert without any share is not asked, so that a forced path is that expert to the last bit.
        if self.force == (1.0, 0.0):
            mixed = self.general(values)
        elif self.force == (0.0, 1.0):
            mixed = self.emotion(values)
        else:
            mixed = used[:, 0, None, None] * self.general(values) + used[:, 1, None, None] * self.emotion(values)
        return Tokens(mixed, mask.unflatten(1, (-1, 4)).all(2))

    def _grouped(self, source: Tokens) -> tuple[Tensor, Tensor]:
        """Patches reordered so that every four in a row are a 2 x 2 neighbourhood."""
        if source.grid is None:
            raise ModelError(
                "hybrid compressor", "its source gives no patch grid", "set grouped if patches come by fours"
            )
        frames, rows, columns = source.grid
        if rows % 2 or columns % 2:
            raise ModelError("hybrid compressor", f"a grid of {rows} x {columns} patches cannot be merged 2 x 2")
        places = torch.arange(frames * rows * columns, device=source.values.device)
        order = places.view(frames, rows // 2, 2, columns // 2, 2).permute(0, 1, 3, 2, 4).flatten()
        return source.values[:, order], source.mask[:, order]
