from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.reallocation import Reallocation, factors, reallocate

SETTINGS = Reallocation(("face",), ("audio",), rho=0.5, high=0.6)


def rows(seed: int = 0, keys: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    weights = torch.randn(3, 2, keys, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(-1).double()
    first, second = torch.zeros(3, 1, keys), torch.zeros(3, 1, keys)
    first[..., 2:7], second[..., 8:10] = 1, 1
    return weights, first, second


@pytest.mark.sheet("AR: rows still sum to 1 (1e-6); text mass unchanged; inside a span the ratios stay the same")
@given(st.integers(0, 50), st.floats(0, 1), st.floats(0.5, 1), st.booleans())
def test_mass_is_kept(seed: int, rho: float, high: float, per_token: bool) -> None:
    weights, first, second = rows(seed)
    settings = Reallocation(("face",), ("audio",), rho=rho, high=high, per_token=per_token)
    out = reallocate(weights, first, second, settings)
    torch.testing.assert_close(out.sum(-1), torch.ones(3, 2).double())
    text = (first + second == 0).expand_as(out)
    torch.testing.assert_close(out[text], weights[text])
    torch.testing.assert_close(out[..., 2:7] * weights[..., 2:3], out[..., 2:3] * weights[..., 2:7])
    assert (out >= 0).all()


def test_by_hand() -> None:
    weights = torch.tensor([[0.1, 0.1, 0.2, 0.6]])
    first, second = torch.tensor([[0.0, 1, 1, 0]]), torch.tensor([[0.0, 0, 0, 1]])
    # M_1 = .3, M_2 = .6, R = .667 > .6: delta = .5 * (.6 - .6 * .9) = .03
    torch.testing.assert_close(reallocate(weights, first, second, SETTINGS), torch.tensor([[0.1, 0.11, 0.22, 0.57]]))
    # per token: means .15 and .6, R = .8; target = .9 * .6 / (.6 + .4 * 2) = .385714, delta = .107143
    per_token = Reallocation(("face",), ("audio",), per_token=True)
    moved = reallocate(weights, first, second, per_token)
    assert float(moved[0, 3]) == pytest.approx(0.6 - 0.107143, abs=1e-5)


@pytest.mark.sheet("rho = 0 or balanced R -> identity; score-bias form equals the post-softmax form to 1e-5")
def test_identity_and_score_bias_form() -> None:
    weights, first, second = rows()
    assert torch.equal(reallocate(weights, first, second, Reallocation(("a",), ("b",), rho=0.0)), weights)
    balanced = torch.tensor([[0.2, 0.4, 0.4]])
    masks = torch.tensor([[0.0, 1, 0]]), torch.tensor([[0.0, 0, 1]])
    assert torch.equal(reallocate(balanced, *masks, SETTINGS), balanced)
    one, two = factors(weights, first, second, SETTINGS)
    biased = weights.log() + first * one.log().unsqueeze(-1) + second * two.log().unsqueeze(-1)
    torch.testing.assert_close(biased.softmax(-1), reallocate(weights, first, second, SETTINGS), atol=1e-5, rtol=0)
    nothing = torch.zeros_like(first)
    assert torch.equal(reallocate(weights, nothing, second, SETTINGS), weights)


def test_inside_a_model(chassis: Any, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    batch = processor.encode(items)
    real = batch["attention_mask"].bool()
    inputs = processor.inputs(batch)
    plain = model(**inputs).logits
    with model.watching(("face",), ("audio",)) as state:
        torch.testing.assert_close(model(**inputs).logits[real], plain[real], atol=1e-5, rtol=1e-4)
        masses = dict(state.masses)
    assert set(masses) == {0, 1}
    assert (masses[0][0] > 0).all()
    assert masses[0][2].tolist() == [0.0, 0.0]
    settings = Reallocation(("face",), ("audio",), rho=1.0, high=0.5, layers=(0,))
    with model.reallocating(settings) as state:
        moved = model(**inputs).logits
        generated = model.generate(**processor.asking(batch), max_new_tokens=3, do_sample=False)
    assert generated.shape[0] == 3
    assert state.calls == 2 * 4
    assert not torch.allclose(moved[0, -1], plain[0, -1])
    torch.testing.assert_close(moved[0, :-1], plain[0, :-1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved[2, -1], plain[2, -1], atol=1e-5, rtol=1e-4)
    assert torch.equal(model(**inputs).logits, plain), "outside the context everything is as before"


def test_a_model_that_cannot_be_changed_is_refused(chassis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = chassis
    for module in model.language_model.modules():
        if hasattr(module, "layer_idx"):
            monkeypatch.delattr(module, "layer_idx")
    with pytest.raises(ModelError, match="found no attention"), model.reallocating(SETTINGS):
        pass


def test_attention_that_is_not_called_fails_loudly(
    chassis: Any, items: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = chassis
    monkeypatch.setattr(model.language_model, "set_attn_implementation", lambda name: None)
    with pytest.raises(ModelError, match="had no effect"), model.reallocating(SETTINGS):
        model(**processor.inputs(processor.encode(items)))


def test_bad_settings(chassis: Any) -> None:
    model, _ = chassis
    with pytest.raises(ConfigError, match="rho"):
        Reallocation(("a",), ("b",), rho=2)
    with pytest.raises(ConfigError, match="common members"):
        Reallocation(("a",), ("a",))
    with pytest.raises(ConfigError, match="no such branch"), model.watching(("nose",), ("audio",)):
        pass
    with pytest.raises(ConfigError, match="no layer 9"):
        Reallocation(("a",), ("b",), layers=(9,)).band(4)
    assert Reallocation(("a",), ("b",)).band(9) == {3, 4, 5}
    assert isinstance(model, nn.Module)
