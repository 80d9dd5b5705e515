"""Scores of continuous ratings: errors, correlation and concordance.

A series without variation has no correlation; `pcc`, `srcc` and `ccc` then return 0, as the training losses built on
them do, except that `ccc` of two identical constant series is undefined and returns 0 as well.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, paired_numbers
from affectus.metrics.sums import sums_to

CccVariant = Literal["population", "unbiased", "mixed"]

# Variation below this share of a series' squared size is rounding noise of a constant.
_NOISE = 1e-28

_BLOCK = 16_384


def _error_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    x, y = paired_numbers(truth, prediction)
    return np.stack([np.ones_like(x), np.abs(x - y), (x - y) ** 2], axis=1)


def _moment_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, variant: CccVariant = "population") -> Floats:
    """Rows `(N, 7)`: 1, x, y, xx, yy, xy around the full means, and the gap of those means (weighted by 1)."""
    x, y = paired_numbers(truth, prediction)
    gap = x.mean() - y.mean()
    x, y = x - x.mean(), y - y.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.full_like(x, gap)], axis=1)


def _moments(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Number of rows, summed squares of x and y, summed products, and gap of the means, all `(...)`."""
    n, x, y, xx, yy, xy, gap = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    n_safe = np.maximum(n, 1)
    return n, xx - x * x / n_safe, yy - y * y / n_safe, xy - x * y / n_safe, (gap + x - y) / n_safe


def _correlation(sxx: Floats, syy: Floats, sxy: Floats) -> Floats:
    scale = np.sqrt(np.maximum(sxx, 0) * np.maximum(syy, 0))
    return np.clip(np.divide(sxy, scale, out=np.zeros_like(scale), where=scale > 0), -1, 1)


def _concordance(n: Floats, sxx: Floats, syy: Floats, sxy: Floats, gap: Floats, variant: CccVariant) -> Floats:
    if variant not in ("population", "unbiased", "mixed"):
        raise ValueError(f"unknown CCC variant {variant!r}: choose population, unbiased or mixed")
    spread = n if variant == "population" else np.maximum(n - 1, 1)
    shared = np.maximum(n - 1, 1) if variant == "unbiased" else n
    total = (sxx + syy) / spread + gap * gap
    return np.divide(2 * sxy / shared, total, out=np.zeros_like(total), where=(total > 0) & (sxy != 0))


def _finish_pcc(sums: Floats) -> Floats:
    _, sxx, syy, sxy, _ = _moments(sums)
    return _correlation(sxx, syy, sxy)


def _finish_ccc(sums: Floats, variant: CccVariant = "population") -> Floats:
    return _concordance(*_moments(sums), variant)


@sums_to(_error_rows, lambda sums: sums[..., 1] / sums[..., 0])
def mae(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Mean absolute error of two series `(N,)`, in the units of the ratings."""
    x, y = paired_numbers(truth, prediction)
    return float(np.abs(x - y).mean())


@sums_to(_error_rows, lambda sums: sums[..., 2] / sums[..., 0])
def mse(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Mean squared error of two series `(N,)`."""
    x, y = paired_numbers(truth, prediction)
    return float(np.square(x - y).mean())


@sums_to(_error_rows, lambda sums: np.sqrt(sums[..., 2] / sums[..., 0]))
def rmse(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Root of the mean squared error of two series `(N,)`, in the units of the ratings."""
    return float(np.sqrt(mse(truth, prediction)))


def _centred(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Number of rows, centred squares and products, gap of the means; in blocks that stay in the processor's cache."""
    x, y = paired_numbers(truth, prediction)
    n, shift_x, shift_y = len(x), x[:_BLOCK].mean(), y[:_BLOCK].mean()
    sums = np.zeros(5)
    for start in range(0, n, _BLOCK):
        dx, dy = x[start : start + _BLOCK] - shift_x, y[start : start + _BLOCK] - shift_y
        sums += dx.sum(), dy.sum(), dx @ dx, dy @ dy, dx @ dy
    off_x, off_y = sums[0] / n, sums[1] / n
    sxx, syy, sxy = sums[2] - n * off_x**2, sums[3] - n * off_y**2, sums[4] - n * off_x * off_y
    mean_x, mean_y = shift_x + off_x, shift_y + off_y
    if sxx <= _NOISE * n * mean_x**2:
        sxx = sxy = 0.0
    if syy <= _NOISE * n * mean_y**2:
        syy = sxy = 0.0
    n_, a, b, c, d = (np.asarray(value, dtype=np.float64) for value in (n, sxx, syy, sxy, mean_x - mean_y))
    return n_, a, b, c, d


@sums_to(_moment_rows, _finish_pcc)
def pcc(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Pearson correlation of two series `(N,)`, in [-1, 1]; 0 when either is constant."""
    _, sxx, syy, sxy, _ = _centred(truth, prediction)
    return float(_correlation(sxx, syy, sxy))


@sums_to(_moment_rows, _finish_ccc)
def ccc(truth: npt.ArrayLike, prediction: npt.ArrayLike, variant: CccVariant = "population") -> float:
    """Concordance correlation coefficient (Lin 1989) of two series `(N,)`, in [-1, 1]; 0 when either is constant.

    2 cov / (var_x + var_y + (mean_x - mean_y)²), where `variant` says how covariance and variances are normalised:
    "population" divides all by N, "unbiased" all by N-1, and "mixed" the covariance by N and the variances by N-1, a
    slip found in public training code by which a perfect prediction scores (N-1)/N.
    """
    return float(_concordance(*_centred(truth, prediction), variant))
