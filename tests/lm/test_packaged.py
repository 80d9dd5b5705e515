"""The packaged small language model, for real."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from affectus.errors import AssetError

pytestmark = [pytest.mark.slow, pytest.mark.assets]


@pytest.fixture(scope="module")
def packaged() -> Any:
    from affectus.lm.packaged import load_packaged

    try:
        return load_packaged()
    except AssetError as error:
        pytest.skip(f"the packaged language model is not obtainable: {error}")


def test_it_answers_a_constrained_question(packaged: Any) -> None:
    from affectus.lm.chat import prompt_ids, template_of
    from affectus.lm.constrained import LabelProcessor, LabelTrie

    model, tokenizer = packaged
    messages = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    template = template_of(tokenizer)
    assert template.name == "tokenizer"
    ids = torch.tensor([prompt_ids(tokenizer, messages, template)])
    trie = LabelTrie(tokenizer, ("Paris", "London", "banana"))
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False,
        logits_processor=[LabelProcessor(trie, ids.shape[1])],
    )  # fmt: skip
    assert trie.decode(out[0, ids.shape[1] :].tolist()) == ["Paris"]


def test_one_adapter_step_inside_the_chassis(packaged: Any) -> None:
    from affectus.lm.adapters import lora_settings
    from affectus.lm.chassis import AffectiveLM
    from affectus.lm.config import AffectiveLMConfig, Branch, Encoder
    from affectus.lm.processor import Processor

    model, tokenizer = packaged
    config = AffectiveLMConfig(
        encoders={"audio": Encoder(8)}, branches={"audio": Branch(("audio",))}, lora=lora_settings(4, 8, 0.0)
    )
    chassis = AffectiveLM.build(config, model, tokenizer)
    processor = Processor(tokenizer, chassis)
    item = {
        "messages": [{"role": "user", "content": "<AudioHere> Which emotion?"}],
        "media": {"audio": np.ones((2, 8))},
        "answer": "joyful",
    }
    batch = processor.inputs(processor.encode([item]))
    assert tokenizer.decode(batch["labels"][batch["labels"] != -100]).startswith("joyful")
    optimiser = torch.optim.AdamW([p for p in chassis.parameters() if p.requires_grad], 1e-2)
    chassis.train()
    before = chassis(**batch).loss
    before.backward()
    optimiser.step()
    assert float(chassis(**batch).loss.detach()) < float(before.detach())
