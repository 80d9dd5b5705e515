"""Data sets reduced to units that can be drawn or swapped as wholes: cells of a table, rows, or groups of rows.

A metric with a table form (see `sums`) needs no more than the number of rows per combination of truth and predictions;
one with a sum form needs one statistic per row. With groups, the statistics of a group are added up beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectus.metrics.classification import encode, occurring
from affectus.metrics.inputs import Array, Floats, Ints
from affectus.metrics.sums import COUNT_FORMS, SUM_FORMS

# Numbers held at once while weights are drawn, to keep memory flat (32 MB of float64).
_BLOCK = 4_000_000

Groups = tuple[Ints, int]


@dataclass(frozen=True)
class Units:
    """Units of a data set scored by one or two systems.

    `sums` holds per system the statistics of a single copy of every unit `(U, K)`, `copies` `(U,)` how many identical
    rows a unit stands for, and `finish` turns sums `(..., K)` into values `(...)`.
    """

    sums: tuple[Floats, ...]
    copies: Ints
    finish: Callable[[Floats], Floats]

    def values(self) -> list[float]:
        """The metric of every system on the data as they are."""
        return [float(self.finish(self.copies @ sums)) for sums in self.sums]

    def resampled(self, draws: int, generator: np.random.Generator) -> list[Floats]:
        """Values `(draws,)` of every system on bootstrap resamples, the same resamples for all."""
        totals: list[list[Floats]] = [[] for _ in self.sums]
        for weights in _weights(self.copies, draws, generator):
            for total, sums in zip(totals, self.sums, strict=True):
                total.append(weights @ sums)
        return [np.asarray(self.finish(np.concatenate(total)), dtype=np.float64) for total in totals]

    def swapped(self, draws: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Values `(draws,)` of two systems after the predictions of every unit changed sides by the toss of a coin."""
        first, second = self.sums
        change = second - first
        differing = np.flatnonzero((change != 0).any(axis=1))
        change, copies = change[differing], self.copies[differing]
        base, both = self.copies @ first, self.copies @ (first + second)
        step = max(1, _BLOCK // max(1, len(copies)))
        blocks = []
        for start in range(0, draws, step):
            size = (min(step, draws - start), len(copies))
            tosses = generator.binomial(copies, 0.5, size=size) if copies.max(initial=1) > 1 else None
            taken = generator.integers(0, 2, size=size, dtype=np.int8) if tosses is None else tosses
            blocks.append(base + taken.astype(np.float64) @ change)
        swapped = np.concatenate(blocks)
        return np.asarray(self.finish(swapped)), np.asarray(self.finish(both - swapped))


def _weights(copies: Ints, draws: int, generator: np.random.Generator) -> Iterator[Floats]:
    """Blocks `(d, U)` of how often every unit is drawn in resamples of the same number of rows."""
    units, total = len(copies), int(copies.sum())
    step = max(1, min(draws, _BLOCK // units))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        if total > units:
            yield generator.multinomial(total, copies / total, size=rows).astype(np.float64)
            continue
        picks = generator.integers(0, units, size=(rows, units), dtype=np.int64)
        picks += np.arange(rows)[:, None] * units
        yield np.bincount(picks.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def units_of(
    metric: Callable[..., Any],
    truth: Array,
    predictions: Sequence[Array],
    groups: Groups | None,
    options: dict[str, Any],
) -> Units | None:
    """The units of a data set for `metric`, or None when the metric has neither a table nor a sum form."""
    if metric in COUNT_FORMS:
        return _table_units(metric, truth, predictions, groups, options)
    if metric not in SUM_FORMS:
        return None
    form = SUM_FORMS[metric]
    rows = [form.rows(truth, prediction, **options) for prediction in predictions]
    if groups is not None:
        ids, count = groups
        rows = [np.stack([np.bincount(ids, column, count) for column in table.T], axis=1) for table in rows]
    copies = np.ones(len(rows[0]), dtype=np.int64)
    return Units(tuple(rows), copies, lambda sums: form.finish(sums, **options))


def _table_units(
    metric: Callable[..., Any],
    truth: Array,
    predictions: Sequence[Array],
    groups: Groups | None,
    options: dict[str, Any],
) -> Units:
    options = dict(options)
    labels = options.pop("labels", None)
    if labels is None and all(prediction.ndim == 1 for prediction in predictions):
        labels = occurring(truth, np.concatenate(predictions))
    encoded = [encode(truth, prediction, labels) for prediction in predictions]
    size = len(encoded[0][2])
    cell = np.stack([true * size + chosen for true, chosen, _ in encoded])
    cells, column = np.unique(cell, return_inverse=True)
    column = column.reshape(cell.shape)
    if groups is None:
        # Rows with the same truth and predictions are copies of one unit.
        code = column[0] if len(column) == 1 else column[0] * len(cells) + column[1]
        _, example, copies = np.unique(code, return_index=True, return_counts=True)
        sums = [np.eye(len(cells))[row[example]] for row in column]
    else:
        ids, count = groups
        copies = np.ones(count, dtype=np.int64)
        sums = [
            np.bincount(ids * len(cells) + row, minlength=count * len(cells)).reshape(count, -1) * 1.0 for row in column
        ]

    def finish(totals: Floats) -> Floats:
        tables = np.zeros((*totals.shape[:-1], size * size))
        tables[..., cells] = totals
        return COUNT_FORMS[metric](tables.reshape(*totals.shape[:-1], size, size), **options)

    return Units(tuple(sums), copies.astype(np.int64), finish)


def group_members(groups: Groups) -> list[Ints]:
    """Row numbers of every group."""
    ids, count = groups
    return np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids, minlength=count))[:-1])


def row_draws(rows: int, groups: Groups | None, draws: int, generator: np.random.Generator) -> Iterator[Ints]:
    """Row numbers of bootstrap resamples, for metrics that need the rows themselves."""
    members = None if groups is None else group_members(groups)
    for _ in range(draws):
        if members is None:
            yield generator.integers(0, rows, rows)
        else:
            yield np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
