"""AffectGPT-R1: rewards, draws, the rewarded phase, and two small policies that learn by it.

Reward tables and the format reward are shown in tests/lm/test_rewards.py, the loss in tests/nn/test_policy_loss.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from affectus.errors import ConfigError
from affectus.labels import wheels
from affectus.lm import rewards
from affectus.nn.losses.policy import group_advantages, policy_loss
from affectus.nn.phase import Phase
from affectus.systems.affectgpt_r1 import ColdStart, Config, Reinforced

#: Twenty words, four in each of five groups that share their clusters on most wheels.
VOCABULARY = (
    "happy", "joyful", "cheerful", "delighted", "sad", "lonely", "depressed", "grief", "angry", "furious", "mad",
    "annoyed", "scared", "afraid", "worried", "anxious", "surprised", "amazed", "astonished", "shocked",
)  # fmt: skip
TRUTH = (("joyful", "surprised"), ("angry", "sad"), ("worried", "sad"))


def tiny(**changes: Any) -> Reinforced:
    torch.manual_seed(0)
    return Reinforced(replace(Config.tiny(), **changes))


def remembered(reward: Callable[..., list[float]]) -> Callable[..., list[float]]:
    """The same reward, worked out once per answer and truth: a bandit gives the same answers again and again."""
    known: dict[tuple[str, ...], float] = {}

    def look_up(texts: list[str], openset: list[list[str]]) -> list[float]:
        keys = [(text, *truth) for text, truth in zip(texts, openset, strict=True)]
        for key in dict.fromkeys(keys):
            if key not in known:
                (known[key],) = reward([key[0]], openset=[list(key[1:])])
        return [known[key] for key in keys]

    return look_up


def answer(words: list[str]) -> str:
    return f"<answer>{', '.join(words)}</answer>"


class Bandit:
    """A softmax policy over the words per context; it writes `length` words, or stops by itself (`length` 0)."""

    def __init__(self, seed: int, length: int = 3, most: int = 12) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.length, self.most = length, most
        self.logits = torch.zeros(len(TRUTH), len(VOCABULARY) + 1, requires_grad=True)

    def draw(self, context: Tensor) -> tuple[Tensor, Tensor, list[str]]:
        """Log-probabilities and mask (B, steps) and the answers; no word is written twice."""
        taken = torch.zeros(len(context), len(VOCABULARY) + 1, dtype=torch.bool)
        taken[:, -1] = self.length > 0
        going = torch.ones(len(context), dtype=torch.bool)
        found, mask, words = [], [], [[] for _ in context]  # type: ignore[var-annotated]
        for _ in range(self.length or self.most):
            scores = self.logits[context].masked_fill(taken, -1e9).log_softmax(1)
            picked = torch.multinomial(scores.detach().exp(), 1, generator=self.generator)
            found.append(scores.gather(1, picked)[:, 0])
            mask.append(going.float())
            for i, word in enumerate(picked[:, 0].tolist()):
                if going[i] and word < len(VOCABULARY):
                    words[i].append(VOCABULARY[word])
            going = going & (picked[:, 0] < len(VOCABULARY))
            taken = taken.scatter(1, picked, True)
        return torch.stack(found, 1), torch.stack(mask, 1), [answer(sorted(own)) for own in words]

    def train(self, reward: Callable[..., list[float]], steps: int, rate: float = 0.1) -> tuple[float, float]:
        """Mean reward of the first and of the last ten steps of GRPO, 8 answers to each context."""
        optimizer = torch.optim.Adam([self.logits], rate)
        seen, reward = [], remembered(reward)
        context = torch.arange(len(TRUTH)).repeat_interleave(8)
        truth = [list(TRUTH[c]) for c in context.tolist()]
        for _ in range(steps):
            drawn, mask, texts = self.draw(context)
            values = torch.tensor(reward(texts, openset=truth)).view(-1, 8)
            optimizer.zero_grad()
            policy_loss(drawn, group_advantages(values).flatten(), mask).backward()
            optimizer.step()
            seen.append(float(values.mean()))
        return sum(seen[:10]) / 10, sum(seen[-10:]) / 10

    def words(self) -> float:
        """Mean number of words of answers."""
        texts = self.draw(torch.arange(len(TRUTH)).repeat_interleave(20))[2]
        return sum(len(text[8:-9].split(", ")) if text[8:-9] else 0 for text in texts) / len(texts)


def imitated(seed: int, steps: int = 300) -> float:
    """Mean reward of the likeliest three words after learning from noisy truths: right cluster, random word."""
    generator = torch.Generator().manual_seed(seed)
    tables = wheels.load()
    clusters = [tables.clusters([word], wheel=1) for word in VOCABULARY]
    logits = torch.zeros(len(TRUTH), len(VOCABULARY), requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.1)
    for _ in range(steps):
        targets = torch.zeros_like(logits)
        for i, truth in enumerate(TRUTH):
            for word in truth:
                near = [j for j, own in enumerate(clusters) if own & tables.clusters([word], wheel=1)]
                targets[i, near[int(torch.randint(len(near), (1,), generator=generator))]] += 0.5
        optimizer.zero_grad()
        (-(targets * logits.log_softmax(1)).sum()).backward()
        optimizer.step()
    policy = Bandit(seed)
    with torch.no_grad():
        policy.logits[:, :-1] = logits
        _, _, texts = policy.draw(torch.arange(len(TRUTH)).repeat_interleave(60))
    truth = [list(t) for t in TRUTH for _ in range(60)]
    return sum(rewards.ew_reward(texts, truth)) / len(texts)


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet("Bandit: 300 GRPO steps with the EW reward raise the mean reward; SFT on noisy synonyms is lower")
def test_reward_teaches_what_imitation_does_not() -> None:
    """The sheet's proposals (from < .35 to > .8) were tuned once: three of these words at random share clusters with
    a truth of two more often than it assumed, so both ends lie higher."""
    for seed in range(3):
        start, end = Bandit(seed).train(rewards.ew_reward, 300)
        assert start < 0.65
        assert end > 0.9
        assert end > imitated(seed) + 0.02


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet("Hacking: recall-only reward drives n up to the maximum; EWF + penalty keeps n near the truth")
def test_recall_alone_is_hacked_by_long_lists() -> None:
    hacked, honest = Bandit(0, length=0), Bandit(0, length=0)
    hacked.train(rewards.recall_reward, 250)
    honest.train(rewards.total({rewards.ew_reward: 1.0, rewards.linear_length_penalty(0.1, 4): 1.0}), 250)
    assert hacked.words() > 6
    assert honest.words() <= 4


def test_draws_hold_groups_of_answers_with_their_advantages() -> None:
    own = tiny().train()
    (phase,) = own.phases()
    options = {**phase.options, "group": 4, "longest": 6}
    own.enter(replace(phase, options=options))
    batch = own.example(2)
    torch.manual_seed(0)
    drawn = own.augment(batch, options)
    assert drawn["completion"].shape == drawn["mask"].shape == drawn["reference"].shape
    assert len(drawn["completion"]) == len(drawn["texts"]) == 8
    assert drawn["reward"].shape == (2, 4)
    assert drawn["asked"]["input_ids"].shape[0] == 2
    assert torch.equal(drawn["weight"], drawn["mask"].float())
    assert own.training
    outputs = own(drawn)
    torch.testing.assert_close(outputs["drawn"].detach(), drawn["reference"], atol=1e-5, rtol=1e-5)
    parts = own.losses(drawn, outputs, options)
    assert set(parts) == {"policy", "divergence"}
    assert float(parts["divergence"].detach()) == pytest.approx(0, abs=1e-6), "the policy is still the reference"
    assert set(own.losses(drawn, outputs, {**options, "beta": 0})) == {"policy"}
    assert not any(name.startswith("reference") for name in own.saved_state())


def test_the_reference_survives_a_resume_and_is_not_taken_into_another_phase() -> None:
    own, (phase,) = tiny(), tiny().phases()
    own.enter(phase)
    state = {name: value.clone() + 1 for name, value in own.state_dict().items()}
    assert any(name.startswith("reference.") for name in state)
    again = tiny()
    again.enter(phase)
    again.load_state_dict(state)
    kept = dict(again.reference.named_buffers())
    assert all(torch.equal(kept[n.removeprefix("reference.")], v) for n, v in state.items() if n.startswith("refer"))
    fresh = tiny()
    fresh.load_state_dict(state)
    assert not list(fresh.reference.buffers())
    with pytest.raises(ConfigError, match="the phase has not been entered"):
        fresh.draw(fresh.example(1), {"group": 2, "longest": 2, "beta": 0.1})


def test_tokens_after_the_end_of_an_answer_do_not_count() -> None:
    own = tiny().eval()
    ends = own.processor.stops()[-1]
    tokenizer = own.processor.tokenizer
    ids = torch.tensor([[5, ends, 0, 0], [5, 6, 7, 8]])
    mask = (ids != 0).long()
    assert own.cut(ids, mask).tolist() == [False, True]
    assert own.processor.template.stop == "###"
    hashes = tokenizer("x###", add_special_tokens=False)["input_ids"]
    assert own.cut(torch.tensor([hashes]), torch.ones(1, len(hashes), dtype=torch.long)).tolist() == [False]


def test_rewards_are_routed_and_unknown_ones_named() -> None:
    own = tiny()
    batch = own.example(2)
    table = {"rewards": {"ovlabel": {"ew": 1.0}, "onehot": {"label": 2.0}}}
    texts = ["<answer>calm, relaxed</answer>", "<answer>happiness</answer>"]
    assert own.score(texts, batch, ["ovlabel", "onehot"], table) == pytest.approx([1.0, 2.0])
    with pytest.raises(ConfigError, match="unknown: nothing"):
        own.reward({"rewards": {"nothing": 1.0}})
    with pytest.raises(ConfigError, match="no rewards for onehot"):
        own.score(texts, batch, ["ovlabel", "onehot"], {"rewards": {"ovlabel": {"ew": 1.0}}})
    with pytest.raises(ConfigError, match="at least two answers"):
        own.draw(batch, {"group": 1})


def test_reasoning_on_and_off() -> None:
    for think, form in ((True, "<think>"), (False, "<answer>")):
        own = tiny(think=think)
        batch = own.example(2)
        items = own.conversations(batch, own.kinds(batch))
        assert items[0]["answer"].startswith(form)
        assert ("<think>" in items[0]["messages"][0]["content"]) == think
        right = [item["answer"] for item in items]
        assert own.score(right, batch, own.kinds(batch), {"rewards": {"format": 1.0}}) == [1.0, 1.0]
        assert ("dual" in own.phases()[0].options["rewards"]) == think


def test_measurements_stand_in_the_prompt_as_text() -> None:
    own = tiny(mode="text", evidence=("words", "voice"))
    assert own.inputs()["words evidence"]("I love this so much!").startswith("love ")
    batch = own.example(2)
    assert set(batch) == {"text", "words evidence", "voice evidence", "record"}
    asked = own.conversations(batch, own.kinds(batch))[0]["messages"][0]["content"]
    assert f"Measured: words: {batch['words evidence'][0]}; voice: {batch['voice evidence'][0]}. No audio." in asked
    assert "Measured" not in tiny().conversations(tiny().example(1), ["ovlabel"])[0]["messages"][0]["content"]
    with pytest.raises(ValueError, match="evidence smell"):
        Config(evidence=("smell",))


def test_blocks_utilities_and_cut_answers_weigh_tokens() -> None:
    own = tiny().eval()
    ids = torch.tensor([own.processor.tokenizer("<think>sad</think><answer>sad</answer>###")["input_ids"]])
    mask = torch.ones_like(ids)
    both = {"rewards": {"ew": 1.0, "dual": 1.0}, "blocks": {"dual": "think"}}
    weight = own.token_weights(ids, mask, both)
    assert float(weight.sum()) == pytest.approx(1)
    assert float(weight[0, 0]) < float(weight.max()), "the tag itself is no reasoning"
    assert torch.equal(own.token_weights(ids, mask, {}), mask.float())
    assert float(own.token_weights(ids[:, :4], mask[:, :4], {"mask_cut": True}).abs().sum()) == 0
    rewards = torch.zeros(2, 4)
    assert own.utility([{"utility": 0.5}, {}], rewards).tolist() == [0.5, 1.0]


@pytest.mark.sheet("the trainer refuses RL prompts whose names occur in the evaluation list and reports the number")
def test_evaluated_clips_are_refused_and_counted(tmp_path: Path) -> None:
    import pyarrow as pa

    class Rows:
        table = pa.table({"id": ["a", "b", "c", "d"], "labels:openset": [["happy"], ["sad"], ["neutral"], None]})

        def column(self, name: str) -> list[Any]:
            return self.table[name].to_pylist()

        def __len__(self) -> int:
            return 4

    listed = tmp_path / "test.csv"
    listed.write_text("name,openset\nb,['sad']\n", encoding="utf-8")
    own = tiny(evaluated=str(listed))
    kept = own.targets(Rows(), "labels:openset")["record"]  # type: ignore[arg-type]
    assert [record and record["name"] for record in kept] == ["a", None, None, None]
    assert own.tally["left out: is in the evaluation list"] == 1
    assert own.tally["left out: has no word that a wheel knows"] == 1
    with pytest.raises(ConfigError, match="is no file"):
        tiny(evaluated=str(tmp_path / "nowhere.txt")).targets(Rows(), "labels:openset")  # type: ignore[arg-type]


def _fit(own: Reinforced, phase: Phase, steps: int, batch: Any) -> None:
    own.enter(phase)
    optimizer = torch.optim.AdamW([p for p in own.parameters() if p.requires_grad], phase.lr, weight_decay=0.0)
    for _ in range(steps):
        own.train()
        optimizer.zero_grad()
        changed = own.augment(batch, phase.options)
        sum(own.losses(changed, own(changed), phase.options).values()).backward()  # type: ignore[union-attr]
        optimizer.step()


@pytest.mark.learning
@pytest.mark.slow
def test_a_language_model_learns_by_reward_beyond_its_cold_start() -> None:
    """Cold start on every word for every clip equally often: the form without the content. The reward adds it."""
    own = tiny()
    batch = own.example(4)
    words = ["calm", "happy", "surprised", "sad"]
    cold = [{**r, "openset": [words[(i + shift) % 4]]} for shift in range(4) for i, r in enumerate(batch["record"])]
    learn = {k: v.repeat(4, 1, 1) if torch.is_tensor(v) else v * 4 for k, v in batch.items()} | {"record": cold}
    _fit(own, Phase("cold_start", 1, 1e-2, 16), 40, learn)
    options = {"group": 16, "beta": 0.05, "longest": 14, "rewards": {"ew": 1.0, "format": 0.5}}
    _fit(own, Phase("rl", 1, 4e-3, 4, options=options), 60, batch)
    drawn, cut = own.watched["reward"], own.watched["cut"]
    before, after = sum(drawn[:4]) / 4, sum(drawn[-4:]) / 4
    # More than form can give: half of the draws have it from the start.
    assert after > before + 0.35, f"{before:.2f} before, {after:.2f} after"
    assert max(cut[-4:]) < 0.2, "form and divergence keep the answers short"


def test_stages() -> None:
    assert ColdStart.select == "-loss"
    assert Reinforced.select == "reward"
    (phase,) = tiny().phases()
    assert (phase.options["group"], phase.options["beta"], phase.lr) == (8, 0.04, 2e-6)
