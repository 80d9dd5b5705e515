"""How two ways of sorting the same items hang together: counts of pairs, lift, Cramér's V, mutual information.

Tables are counts `(A, E)`: rows are values of an attribute, columns the classes it may tell about (emotions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats


def pair_counts(attribute: Sequence[Any], label: Sequence[Any]) -> tuple[Floats, list[Any], list[Any]]:
    """Counts `(A, E)` of all pairs, with the sorted values of both; pairs with a None are left out.

    Raises ValueError for sequences of different length or without a pair.
    """
    if len(attribute) != len(label):
        raise ValueError(f"attribute and label differ in length: {len(attribute)} and {len(label)}")
    pairs = [(a, e) for a, e in zip(attribute, label, strict=True) if a is not None and e is not None]
    if not pairs:
        raise ValueError("there is no pair to count")
    rows, columns = (sorted({pair[k] for pair in pairs}) for k in (0, 1))
    table = np.zeros((len(rows), len(columns)))
    places = ({value: i for i, value in enumerate(names)} for names in (rows, columns))
    at_row, at_column = places
    for a, e in pairs:
        table[at_row[a], at_column[e]] += 1
    return table, rows, columns


def _checked(counts: npt.ArrayLike) -> Floats:
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or (table < 0).any() or not np.isfinite(table).all() or table.sum() <= 0:
        raise ValueError("counts must be a table (A, E) of non-negative numbers with at least one item")
    return table


def class_given_value(counts: npt.ArrayLike) -> Floats:
    """Share of each class among the items of each value, `(A, E)`; a value that never occurs has zeros."""
    table = _checked(counts)
    total = table.sum(1, keepdims=True)
    return np.divide(table, total, out=np.zeros_like(table), where=total > 0)


def lift(counts: npt.ArrayLike) -> Floats:
    """Share of a class given a value over its share in all items, `(A, E)`: 1 where the value tells nothing."""
    table = _checked(counts)
    prior = table.sum(0) / table.sum()
    return np.divide(class_given_value(table), prior, out=np.zeros_like(table), where=prior > 0)


def mutual_information(counts: npt.ArrayLike) -> float:
    """Mutual information of value and class in bits, at least 0."""
    joint = _checked(counts)
    joint = joint / joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0)
    seen = joint > 0
    return float(max(0.0, (joint[seen] * np.log2(joint[seen] / independent[seen])).sum()))


def cramers_v(counts: npt.ArrayLike) -> float:
    """Cramér's V in [0, 1], without bias correction: 0 for independence, 1 when the value tells the class; 0 for a
    table with one value or one class."""
    table = _checked(counts)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / (table.sum() * (min(table.shape) - 1))))


def majority_accuracy(counts: npt.ArrayLike) -> tuple[float, float]:
    """Accuracy of the most frequent class of each value, and of the most frequent class of all, both in [0, 1]."""
    table = _checked(counts)
    return float(table.max(1).sum() / table.sum()), float(table.sum(0).max() / table.sum())
