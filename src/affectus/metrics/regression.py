"""Scores of continuous ratings: errors, correlation and concordance.

A series without variation has no correlation; `pcc`, `srcc` and `ccc` then return 0, as the training losses built on
them do, except that `ccc` of two identical constant series is undefined and returns 0 as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, numbers, paired_numbers
from affectus.metrics.sums import sums_to

CccVariant = Literal["population", "unbiased", "mixed"]

# Variation below this share of a series' size is the rounding noise of a constant.
_NOISE = 1e-14

# Short enough for the cache, and for linear algebra libraries not to start threads.
_BLOCK = 8_192


def _error_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Floats:
    x, y = paired_numbers(truth, prediction)
    return np.stack([np.ones_like(x), np.abs(x - y), (x - y) ** 2], axis=1)


def _moment_rows(truth: npt.ArrayLike, prediction: npt.ArrayLike, **_options: object) -> Floats:
    """Rows `(N, 6)`: 1, x, y, xx, yy, xy around the mean of the truth, so that rows of two systems can be mixed."""
    x, y = paired_numbers(truth, prediction)
    centre = x.mean()
    x, y = x - centre, y - centre
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _moments(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Number of rows, centred squares of x and y, centred products, and gap of the means, all `(...)`."""
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    sxx, syy = xx - x * x / n, yy - y * y / n
    still = (sxx <= _NOISE * xx) | (syy <= _NOISE * yy)
    return n, np.maximum(sxx, 0), np.maximum(syy, 0), np.where(still, 0, xy - x * y / n), (x - y) / n


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
    if sxx <= _NOISE**2 * n * mean_x**2:
        sxx = sxy = 0.0
    if syy <= _NOISE**2 * n * mean_y**2:
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


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks 1..N of a series `(N,)`, ties sharing their average rank."""
    series = numbers(values, "values")
    if series.ndim != 1:
        raise ValueError(f"values must be one series (N,), not {series.shape}")
    order = np.argsort(series, kind="stable")
    ordered = series[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(series)])
    result = np.empty(len(series))
    result[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return result


def srcc(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Spearman rank correlation of two series `(N,)` with average ranks, in [-1, 1]; 0 when either is constant."""
    x, y = paired_numbers(truth, prediction)
    return pcc(ranks(x), ranks(y))


def concordance(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    dimensions: Sequence[str] = (),
    variant: CccVariant = "population",
) -> dict[str, float]:
    """CCC of every dimension of ratings `(N, D)` and their "mean", keyed by `dimensions` (or "0", "1", ...)."""
    x, y = numbers(truth, "truth"), numbers(prediction, "prediction")
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"truth and prediction must both be (N, D), not {x.shape} and {y.shape}")
    names = list(dimensions) or [str(i) for i in range(x.shape[1])]
    if len(names) != x.shape[1]:
        raise ValueError(f"dimensions names {len(names)} columns of {x.shape[1]}")
    scores = {name: ccc(x[:, i], y[:, i], variant) for i, name in enumerate(names)}
    return scores | {"mean": float(np.mean(list(scores.values())))}


LogisticFit = Literal["none", "logistic4", "logistic5"]


def _logistic4(x: Floats, b: Floats) -> tuple[Floats, Floats]:
    """b1 + (b0 - b1) / (1 + exp(-(x - b2) / b3)) and its derivatives `(N, 4)`."""
    t = (x - b[2]) / b[3]
    s = 0.5 * (1 + np.tanh(t / 2))
    slope = (b[0] - b[1]) * s * (1 - s) / b[3]
    return b[1] + (b[0] - b[1]) * s, np.stack([s, 1 - s, -slope, -slope * t], axis=1)


