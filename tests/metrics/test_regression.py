"""Errors, correlation and concordance of continuous ratings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affectus.metrics import regression as r

QUICK = settings(max_examples=50, deadline=None)

series = st.integers(3, 40).flatmap(
    lambda n: st.tuples(
        *(
            hnp.arrays(np.float64, n, elements=st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3)))
            for _ in range(2)
        )
    )
)


def unit_series(n: int = 35) -> np.ndarray:
    """Zero mean, population variance one."""
    x = np.random.default_rng(0).normal(size=n)
    return (x - x.mean()) / x.std()


def test_ccc_known_values() -> None:
    x = unit_series()
    assert r.ccc(x, x) == pytest.approx(1, abs=1e-12)
    assert r.ccc(x, x, "unbiased") == pytest.approx(1, abs=1e-12)
    assert r.ccc(x, x, "mixed") == pytest.approx(34 / 35, abs=1e-12)
    assert r.ccc(x, x + 1) == pytest.approx(2 / 3, abs=1e-12)
    assert r.ccc(x, np.full(35, 0.3)) == 0
    assert r.ccc(x, -x) == pytest.approx(-1, abs=1e-12)


def test_ccc_variants_differ_only_in_the_normalisation() -> None:
    x, y = np.array([1.0, 2, 3, 5]), np.array([1.5, 1, 4, 4])
    cov, var = np.cov(x, y, ddof=0), np.cov(x, y, ddof=1)
    gap = (x.mean() - y.mean()) ** 2
    assert r.ccc(x, y) == pytest.approx(2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + gap))
    assert r.ccc(x, y, "unbiased") == pytest.approx(2 * var[0, 1] / (var[0, 0] + var[1, 1] + gap))
    assert r.ccc(x, y, "mixed") == pytest.approx(2 * cov[0, 1] / (var[0, 0] + var[1, 1] + gap))
    with pytest.raises(ValueError, match="unknown CCC variant"):
        r.ccc(x, y, "sample")  # type: ignore[arg-type]


def test_ccc_of_a_long_series_in_blocks_equals_numpy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=50_001).cumsum() + 1e6
    y = 0.9 * x + rng.normal(size=50_001) * 30
    expected = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert r.ccc(x, y) == pytest.approx(expected, rel=1e-9)
    assert r.ccc(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(expected, rel=1e-3)


def test_spearman_with_ties() -> None:
    assert r.srcc([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=5e-5)


def test_pearson_known_value() -> None:
    assert r.pcc([2, 1, 4, 3], [1, 2, 3, 4]) == pytest.approx(0.6)


def test_errors_known_values() -> None:
    assert r.mae([0, 1, 2], [1, 1, 4]) == 1
    assert r.mse([0, 1, 2], [1, 1, 4]) == pytest.approx(5 / 3)
    assert r.rmse([0, 1, 2], [1, 1, 4]) == pytest.approx(np.sqrt(5 / 3))


@QUICK
@given(series)
def test_equals_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assume(np.ptp(x) > 1e-2 and np.ptp(y) > 1e-2)
    assert r.pcc(x, y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-9)
    assert r.srcc(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-9)
    assert (r.ranks(x) == scipy.stats.rankdata(x)).all()


@QUICK
@given(series, st.floats(0.1, 10), st.floats(-50, 50))
def test_range_symmetry_and_invariance(pair: tuple[np.ndarray, np.ndarray], scale: float, shift: float) -> None:
    x, y = pair
    order = np.random.default_rng(0).permutation(len(x))
    for metric in (r.pcc, r.ccc, r.srcc):
        value = metric(x, y)
        assert -1 <= value <= 1
        assert metric(y, x) == pytest.approx(value, abs=1e-9)
        assert metric(x[order], y[order]) == pytest.approx(value, abs=1e-9)
        # both sides on another scale
        assert metric(x * scale + shift, y * scale + shift) == pytest.approx(value, abs=1e-6)
    assert abs(r.ccc(x, y)) <= abs(r.pcc(x, y)) + 1e-9
    assert r.mae(x, y) == pytest.approx(r.mae(y, x))
    assert 0 <= r.mae(x, y) <= r.rmse(x, y) + 1e-9
    assert r.mae(x, x) == r.rmse(x, x) == 0


@pytest.mark.parametrize("metric", [r.pcc, r.ccc, r.srcc, r.plcc])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e8 + 0.1])
def test_constant_series_score_zero(metric: object, level: float) -> None:
    flat, varied = np.full(1000, level), np.arange(1000.0)
    assert metric(flat, varied) == metric(varied, flat) == metric(flat, flat) == 0  # type: ignore[operator]


def test_logistic_fit_recovers_a_logistic_scale() -> None:
    x = np.linspace(-3, 7, 200)
    y = 20 + 60 / (1 + np.exp(-(x - 2.5) / 0.4))
    assert r.logistic_fit(y, x) == pytest.approx(y, abs=1e-4)
    assert r.plcc(y, x, "logistic4") == pytest.approx(1, abs=1e-9)
    assert r.plcc(y, x) < 0.95


def test_logistic_fit_is_as_good_as_scipy() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 100, 300)
    y = 1 + 4 / (1 + np.exp(-(x - 40) / 12)) + 0.01 * x + rng.normal(size=300) * 0.2

    def five(x: np.ndarray, a: float, b: float, c: float, d: float, e: float) -> np.ndarray:
        return a * (0.5 - 1 / (1 + np.exp(b * (x - c)))) + d * x + e

    best, _ = scipy.optimize.curve_fit(five, x, y, p0=[4, 0.1, 40, 0.01, 3], maxfev=20_000)
    assert r.mse(y, r.logistic_fit(y, x, "logistic5")) <= r.mse(y, five(x, *best)) + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(-1, 1))
def test_logistic_fit_never_correlates_worse(seed: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=60)
    y = slope * x + rng.normal(size=60)
    linear = abs(r.pcc(y, x))
    assert r.plcc(y, x, "logistic5") >= linear - 1e-3
    assert r.plcc(y, x * 7 - 3, "logistic5") == pytest.approx(r.plcc(y, x, "logistic5"), abs=1e-2)


def test_logistic_fit_bad_input() -> None:
    with pytest.raises(ValueError, match="cannot be fitted to 4 rows"):
        r.logistic_fit([1, 2, 3, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="fit must be"):
        r.plcc(np.arange(9), np.arange(9), "cubic")  # type: ignore[arg-type]
    assert r.logistic_fit(np.arange(9), np.ones(9)).tolist() == [4.0] * 9


def test_concordance_over_dimensions() -> None:
    x = np.stack([unit_series(), unit_series() * 2], axis=1)
    y = x + np.array([1, 0])
    scores = r.concordance(x, y, ["valence", "arousal"])
    assert scores == pytest.approx({"valence": 2 / 3, "arousal": 1, "mean": 5 / 6})
    assert set(r.concordance(x, y)) == {"0", "1", "mean"}
    with pytest.raises(ValueError, match="3 columns of 2"):
        r.concordance(x, y, ["v", "a", "d"])
    with pytest.raises(ValueError, match="must both be"):
        r.concordance(x, y[:, :1])


@pytest.mark.parametrize("metric", [r.mae, r.mse, r.rmse, r.pcc, r.ccc, r.srcc, r.plcc])
@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([], [], "empty"),
        ([1, 2], [1], "rows"),
        ([1, np.nan], [1, 2], "truth holds 1 values that are NaN"),
        ([1, 2], [1, np.inf], "prediction holds 1 values"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], "one series"),
        (["a", "b"], [1, 2], "must hold numbers"),
    ],
)
def test_bad_input_is_named(metric: object, truth: object, prediction: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(truth, prediction)  # type: ignore[operator]
