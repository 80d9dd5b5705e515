"""Adaptive-margin triplets and the terms of VICReg: known values, and why the margin is detached."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affectus.errors import ConfigError
from affectus.nn.losses.adaptive_margin import (
    adaptive_margin,
    adaptive_triplet,
    covariance_term,
    margin_losses,
    triplets,
    variance_term,
)


@pytest.mark.sheet("Margin values: (0,0,0) loss 4.036631; (0,1,1) 5.0; (.5,.5,.5) 2.541341; (.2,1.2,1.0) 6.449740")
@pytest.mark.parametrize(
    ("distances", "margin", "loss"),
    [
        ((0, 0, 0), 4.036631, 4.036631),
        ((0, 1, 1), 6.0, 5.0),
        ((0.5, 0.5, 0.5), 2.541341, 2.541341),
        ((0.2, 1.2, 1.0), 1.898658 + 5.451082, 6.449740),
    ],
)
def test_values_of_the_sheet(distances: tuple[float, ...], margin: float, loss: float) -> None:
    a, n, o = (torch.tensor(float(d), dtype=torch.float64) for d in distances)
    assert float(adaptive_margin(a, n)) == pytest.approx(margin, abs=2e-6)
    assert float(adaptive_triplet(a, n, o)) == pytest.approx(loss, abs=2e-6)


@pytest.mark.sheet("Detach test: with stop-gradient the mean D_an exceeds D_ap, with gradient through m it does not")
@pytest.mark.parametrize("detach", [True, False])
def test_only_a_detached_margin_parts_negatives(detach: bool) -> None:
    torch.manual_seed(0)
    points = (0.5 * torch.randn(40, 3, 2)).requires_grad_()  # anchor, positive, negative in the unit disc
    optimizer = torch.optim.Adam([points], 0.01)
    inside = lambda: points / points.norm(dim=-1, keepdim=True).clamp(min=1)
    apart = lambda x, i, j: (x[:, i] - x[:, j]).square().sum(-1).add(1e-12).sqrt()
    for _ in range(600):
        x = inside()
        optimizer.zero_grad()
        adaptive_triplet(apart(x, 0, 1), apart(x, 0, 2), apart(x, 1, 2), detach).mean().backward()
        optimizer.step()
    x = inside().detach()
    near, far = float(apart(x, 0, 1).mean()), float(apart(x, 0, 2).mean())
    assert (far > near + 0.5) if detach else (far < near)


@pytest.mark.sheet("Variance term is 0 when every std >= 1 and 1 for a constant batch; covariance 0 when diagonal")
def test_variance_and_covariance() -> None:
    spread = torch.tensor([[2.0, 3.0], [-2.0, 3.0], [2.0, -3.0], [-2.0, -3.0]])
    assert float(variance_term(spread)) == 0
    assert float(covariance_term(spread)) == pytest.approx(0, abs=1e-10)
    assert float(variance_term(torch.ones(5, 3))) == pytest.approx(1, abs=1.1e-3)
    x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    covariance = np.cov(x.numpy().T)
    expected = ((covariance**2).sum() - (np.diag(covariance) ** 2).sum()) / 4
    assert float(covariance_term(x)) == pytest.approx(expected)
    assert float(variance_term(x)) == pytest.approx(np.maximum(0, 1 - np.sqrt(x.numpy().var(0, ddof=1) + 1e-6)).mean())


def test_hardest_and_random_triplets() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    place = torch.tensor([0.0, 1.0, 5.0, 2.0, 9.0, 20.0])
    distances = (place[:, None] - place[None]).abs()
    a, p, n = triplets(distances, labels)
    assert a.tolist() == [0, 1, 2, 3, 4]  # the last has no positive
    assert p.tolist() == [2, 2, 0, 4, 3]
    assert n.tolist() == [3, 3, 3, 1, 2]
    a, p, n = triplets(distances, labels, "random")
    assert (labels[a] == labels[p]).all()
    assert (a != p).all()
    assert (labels[a] != labels[n]).all()
    with pytest.raises(ConfigError, match="easy"):
        triplets(distances, labels, "easy")  # type: ignore[arg-type]


def test_without_pairs_nothing_is_learnt() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    found = margin_losses(torch.nn.functional.normalize(z, dim=-1), z, torch.arange(3))
    assert all(part.item() == 0 for part in found.values())
    torch.stack(list(found.values())).sum().backward()
    assert z.grad is not None
    assert not z.grad.any()


def test_the_shown_triplet_part_has_the_gradient_of_the_loss() -> None:
    torch.manual_seed(1)
    z = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(8) % 2
    x = torch.nn.functional.normalize(z, dim=-1)
    (shown,) = torch.autograd.grad(margin_losses(x, z, labels)["triplet"], z, retain_graph=True)
    distances = torch.sqrt((2 - 2 * x @ x.T).clamp(min=1e-8))
    a, p, n = triplets(distances, labels)
    (full,) = torch.autograd.grad(adaptive_triplet(distances[a, p], distances[a, n], distances[p, n]).mean(), z)
    torch.testing.assert_close(shown, full)
