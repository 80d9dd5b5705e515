"""Noisy top-k router, mixture of adapters and balance loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import softplus

from affectus.errors import ConfigError
from affectus.nn.experts import Adapter, MixtureOfAdapters, NoisyTopKRouter, balance_loss


def test_an_adapter_is_down_gelu_up_without_a_skip() -> None:
    torch.manual_seed(0)
    adapter, x = Adapter(6, 3), torch.randn(4, 5, 6)
    inner = x @ adapter.fc1.weight.T + adapter.fc1.bias
    expected = 0.5 * inner * (1 + torch.erf(inner / 2**0.5)) @ adapter.fc2.weight.T + adapter.fc2.bias
    torch.testing.assert_close(adapter(x), expected, rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(experts=st.integers(1, 6), data=st.data(), seed=st.integers(0, 1000), training=st.booleans())
def test_weights_sum_to_one_over_exactly_k_experts(
    experts: int, data: st.DataObject, seed: int, training: bool
) -> None:
    k = data.draw(st.integers(1, experts))
    torch.manual_seed(seed)
    router = NoisyTopKRouter(5, experts, k).train(training)
    routing = router(torch.randn(7, 5))
    assert routing.chosen.sum(1).tolist() == [k] * 7
    assert (routing.weights[~routing.chosen] == 0).all()
    torch.testing.assert_close(routing.weights.sum(1), torch.ones(7))
    lowest = routing.logits.masked_fill(~routing.chosen, float("inf")).amin(1)
    others = routing.logits.masked_fill(routing.chosen, float("-inf")).amax(1)
    assert (lowest >= others).all()


def test_noise_is_drawn_in_training_only_unless_published() -> None:
    torch.manual_seed(0)
    router, x = NoisyTopKRouter(5, 4, 2), torch.randn(6, 5)
    router.eval()
    assert torch.equal(router(x).logits, router.score(x))
    router.train()
    torch.manual_seed(1)
    noisy = router(x).logits
    torch.manual_seed(1)
    expected = router.score(x) + torch.randn(6, 4) * softplus(router.noise(x))
    torch.testing.assert_close(noisy, expected)
    published = NoisyTopKRouter(5, 4, 2, always_noisy=True).eval()
    assert not torch.equal(published(x).logits, published(x).logits)


def test_all_experts_without_limit_give_the_weighted_sum() -> None:
    torch.manual_seed(0)
    mixture, x = MixtureOfAdapters(6, 3, experts=4, k=4, capacity=None).eval(), torch.randn(2, 5, 6)
    weights = mixture.router.score(x).softmax(-1)
    expected = sum(weights[..., i, None] * expert(x) for i, expert in enumerate(mixture.experts))
    torch.testing.assert_close(mixture(x)[0], expected, rtol=0, atol=1e-6)  # type: ignore[arg-type]


def test_one_expert_is_one_adapter() -> None:
    torch.manual_seed(0)
    mixture, x = MixtureOfAdapters(6, 3, experts=1, k=1).train(), torch.randn(2, 5, 6)
    torch.testing.assert_close(mixture(x)[0], mixture.experts[0](x), rtol=0, atol=1e-6)


def test_tokens_beyond_capacity_get_nothing_in_training_and_all_in_evaluation() -> None:
    torch.manual_seed(0)
    mixture, x = MixtureOfAdapters(4, 2, experts=4, k=1, capacity=1.0), torch.randn(1, 8, 4)
    with torch.no_grad():
        mixture.router.score.weight.zero_()
        mixture.router.score.bias.copy_(torch.tensor([50.0, 0, 0, 0]))  # everybody wants expert 0
        mixture.router.noise.bias.fill_(-20.0)
    mixture.train()
    crowded = mixture(x)[0]
    torch.testing.assert_close(crowded[0, :2], mixture.experts[0](x[0, :2]))  # floor(8 · 1 / 4) = 2 places
    assert (crowded[0, 2:] == 0).all()
    mixture.eval()
    torch.testing.assert_close(mixture(x)[0], mixture.experts[0](x))


def test_a_mixture_gives_gradients_to_idle_experts_too() -> None:
    torch.manual_seed(0)
    mixture = MixtureOfAdapters(4, 2, experts=6, k=1).train()
    out, balance = mixture(torch.randn(1, 2, 4))
    (out.sum() + balance).backward()
    assert all(p.grad is not None for p in mixture.parameters())


def test_balance_is_k_when_uniform_and_grows_when_tokens_crowd() -> None:
    experts, k = 4, 2
    chosen = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]] * 4).bool()
    uniform = torch.full((8, experts), 1 / experts)
    assert float(balance_loss(uniform, chosen)) == pytest.approx(k)
    crowd = torch.tensor([[1.0, 0, 0, 0]] * 8)
    assert float(balance_loss(crowd, crowd.bool())) == pytest.approx(experts)


def test_published_balance_uses_raw_logits() -> None:
    torch.manual_seed(0)
    mixture, x = MixtureOfAdapters(5, 2, experts=3, k=2, parity="published").eval(), torch.randn(2, 3, 5)
    torch.manual_seed(4)
    balance = mixture(x)[1]
    torch.manual_seed(4)
    logits = mixture.router(x.view(-1, 5)).logits
    share = torch.zeros(3)
    for row in logits.topk(2).indices:
        share[row] += 1 / 6
    assert float(balance.detach()) == pytest.approx(float(9 * (share * logits.mean(0)).mean().detach()), abs=1e-6)


def test_more_choices_than_experts_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 of 2"):
        NoisyTopKRouter(4, 2, 3)
