"""Connectors: tokens of encoders → tokens as wide as the language model.

A connector is a module registered by name; later ones (tube selection, prompt-query reducers …) register themselves the
same way:

    @register("tubes")
    class Tubes(Connector): ...

It gets the tokens of its sources and the embedded question, and says how many tokens it gives for sources of given
lengths, because the prompt must reserve as many places. A row whose sources are not all there gets no tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.encoders import Tokens

CONNECTORS: dict[str, type[Connector]] = {}


def register(name: str) -> Callable[[type[Connector]], type[Connector]]:
    """Class decorator that makes a connector known under a name."""

    def add(kind: type[Connector]) -> type[Connector]:
        if CONNECTORS.get(name, kind).__qualname__ != kind.__qualname__:
            raise ConfigError(f"connector {name}", "is registered twice")
        CONNECTORS[name] = kind
        return kind

    return add


class Connector(nn.Module):
    """Base of all connectors.

    `widths` are those of the sources, `width` that of the language model, `tokens` how many tokens come out (of those
    with a fixed number). `trace` holds what the last forward pass may be asked for (gates, weights), detached.
    """

    sources: ClassVar[int | None] = 1

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__()
        if self.sources is not None and len(widths) != self.sources:
            raise ConfigError(type(self).__name__, f"takes {self.sources} sources, not {len(widths)}")
        if tokens < 1:
            raise ConfigError(type(self).__name__, f"cannot give {tokens} tokens")
        self.widths, self.width, self.tokens = tuple(widths), width, tokens
        self.trace: dict[str, Tensor] = {}

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Tokens (B, n, width); rows without any source token are masked out."""
        raise ModelError(type(self).__name__, "has no forward pass")

    def count(self, lengths: Sequence[int], grids: Sequence[tuple[int, int, int] | None] = ()) -> int:
        """Tokens that come out for sources of these lengths; 0 when one of them is empty."""
        return self.tokens if all(length > 0 for length in lengths) else 0

    def fixed(self, values: Tensor, sources: Sequence[Tokens]) -> Tokens:
        """(B, width) repeated, or (B, n, width), as tokens of the rows in which every source is present."""
        if values.ndim == 2:
            values = values.unsqueeze(1).expand(-1, self.tokens, -1)
        present = torch.stack([source.present for source in sources]).all(0)
        return Tokens(values, present.unsqueeze(1).expand(-1, values.shape[1]))


def build_connector(name: str, widths: Sequence[int], width: int, tokens: int, options: dict[str, Any]) -> Connector:
    """A registered connector; ConfigError for an unknown name or option."""
    from affectus.lm import compressors, fusion, reducers  # noqa: F401 (they register themselves)

    if name not in CONNECTORS:
        raise ConfigError(f"connector {name!r}", "no such connector", f"there are {', '.join(sorted(CONNECTORS))}")
    try:
        return CONNECTORS[name](widths, width, tokens, **options)
    except TypeError as error:
        raise ConfigError(f"connector {name!r}", str(error)) from None


@register("mean")
class Mean(Connector):
    """Mean over the tokens, then a linear map, repeated (AffectGPT's "mean"; still images)."""

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        self.project = nn.Linear(widths[0], width)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """(B, N, D) → (B, tokens, width)."""
        return self.fixed(self.project(sources[0].mean()), sources)


@register("first")
class First(Connector):
    """The first token through a linear map: the class token of a picture (Emotion-LLaMA)."""

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        self.project = nn.Linear(widths[0], width)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """(B, N, D) → (B, tokens, width)."""
        return self.fixed(self.project(sources[0].values[:, 0]), sources)


