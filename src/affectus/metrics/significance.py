"""Is one system better than another? Paired tests on the same rows.

Both systems are scored on the same truth; `groups` makes speakers, videos or subjects the unit instead of rows. Classes
that `labels` does not fix are those that occur in the truth or in either prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from affectus.metrics.classification import encode, occurring
from affectus.metrics.inputs import Array, Floats, group_ids, not_empty, numbers, same_length
from affectus.metrics.intervals import Interval, percentiles
from affectus.metrics.resampling import Groups, Units, row_draws, units_of


class Comparison(NamedTuple):
    """Metric of the first system minus that of the second, and the two-sided p-value of "no difference"."""

    difference: float
    p_value: float


class McNemar(NamedTuple):
    """Rows that only the first, or only the second system got right, and the exact two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def _prepared(
    truth: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, groups: npt.ArrayLike | None
) -> tuple[Array, Array, Array, Groups | None]:
    true, one, two = not_empty(truth, "truth"), not_empty(first, "first"), not_empty(second, "second")
    same_length(true, one, ("truth", "first"))
    same_length(true, two, ("truth", "second"))
    if one.shape != two.shape:
        raise ValueError(f"first {one.shape} and second {two.shape} must have the same shape")
    return true, one, two, None if groups is None else group_ids(groups, len(true))


def _difference(metric: Callable[..., Any], true: Array, one: Array, two: Array, options: dict[str, Any]) -> float:
    try:
        return float(metric(true, one, **options)) - float(metric(true, two, **options))
    except ValueError:  # a draw may lack what the metric needs, such as a second class
        return float("nan")


def _observed(
    metric: Callable[..., Any], units: Units | None, data: tuple[Array, Array, Array], options: dict[str, Any]
) -> float:
    if units is None:
        true, one, two = data
        return float(metric(true, one, **options)) - float(metric(true, two, **options))
    first, second = units.values()
    return first - second


def paired_permutation(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    draws: int = 10_000,
    seed: int = 0,
    **options: Any,
) -> Comparison:
    """Permutation test of two systems: under "no difference" their predictions of a row (or group) could be swapped.

    The p-value is (1 + draws at least as different) / (1 + draws), so it is never 0. `options` go to the metric.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    true, one, two, clusters = _prepared(truth, first, second, groups)
    units = units_of(metric, true, [one, two], clusters, options)
    difference = _observed(metric, units, (true, one, two), options)
    generator = np.random.default_rng(seed)
    if units is not None:
        values = units.swapped(draws, generator)
        sample = values[0] - values[1]
    else:
        sample = _swapped_rows(metric, (true, one, two), clusters, draws, generator, options)
    sample = sample[np.isfinite(sample)]
    # A swap that only reorders rows must count as "as different" in spite of rounding.
    extreme = int((np.abs(sample) >= abs(difference) - 1e-12).sum())
    return Comparison(difference, (1 + extreme) / (1 + len(sample)))


def _swapped_rows(
    metric: Callable[..., Any],
    data: tuple[Array, Array, Array],
    groups: Groups | None,
    draws: int,
    generator: np.random.Generator,
    options: dict[str, Any],
) -> Floats:
    true, one, two = data
    ids, count = groups if groups is not None else (np.arange(len(true)), len(true))
    sample = np.empty(draws)
    for draw in range(draws):
        swap = generator.integers(0, 2, count, dtype=np.int8).astype(bool)[ids]
        swap = swap.reshape(-1, *[1] * (one.ndim - 1))
        sample[draw] = _difference(metric, true, np.where(swap, two, one), np.where(swap, one, two), options)
    return sample


def paired_interval(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Interval:
    """Interval of the metric of the first system minus that of the second, both on the same resamples."""
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"level must lie between 0 and 1 and draws be positive, not {level} and {draws}")
    true, one, two, clusters = _prepared(truth, first, second, groups)
    units = units_of(metric, true, [one, two], clusters, options)
    difference = _observed(metric, units, (true, one, two), options)
    generator = np.random.default_rng(seed)
    if units is not None:
        values = units.resampled(draws, generator)
        return percentiles(difference, values[0] - values[1], level)
    picks = row_draws(len(true), clusters, draws, generator)
    sample = np.array([_difference(metric, true[rows], one[rows], two[rows], options) for rows in picks])
    return percentiles(difference, sample, level)


def mcnemar(truth: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """McNemar's exact test that two systems have the same accuracy, from the rows on which one of them is right.

    Predictions are labels `(N,)` or scores `(N, C)`, as for `classification.encode`.
    """
    true, one, two, _ = _prepared(truth, first, second, None)
    labels = occurring(true, np.concatenate([one, two])) if one.ndim == 1 else None
    target, chosen, _ = encode(true, one, labels)
    _, other, _ = encode(true, two, labels)
    right, also = chosen == target, other == target
    only_first, only_second = int((right & ~also).sum()), int((also & ~right).sum())
    return McNemar(only_first, only_second, _two_sided_binomial(min(only_first, only_second), only_first + only_second))


def _two_sided_binomial(fewer: int, total: int) -> float:
    """Twice the chance of at most `fewer` heads in `total` fair tosses, at most 1."""
    if total == 0:
        return 1.0
    k = np.arange(1, fewer + 1, dtype=np.float64)
    # log of the binomial coefficients by their recurrence, from k = 0 on
    logs = np.r_[0.0, np.cumsum(np.log(total - k + 1) - np.log(k))] - total * np.log(2)
    top = logs.max()
    return float(min(1.0, 2 * np.exp(top) * np.exp(logs - top).sum()))


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values `(M,)` adjusted for M comparisons (Holm 1979), in the order given."""
    values = numbers(p_values, "p_values")
    if values.ndim != 1 or values.min() < 0 or values.max() > 1:
        raise ValueError("p_values must be one series in [0, 1]")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """q-values `(M,)` of M tests in the order given: the smallest false discovery rate at which each is a discovery
    (Benjamini & Hochberg 1995; tests independent or positively dependent)."""
    values = numbers(p_values, "p_values")
    if values.ndim != 1 or values.min() < 0 or values.max() > 1:
        raise ValueError("p_values must be one series in [0, 1]")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return adjusted
