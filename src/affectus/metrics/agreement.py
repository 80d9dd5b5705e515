"""How far raters agree beyond chance: Cohen and Fleiss kappa, Krippendorff's alpha, intraclass correlation.

Where chance alone leaves no disagreement (everybody always says the same) no agreement beyond chance can be shown and
kappa and alpha are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.classification import Labels, checked_counts, confusion
from affectus.metrics.inputs import Array, Floats, Ints, not_empty, numbers
from affectus.metrics.sums import counts_to

KappaWeights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
IccForm = Literal["1,1", "2,1", "3,1", "1,k", "2,k", "3,k"]


def kappa_of(counts: npt.ArrayLike, weights: KappaWeights = "none") -> Floats:
    """Cohen's kappa, 1 - observed / expected disagreement (Cohen 1960, 1968).

    `weights` makes a disagreement count by the distance of the classes in their order: "linear" or "quadratic". Where
    chance alone leaves no disagreement (both raters use one and the same class) kappa is 0.
    """
    table = checked_counts(counts)
    size = table.shape[-1]
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    if weights not in ("none", "linear", "quadratic"):
        raise ValueError(f"weights must be 'none', 'linear' or 'quadratic', not {weights!r}")
    cost = (distance > 0) * 1.0 if weights == "none" else distance * 1.0 if weights == "linear" else distance**2.0
    expected = (
        table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :] / table.sum(axis=(-1, -2))[..., None, None]
    )
    observed_cost, expected_cost = (table * cost).sum(axis=(-1, -2)), (expected * cost).sum(axis=(-1, -2))
    ratio = np.divide(observed_cost, expected_cost, out=np.ones_like(expected_cost), where=expected_cost > 0)
    return 1 - ratio


@counts_to(kappa_of)
def cohen_kappa(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, labels: Labels = None, *, weights: KappaWeights = "none"
) -> float:
    """Cohen's kappa of two raters, or of truth and prediction, in [-1, 1]; options as in `kappa_of`."""
    return float(kappa_of(confusion(truth, prediction, labels), weights))


def fleiss_kappa(votes: npt.ArrayLike) -> float:
    """Fleiss' kappa (1971) of votes `(units, categories)`, every unit rated equally often, in [-1, 1].

    Units with differing numbers of raters raise `ValueError`; `krippendorff_alpha` takes those.
    """
    table = numbers(votes, "votes")
    if table.ndim != 2 or table.min() < 0:
        raise ValueError("votes must be (units, categories) of non-negative counts")
    raters = table.sum(axis=1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError("every unit needs the same number of raters, at least two; use krippendorff_alpha otherwise")
    observed = (((table**2).sum(axis=1) - raters) / (raters * (raters - 1))).mean()
    expected = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return 0.0 if expected >= 1 else float((observed - expected) / (1 - expected))


def votes_of(ratings: npt.ArrayLike, labels: Labels = None) -> tuple[Ints, list[Any]]:
    """Votes `(units, categories)` and the categories, from ratings `(raters, units)`; None and NaN are missing."""
    table = np.asarray(ratings, dtype=object)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"ratings must be (raters, units) and not empty, not {table.shape}")
    # NaN is the only value that differs from itself.
    given = np.array([value is not None and value == value for value in table.ravel()]).reshape(table.shape)
    if not given.any():
        raise ValueError("ratings holds no rating at all")
    names = list(range(labels)) if isinstance(labels, int) else labels
    try:
        categories = list(names) if names is not None else sorted(set(table[given].tolist()))
    except TypeError:
        raise ValueError("ratings mixes names and numbers") from None
    index = {name: i for i, name in enumerate(categories)}
    votes = np.zeros((table.shape[1], len(categories)), dtype=np.int64)
    raters, units = np.nonzero(given)
    for rater, unit in zip(raters, units, strict=True):
        value = table[rater, unit]
        if value not in index:
            raise ValueError(f"rater {rater} gave {value!r} to unit {unit}, which is none of the labels")
        votes[unit, index[value]] += 1
    return votes, categories


def krippendorff_alpha(ratings: npt.ArrayLike, level: Level = "nominal") -> float:
    """Krippendorff's alpha of ratings `(raters, units)`, missing ones None or NaN; at most 1, 0 is chance.

    `level` sets the distance of two ratings: "nominal" (equal or not), "ordinal" (ranks), "interval" (squared
    difference) or "ratio" (squared relative difference). Units with fewer than two ratings do not count.
    """
    votes, values = votes_of(ratings)
    return alpha_of_votes(votes, None if level == "nominal" else values, level)


