"""Losses for ratings: closed forms, and ratings that are not known."""

from __future__ import annotations

import pytest
import torch

from affectus.errors import ConfigError
from affectus.nn.losses.regression import regression_loss

OUTPUTS = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])
RATINGS = torch.tensor([[1.0, 1.0], [2.0, float("nan")], [1.0, 8.5]])


@pytest.mark.parametrize(("kind", "value"), [("mse", (1 + 0 + 0 + 9 + 0.25) / 5), ("l1", (1 + 0 + 0 + 3 + 0.5) / 5),
                                             ("smooth_l1", (0.5 + 0 + 0 + 2.5 + 0.125) / 5)])  # fmt: skip
def test_means_over_known_ratings(kind: str, value: float) -> None:
    assert regression_loss(OUTPUTS, RATINGS, kind).item() == pytest.approx(value)


def test_correlation_losses_look_at_whole_rows() -> None:
    known = OUTPUTS[[0, 2]]
    assert regression_loss(3 * OUTPUTS + 1, OUTPUTS, "pcc").item() == pytest.approx(0, abs=1e-6)
    assert regression_loss(-OUTPUTS, OUTPUTS, "pcc").item() == pytest.approx(2, abs=1e-6)
    assert regression_loss(OUTPUTS, OUTPUTS, "ccc").item() == pytest.approx(0, abs=1e-6)
    assert regression_loss(3 * OUTPUTS + 1, OUTPUTS, "ccc") > 0.1
    torch.testing.assert_close(regression_loss(OUTPUTS, RATINGS, "pcc"), regression_loss(known, RATINGS[[0, 2]], "pcc"))


@pytest.mark.parametrize("kind", ["mse", "pcc", "ccc"])
def test_nothing_known_costs_nothing_and_keeps_the_graph(kind: str) -> None:
    outputs = OUTPUTS.clone().requires_grad_(True)
    loss = regression_loss(outputs, torch.full_like(OUTPUTS, float("nan")), kind)
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None


def test_unknown_losses_are_named() -> None:
    with pytest.raises(ConfigError, match="loss huber"):
        regression_loss(OUTPUTS, RATINGS, "huber")
