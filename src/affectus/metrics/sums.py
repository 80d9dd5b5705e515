"""Metrics that are a function of counts or sums over rows, which lets an interval resample those instead of rows.

A metric of one label per row declares its form on tables of counts, `(..., C, C) -> (...)`. Any other additive metric
declares `rows` (statistics of every row, `(N, K)`) and `finish` (the value from their weighted sums,
`(..., K) -> (...)`). A bootstrap draw is then one weighted sum, and a cluster bootstrap adds up whole groups once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from affectus.metrics.inputs import Floats

Metric = TypeVar("Metric", bound=Callable[..., Any])


@dataclass(frozen=True)
class SumForm:
    """`rows(truth, prediction, **options) -> (N, K)` and `finish(sums (..., K), **options) -> (...)`."""

    rows: Callable[..., Floats]
    finish: Callable[..., Floats]


SUM_FORMS: dict[Callable[..., Any], SumForm] = {}
COUNT_FORMS: dict[Callable[..., Any], Callable[..., Floats]] = {}


def counts_to(counts_form: Callable[..., Floats]) -> Callable[[Metric], Metric]:
    """Declare that the decorated metric of truth, prediction and labels equals `counts_form` of their table."""

    def register(metric: Metric) -> Metric:
        COUNT_FORMS[metric] = counts_form
        return metric

    return register


def mean_of_rows(values: Floats) -> Floats:
    """Statistics `(N, 2)` of a metric that is the mean of `values` `(N,)`: a one, and the value."""
    return np.stack([np.ones_like(values), values], axis=1)


def finish_mean(sums: Floats, **_options: Any) -> Floats:
    """The mean from the sums of `mean_of_rows`; options concern the rows only."""
    return sums[..., 1] / sums[..., 0]


def sums_to(rows: Callable[..., Floats], finish: Callable[..., Floats]) -> Callable[[Metric], Metric]:
    """Declare that the decorated metric equals `finish(rows(...).sum(axis=0))`."""

    def register(metric: Metric) -> Metric:
        SUM_FORMS[metric] = SumForm(rows, finish)
        return metric

    return register
