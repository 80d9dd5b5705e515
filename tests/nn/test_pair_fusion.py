"""Two vectors into one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import elu, layer_norm

from affectus.errors import ConfigError
from affectus.nn.pair_fusion import (
    AttentionFusion,
    GatedFusion,
    ModulatedFusion,
    SumFusion,
    WeightedFusion,
    build_fusion,
)

KINDS = ("sum", "modulated", "weighted", "attention", "gated")


def pair(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 6), torch.randn(count, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_item_gives_what_it_gives_among_others(kind: str) -> None:
    torch.manual_seed(0)
    fusion, (a, b) = build_fusion(kind, 6), pair()  # type: ignore[arg-type]
    whole = fusion(a, b)
    assert whole.shape == (3, 6)
    torch.testing.assert_close(fusion(a[:1], b[:1]), whole[:1])
    assert not torch.allclose(fusion(a, b.flip(0)), whole), "the second vector changes nothing"


def test_sum_fusion_is_its_formula() -> None:
    torch.manual_seed(0)
    fusion, (a, b) = SumFusion(6), pair()
    normed = layer_norm(a, (6,)) + layer_norm(b, (6,))
    torch.testing.assert_close(fusion(a, b), elu(normed @ fusion.linear.weight.T))


def test_modulated_fusion_starts_as_a_linear_of_the_sum() -> None:
    torch.manual_seed(0)
    fusion, (a, b) = ModulatedFusion(6), pair()
    torch.testing.assert_close(fusion(a, b), fusion.linear(a + b))
    with torch.no_grad():
        fusion.scale.zero_()
    torch.testing.assert_close(fusion(a, b), fusion.linear(b))


def test_weighted_fusion_is_its_formula() -> None:
    torch.manual_seed(0)
    fusion, (a, b) = WeightedFusion(6, heads=2), pair()
    mixed = sum(fusion.alpha[h] * a + fusion.beta[h] * b for h in range(2))
    torch.testing.assert_close(fusion(a, b), layer_norm(mixed, (6,)) + 1e-5)  # type: ignore[arg-type]


def test_attention_weighs_the_two_and_the_published_form_does_not() -> None:
    torch.manual_seed(0)
    fusion, (a, b) = AttentionFusion(6, heads=2), pair()
    for of_a, of_b in zip(fusion.W_a, fusion.W_b, strict=True):
        torch.nn.init.zeros_(of_a.weight), torch.nn.init.constant_(of_a.bias, 50.0)
        torch.nn.init.zeros_(of_b.weight), torch.nn.init.constant_(of_b.bias, 0.0)
    torch.testing.assert_close(fusion(a, b), torch.nn.functional.silu(2 * a) + 1e-5)
    fusion.parity = "published"
    torch.testing.assert_close(fusion(a, b), torch.nn.functional.silu(2 * (a + b)) + 1e-5)


def test_gated_fusion_is_its_formula() -> None:
    torch.manual_seed(0)
    fusion, (a, b) = GatedFusion(6, heads=2), pair()
    parts = [fusion.W_a[h](a).softmax(1) * a + fusion.W_b[h](b).softmax(1) * b for h in range(2)]
    m = fusion.mlp(torch.cat(parts, 1))
    torch.testing.assert_close(fusion(a, b), torch.relu(m * torch.sigmoid(fusion.gate(m))) + 1e-5)


def test_unknown_fusions_are_refused() -> None:
    with pytest.raises(ConfigError, match="mean"):
        build_fusion("mean", 6)  # type: ignore[arg-type]
