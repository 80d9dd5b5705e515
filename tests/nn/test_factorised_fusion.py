"""MFM: distance from the prior, steps made again, what its two losses do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from affectus.nn.factorised_fusion import FactorisedFusion, StepMaker
from affectus.nn.losses.subspaces import distance_to_normal

EVERYBODY = torch.ones(4, 3, dtype=torch.bool)


def steps(seed: int = 0, count: int = 4) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 6, size, generator=draw) for size in (5, 3, 4)]


def fusion(**settings: float) -> FactorisedFusion:
    torch.manual_seed(1)
    return FactorisedFusion((5, 3, 4), 6, 7, 0.0, **settings).eval()  # type: ignore[arg-type]


def test_distance_to_normal_is_what_drawing_from_it_gives() -> None:
    random = np.random.default_rng(0)
    codes = random.normal(0.7, 0.4, (6, 3))
    kernel = lambda a, b: np.exp(-((a[:, None] - b) ** 2).sum(-1) / 6)
    drawn, other = random.normal(size=(2, 3000, 3))
    wanted = kernel(codes, codes).mean() - 2 * kernel(codes, drawn).mean() + kernel(drawn, other).mean()
    found = distance_to_normal(torch.from_numpy(codes)).item()
    assert found == pytest.approx(wanted, abs=5e-3)
    assert found > 0.05


def test_distance_to_normal_tells_normal_codes_from_others() -> None:
    torch.manual_seed(0)
    codes = torch.randn(400, 8)
    near = distance_to_normal(codes).item()
    assert 0 <= near < 0.01
    for other in (codes + 1, 3 * codes, 0 * codes):
        assert distance_to_normal(other).item() > 5 * near
    kept = torch.arange(400) < 50
    assert distance_to_normal(codes, kept).item() == pytest.approx(distance_to_normal(codes[:50]).item())
    assert distance_to_normal(codes, torch.zeros(400, dtype=torch.bool)).item() == 0


def test_losses_are_those_of_the_steps_and_codes() -> None:
    net, x = fusion(rebuilt=0.5, prior=3.0), steps()
    for rows in x:
        rows[1, :3] = 0
    there = EVERYBODY.clone()
    there[2, 1] = False
    feature, losses = net(x, there)
    codes = net.codes(x, there)
    factors = [layer(code) for layer, code in zip(net.factors, codes, strict=True)]
    torch.testing.assert_close(feature, factors[0])
    errors = []
    for m, rows in enumerate(x):
        own: list[Tensor] = []
        for i in range(4):
            if there[i, m]:
                length = 3 if i == 1 else 6
                real = torch.ones(1, length, dtype=torch.bool)
                made = net.makers[m](torch.cat([factors[0][i], factors[m + 1][i]])[None], real)[0]
                own += list((made - rows[i, -length:]).square().mean(1))
        errors.append(torch.stack(own).mean())
    torch.testing.assert_close(losses["rebuilt"], 0.5 * torch.stack(errors).mean())
    apart = [distance_to_normal(codes[0])]
    apart += [distance_to_normal(code[there[:, m]]) for m, code in enumerate(codes[1:])]
    torch.testing.assert_close(losses["prior"], 3 * torch.stack(apart).mean())


def test_steps_are_made_from_the_first_real_one_on() -> None:
    torch.manual_seed(0)
    maker, factors = StepMaker(4, 5, 3), torch.randn(2, 4)
    real = torch.tensor([[True] * 5, [False, False, True, True, True]])
    made = maker(factors, real)
    assert made.shape == (2, 5, 3)
    torch.testing.assert_close(made[1, 2:], maker(factors[1:], torch.ones(1, 3, dtype=torch.bool))[0])


def test_padding_changes_neither_feature_nor_losses() -> None:
    net, x = fusion(), steps()
    longer = [torch.cat([torch.zeros(4, 2, rows.shape[2]), rows], 1) for rows in x]
    (feature, losses), (same, also) = net(x, EVERYBODY), net(longer, EVERYBODY)
    torch.testing.assert_close(same, feature)
    assert {k: v.item() for k, v in also.items()} == pytest.approx({k: v.item() for k, v in losses.items()}, rel=1e-5)


def test_a_missing_modality_is_neither_read_nor_asked_for() -> None:
    net, x = fusion(), steps()
    without = EVERYBODY & torch.tensor([True, False, True])
    feature, losses = net(x, without)
    changed, also = net([x[0], 5 * x[1] - 2, x[2]], without)
    torch.testing.assert_close(changed, feature, atol=0, rtol=0)
    assert all(torch.equal(also[name], value) for name, value in losses.items())
    total = feature.sum() + losses["rebuilt"] + losses["prior"]
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in net.own[1].parameters())
    nothing = net(x, torch.zeros_like(EVERYBODY))
    assert all(torch.isfinite(value) for value in (nothing[0].sum(), *nothing[1].values()))


def test_every_parameter_learns() -> None:
    net = fusion()
    feature, losses = net(steps(), EVERYBODY)
    (feature.sum() + losses["rebuilt"] + losses["prior"]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.learning
def test_factors_hold_what_the_modalities_were() -> None:
    """Ramps of three modalities with a slope of their own, told again on fresh items; against training without that
    loss. 1 is the error of always telling the mean."""
    errors: dict[float, list[float]] = {0.0: [], 1.0: []}
    for rebuilt, found in errors.items():
        for seed in range(3):
            torch.manual_seed(seed)
            net = FactorisedFusion((2, 2, 2), 12, 6, 0.0, rebuilt, 0.1)
            slope = torch.randn(320, 3)
            ramp = torch.linspace(0.2, 1, 5)[:, None] * torch.tensor([1.0, -1.0])
            x = [slope[:, m, None, None] * ramp for m in range(3)]
            there = torch.ones(320, 3, dtype=torch.bool)
            optimizer = torch.optim.Adam(net.parameters(), 1e-2)
            for _ in range(15):
                for part in torch.randperm(256).split(64):
                    optimizer.zero_grad()
                    feature, losses = net([rows[part] for rows in x], there[part])
                    told = (feature.mean(1) - slope[part].sum(1)).square().mean()
                    (told + losses["rebuilt"] + losses["prior"]).backward()
                    optimizer.step()
            fresh = [rows[256:] for rows in x]
            with torch.no_grad():
                factors = [layer(z) for layer, z in zip(net.factors, net.codes(fresh, there[256:]), strict=True)]
                made = net.rebuild(factors, torch.ones(64, 5, 3, dtype=torch.bool))
            missed = [(a - b).square().mean() / b.square().mean() for a, b in zip(made, fresh, strict=True)]
            found.append(float(torch.stack(missed).mean()))
    assert max(errors[1.0]) < 0.5 < min(errors[0.0]), errors
