from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.adapters import lora_settings
from affectus.lm.chassis import AffectiveLM
from affectus.lm.config import AffectiveLMConfig, Branch, Encoder
from affectus.lm.drawing import draw
from affectus.lm.modality_experts import (
    ModalityExperts,
    expert_layers,
    expert_losses,
    expert_settings,
    parameter_count,
    weight_gap,
)
from affectus.lm.processor import Processor
from affectus.lm.reallocation import Reallocation, SpanState
from affectus.lm.reliance import Reliance, measure
from affectus.lm.toy import toy_language_model

SETTINGS = expert_settings(("face",), ("audio",), rank=4, alpha=8, experts=3, dropout=0.0)
#: Places of a prompt: text, two tokens of branch 1 (visual), one of branch 2 (audio), text.
IDS = torch.tensor([[0, 1, 1, 2, 0], [0, 1, 1, 0, 0], [0, 2, 2, 0, 0], [0, 0, 0, 0, 0]])


def layer(ids: torch.Tensor = IDS, stir: bool = True, bias: bool = False) -> ModalityExperts:
    torch.manual_seed(0)
    spans = SpanState(ids=ids)
    made = ModalityExperts(nn.Linear(6, 10, bias=bias), SETTINGS, spans, ((1,), (2,)))
    if stir:
        for parameter in (made.lora_up, made.lora_gate, made.lora_balance):
            nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.sheet("With B = 0 the MoSE layer equals the frozen layer exactly; parameter count per layer")
def test_fresh_experts_add_nothing_and_have_the_stated_size() -> None:
    made = layer(stir=False)
    x = torch.randn(4, 5, 6)
    assert torch.equal(made(x), made.base(x))
    nn.init.normal_(made.lora_gate)
    nn.init.normal_(made.lora_balance)
    assert torch.equal(made(x), made.base(x))
    own = sum(p.numel() for name, p in made.named_parameters() if name.startswith("lora_"))
    assert own == 4 * 6 + 2 * 3 * 4 * 10 + (2 * 3 * 6 + 2 * 2 * 6)
    assert own == parameter_count(6, 10, 4, 3)


@pytest.mark.sheet("With one modality absent its weight is masked to 0 and the other becomes 1")
def test_an_absent_modality_has_no_weight() -> None:
    made = layer()
    x = torch.randn(4, 5, 6)
    out = made(x)
    assert made.routing is not None
    weights = made.routing.weights
    assert weights[1].tolist() == [1.0, 0.0]
    assert weights[2].tolist() == [0.0, 1.0]
    assert weights[3].tolist() == [0.0, 0.0]
    assert 0 < float(weights[0, 0]) < 1
    torch.testing.assert_close(weights[0].sum(), torch.tensor(1.0))
    assert torch.equal(out[3], made.base(x)[3]), "a prompt without media keeps the frozen layer"


def test_by_hand_with_tokens_routed_to_their_own_modality() -> None:
    """Row 0 in plain algebra, token by token."""
    made = layer(bias=True)
    x = torch.randn(4, 5, 6)
    out = made(x)[0]
    means = x[0, 1:3].mean(0), x[0, 3]
    scores = made.lora_balance @ torch.cat(means)
    weights = scores.exp() / scores.exp().sum()
    for token, used in enumerate(((0, 1), (0,), (0,), (1,), (0, 1))):
        expected = made.base(x)[0, token]
        for m in used:
            gate = (made.lora_gate[m] @ means[m]).softmax(0)
            best = int(gate.argmax())
            update = (made.lora_down @ x[0, token]) @ made.lora_up[m, best]
            expected = expected + 8 / 4 * weights[m] * gate[best] * update
        torch.testing.assert_close(out[token], expected, atol=1e-5, rtol=1e-5)


def test_gates_and_weights_learn_though_the_choice_is_hard() -> None:
    made = layer()
    made(torch.randn(4, 5, 6)).square().sum().backward()
    for parameter in (made.lora_down, made.lora_up, made.lora_gate, made.lora_balance):
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0


