"""Gaussian-process regression: equal to scikit-learn's, honest intervals, well-behaved products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from affectus.nn.gaussian_process import GaussianProcess, products

SIZES = [2, 3]


def process(lengths: list[float], linear: list[float], scale: float, noise: float) -> GaussianProcess:
    gp = GaussianProcess(len(lengths))
    with torch.no_grad():
        gp.log_length.copy_(torch.tensor(lengths).log())
        gp.log_linear.copy_(torch.tensor(linear).log())
        gp.log_scale.fill_(math.log(scale))
        gp.log_noise.fill_(math.log(noise))
    return gp


def own(x: Tensor, sizes: list[int]) -> Tensor:
    return torch.stack([(part**2).mean(1) for part in x.split(sizes, 1)])


def predict(gp: GaussianProcess, x: Tensor, y: Tensor, new: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        alpha, inverse = gp.condition(*products(x, x, sizes), y)
        return gp.predict(*products(new, x, sizes), own(new, sizes), alpha, inverse)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # the log of DotProduct's zero offset
def test_equals_scikit_learn() -> None:
    """Same kernel: with a_b²/d_b alike in all blocks the linear term is one dot product."""
    learn = pytest.importorskip("sklearn.gaussian_process")
    kernels = learn.kernels
    lengths, slope, scale, noise = [0.8, 2.5], 0.3, 1.3, 0.4
    gp = process(lengths, [math.sqrt(slope * d) for d in SIZES], scale, noise)
    random = np.random.default_rng(0)
    x, new, y = random.normal(size=(25, 5)), random.normal(size=(7, 5)), random.normal(size=25)
    columns = [length * math.sqrt(d) for length, d in zip(lengths, SIZES, strict=True) for _ in range(d)]
    kernel = (
        kernels.ConstantKernel(slope) * kernels.DotProduct(0.0)
        + kernels.ConstantKernel(scale**2) * kernels.RBF(columns)
        + kernels.WhiteKernel(noise**2 + 1e-5)
    )
    reference = learn.GaussianProcessRegressor(kernel, alpha=1e-12, optimizer=None).fit(x, y)
    mean, deviation = reference.predict(new, return_std=True)
    tx, tnew, ty = (torch.from_numpy(v).float() for v in (x, new, y))
    found_mean, found_deviation = predict(gp, tx, ty, tnew, SIZES)
    np.testing.assert_allclose(found_mean.numpy(), mean, atol=1e-3)
    np.testing.assert_allclose(found_deviation.numpy(), deviation, rtol=1e-3)
    with torch.no_grad():
        loss = float(gp.loss(*products(tx, tx, SIZES), ty))
    assert -loss * len(y) == pytest.approx(reference.log_marginal_likelihood_value_, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_products_are_means_per_block(sizes: list[int], n: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, z = (torch.randn(count, sum(sizes), generator=generator) for count in (n, m))
    inner, squared = products(x, z, sizes)
    at = 0
    for block, size in enumerate(sizes):
        a, b = x[:, at : at + size], z[:, at : at + size]
        torch.testing.assert_close(inner[block], (a[:, None] * b[None]).mean(2), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(squared[block], ((a[:, None] - b[None]) ** 2).mean(2), atol=1e-4, rtol=1e-4)
        at += size
    same_inner, same_squared = products(x, x, sizes)
    torch.testing.assert_close(same_inner, same_inner.transpose(1, 2))
    torch.testing.assert_close(same_squared, same_squared.transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert (same_squared >= 0).all()
    assert float(same_squared.diagonal(dim1=1, dim2=2).max()) < 1e-4


def test_blocks_must_cover_the_columns() -> None:
    with pytest.raises(RuntimeError):
        products(torch.zeros(2, 5), torch.zeros(2, 5), [2, 2])


def test_covariance_is_symmetric_and_positive() -> None:
    gp = process([0.5, 1.0], [0.2, 0.4], 1.0, 0.1)
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        covariance = gp.covariance(*products(x, x, SIZES))
    torch.testing.assert_close(covariance, covariance.T)
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0


def test_learned_intervals_cover_and_follow_the_signal() -> None:
    """y = sin of one block plus noise of 0.3; the other block is noise that the process must learn to neglect."""
    torch.manual_seed(0)
    x, new = torch.rand(120, 2) * 6, torch.rand(400, 2) * 6
    y, truth = (v[:, 0].sin() + 0.3 * torch.randn(len(v)) for v in (x, new))
    gp = GaussianProcess(2)
    optimizer = torch.optim.Adam(gp.parameters(), 0.1)
    related = products(x, x, [1, 1])
    first = float(gp.loss(*related, y).detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss = gp.loss(*related, y)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < first - 0.1
    mean, deviation = predict(gp, x, y, new, [1, 1])
    inside = ((truth - mean).abs() < 1.96 * deviation).float().mean()
    assert 0.9 <= float(inside) <= 0.99
    assert float((mean - new[:, 0].sin()).abs().mean()) < 0.15
    assert (gp.log_length[1] > gp.log_length[0] + 0.5).item()
    assert gp.log_noise.exp().item() == pytest.approx(0.3, abs=0.06)


def test_far_from_all_items_the_prior_returns() -> None:
    gp = process([0.5], [1e-4], 2.0, 0.5)
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    mean, deviation = predict(gp, x, torch.ones(10), torch.full((1, 2), 50.0), [2])
    assert float(mean[0]) == pytest.approx(0, abs=0.02)
    assert float(deviation[0]) == pytest.approx(math.sqrt(4.25), rel=1e-3)