@register("attention")
class Attention(Connector):
    """x = sum_t a_t V_t with a = V w + b, neither scaled nor softmaxed, then a linear map (AffectGPT, best set-up).

    Without a softmax the pooled vector is quadratic in V: doubling V quadruples it when b = 0.
    """

    def __init__(self, widths: Sequence[int], width: int, tokens: int = 1) -> None:
        super().__init__(widths, width, tokens)
        self.weight = nn.Linear(widths[0], 1)
        self.project = nn.Linear(widths[0], width)

    def pool(self, source: Tokens) -> Tensor:
        """(B, N, D) → (B, D)."""
        weights = self.weight(source.values) * source.mask.unsqueeze(-1)
        return (weights * source.values).sum(1)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """(B, N, D) → (B, tokens, width)."""
        return self.fixed(self.project(self.pool(sources[0])), sources)


@register("mlp")
class Projector(Connector):
    """One token per source token, through Linear-GELU-Linear (`depth=2`) or one Linear (`depth=1`).

    Before it, neighbours may be averaged (`pool=3` for Whisper: 1500 states → 500) or laid side by side (`merge=4`:
    MiniGPT-v2-type projectors), and patch grids averaged to `grid` x `grid` per frame; `skip` tokens at the start (the
    class token of a picture) are left out. What does not fill a whole neighbourhood at the end is left out, as a
    pooling layer does. (HumanOmni; Emotion-LLaMA.)
    """

    def __init__(
        self,
        widths: Sequence[int],
        width: int,
        tokens: int = 1,
        depth: int = 2,
        pool: int = 1,
        merge: int = 1,
        grid: int = 0,
        skip: int = 0,
    ) -> None:
        super().__init__(widths, width, tokens)
        self.pool, self.merge, self.grid, self.skip = pool, merge, grid, skip
        first = widths[0] * merge
        layers: list[nn.Module] = [nn.Linear(first, width)]
        if depth == 2:
            layers += [nn.GELU(), nn.Linear(width, width)]
        self.project = nn.Sequential(*layers)

    def count(self, lengths: Sequence[int], grids: Sequence[tuple[int, int, int] | None] = ()) -> int:
        """Source tokens after pooling; 0 when fewer than one whole neighbourhood."""
        length = max(0, lengths[0] - self.skip)
        if self.grid:
            cells = _cells(grids, length)
            length = length // cells * self.grid**2
        return length // (self.pool * self.merge)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """(B, N, D) → (B, N // (pool * merge), width)."""
        source = self._on_grid(sources[0]) if self.grid else sources[0]
        if self.skip:
            source = Tokens(source.values[:, self.skip :], source.mask[:, self.skip :])
        group = self.pool * self.merge
        n = source.values.shape[1] // group
        if n == 0 and source.present.any():
            raise ModelError("projector", f"{source.values.shape[1]} tokens are fewer than the {group} that make one")
        values = source.values[:, : n * group]
        mask = source.mask[:, : n * group].unflatten(1, (n, group)).all(2)
        if self.pool > 1:
            values = values.unflatten(1, (n * self.merge, self.pool)).mean(2)
        return Tokens(self.project(values.unflatten(1, (n, self.merge)).flatten(2)), mask)

    def _on_grid(self, source: Tokens) -> Tokens:
        if source.grid is None:
            raise ModelError("projector", "its source gives no patch grid to pool", "leave the option grid out")
        frames, rows, columns = source.grid
        maps = source.values.unflatten(1, (frames, rows, columns)).permute(0, 1, 4, 2, 3).flatten(0, 1)
        pooled = nn.functional.adaptive_avg_pool2d(maps, self.grid).flatten(2).transpose(1, 2)
        values = pooled.unflatten(0, (-1, frames)).flatten(1, 2)
        mask = source.mask.unflatten(1, (frames, rows * columns)).all(2).repeat_interleave(self.grid**2, 1)
        return Tokens(values, mask, (frames, self.grid, self.grid))


def _cells(grids: Sequence[tuple[int, int, int] | None], length: int) -> int:
    if not grids or grids[0] is None:
        raise ModelError("projector", "the patch grid of its source must be known to count tokens")
    return min(length, grids[0][1] * grids[0][2])
