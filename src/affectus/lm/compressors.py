"""The two-expert hybrid compressor of Emotion-Qwen: a general and an emotion patch merger behind one gate per clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectus.errors import ModelError
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
        return (self.score(self.attend(token, token, token, need_weights=False)[0].squeeze(1)) / temperature).softmax(
            -1
        )


@register("hybrid")
class HybridCompressor(Connector):
    """g_0 * general(V) + g_1 * emotion(V), with one gate value per clip (Emotion-Qwen).

    Patches come in frame order on a grid of even rows and columns, or already grouped by four (`grouped=True`, the
    order of Qwen's own vision tower). `force` fixes the gate for ablations, e.g. (1, 0) for the general path alone.
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
    ) -> None:
        super().__init__(widths, width, tokens)
        self.grouped, self.temperature = grouped, temperature
        self.general = PatchMerger(widths[0], width)
        self.emotion = PatchMerger(widths[0], width)
        self.gate = Gate(widths[0], 2, heads, (hidden[0], hidden[1]))
        self.force: tuple[float, float] | None = None
        self.shares: Tensor | None = None

    def count(self, lengths: Sequence[int], grids: Sequence[tuple[int, int, int] | None] = ()) -> int:
        """A quarter of the patches."""
        return lengths[0] // 4

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Patches (B, N, D) → (B, N / 4, width); `shares` keeps the gate with its gradient for a supervising loss."""
        source = sources[0]
        values, mask = (source.values, source.mask) if self.grouped else self._grouped(source)
        if values.shape[1] % 4:
            raise ModelError("hybrid compressor", f"{values.shape[1]} patches are no multiple of four")
        shares = self.gate(source.mean(), self.temperature)
        if self.force is not None:
            shares = shares.new_tensor(self.force).expand_as(shares)
        self.shares = shares
        self.trace = {"gate": shares.detach()}
        general, emotion = self.general(values), self.emotion(values)
        if self.force == (1.0, 0.0):
            mixed = general
        else:
            mixed = shares[:, 0, None, None] * general + shares[:, 1, None, None] * emotion
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
