"""Soft labels: predicted distributions against those of raters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affectus.metrics import distributions as d
from affectus.metrics import interval

QUICK = settings(max_examples=40, deadline=None)

METRICS = [
    d.kl_divergence,
    d.js_divergence,
    d.soft_cross_entropy,
    d.cosine_similarity,
    d.intersection,
    d.chebyshev,
    d.clark,
    d.canberra,
]

pairs = st.tuples(st.integers(2, 10), st.integers(2, 5)).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.float64, shape, elements=st.integers(0, 10).map(float)) for _ in range(2)))
)


def as_shares(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return d.vote_distribution(pair[0], 0.5), d.vote_distribution(pair[1], 0.5)


def test_votes_of_ferplus() -> None:
    shares = d.vote_distribution([[4, 0, 0, 1, 3, 2, 0, 0, 0, 0]])
    assert shares[0, :5].tolist() == [0.4, 0, 0, 0.1, 0.3]
    assert d.vote_distribution([[0, 1]], 1).tolist() == pytest.approx(np.array([[1 / 3, 2 / 3]]))
    with pytest.raises(ValueError, match="row 1 has no vote"):
        d.vote_distribution([[1, 0], [0, 0]])
    with pytest.raises(ValueError, match="non-negative"):
        d.vote_distribution([[1, -1]])


def test_hand_computed() -> None:
    p, q = [[1.0, 0.0]], [[0.5, 0.5]]
    assert d.kl_divergence(p, q) == pytest.approx(np.log(2))
    assert d.js_divergence(p, [[0.0, 1.0]]) == pytest.approx(1)
    assert d.js_divergence(p, q) == pytest.approx(1 - 0.75 * np.log2(3) + 0.5, abs=1e-9)
    assert d.soft_cross_entropy(p, q) == pytest.approx(np.log(2))
    assert d.cosine_similarity(p, q) == pytest.approx(np.sqrt(0.5))
    assert d.intersection(p, q) == d.chebyshev(p, q) == 0.5
    assert d.canberra(p, q) == pytest.approx(1 / 3 + 1)
    assert d.clark(p, q) == pytest.approx(np.sqrt(1 / 9 + 1))
    assert d.entropy(q) == pytest.approx(np.log(2))
    assert d.entropy(p).tolist() == [0]


@QUICK
@given(pairs)
def test_equals_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = as_shares(pair)
    assert d.kl_divergence(p, q) == pytest.approx(np.mean(scipy.stats.entropy(p, q, axis=1)), abs=1e-9)
    assert d.entropy(p) == pytest.approx(scipy.stats.entropy(p, axis=1))
    distance = scipy.spatial.distance
    js = [distance.jensenshannon(a, b, 2) ** 2 for a, b in zip(p, q, strict=True)]
    assert d.js_divergence(p, q) == pytest.approx(np.mean(js), abs=1e-9)
    for ours, peer in ((d.chebyshev, distance.chebyshev), (d.canberra, distance.canberra)):
        assert ours(p, q) == pytest.approx(np.mean([peer(a, b) for a, b in zip(p, q, strict=True)]))
    assert d.cosine_similarity(p, q) == pytest.approx(
        np.mean([1 - distance.cosine(a, b) for a, b in zip(p, q, strict=True)])
    )


@QUICK
@given(pairs)
def test_range_symmetry_identity_order(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = as_shares(pair)
    rows, classes = np.random.default_rng(0).permutation(len(p)), np.random.default_rng(1).permutation(p.shape[1])
    for metric in METRICS:
        assert metric(p[rows][:, classes], q[rows][:, classes]) == pytest.approx(metric(p, q))
    for metric in (d.js_divergence, d.cosine_similarity, d.intersection, d.chebyshev):
        assert -1e-12 <= metric(p, q) <= 1 + 1e-12
        assert metric(q, p) == pytest.approx(metric(p, q))
    for metric in (d.kl_divergence, d.js_divergence, d.chebyshev, d.clark, d.canberra):
        assert metric(p, p) == pytest.approx(0, abs=1e-12)
        assert metric(p, q) >= 0
    assert d.intersection(p, p) == pytest.approx(1)
    assert d.soft_cross_entropy(p, q) == pytest.approx(d.kl_divergence(p, q) + d.entropy(p).mean())


def test_entropy_correlation() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 50)
    assert d.entropy_correlation(p, p[:, ::-1]) == pytest.approx(1)
    assert d.entropy_correlation(p, p, ranks=True) == pytest.approx(1)
    assert d.entropy_correlation(p, np.full((50, 5), 0.2)) == 0
    q = rng.dirichlet(np.ones(5), 50)
    assert d.entropy_correlation(p, q) == pytest.approx(scipy.stats.pearsonr(d.entropy(p), d.entropy(q)).statistic)


def test_zero_predictions_stay_finite() -> None:
    assert d.kl_divergence([[0.5, 0.5]], [[1.0, 0.0]]) == pytest.approx(0.5 * np.log(0.5) + 0.5 * np.log(0.5e12))
    assert np.isfinite(d.soft_cross_entropy([[0.0, 1.0]], [[1.0, 0.0]]))


def test_soft_labels_have_intervals() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), 80), rng.dirichlet(np.ones(4), 80)
    for metric in METRICS:
        value, low, high = interval(metric, p, q, draws=200)
        assert low < value < high


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), "empty"),
        ([[0.5, 0.5]], [[0.5, 0.6]], "prediction must sum to one"),
        ([[0.5, 0.5]], [[0.5, 0.25, 0.25]], "same classes"),
        ([[0.5, np.nan]], [[0.5, 0.5]], "truth holds 1 values"),
        ([0.5, 0.5], [0.5, 0.5], r"must be \(N, C\)"),
    ],
)
def test_bad_input_is_named(metric: object, truth: object, prediction: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(truth, prediction)  # type: ignore[operator]
