"""GRPO through trl: a toy policy learns, its loss is ours, blocks and utilities reach it, evaluated records do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from affectus.errors import ConfigError  # noqa: E402
from affectus.lm.toy import toy_language_model, toy_tokenizer  # noqa: E402
from affectus.nn.losses.policy import k3, masked_average, policy_loss  # noqa: E402
from affectus.nn.phase import Phase  # noqa: E402
from affectus.training.reinforce import GroupTrainer, group_trainer, reinforce  # noqa: E402

WORDS = ("happy", "sad", "angry", "surprised")
PROMPTS = ("He laughs:", "She cries:", "He shouts:", "She gasps:")
RECORDS = [
    {"name": f"clip{i}", "prompt": p, "openset": [w]} for i, (p, w) in enumerate(zip(PROMPTS, WORDS, strict=True))
]


def toy() -> tuple[Any, Any]:
    tokenizer = toy_tokenizer([*PROMPTS, *WORDS] * 5, 330)
    return toy_language_model(len(tokenizer)), tokenizer


def cold_start(model: Any, tokenizer: Any, steps: int = 60) -> None:
    """Every prompt is followed by the right word twice in five times, by the others once: the form, little content."""
    texts = [(p, " " + WORDS[(i + shift) % 4]) for shift in (0, 0, 1, 2, 3) for i, p in enumerate(PROMPTS)]
    rows = [(tokenizer(p)["input_ids"], tokenizer(w)["input_ids"] + [tokenizer.eos_token_id]) for p, w in texts]
    width = max(len(p) + len(w) for p, w in rows)
    ids = torch.tensor([[0] * (width - len(p) - len(w)) + p + w for p, w in rows])
    labels = torch.tensor([[-100] * (width - len(w)) + w for _, w in rows])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss.backward()
        optimizer.step()


def phase(**options: Any) -> Phase:
    given = {"group": 8, "beta": 0.0, "longest": 6, "rewards": {"ew": 1.0}, **options}
    return Phase("rl", 1, 1e-3, 4, schedule="constant", warmup=0.0, weight_decay=0.0, options=given)


@pytest.mark.learning
@pytest.mark.slow
def test_a_toy_policy_learns_by_the_metric(tmp_path: Path) -> None:
    """Two words of five are right at first; without advantages (utility 0) nothing is learnt in as many steps."""
    ends = []
    for utility in (1.0, 0.0):
        torch.manual_seed(0)
        model, tokenizer = toy()
        cold_start(model, tokenizer)
        records = [{**record, "utility": utility} for record in RECORDS]
        log = reinforce(model, tokenizer, records, phase(), tmp_path, max_steps=50 if utility else 6)
        rewards = [entry["reward"] for entry in log]
        ends.append(sum(rewards[-5:]) / 5)
    assert ends[0] > 0.65, ends
    assert ends[1] < 0.5, ends


def adapted(tmp_path: Path, **options: Any) -> tuple[GroupTrainer, Any]:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model, tokenizer = toy()
    policy = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    trainer = group_trainer(policy, tokenizer, RECORDS, phase(beta=0.1, **options), tmp_path)
    trainer.current_gradient_accumulation_steps = 1
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if ".lora_B.default" in name:
                parameter.normal_(0, 0.3)
    return trainer, tokenizer


@pytest.mark.parametrize("average", ["answer", "token"])
def test_our_loss_is_that_of_trl(average: Any, tmp_path: Path) -> None:
    """Same log-probabilities, advantages, clip and divergence: the same number and the same gradient."""
    trainer, _ = adapted(tmp_path, average=average)
    generator = torch.Generator().manual_seed(1)
    prompt, answer = (torch.randint(5, 200, (4, n), generator=generator) for n in (3, 5))
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] * 4 + [0], [1, 0, 0, 0, 0]])
    gains = torch.tensor([0.9, -0.4, 0.1, -0.6])
    model = trainer.model.eval()
    ids, seen = torch.cat([prompt, answer], 1), torch.cat([torch.ones(4, 3, dtype=torch.long), mask], 1)
    current, _, _ = trainer._get_per_token_logps_and_entropies(model, ids, seen, 5)
    old = current.detach() + 0.4 * torch.randn(4, 5, generator=generator)
    reference = current.detach() + 0.4 * torch.randn(4, 5, generator=generator)
    given = {"prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt), "completion_ids": answer}
    given |= {"completion_mask": mask, "advantages": gains, "old_per_token_logps": old}
    theirs = trainer._compute_loss(model, given | {"ref_per_token_logps": reference})
    ours = policy_loss(current, gains, mask, old, 0.2, average) + 0.1 * masked_average(
        k3(reference, current), mask, average
    )
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-6)
    weights = [p for p in model.parameters() if p.requires_grad]
    for mine, other in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_blocks_and_utilities_reach_the_trainer(tmp_path: Path) -> None:
    trainer, _ = adapted(tmp_path, rewards={"ew": 1.0, "format": 0.5}, blocks={"format": "answer"}, scale=False)
    assert trainer.tags == ["", "answer"]
    rows = [{**RECORDS[0], "utility": worth} for worth in (2.0, None) for _ in range(8)]
    trainer.model.train()
    trainer.reward_funcs = [lambda completions, **_: [float(i) for i in range(len(completions))]] * 2
    found = trainer._generate_and_score_completions(rows)
    plain = torch.arange(8.0) - 3.5
    torch.testing.assert_close(found["advantages"], torch.cat([2 * plain, plain]) * 1.5)
    # No answer of a random model holds the block, so half of the loss has no token and the rest is spread evenly.
    torch.testing.assert_close(found["tool_mask"].sum(1), torch.full((16,), 0.5))


def test_evaluated_and_useless_records_are_refused_and_counted(tmp_path: Path) -> None:
    model, tokenizer = toy()
    records = [*RECORDS, {"name": "n", "prompt": "x", "openset": ["neutral"]}]
    trainer = group_trainer(model, tokenizer, records, phase(), tmp_path, evaluated=["clip0", "elsewhere"])
    assert [row["name"] for row in trainer.train_dataset] == ["clip1", "clip2", "clip3"]
    assert trainer.left_out == {"in the evaluation list": 1, "no word that a wheel knows": 1}
    with pytest.raises(ConfigError, match="none is left: 4 are evaluated, 1 have no word"):
        group_trainer(model, tokenizer, records, phase(), tmp_path, evaluated=[r["name"] for r in RECORDS])
    with pytest.raises(ConfigError, match="at least two answers"):
        group_trainer(model, tokenizer, records, phase(group=1), tmp_path)
    with pytest.raises(ConfigError, match="unknown: charm"):
        group_trainer(model, tokenizer, records, phase(rewards={"charm": 1.0}), tmp_path)
