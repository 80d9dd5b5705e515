from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectus.errors import ConfigError, ModelError
from affectus.lm.adapters import adapter_names, copy_adapter, lora_settings
from affectus.lm.budget import TokenBudget
from affectus.lm.chassis import AffectiveLM
from affectus.lm.config import AffectiveLMConfig, Branch, Encoder
from affectus.lm.constrained import LabelTrie, score_labels
from affectus.lm.processor import Processor
from affectus.lm.prompts import load_prompt
from affectus.lm.toy import toy_language_model, toy_tokenizer

Pair = tuple[AffectiveLM, Processor]


def stirred(model: AffectiveLM) -> AffectiveLM:
    """Adapters that do something: B matrices away from zero."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return model


def test_places_hold_what_the_branches_give(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    batch = processor.encode(items)
    assert (batch["modality_ids"][0] == 1).sum() == 1
    assert (batch["modality_ids"][0] == 2).sum() == 2
    assert (batch["modality_ids"][0] == 3).sum() == 8
    assert set(batch["modality_ids"][1].tolist()) == {0, 2}
    assert set(batch["modality_ids"][2].tolist()) == {0}
    embeddings = model.embed(batch["input_ids"], batch["modality_ids"], batch["media"], batch["attention_mask"])
    branches = model.branch_tokens(batch["media"], {1: "multi", 3: "face"})
    assert torch.equal(embeddings[0][batch["modality_ids"][0] == 3], branches[3][1].values[0])
    text = batch["modality_ids"] == 0
    assert torch.equal(embeddings[text], model.get_input_embeddings()(batch["input_ids"])[text])


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_each_item_gives(
    tokenizer: Any, items: list[dict[str, Any]], family: Any, side: str
) -> None:
    config = AffectiveLMConfig(
        encoders={"video": Encoder(16), "audio": Encoder(24)},
        branches={"multi": Branch(("video", "audio"), "prefusion"), "audio": Branch(("audio",), tokens=2),
                  "face": Branch(("video",), "mlp")},
    )  # fmt: skip
    model = AffectiveLM.build(config, toy_language_model(len(tokenizer), family=family), tokenizer).eval()
    processor = Processor(tokenizer, model)
    batch = processor.encode(items, side)
    together = model(**processor.inputs(batch)).logits
    for row, item in enumerate(items):
        alone = model(**processor.inputs(processor.encode([item]))).logits[0]
        torch.testing.assert_close(together[row][batch["attention_mask"][row].bool()], alone, atol=1e-4, rtol=1e-4)


def test_cached_uncached_and_single_generation_agree(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    stirred(model)
    batch = processor.encode(items)
    width = batch["input_ids"].shape[1]
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 399}
    cached = model.generate(**processor.asking(batch), **options)[:, width:]
    assert torch.equal(model.generate(**processor.asking(batch), **options, use_cache=False)[:, width:], cached)
    for row, item in enumerate(items):
        alone = processor.encode([item])
        found = model.generate(**processor.asking(alone), **options)[:, alone["input_ids"].shape[1] :]
        assert torch.equal(found[0], cached[row])


def test_media_decide_what_is_generated(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    louder = [{**items[0], "media": {**items[0]["media"], "audio": items[0]["media"]["audio"] * 30}}]
    one, two = (model(**processor.inputs(processor.encode(i))).logits for i in (items[:1], louder))
    assert not torch.allclose(one, two)


def test_several_answers_and_beams_per_prompt(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    batch = processor.encode(items)
    torch.manual_seed(0)
    out = model.generate(**processor.asking(batch), max_new_tokens=3, do_sample=True, num_return_sequences=4)
    assert out.shape[0] == 12
    wide = model.generate(**processor.asking(batch), max_new_tokens=3, do_sample=False, num_beams=3)
    assert wide.shape[0] == 3
    assert len(processor.decode(out, batch["input_ids"].shape[1])) == 12
    penalised = model.generate(**processor.asking(batch), max_new_tokens=3, do_sample=False, repetition_penalty=1.3)
    assert penalised.shape[0] == 3


@pytest.mark.sheet("Label mask: number of non-masked labels == tokens of answer + separator")
def test_only_the_answer_is_learnt(tokenizer: Any, chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, _ = chassis
    processor = Processor(tokenizer, model, "human_assistant")
    answered = [{**item, "answer": answer} for item, answer in zip(items, ["happy", "sad, calm", "x"], strict=True)]
    batch = processor.encode(answered)
    for row, item in enumerate(answered):
        own = tokenizer(item["answer"] + "###", add_special_tokens=False)["input_ids"]
        learnt = batch["labels"][row][batch["labels"][row] != -100].tolist()
        assert learnt == own
        prompt = processor.encode([items[row]])["input_ids"][0].tolist()
        whole = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        assert whole == prompt + own, "training sees the very ids that generation sees"
    assert (batch["labels"][batch["modality_ids"] > 0] == -100).all()
    with pytest.raises(ConfigError, match="with and without"):
        processor.encode([answered[0], items[1]])
    with pytest.raises(ConfigError, match="holds answers"):
        processor.asking(batch)


def test_gradient_reaches_connectors_and_adapters_only(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    stirred(model).train()
    batch = processor.encode([{**item, "answer": "happy"} for item in items])
    model(**processor.inputs(batch)).loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    may = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name.startswith("connectors.") for name in may)
    assert reached == may


def test_gradient_checkpointing_changes_nothing(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    stirred(model).train()
    batch = processor.inputs(processor.encode([{**item, "answer": "happy"} for item in items]))

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**batch).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.gradient_checkpointing_enable()
    assert any(getattr(m, "gradient_checkpointing", False) for m in model.language_model.modules())
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name], atol=1e-6, rtol=1e-4)


def test_only_trained_weights_are_saved_and_come_back(
    tokenizer: Any, chassis: Pair, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    model, processor = chassis
    stirred(model)
    model.save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert names == set(model.saved_names())
    assert all(name.startswith("connectors.") or "lora_" in name for name in names)
    base = toy_language_model(len(tokenizer))
    back = AffectiveLM.from_pretrained(tmp_path, language_model=base, tokenizer=tokenizer)
    batch = processor.inputs(processor.encode(items))
    assert torch.equal(back(**batch).logits, model(**batch).logits)
    assert back.config.branch_names == ("multi", "audio", "face")


def test_base_from_a_folder(tokenizer: Any, items: list[dict[str, Any]], tmp_path: Path) -> None:
    toy_language_model(len(tokenizer)).save_pretrained(tmp_path / "base")
    config = AffectiveLMConfig(base=str(tmp_path / "base"), encoders={"audio": Encoder(24)},
                               branches={"audio": Branch(("audio",))}, lora=lora_settings(2))  # fmt: skip
    model = AffectiveLM.build(config, tokenizer=tokenizer).eval()
    model.save_pretrained(tmp_path / "mine")
    back = AffectiveLM.from_pretrained(tmp_path / "mine", tokenizer=tokenizer)
    batch = Processor(tokenizer, model).encode(items[1:])
    assert torch.equal(back(**Processor.inputs(batch)).logits, model(**Processor.inputs(batch)).logits)
    with pytest.raises(ModelError, match="cannot be loaded as a causal"):
        AffectiveLM.from_pretrained(tmp_path / "mine", base=str(tmp_path / "nothing"))


def test_what_does_not_fit_is_refused(tokenizer: Any, chassis: Pair, tmp_path: Path) -> None:
    model, _ = chassis
    model.save_pretrained(tmp_path)
    size = len(tokenizer)
    for other, said in [
        (toy_language_model(size, width=48), "hidden size 32, this one has 48"),
        (toy_language_model(size + 8), "vocabulary size"),
        (toy_language_model(size, layers=1), "number of layers"),
    ]:
        with pytest.raises(ModelError, match=said):
            AffectiveLM.from_pretrained(tmp_path, language_model=other)
    with pytest.raises(ModelError, match="another tokenizer"):
        AffectiveLM.from_pretrained(
            tmp_path, language_model=toy_language_model(size), tokenizer=toy_tokenizer(["zzz qqq xxx"] * 9)
        )
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        AffectiveLM.from_pretrained(tmp_path / "empty")


def test_damaged_weights_are_named(tokenizer: Any, chassis: Pair, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, _ = chassis
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    gone = sorted(state)[0]
    for changed, said in [
        ({k: v for k, v in state.items() if k != gone}, f"lacks 1 weights: {gone}"),
        ({**state, "more": state[gone].clone()}, "has besides 1 weights: more"),
        ({**state, gone: torch.zeros(3)}, "in another shape"),
    ]:
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=said):
            AffectiveLM.from_pretrained(tmp_path, language_model=toy_language_model(len(tokenizer)))


def test_missing_modality_drops_its_branches_by_name(chassis: Pair, items: list[dict[str, Any]]) -> None:
    _, processor = chassis
    values, notes = processor.slots({"audio": items[0]["media"]["audio"]})
    assert values == {"audio": "<Audio><AudioHere></Audio>"}
    assert notes == ["branch multi dropped: there is no video", "branch face dropped: there is no video"]
    text = load_prompt("words/describe").messages(**values, subtitle="Hi")[0]["content"]
    assert "There is no video." in text
    assert "There is no audio." not in text
    batch = processor.encode([{"messages": [{"role": "user", "content": text}], "media": {"audio": np.ones((2, 24))}}])
    assert set(batch["modality_ids"][0].tolist()) == {0, 2}
    with pytest.raises(ConfigError, match="branch multi: is in the prompt but there is no video"):
        processor.encode([{**items[0], "media": {"audio": np.ones((2, 24))}}])


def test_mistakes_of_a_caller(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    batch = processor.encode(items)
    with pytest.raises(ModelError, match="modality_ids"):
        model(input_ids=batch["input_ids"], media=batch["media"])
    with pytest.raises(ModelError, match="there is no audio"):
        model(**{**processor.inputs(batch), "media": {"video": batch["media"]["video"]}})
    with pytest.raises(ConfigError, match="stands twice"):
        processor.encode([{**items[1], "messages": [{"role": "user", "content": "<AudioHere><AudioHere>"}]}])
    with pytest.raises(ConfigError, match="has no encoder smell"):
        AffectiveLMConfig(encoders={}, branches={"nose": Branch(("smell",))})
    with pytest.raises(ConfigError, match="same marker"):
        AffectiveLMConfig(
            encoders={"a": Encoder(1)},
            branches={"x": Branch(("a",), marker="<X>"), "y": Branch(("a",), marker="<X>")},
        )
    with pytest.raises(ConfigError, match="name layers"):
        AffectiveLM.build(AffectiveLMConfig(lora={"targets": ["nothing"]}), toy_language_model(300))


def test_budget_shrinks_frames_and_says_so(tokenizer: Any, chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, _ = chassis
    long = {**items[0], "media": {**items[0]["media"], "video": np.arange(64 * 16.0).reshape(64, 16)}}
    free = Processor(tokenizer, model).encode([long])
    budget = TokenBudget(context=free["input_ids"].shape[1] - 30, answer=10)
    batch = Processor(tokenizer, model, budget=budget).encode([long, items[1]])
    assert batch["input_ids"].shape[1] <= budget.context - budget.answer
    kept = int(batch["media"]["video"][1][0].sum())
    assert batch["notes"][0][0] == f"video: 64 items cut to {kept} to fit {budget.context} tokens"
    assert batch["notes"][1] == []
    frames = batch["media"]["video"][0][0, :, 0]
    assert (frames[0], frames[kept - 1]) == (0.0, 63 * 16.0)
    with pytest.raises(ConfigError, match="no room for media"):
        Processor(tokenizer, model, budget=TokenBudget(20, 15)).encode([long])


def test_reference_adapter_by_switch(chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    stirred(model)
    batch = processor.inputs(processor.encode(items))
    before = model(**batch).logits
    training = {n for n, p in model.named_parameters() if p.requires_grad}
    copy_adapter(model.language_model, model.config.lora, "default", "reference")
    assert adapter_names(model.language_model) == ["default", "reference"]
    assert {n for n, p in model.named_parameters() if p.requires_grad} == training
    for name, parameter in model.named_parameters():
        if "lora_B.default" in name:
            parameter.data += 0.1
    changed = model(**batch).logits
    assert not torch.allclose(changed, before)
    with model.adapter("reference"):
        torch.testing.assert_close(model(**batch).logits, before)
    assert torch.equal(model(**batch).logits, changed)
    with model.adapter(None):
        assert not torch.allclose(model(**batch).logits, before)
    assert torch.equal(model(**batch).logits, changed)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == training
    assert not any("reference" in name for name in training)


def test_label_probabilities_of_multimodal_prompts(tokenizer: Any, chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    trie = LabelTrie(tokenizer, ("happy", "sad", "calm"))
    batch = processor.encode(items)
    together = score_labels(model, tokenizer, processor.asking(batch), trie)
    alone = [score_labels(model, tokenizer, processor.asking(processor.encode([item])), trie) for item in items]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-3, rtol=1e-4)


def test_half_precision_of_the_base_or_of_all(tokenizer: Any, chassis: Pair, items: list[dict[str, Any]]) -> None:
    model, processor = chassis
    batch = processor.encode(items)
    plain = model(**processor.inputs(batch)).logits[:, -1]
    model.language_model.to(torch.bfloat16)
    mixed = model(**processor.inputs(batch, "cpu")).logits[:, -1]
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), plain, atol=0.05, rtol=0.05)
    model.to(torch.bfloat16)
    torch.testing.assert_close(model(**processor.inputs(batch)).logits[:, -1].float(), plain, atol=0.05, rtol=0.05)
    assert model.generate(**processor.asking(batch, "cpu"), max_new_tokens=2, do_sample=False).shape[0] == 3


def test_learns_a_word_from_a_modality(tokenizer: Any) -> None:
    torch.manual_seed(0)
    config = AffectiveLMConfig(encoders={"audio": Encoder(8)}, branches={"audio": Branch(("audio",))},
                               train_base=True)  # fmt: skip
    model = AffectiveLM.build(config, toy_language_model(len(tokenizer)), tokenizer)
    processor = Processor(tokenizer, model, "human_assistant")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 32)
    words = np.array(["sad", "happy"])[labels]
    rows = [
        {"messages": [{"role": "user", "content": "<AudioHere>?"}], "answer": word,
         "media": {"audio": rng.standard_normal((3, 8)) * 0.2 + (1 if label else -1)}}
        for label, word in zip(labels, words, strict=True)
    ]  # fmt: skip
    batch = processor.inputs(processor.encode(rows))
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
    model.train()
    for _ in range(150):
        optimiser.zero_grad()
        model(**batch).loss.backward()
        optimiser.step()
    model.eval()
    asked = processor.encode([{k: v for k, v in row.items() if k != "answer"} for row in rows])
    out = model.generate(**processor.asking(asked), max_new_tokens=8, do_sample=False)
    found = processor.decode(out, asked["input_ids"].shape[1])
    assert np.mean([f == w for f, w in zip(found, words, strict=True)]) > 0.95
