"""Scores of predicted distributions over labels against those of raters (soft labels).

Both sides are `(N, C)`, rows summing to one; every score is the mean over rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, distributions, numbers, same_length
from affectus.metrics.regression import pcc, srcc
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to


def vote_distribution(votes: npt.ArrayLike, smoothing: float = 0.0) -> Floats:
    """Shares `(N, C)` of rater votes `(N, C)`, after adding `smoothing` votes to every class."""
    table = numbers(votes, "votes")
    if table.ndim != 2 or table.min() < 0 or smoothing < 0:
        raise ValueError("votes must be (N, C) of non-negative counts, and smoothing not negative")
    table = table + smoothing
    total = table.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise ValueError(f"row {int(np.argmin(total))} has no vote")
    return table / total


def _pair(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, Floats]:
    p, q = distributions(truth, "truth"), distributions(prediction, "prediction")
    same_length(p, q)
    if p.shape != q.shape:
        raise ValueError(f"truth {p.shape} and prediction {q.shape} must have the same classes")
    # Half-precision softmax rows miss one by a little, which would make a divergence negative.
    return p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.maximum((p * np.log(ratio)).sum(axis=1), 0)


def entropy(probabilities: npt.ArrayLike) -> Floats:
    """Shannon entropy in nats of every row, `(N,)` in [0, ln C]."""
    p = distributions(probabilities)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) + 0.0


def _kl_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, floor: float = 1e-12) -> Floats:
    p, q = _pair(truth, prediction)
    return mean_of_rows(_relative_entropy(p, np.maximum(q, floor)))


@sums_to(_kl_rows, finish_mean)
def kl_divergence(truth: npt.ArrayLike, prediction: npt.ArrayLike, floor: float = 1e-12) -> float:
    """Kullback-Leibler divergence of truth from prediction in nats, at least 0; predictions are raised to `floor`."""
    return float(_kl_rows(truth, prediction, floor)[:, 1].mean())


def _js_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    p, q = _pair(truth, prediction)
    middle = (p + q) / 2
    return mean_of_rows((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / (2 * np.log(2)))


@sums_to(_js_rows, finish_mean)
def js_divergence(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Jensen-Shannon divergence in bits, in [0, 1]; symmetric (its square root is a distance)."""
    return float(_js_rows(truth, prediction)[:, 1].mean())


def _cross_entropy_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, floor: float = 1e-12) -> Floats:
    p, q = _pair(truth, prediction)
    return mean_of_rows(-(p * np.log(np.maximum(q, floor))).sum(axis=1))


@sums_to(_cross_entropy_rows, finish_mean)
def soft_cross_entropy(truth: npt.ArrayLike, prediction: npt.ArrayLike, floor: float = 1e-12) -> float:
    """Cross-entropy of prediction under the true distribution in nats: KL plus the entropy of the truth."""
    return float(_cross_entropy_rows(truth, prediction, floor)[:, 1].mean())


def _cosine_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    p, q = _pair(truth, prediction)
    return mean_of_rows((p * q).sum(axis=1) / np.sqrt((p * p).sum(axis=1) * (q * q).sum(axis=1)))


@sums_to(_cosine_rows, finish_mean)
def cosine_similarity(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Cosine of the two rows, in [0, 1]."""
    return float(_cosine_rows(truth, prediction)[:, 1].mean())


def _intersection_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    return mean_of_rows(np.minimum(*_pair(truth, prediction)).sum(axis=1))


@sums_to(_intersection_rows, finish_mean)
def intersection(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Shared mass of the two rows, in [0, 1]; one minus the total variation distance."""
    return float(_intersection_rows(truth, prediction)[:, 1].mean())


def _chebyshev_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    p, q = _pair(truth, prediction)
    return mean_of_rows(np.abs(p - q).max(axis=1))


@sums_to(_chebyshev_rows, finish_mean)
def chebyshev(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Largest difference of the two rows, in [0, 1]."""
    return float(_chebyshev_rows(truth, prediction)[:, 1].mean())


def _relative_differences(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    p, q = _pair(truth, prediction)
    return np.divide(np.abs(p - q), p + q, out=np.zeros_like(p), where=p + q > 0)


def _clark_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    return mean_of_rows(np.sqrt((_relative_differences(truth, prediction) ** 2).sum(axis=1)))


@sums_to(_clark_rows, finish_mean)
def clark(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Clark distance of label-distribution papers: root of the summed squared relative differences, in [0, sqrt C]."""
    return float(_clark_rows(truth, prediction)[:, 1].mean())


def _canberra_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    return mean_of_rows(_relative_differences(truth, prediction).sum(axis=1))


@sums_to(_canberra_rows, finish_mean)
def canberra(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Canberra distance of label-distribution papers: summed relative differences, in [0, C]."""
    return float(_canberra_rows(truth, prediction)[:, 1].mean())


def entropy_correlation(truth: npt.ArrayLike, prediction: npt.ArrayLike, ranks: bool = False) -> float:
    """Correlation over rows of the entropies of raters and prediction, in [-1, 1]: is the model unsure where they are?

    Pearson, or Spearman with `ranks`; 0 when either side has the same entropy everywhere.
    """
    p, q = _pair(truth, prediction)
    return (srcc if ranks else pcc)(entropy(p), entropy(q))
