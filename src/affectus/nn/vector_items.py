"""Published feature vectors as training items, and synthetic modalities that share a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class VectorItems(Sequence[dict[str, Any]]):
    """Utterance vectors with targets; rows without vectors or without a target are left out.

    With `partial` a row needs one of the modalities alone. Vectors may be sequences (n, T, D), NaN where missing.
    """

    def __init__(
        self,
        vectors: Mapping[str, np.ndarray],
        targets: Mapping[str, np.ndarray],
        ids: Sequence[str],
        partial: bool = False,
    ) -> None:
        held = [~np.isnan(values).any(tuple(range(1, values.ndim))) for values in vectors.values()]
        known = np.any(held, 0) if partial else np.all(held, 0)
        if "label" in targets:
            known &= targets["label"] >= 0
        elif "values" in targets:
            known &= ~np.isnan(targets["values"]).all(1)
        self.kept = np.flatnonzero(known)
        self.vectors, self.targets, self.ids = vectors, targets, ids

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: Any) -> Any:
        row = int(self.kept[index])
        item: dict[str, Any] = {name: values[row] for name, values in self.vectors.items()}
        return item | {name: values[row] for name, values in self.targets.items()} | {"id": self.ids[row]}


def shared_class(
    shapes: Mapping[str, tuple[int, ...]], classes: np.ndarray, count: int, seed: int, noise: float = 0.5
) -> dict[str, np.ndarray]:
    """Arrays (items, *shape) by modality: a fixed pattern per class along the last axes, plus noise of its own.

    `classes` are numbers below `count`. The patterns are the same for every seed.
    """
    random, rule = np.random.default_rng(seed), np.random.default_rng(11)
    found = {}
    for name, shape in shapes.items():
        pattern = rule.normal(size=(count, *[1] * (len(shape) - 1), shape[-1]))
        if len(shape) == 3:  # landmarks: every point has its own place
            pattern = rule.normal(size=(count, 1, *shape[1:]))
        found[name] = (pattern[classes] + noise * random.normal(size=(len(classes), *shape))).astype("f4")
    return found
