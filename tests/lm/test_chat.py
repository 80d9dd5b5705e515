from __future__ import annotations

from typing import Any

import pytest
import torch

from affectus.errors import ConfigError
from affectus.lm.chat import TEMPLATES, answer_ids, prompt_ids, stop_ids, template_of
from affectus.lm.constrained import LabelProcessor, LabelTrie, score_labels
from affectus.lm.toy import toy_language_model

MESSAGES = [{"role": "system", "content": "Look."}, {"role": "user", "content": "Which word?"}]


def test_template_of_the_tokenizer_is_used_when_there_is_one(tokenizer: Any, templated: Any) -> None:
    assert template_of(templated).name == "tokenizer"
    assert template_of(tokenizer).name == "chatml"
    with pytest.raises(ConfigError, match="has none"):
        template_of(tokenizer, "tokenizer")
    with pytest.raises(ConfigError, match="no such template"):
        template_of(tokenizer, "mine")


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_prompt_and_answer_spell_the_conversation(tokenizer: Any, templated: Any, name: str) -> None:
    own = templated if name == "tokenizer" else tokenizer
    template = template_of(own, name)
    asked = own.decode(prompt_ids(own, MESSAGES, template))
    answered = own.decode(answer_ids(own, MESSAGES, "happy", template))
    assert asked == template.render(own, MESSAGES)
    assert "Which word?" in asked
    assert answered.startswith("happy")
    assert len(answered) > len("happy"), "the end mark is part of the answer"


def test_affectgpt_layout(tokenizer: Any) -> None:
    template = template_of(tokenizer, "human_assistant")
    text = template.render(tokenizer, MESSAGES[1:]) + template.answer(tokenizer, MESSAGES[1:], "sad")
    assert text == "###Human: Which word? ###Assistant: sad###"


def test_stops(tokenizer: Any, templated: Any) -> None:
    assert stop_ids(templated, template_of(templated)) == [1]
    assert stop_ids(tokenizer, template_of(tokenizer, "chatml"))[0] == 1


def test_malformed_conversations(tokenizer: Any) -> None:
    for messages in ([], [{"role": "robot", "content": "x"}], [{"role": "user"}]):
        with pytest.raises(ConfigError):
            template_of(tokenizer, "plain").render(tokenizer, messages)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [("happy", "sad", "happy ending", "neutral"), ("a", "ab", "abc")])
def test_any_model_gives_a_label(tokenizer: Any, labels: tuple[str, ...]) -> None:
    model = toy_language_model(len(tokenizer))
    batch = tokenizer(["Which?", "A longer question for padding"], return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    trie = LabelTrie(tokenizer, labels)
    width = batch["input_ids"].shape[1]
    for seed in range(3):
        torch.manual_seed(seed)
        out = model.generate(**batch, max_new_tokens=20, do_sample=True, logits_processor=[LabelProcessor(trie, width)])
        for row in out[:, width:].tolist():
            found = trie.decode([i for i in row if i != 0])
            assert found is not None
            assert found[0] in labels


def test_lists_of_labels_hold_each_once(tokenizer: Any) -> None:
    model = toy_language_model(len(tokenizer))
    batch = tokenizer(["Which?"], return_tensors="pt")
    trie = LabelTrie(tokenizer, ("happy", "sad", "calm"), separator=", ", most=3)
    width = batch["input_ids"].shape[1]
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        out = model.generate(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=40, do_sample=True,
            logits_processor=[LabelProcessor(trie, width)],
        )  # fmt: skip
        found = trie.decode([i for i in out[0, width:].tolist() if i != 0])
        assert found is not None
        assert len(set(found)) == len(found)
        seen.add(len(found))
    assert len(seen) > 1


def test_trie_by_hand(tokenizer: Any) -> None:
    trie = LabelTrie(tokenizer, ("sad", "sadness"))
    sad = tokenizer("sad")["input_ids"]
    assert trie.allowed([]) == {i[0] for i in trie.first.values()}
    assert 1 in trie.allowed(sad)
    assert trie.decode([*sad, 1]) == ["sad"]
    assert trie.decode(sad[:-1]) is None if len(sad) > 1 else True
    assert trie.allowed([5, 5, 5]) == set()
    with pytest.raises(ConfigError):
        LabelTrie(tokenizer, ("a", "a"))


def test_label_scores_are_those_of_the_model(tokenizer: Any) -> None:
    model = toy_language_model(len(tokenizer))
    batch = tokenizer(["Which?", "And now which one?"], return_tensors="pt", padding=True)
    prompts = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    trie = LabelTrie(tokenizer, ("happy", "sad"))
    scores = score_labels(model, tokenizer, prompts, trie)
    alone = tokenizer("Which?", return_tensors="pt")["input_ids"]
    ids = torch.tensor([[*trie.first["sad"], 1]])
    logits = model(input_ids=torch.cat([alone, ids], 1)).logits[:, alone.shape[1] - 1 : -1].log_softmax(-1)
    assert scores.shape == (2, 2)
    assert float(scores[0, 1].detach()) == pytest.approx(logits.gather(2, ids[..., None]).sum().item(), abs=1e-3)
