from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affectus.nn.losses.policy import group_advantages, k3, masked_average, policy_loss


@pytest.mark.sheet("Advantages of one group sum to 0 (1e-6) and are invariant to adding a constant to all rewards")
@given(st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4), st.floats(-3, 3, width=32), st.booleans())
def test_advantages(rewards: list[float], constant: float, scale: bool) -> None:
    values = torch.tensor([rewards], dtype=torch.float64)
    found = group_advantages(values, scale)
    assert abs(float(found.sum())) < 1e-6
    moved = group_advantages(values + constant, scale)
    assert float((moved - found).abs().max()) < 1e-5 * (1 if not scale else 1e4)


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.3, 0.3, 0.3, 0.3]])
    plain = group_advantages(rewards, scale=False)
    assert plain[0].tolist() == [0.5, -0.5, -0.5, 0.5]
    deviation = (4 * 0.25 / 3) ** 0.5
    torch.testing.assert_close(group_advantages(rewards)[0], plain[0] / (deviation + 1e-4))
    assert group_advantages(rewards)[1].tolist() == [0.0] * 4


@pytest.mark.sheet("zero-variance groups give exactly zero gradient (KL off)")
def test_equal_rewards_teach_nothing() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    gains = group_advantages(torch.full((1, 4), 0.7)).flatten()
    policy_loss(logits.log_softmax(1), gains, torch.ones(4, 3)).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


@pytest.mark.sheet("policy = reference: the KL term is exactly 0 and its gradient is 0; for any policy k3 >= 0")
@given(st.lists(st.floats(-8, 0, width=32), min_size=6, max_size=6))
def test_divergence(values: list[float]) -> None:
    own = torch.tensor(values, requires_grad=True)
    same = k3(own.detach().clone(), own)
    same.sum().backward()
    assert float(same.detach().abs().max()) == 0
    assert own.grad is not None
    assert float(own.grad.abs().max()) == 0
    assert float(k3(own.detach().flip(0), own.detach()).min()) >= 0
    assert float(k3(torch.tensor(-1.0), torch.tensor(-2.0))) == pytest.approx(2.718281828 - 2)


def test_loss_by_hand_with_clip_masks_and_both_averages() -> None:
    current = torch.log(torch.tensor([[0.5, 0.5], [0.3, 0.1]]))
    old = torch.log(torch.tensor([[0.25, 0.5], [0.6, 0.1]]))
    gains, mask = torch.tensor([1.0, -1.0]), torch.tensor([[1, 1], [1, 0]])
    # rho: 2 and 1, .5 and (masked); clipped at 1 ± .2: min(2, 1.2) = 1.2, 1, min(-.5, -.8) = -.8
    assert float(policy_loss(current, gains, mask, old)) == pytest.approx(-((1.2 + 1) / 2 - 0.8) / 2)
    assert float(policy_loss(current, gains, mask, old, average="token")) == pytest.approx(-(1.2 + 1 - 0.8) / 3)
    per_token = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert float(policy_loss(current, per_token, mask, old, average="token")) == pytest.approx(-0.4)
    assert float(masked_average(torch.ones(2, 2), torch.zeros(2, 2))) == 0


def test_one_step_per_draw_has_the_gradient_of_the_policy() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    drawn, gains = torch.tensor([0, 3, 4]), torch.tensor([0.5, -1.0, 0.5])
    current = logits.log_softmax(1).gather(1, drawn[:, None])
    policy_loss(current, gains, torch.ones(3, 1)).backward()
    expected = -gains[:, None] * (torch.nn.functional.one_hot(drawn, 5) - logits.detach().softmax(1)) / 3
    torch.testing.assert_close(logits.grad, expected)
