"""What every metric asks of its input: something to score, equal lengths, finite numbers, probabilities that are such.

All checks raise `ValueError` with one clause that says what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Softmax outputs stored in half precision miss a sum of one by about a thousandth.
SUM_TOLERANCE = 1e-2


def not_empty(values: npt.ArrayLike, name: str = "input") -> Array:
    """`values` as an array with at least one row; rows of unequal length (lists of labels) become objects."""
    try:
        array = np.asarray(values)
    except ValueError:
        rows: list[Any] = list(values)  # type: ignore[arg-type]
        array = np.empty(len(rows), dtype=object)
        for i, row in enumerate(rows):
            array[i] = row
    if array.ndim == 0:
        raise ValueError(f"{name} must be a sequence, not a single value")
    if array.shape[0] == 0:
        raise ValueError(f"{name} is empty: there is nothing to score")
    return array


def same_length(first: Array, second: Array, names: tuple[str, str] = ("truth", "prediction")) -> None:
    """Both arrays have the same number of rows."""
    if first.shape[0] != second.shape[0]:
        raise ValueError(f"{names[0]} has {first.shape[0]} rows but {names[1]} has {second.shape[0]}")


def numbers(values: npt.ArrayLike, name: str = "input") -> Floats:
    """Finite float64 numbers, at least one row."""
    array = not_empty(values, name)
    try:
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, not {array.dtype}") from None
    # One pass and no temporary: a sum is finite unless an element is not (or all of them overflow together).
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if not np.isfinite(total):
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            raise ValueError(f"{name} holds {len(bad)} values that are NaN or infinite, first in row {bad[0][0]}")
    return array


def paired_numbers(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, names: tuple[str, str] = ("truth", "prediction")
) -> tuple[Floats, Floats]:
    """Two series `(N,)` of finite numbers of the same length; a trailing axis of length one is dropped."""
    first, second = numbers(truth, names[0]), numbers(prediction, names[1])
    if first.ndim == 2 and first.shape[1] == 1:
        first = first[:, 0]
    if second.ndim == 2 and second.shape[1] == 1:
        second = second[:, 0]
    for array, name in ((first, names[0]), (second, names[1])):
        if array.ndim != 1:
            raise ValueError(f"{name} must be one series (N,), not {array.shape}")
    same_length(first, second, names)
    return first, second


def distributions(values: npt.ArrayLike, name: str = "probabilities") -> Floats:
    """Probabilities `(N, C)`: finite, not negative, every row sums to one (within 0.01)."""
    array = numbers(values, name)
    if array.ndim != 2 or array.shape[1] < 1:
        raise ValueError(f"{name} must be (N, C), not {array.shape}")
    if array.min() < 0:
        raise ValueError(f"{name} holds a negative value in row {int(np.argmin(array.min(axis=1)))}")
    off = np.abs(array.sum(axis=1) - 1)
    if off.max() > SUM_TOLERANCE:
        worst = int(np.argmax(off))
        raise ValueError(f"{name} must sum to one in every row; row {worst} sums to {array[worst].sum():.4g}")
    return array


def unit_interval(values: npt.ArrayLike, name: str = "confidence") -> Floats:
    """Numbers `(N,)` in [0, 1]."""
    array = numbers(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one series (N,), not {array.shape}")
    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"{name} must lie in [0, 1], found {array.min():.4g} to {array.max():.4g}")
    return array


def binary(values: npt.ArrayLike, name: str = "truth") -> Floats:
    """Zeros and ones (or booleans) of any shape as float64."""
    array = numbers(values, name)
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} must hold only 0 and 1")
    return array


def class_ids(truth: npt.ArrayLike, count: int, name: str = "truth") -> Ints:
    """Class numbers `(N,)` in [0, count)."""
    array = numbers(truth, name)
    ids = array.astype(np.int64)
    if array.ndim != 1 or (ids != array).any():
        raise ValueError(f"{name} must be one series of whole class numbers")
    if ids.min() < 0 or ids.max() >= count:
        raise ValueError(f"{name} holds class {int(ids.min() if ids.min() < 0 else ids.max())} outside 0..{count - 1}")
    return ids


def group_ids(groups: npt.ArrayLike, rows: int) -> tuple[Ints, int]:
    """Group keys of any kind as numbers 0..G-1, and G."""
    keys = not_empty(groups, "groups")
    if keys.ndim != 1 or len(keys) != rows:
        raise ValueError(f"groups must name one group per row ({rows}), not {keys.shape}")
    names, ids = np.unique(keys, return_inverse=True)
    return ids.reshape(-1).astype(np.int64), len(names)


def class_names(labels: Sequence[Any] | int | None) -> list[Any] | None:
    """A class list as given by name, by number of classes, or not at all; repeated names are refused."""
    if labels is None:
        return None
    names = list(range(labels)) if isinstance(labels, (int, np.integer)) else list(labels)
    if not names:
        raise ValueError("labels is empty: name at least one class")
    if len(set(names)) != len(names):
        raise ValueError("labels names a class twice")
    return names
