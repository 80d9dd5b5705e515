"""Confidence intervals by bootstrap on counts and sums.

Percentile intervals of resampled data sets of the same size. A metric with a table form (see `classification`) draws
tables of counts from a multinomial; one with a sum form (see `sums`) draws weighted sums; any other metric draws rows.
With `groups` (speakers, videos, subjects) whole groups are drawn, since rows of one group are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from affectus.metrics.classification import COUNT_FORMS, checked_counts, encode
from affectus.metrics.inputs import Array, Floats, Ints, group_ids, not_empty, numbers, same_length
from affectus.metrics.sums import SUM_FORMS

Scheme = Literal["multinomial", "poisson"]

# Numbers held at once while weights are drawn, to keep memory flat (32 MB of float64).
_BLOCK = 4_000_000


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


def _percentiles(value: float, sample: Floats, level: float) -> Interval:
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
    return _percentiles(float(metric_on_counts(table, **options)), np.asarray(sample, dtype=np.float64), level)


def _weights(units: int, draws: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Blocks `(d, units)` of how often every unit was drawn in resamples of the same number of units."""
    step = max(1, min(draws, _BLOCK // units))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        picks = generator.integers(0, units, size=(rows, units), dtype=np.int64)
        picks += np.arange(rows)[:, None] * units
        yield np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def _resampled_sums(rows: Floats, groups: tuple[Ints, int] | None, draws: int, seed: int) -> Floats:
    """Weighted sums `(draws, K)` of rows `(N, K)`, drawing rows or whole groups."""
    if groups is not None:
        ids, count = groups
        rows = np.stack([np.bincount(ids, column, count) for column in rows.T], axis=1)
    generator = np.random.default_rng(seed)
    return np.concatenate([weights @ rows for weights in _weights(len(rows), draws, generator)])


def _resampled_tables(
    true: Ints, predicted: Ints, size: int, groups: tuple[Ints, int], draws: int, seed: int
) -> Floats:
    """Tables `(draws, C, C)` of resampled groups; only cells that occur are carried along."""
    cells, cell = np.unique(true * size + predicted, return_inverse=True)
    ids, count = groups
    per_group = np.bincount(ids * len(cells) + cell.reshape(-1), minlength=count * len(cells))
    generator = np.random.default_rng(seed)
    rows = per_group.reshape(count, len(cells)).astype(np.float64)
    tables = np.zeros((draws, size * size))
    tables[:, cells] = np.concatenate([weights @ rows for weights in _weights(count, draws, generator)])
    return tables.reshape(draws, size, size)


def _row_draws(
    metric: Callable[..., Any],
    truth: Array,
    prediction: Array,
    groups: tuple[Ints, int] | None,
    draws: int,
    seed: int,
    options: dict[str, Any],
) -> Floats:
    """Values `(draws,)` of a metric without a cheaper form; a draw on which it is undefined is NaN."""
    generator = np.random.default_rng(seed)
    members: list[Ints] = []
    if groups is not None:
        ids, count = groups
        members = np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids, minlength=count))[:-1])
    values = np.full(draws, np.nan)
    for draw in range(draws):
        if members:
            index = np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
        else:
            index = generator.integers(0, len(truth), len(truth))
        try:
            values[draw] = metric(truth[index], prediction[index], **options)
        except ValueError:  # a draw may lack a class that the metric needs
            continue
    return values


def bootstrap(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Floats:
    """Values `(draws,)` of `metric(truth, prediction, **options)` on resampled rows, or groups where they are given."""
    true, predicted = not_empty(truth, "truth"), not_empty(prediction, "prediction")
    same_length(true, predicted)
    clusters = None if groups is None else group_ids(groups, len(true))
    if metric in COUNT_FORMS:
        labels = options.pop("labels", None)
        ids, chosen, names = encode(true, predicted, labels)
        if clusters is None:
            table = np.bincount(ids * len(names) + chosen, minlength=len(names) ** 2)
            tables = bootstrap_counts(table.reshape(len(names), -1), draws, seed)
        else:
            tables = _resampled_tables(ids, chosen, len(names), clusters, draws, seed)
        return np.asarray(COUNT_FORMS[metric](tables, **options), dtype=np.float64)
    if metric in SUM_FORMS:
        form = SUM_FORMS[metric]
        sums = _resampled_sums(form.rows(true, predicted, **options), clusters, draws, seed)
        return np.asarray(form.finish(sums, **options), dtype=np.float64)
    return _row_draws(metric, true, predicted, clusters, draws, seed, options)


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
    sample = bootstrap(metric, truth, prediction, groups, draws, seed, **options)
    return _percentiles(value, sample, level)
