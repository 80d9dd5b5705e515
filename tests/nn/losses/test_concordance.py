"""Concordance: closed-form values of both published forms, and missing targets."""

from __future__ import annotations

import pytest
import torch

from affectus import metrics
from affectus.nn.losses.concordance import balanced_weights, concordance, concordance_loss


def series() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(35, 2, dtype=torch.float64)


def test_a_perfect_prediction() -> None:
    y = series()
    torch.testing.assert_close(concordance(y, y), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(concordance(y, y, "mixed"), torch.full((2,), 34 / 35, dtype=torch.float64))


def test_a_shift_of_one_standard_deviation_gives_two_thirds() -> None:
    y = series()
    y = (y - y.mean(0)) / y.std(0, unbiased=False)
    torch.testing.assert_close(concordance(y + 1, y), torch.full((2,), 2 / 3, dtype=torch.float64))


def test_a_constant_prediction_gives_nothing() -> None:
    y = series()
    assert concordance(torch.full_like(y, 0.3), y).abs().max() < 1e-12


def test_the_population_form_is_the_metric() -> None:
    y, x = series(), series() + 0.3 * torch.rand(35, 2, dtype=torch.float64)
    assert concordance(x, y)[0].item() == pytest.approx(metrics.ccc(y[:, 0].numpy(), x[:, 0].numpy()), abs=1e-12)


def test_rows_without_targets_do_not_count() -> None:
    y = series()
    missing = y.clone()
    missing[3:9] = float("nan")
    kept = torch.cat([y[:3], y[9:]])
    x = (0.5 * y).requires_grad_()
    loss = concordance_loss(x, missing)
    torch.testing.assert_close(loss, 1 - concordance(0.5 * kept, kept).mean())
    loss.backward()
    assert x.grad is not None
    assert x.grad[3:9].abs().max() == 0
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_targets_give_zero_with_a_gradient(rows: int) -> None:
    x = torch.randn(4, 2, requires_grad=True)
    y = torch.full((4, 2), float("nan"))
    y[:rows] = 0.5
    loss = concordance_loss(x, y)
    loss.backward()
    assert loss.item() == 0
    assert x.grad is not None


def test_weights_from_counts() -> None:
    torch.testing.assert_close(balanced_weights(torch.tensor([4.0, 2.0, 8.0])), torch.tensor([0.5, 1.0, 0.25]))
