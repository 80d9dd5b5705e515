"""The selective-fusion gate: limits, scopes, broadcasting and small batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from affectus.errors import ConfigError
from affectus.nn.attention_fusion import SelectiveFusion


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 8, 5, 4), torch.randn(3, 8, 5, 4)


def forced(value: float) -> SelectiveFusion:
    """A fusion whose G + L is `value` everywhere."""
    fusion = SelectiveFusion(8, scope="global").eval()
    assert fusion.whole is not None
    last = fusion.whole[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)
    return fusion


def test_a_wide_open_gate_returns_the_first_map_and_a_shut_one_the_second() -> None:
    first, second = maps()
    torch.testing.assert_close(forced(20.0)(first, second), first, rtol=0, atol=1e-6)
    torch.testing.assert_close(forced(-20.0)(first, second), second, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scope", ["both", "global", "local"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_every_value_lies_between_the_inputs(scope: str, norm: str) -> None:
    first, second = maps()
    fusion = SelectiveFusion(8, 2, scope=scope, norm=norm).train()  # type: ignore[arg-type]
    with torch.no_grad():
        out = fusion(5 * first, 5 * second)
    low, high = torch.minimum(5 * first, 5 * second), torch.maximum(5 * first, 5 * second)
    assert (out >= low - 1e-5).all()
    assert (out <= high + 1e-5).all()


def test_scopes_see_what_they_say() -> None:
    first, second = maps()
    for scope, shape in (("global", (3, 8, 1, 1)), ("local", (3, 1, 5, 4)), ("both", (3, 8, 5, 4))):
        assert SelectiveFusion(8, scope=scope).gate(first, second).shape == shape  # type: ignore[arg-type]
    assert SelectiveFusion(8, local_channels=8, scope="local").gate(first, second).shape == (3, 8, 5, 4)


def test_a_second_sigmoid_narrows_the_gate() -> None:
    first, second = maps()
    gate = SelectiveFusion(8, sigmoid="double").gate(9 * first, 9 * second)
    assert gate.min() > 0.5
    assert gate.max() < 0.881


def test_one_item_is_refused_by_batch_norm_and_taken_by_layer_norm() -> None:
    first, second = (m[:1] for m in maps())
    with pytest.raises(ConfigError, match="one item"):
        SelectiveFusion(8).train()(first, second)
    assert torch.isfinite(SelectiveFusion(8, norm="layer").train()(first, second)).all()
    assert torch.isfinite(SelectiveFusion(8).eval()(first, second)).all()


def test_odd_local_channels_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 local channels"):
        SelectiveFusion(8, local_channels=3)