def alpha_of_votes(votes: npt.ArrayLike, values: Sequence[Any] | None = None, level: Level = "nominal") -> float:
    """Krippendorff's alpha of votes `(units, categories)`; `values` are the numbers the categories stand for."""
    table = numbers(votes, "votes")
    if table.ndim != 2 or table.min() < 0:
        raise ValueError("votes must be (units, categories) of non-negative counts")
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        raise ValueError("no unit has two ratings, so agreement cannot be measured")
    raters = table.sum(axis=1)
    totals = table.sum(axis=0)
    points = _points(totals, values, level)
    if np.count_nonzero(totals) == 1:
        return 0.0
    weighted = table / (raters - 1)[:, None]
    if level == "ratio":
        distance = _relative_distance(points)
        observed = float(np.einsum("uc,ck,uk->", weighted, distance, table))
        expected = float(totals @ distance @ totals) / (totals.sum() - 1)
    else:
        # Squared distances of points need only first and second moments, not all pairs.
        points = points - totals @ points / totals.sum()
        norm = (points**2).sum(axis=1)
        inner = weighted @ points
        observed = 2 * float((weighted @ norm) @ raters) - 2 * float((inner * (table @ points)).sum())
        expected = 2 * float(totals @ norm) * totals.sum() / (totals.sum() - 1)
    return 1 - observed / expected


def _points(totals: Floats, values: Sequence[Any] | None, level: Level) -> Floats:
    """Categories as points `(C, D)` whose squared distances are those of the level of measurement."""
    if level == "nominal":
        return np.eye(len(totals)) / np.sqrt(2)
    if level not in ("ordinal", "interval", "ratio"):
        raise ValueError(f"level must be nominal, ordinal, interval or ratio, not {level!r}")
    numeric = numbers(np.arange(len(totals)) if values is None else values, "ratings")
    if len(numeric) != len(totals):
        raise ValueError(f"values names {len(numeric)} categories but votes has {len(totals)}")
    if level == "ordinal":
        order = np.argsort(numeric, kind="stable")
        ranks = np.empty(len(totals))
        ranks[order] = np.cumsum(totals[order]) - totals[order] / 2
        return ranks[:, None]
    if level == "ratio" and numeric.min() < 0:
        raise ValueError("ratings must not be negative on a ratio scale")
    return numeric[:, None]


def _relative_distance(points: Floats) -> Floats:
    total = points + points.T
    return np.divide(points - points.T, total, out=np.zeros_like(total), where=total > 0) ** 2


def icc(ratings: npt.ArrayLike, form: IccForm = "2,1") -> float:
    """Intraclass correlation (Shrout & Fleiss 1979) of ratings `(units, raters)` without gaps; at most 1.

    Forms: "1,·" each unit has its own raters, "2,·" raters are a random sample (absolute agreement), "3,·" these raters
    only (consistency); "·,1" reliability of one rater, "·,k" of the mean of all. Ratings without any variation give 0.
    """
    table = numbers(ratings, "ratings")
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"ratings must be (units, raters) with at least two of each, not {table.shape}")
    if np.ptp(table) == 0:
        return 0.0
    n, k = table.shape
    table = table - table.mean()
    units, raters = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    between = k * float((units**2).sum()) / (n - 1)
    within = float(((table - units) ** 2).sum()) / (n * (k - 1))
    judges = n * float((raters**2).sum()) / (k - 1)
    error = float(((table - units - raters) ** 2).sum()) / ((n - 1) * (k - 1))
    forms = {
        "1,1": (between - within, between + (k - 1) * within),
        "2,1": (between - error, between + (k - 1) * error + k * (judges - error) / n),
        "3,1": (between - error, between + (k - 1) * error),
        "1,k": (between - within, between),
        "2,k": (between - error, between + (judges - error) / n),
        "3,k": (between - error, between),
    }
    if form not in forms:
        raise ValueError(f"form must be one of {', '.join(forms)}, not {form!r}")
    part, whole = forms[form]
    return part / whole if whole > 0 else 0.0


def swap_consistency(first: Sequence[Any], swapped: Sequence[Any], swap: Mapping[Any, Any]) -> float:
    """Share of preference answers that stay the same when the two candidates are shown in the other order, in [0, 1].

    `first` and `swapped` are the answers in both orders; `swap` maps an answer of the second order back (an answer that
    it does not name, such as "same", stays).
    """
    one, two = not_empty(first, "first"), not_empty(swapped, "swapped")
    if len(one) != len(two):
        raise ValueError(f"first has {len(one)} answers but swapped has {len(two)}")
    back: Array = np.array([swap.get(answer, answer) for answer in two.tolist()], dtype=object)
    return float(np.mean([a == b for a, b in zip(one.tolist(), back.tolist(), strict=True)]))
