"""Metrics that are a function of sums over rows, which is what lets an interval resample sums instead of rows.

Such a metric declares `rows` (statistics of every row, `(N, K)`) and `finish` (the value from their weighted sums,
`(..., K) -> (...)`). A bootstrap draw is then one weighted sum, and a cluster bootstrap adds up whole groups once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from affectus.metrics.inputs import Floats

Metric = TypeVar("Metric", bound=Callable[..., Any])


@dataclass(frozen=True)
class SumForm:
    """`rows(truth, prediction, **options) -> (N, K)` and `finish(sums (..., K), **options) -> (...)`."""

    rows: Callable[..., Floats]
    finish: Callable[..., Floats]


SUM_FORMS: dict[Callable[..., Any], SumForm] = {}


def sums_to(rows: Callable[..., Floats], finish: Callable[..., Floats]) -> Callable[[Metric], Metric]:
    """Declare that the decorated metric equals `finish(rows(...).sum(axis=0))`."""

    def register(metric: Metric) -> Metric:
        SUM_FORMS[metric] = SumForm(rows, finish)
        return metric

    return register