def test_a_step_from_the_cache_keeps_the_routing_of_its_prompt() -> None:
    made = layer()
    made(torch.randn(4, 5, 6))
    kept = made.routing
    made.spans.cached = True
    x = torch.randn(4, 7, 6)
    alone = made(x)
    assert made.routing is kept
    several = made(x.repeat_interleave(2, 0))
    torch.testing.assert_close(several[::2], alone)
    with pytest.raises(ModelError, match="follows no prompt"):
        made(torch.randn(3, 1, 6))
    made.spans.ids = None
    x = torch.randn(2, 3, 6)
    assert torch.equal(made(x), made.base(x))


@pytest.mark.sheet("L_gate = 0 at w = (.5,.5) and = 1 at (1,0) for the squared form")
def test_gap_of_modality_weights() -> None:
    assert float(weight_gap(torch.full((3, 2), 0.5))) == 0
    one_sided = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(weight_gap(one_sided)) == 1
    assert float(weight_gap(one_sided, "divergence")) == pytest.approx(0.693147, abs=1e-5)
    mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert (float(weight_gap(mixed)), float(weight_gap(mixed, "divergence"))) == (1, 0)


@given(st.integers(0, 100), st.integers(1, 6))
def test_gap_is_between_zero_and_its_bound(seed: int, rows: int) -> None:
    weights = torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(1)
    assert 0 <= float(weight_gap(weights)) <= 1
    assert -1e-6 <= float(weight_gap(weights, "divergence")) <= 0.6932


def test_losses_count_only_items_that_have_what_is_compared() -> None:
    made = nn.ModuleList([layer()])
    with pytest.raises(ModelError, match="nothing has been routed"):
        expert_losses(made)
    made[0](torch.randn(4, 5, 6))
    routing = expert_layers(made)[0].routing
    assert routing is not None
    found = expert_losses(made)
    torch.testing.assert_close(found["balance"], (routing.weights[0, 0] - routing.weights[0, 1]) ** 2)
    loads = []
    for m, rows in ((0, [0, 1]), (1, [0, 2])):
        shares = routing.shares[rows, m]
        taken = torch.stack([(routing.chosen[rows, m] == k).float().mean() for k in range(3)])
        loads.append(3 * (taken * shares.mean(0)).sum())
    torch.testing.assert_close(found["load"], torch.stack(loads).mean())
    alone = nn.ModuleList([layer(torch.zeros(2, 3).long())])
    alone[0](torch.randn(2, 3, 6))
    assert {k: float(v) for k, v in expert_losses(alone).items()} == {"balance": 0, "load": 0}


@pytest.fixture
def expert_chassis(tokenizer: Any) -> tuple[AffectiveLM, Processor]:
    """A tiny chassis whose frozen language model has an adapter with experts on top, all of them stirred."""
    torch.manual_seed(0)
    config = AffectiveLMConfig(
        encoders={"video": Encoder(16), "audio": Encoder(24)},
        branches={"multi": Branch(("video", "audio"), "prefusion"), "audio": Branch(("audio",), tokens=2),
                  "face": Branch(("video",), "mlp")},
        lora=lora_settings(4, 8, 0.0), experts=SETTINGS,
    )  # fmt: skip
    model = AffectiveLM.build(config, toy_language_model(len(tokenizer)), tokenizer).eval()
    for made in expert_layers(model):
        for parameter in (made.lora_up, made.lora_gate, made.lora_balance):
            nn.init.normal_(parameter, std=0.3)
    return model, Processor(tokenizer, model)


