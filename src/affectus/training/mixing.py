"""Several sources in one training run: every batch comes from one of them, in a seeded order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from affectus.errors import ConfigError
from affectus.nn.phase import Phase


class Sources(Dataset):
    """Items of named sources, one source after another.

    `balanced` maps a source to the class of each of its items; its items are drawn with replacement, every class
    equally often.
    """

    def __init__(self, parts: Mapping[str, Dataset], balanced: Mapping[str, Tensor] | None = None) -> None:
        self.parts = dict(parts)
        self.sizes = {name: len(part) for name, part in self.parts.items()}  # type: ignore[arg-type]
        self.weights = {name: inverse_frequency(classes) for name, classes in (balanced or {}).items()}
        self._ends = list(accumulate(self.sizes.values()))
        if empty := [name for name, size in self.sizes.items() if not size]:
            raise ConfigError(empty[0], "holds nothing to learn from", "check its split and target column")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Any:
        number = bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return list(self.parts.values())[number][index - start]


class SourceBatches(Sampler[list[int]]):
    """Batches of indices into `Sources`, each of one source, for one epoch.

    `options` of the phase: `shares` (source → share of its batches that an epoch takes, 1 by default; rounded down) and
    `batch_sizes` (source → items per batch, the phase's own by default). The rest of a source that fills no batch is
    left out. The same `seed` gives the same order and the same items.
    """

    def __init__(self, sources: Sources, phase: Phase, seed: int) -> None:
        self.sources, self.seed = sources, seed
        shares, sizes = phase.options.get("shares", {}), phase.options.get("batch_sizes", {})
        if unknown := sorted((set(shares) | set(sizes)) - set(sources.sizes)):
            raise ConfigError(f"phase {phase.name}", f"names sources that are not there: {', '.join(unknown)}",
                              f"sources are {', '.join(sources.sizes)}")  # fmt: skip
        self.batch_sizes = {n: min(int(sizes.get(n, phase.batch_size)), size) for n, size in sources.sizes.items()}
        self.counts = {n: int(float(shares.get(n, 1.0)) * (size // self.batch_sizes[n]))
                       for n, size in sources.sizes.items()}  # fmt: skip
        #: What `accelerate` asks of a batch sampler.
        self.batch_size, self.drop_last = max(self.batch_sizes.values()), True
        if not sum(self.counts.values()):
            raise ConfigError(f"phase {phase.name}", "its shares leave no batch of any source")

    def __len__(self) -> int:
        return sum(self.counts.values())

    def plan(self) -> list[str]:
        """The source of each step."""
        names = [name for name, count in self.counts.items() for _ in range(count)]
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(self.seed))
        return [names[i] for i in order.tolist()]

    def __iter__(self) -> Iterator[list[int]]:
        random = torch.Generator().manual_seed(self.seed + 1)
        queues, start = {}, 0
        for name, size in self.sources.sizes.items():
            wanted = self.counts[name] * self.batch_sizes[name]
            weights = self.sources.weights.get(name)
            order = (torch.randperm(size, generator=random)[:wanted] if weights is None
                     else torch.multinomial(weights, wanted, replacement=True, generator=random))  # fmt: skip
            queues[name] = iter((order + start).tolist())
            start += size
        for name in self.plan():
            yield [next(queues[name]) for _ in range(self.batch_sizes[name])]


def inverse_frequency(classes: Tensor) -> Tensor:
    """Weights (items,) that make every class equally likely: one over the count of the item's class (N,) int64."""
    return 1.0 / classes.bincount().clamp(min=1)[classes].double()
