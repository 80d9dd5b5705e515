"""From many scores to one: means over nested groups of sub-tasks, pooled means, means over videos or speakers.

Published tables differ in the rule (EmoCaliber prints the mean over sub-tasks, its public evaluator the pooled one, ten
points apart), so both exist and the caller names the one used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, group_ids, not_empty, numbers, same_length

Scores = float | Sequence[Any] | Mapping[str, Any]


def nested_mean(scores: Scores) -> float:
    """Unweighted mean of a tree of scores: every group counts as its own mean, however many members it has.

    `{"a": [60, 50, 40], "b": 30, "c": [70, 50]}` is (50 + 30 + 60) / 3.
    """
    if isinstance(scores, Mapping):
        scores = list(scores.values())
    if isinstance(scores, (int, float, np.number)):
        if not np.isfinite(scores):
            raise ValueError(f"a score is {scores}")
        return float(scores)
    if isinstance(scores, str) or not len(scores):
        raise ValueError("a group of scores is empty or no group at all")
    return float(np.mean([nested_mean(score) for score in scores]))


def pooled_mean(scores: npt.ArrayLike, sizes: npt.ArrayLike) -> float:
    """Mean of scores `(M,)` weighted by the number of rows behind each, as if all rows were one test set."""
    values, weights = numbers(scores, "scores"), numbers(sizes, "sizes")
    same_length(values, weights, ("scores", "sizes"))
    if weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("sizes must be non-negative and not all zero")
    return float(values @ weights / weights.sum())


def by_group(
    metric: Callable[..., Any],
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    groups: npt.ArrayLike,
    **options: Any,
) -> tuple[list[Any], Floats]:
    """Group names (sorted) and the metric within every group `(G,)`, e.g. the correlation of every film.

    An error names the group. The mean of the values is the "per video" score of papers, which is not the score of the
    joined series; the spread between groups is the gap that fairness reports print.
    """
    true, predicted = not_empty(truth, "truth"), not_empty(prediction, "prediction")
    same_length(true, predicted)
    names = np.unique(np.asarray(groups)).tolist()
    ids, count = group_ids(groups, len(true))
    values = np.empty(count)
    for group in range(count):
        rows = ids == group
        try:
            values[group] = float(metric(true[rows], predicted[rows], **options))
        except ValueError as error:
            raise ValueError(f"group {names[group]!r}: {error}") from None
    return names, values