def test_a_batch_gives_what_each_item_gives(expert_chassis: Any, items: list[dict[str, Any]]) -> None:
    model, processor = expert_chassis
    assert len(expert_layers(model)) == 2 * 2
    batch = processor.encode(items)
    together = model(**processor.inputs(batch)).logits
    for row, item in enumerate(items):
        alone = model(**processor.inputs(processor.encode([item]))).logits[0]
        torch.testing.assert_close(together[row][batch["attention_mask"][row].bool()], alone, atol=1e-4, rtol=1e-4)


def test_cached_and_uncached_generation_agree(expert_chassis: Any, items: list[dict[str, Any]]) -> None:
    model, processor = expert_chassis
    batch = processor.encode(items)
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": 399}
    cached = model.generate(**processor.asking(batch), **options)
    assert torch.equal(model.generate(**processor.asking(batch), **options, use_cache=False), cached)
    width = batch["input_ids"].shape[1]
    several = draw(model, processor.asking(batch), 2, **options)
    assert torch.equal(several[::2], cached[:, width:])
    assert torch.equal(several[1::2], cached[:, width:])
    with torch.no_grad():
        for made in expert_layers(model):
            made.lora_up.zero_()
    assert not torch.equal(model.generate(**processor.asking(batch), **options), cached)


def test_only_trained_weights_are_saved_and_come_back(
    tokenizer: Any, expert_chassis: Any, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    model, processor = expert_chassis
    assert sum(".lora_up" in name for name in model.saved_names()) == 4
    assert not any(name.endswith("base_layer.weight") for name in model.saved_names())
    model.save_pretrained(tmp_path)
    base = toy_language_model(len(tokenizer))
    again = AffectiveLM.from_pretrained(tmp_path, language_model=base, tokenizer=tokenizer)
    inputs = processor.inputs(processor.encode(items))
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)


def test_bad_settings(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        expert_settings(("face",), ("audio",), experts=0)
    with pytest.raises(ConfigError, match="common members"):
        expert_settings(("face",), ("face",))
    for wrong, said in (({"targets": ["nothing"]}, "no layer named nothing"), ({"visual": ["nose"]}, "no such branch")):
        config = AffectiveLMConfig(
            encoders={"video": Encoder(16), "audio": Encoder(24)},
            branches={"audio": Branch(("audio",)), "face": Branch(("video",))},
            experts=SETTINGS | wrong,
        )
        with pytest.raises(ConfigError, match=said):
            AffectiveLM.build(config, toy_language_model(len(tokenizer)), tokenizer)


@pytest.mark.sheet("AR by total mass and by per-token mean can disagree in sign: report both")
def test_reliance_by_hand() -> None:
    found = Reliance(
        mass=torch.tensor([[[0.5, 0.1], [0.1, 0.1]], [[0.0, 0.0], [0.0, 0.0]]]).numpy(),
        tokens=torch.tensor([[10, 1], [0, 0]]).numpy(),
        weights=torch.zeros(2, 0, 2).numpy(),
    )
    assert found.share[0] == pytest.approx(0.25)
    assert found.share_per_token[0] == pytest.approx(0.1 / (0.03 + 0.1))
    row, nothing = found.rows()
    assert row["visual"] == {"mass": pytest.approx(0.3), "per_token": pytest.approx(0.03), "tokens": 10,
                             "weight": pytest.approx(float("nan"), nan_ok=True)}  # fmt: skip
    assert nothing["audio_share"] != nothing["audio_share"], "neither is there: no share"


def test_reliance_of_a_model(expert_chassis: Any, items: list[dict[str, Any]]) -> None:
    model, processor = expert_chassis
    asked = processor.asking(processor.encode(items))
    found = measure(model, asked, Reallocation(("face",), ("audio",), rho=0.0))
    assert found.mass.shape == (3, 2, 2)
    assert found.tokens.tolist() == [[8, 2], [0, 2], [0, 0]]
    assert found.weights.shape == (3, 4, 2)
    assert found.weights[1].tolist() == [[0.0, 1.0]] * 4
    assert found.mass[2].max() == 0
    assert 0 < found.share[0] < 1
    assert found.share[1] == 1