def _logistic5(x: Floats, b: Floats) -> tuple[Floats, Floats]:
    """b0 (1/2 - 1 / (1 + exp(b1 (x - b2)))) + b3 x + b4 and its derivatives `(N, 5)`."""
    half = 0.5 * np.tanh(b[1] * (x - b[2]) / 2)
    slope = b[0] * (0.25 - half * half)
    return b[0] * half + b[3] * x + b[4], np.stack(
        [half, slope * (x - b[2]), -slope * b[1], x, np.ones_like(x)], axis=1
    )


def _least_squares(
    curve: Callable[[Floats, Floats], tuple[Floats, Floats]], x: Floats, y: Floats, start: Floats
) -> Floats:
    """Fitted values by Levenberg-Marquardt."""
    b, damping = start.copy(), 1e-2
    fitted, slopes = curve(x, b)
    error = float(((y - fitted) ** 2).sum())
    for _ in range(500):
        normal = slopes.T @ slopes
        step = np.linalg.lstsq(
            normal + damping * np.diag(np.diag(normal) + 1e-12), slopes.T @ (y - fitted), rcond=None
        )[0]
        trial, trial_slopes = curve(x, b + step)
        trial_error = float(((y - trial) ** 2).sum())
        if np.isfinite(trial_error) and trial_error < error:
            gain = error - trial_error
            b, fitted, slopes, error, damping = b + step, trial, trial_slopes, trial_error, damping / 3
            if gain <= 1e-12 * error:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return fitted


def logistic_fit(truth: npt.ArrayLike, prediction: npt.ArrayLike, fit: LogisticFit = "logistic4") -> Floats:
    """Predictions `(N,)` mapped to the scale of the ratings by a fitted logistic curve, as image-quality papers do.

    "logistic4" is the curve of VQEG (2000) between two levels, "logistic5" the one of Sheikh et al. (2006) with a
    linear part; both by least squares. A constant prediction maps to the mean of the truth.
    """
    y, x = paired_numbers(truth, prediction)
    if fit == "none":
        return x
    if fit not in ("logistic4", "logistic5"):
        raise ValueError(f"fit must be 'none', 'logistic4' or 'logistic5', not {fit!r}")
    needed = 4 if fit == "logistic4" else 5
    if len(x) <= needed:
        raise ValueError(f"{fit} has {needed} parameters and cannot be fitted to {len(x)} rows")
    spread = x.std()
    if spread <= _NOISE * abs(x.mean()):
        return np.full_like(y, y.mean())
    z = (x - x.mean()) / spread
    centre, width, levels = _best_logistic(z, y, linear=fit == "logistic5")
    if fit == "logistic4":
        return _least_squares(_logistic4, z, y, np.array([levels[0] + levels[1], levels[1], centre, width]))
    start = np.array([levels[0], 1 / width, centre, levels[2], levels[1] + levels[0] / 2])
    return _least_squares(_logistic5, z, y, start)


def _best_logistic(z: Floats, y: Floats, linear: bool) -> tuple[float, float, Floats]:
    """Centre, width and linear coefficients (height, offset, slope) of the best of a grid of logistic curves.

    For a given centre and width the rest is linear regression, so a coarse grid finds the basin of the best fit.
    """
    best = (float("inf"), 0.0, 1.0, np.zeros(3))
    for centre in np.quantile(z, np.linspace(0, 1, 9)).tolist():
        for width in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2):
            columns = [0.5 * (1 + np.tanh((z - centre) / (2 * width))), np.ones_like(z)]
            design = np.stack([*columns, z] if linear else columns, axis=1)
            levels = np.linalg.lstsq(design, y, rcond=None)[0]
            error = float(((y - design @ levels) ** 2).sum())
            if error < best[0]:
                best = (error, centre, width, levels)
    return best[1:]


def plcc(truth: npt.ArrayLike, prediction: npt.ArrayLike, fit: LogisticFit = "none") -> float:
    """Pearson correlation of ratings and (logistically fitted, see `logistic_fit`) predictions, in [-1, 1].

    Many image-quality papers fit before they correlate: say which was done.
    """
    return pcc(truth, logistic_fit(truth, prediction, fit))
