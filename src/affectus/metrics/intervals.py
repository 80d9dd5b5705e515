"""Confidence intervals by bootstrap on counts and sums.

Percentile intervals of resampled data sets of the same size. A metric with a table form (see `classification`) draws
tables of counts from a multinomial; one with a sum form (see `sums`) draws weighted sums; any other metric draws rows.
With `groups` (speakers, videos, subjects) whole groups are drawn, since rows of one group are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from affectus.metrics.classification import checked_counts
from affectus.metrics.inputs import Array, Floats, group_ids, not_empty, numbers, same_length
from affectus.metrics.resampling import row_draws, units_of

Scheme = Literal["multinomial", "poisson"]


class Interval(NamedTuple):
    """A value with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


def _checked(level: float, draws: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")


def percentiles(value: float, sample: Floats, level: float) -> Interval:
    """The interval that holds the middle `level` share of a bootstrap sample; draws that are NaN do not count."""
    finite = sample[np.isfinite(sample)]
    if not len(finite):
        raise ValueError("no bootstrap draw gave a finite value")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def bootstrap_counts(counts: npt.ArrayLike, draws: int = 1000, seed: int = 0, scheme: Scheme = "multinomial") -> Floats:
    """Resampled count arrays `(draws, *counts.shape)`.

    "multinomial" keeps the total, which equals resampling the rows behind the counts; "poisson" draws every cell on its
    own, so that totals vary (streams, and very many cells). Draws that come out empty are replaced by the counts.
    """
    table = numbers(counts, "counts")
    if table.min() < 0 or table.sum() <= 0:
        raise ValueError("counts must be non-negative and hold at least one row")
    generator = np.random.default_rng(seed)
    flat = table.ravel()
    if scheme == "multinomial":
        if (flat != np.round(flat)).any():
            raise ValueError("counts must be whole numbers for a multinomial bootstrap")
        filled = np.flatnonzero(flat)
        result = np.zeros((draws, flat.size))
        result[:, filled] = generator.multinomial(int(flat.sum()), flat[filled] / flat.sum(), size=draws)
    elif scheme == "poisson":
        result = generator.poisson(flat, size=(draws, flat.size)).astype(np.float64)
        result[result.sum(axis=1) == 0] = flat
    else:
        raise ValueError(f"scheme must be 'multinomial' or 'poisson', not {scheme!r}")
    return result.reshape(draws, *table.shape)


def confusion_interval(
    counts: npt.ArrayLike,
    metric_on_counts: Callable[..., Floats],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    scheme: Scheme = "multinomial",
    **options: Any,
) -> Interval:
    """Interval of a metric from one table of counts `(C, C)`; `metric_on_counts` maps `(..., C, C)` to `(...)`.

    Works for published confusion matrices without their rows. `options` go to the metric.
    """
    _checked(level, draws)
    table = checked_counts(counts)
    if table.ndim != 2:
        raise ValueError(f"counts must be one table (C, C), not {table.shape}")
    sample = metric_on_counts(bootstrap_counts(table, draws, seed, scheme), **options)
    return percentiles(float(metric_on_counts(table, **options)), np.asarray(sample, dtype=np.float64), level)


def _value(metric: Callable[..., Any], truth: Array, prediction: Array, options: dict[str, Any]) -> float:
    """The metric, or NaN where a draw lacks what it needs, such as a second class."""
    try:
        return float(metric(truth, prediction, **options))
    except ValueError:
        return float("nan")


def bootstrap(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Floats:
    """Values `(draws,)` of `metric(truth, prediction, **options)` on resampled rows, or groups where they are given.

    NaN marks a draw on which the metric is undefined.
    """
    _checked(0.5, draws)
    true, predicted = not_empty(truth, "truth"), not_empty(prediction, "prediction")
    same_length(true, predicted)
    clusters = None if groups is None else group_ids(groups, len(true))
    generator = np.random.default_rng(seed)
    units = units_of(metric, true, [predicted], clusters, options)
    if units is not None:
        return units.resampled(draws, generator)[0]
    picks = row_draws(len(true), clusters, draws, generator)
    return np.array([_value(metric, true[rows], predicted[rows], options) for rows in picks])


def interval(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Interval:
    """`(value, low, high)` of a metric, with a percentile interval over rows or, where `groups` is given, over groups.

    `metric` is any function of truth and prediction (rows along the first axis) that returns one number; `options` go
    to it. The same seed gives the same interval.
    """
    _checked(level, draws)
    value = float(metric(truth, prediction, **options))
    return percentiles(value, bootstrap(metric, truth, prediction, groups, draws, seed, **options), level)
