"""Compound expressions from basic ones: a compound is shown where both of its parts are."""

from __future__ import annotations

import numpy as np

from affectus import labels
from affectus.errors import ConfigError


def compound_parts(space: str = "cexpr7") -> dict[str, tuple[str, str]]:
    """The two basic expressions behind each compound of a space, by its label."""
    parts = labels.space(space).concepts
    return {label: (pair[0], pair[1]) for label, pair in parts.items() if len(pair) == 2}


def compound_scores(basic: np.ndarray, names: tuple[str, ...], space: str = "cexpr7") -> np.ndarray:
    """Probabilities (n, compounds) from those of basic expressions (n, len(names)): products of the two parts, scaled
    to sum to one; equal shares where no compound has any.

    The rule knows nothing of which parts go together in a face: it is the floor that a trained model must pass. Raises
    ConfigError when a part is not among the names.
    """
    pairs = compound_parts(space)
    if missing := sorted({part for pair in pairs.values() for part in pair} - set(names)):
        raise ConfigError(space, f"needs {', '.join(missing)}", "give all basic expressions")
    left, right = ([names.index(pair[side]) for pair in pairs.values()] for side in (0, 1))
    found = np.asarray(basic, np.float64)[:, left] * np.asarray(basic, np.float64)[:, right]
    total = found.sum(1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1), 1 / len(pairs)).astype(np.float32)
