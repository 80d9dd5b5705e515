from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.labels import wheels
from affectus.labels.wheels import WheelTables
from affectus.lm import rewards
from affectus.lm.judge import Judge, LocalClient, read_preference
from affectus.lm.prompts import load_prompt
from affectus.metrics import wheel_reward


def answer(words: str, think: str | None = None) -> str:
    return (f"<think>{think}</think>" if think is not None else "") + f"<answer>{words}</answer>"


@pytest.fixture(scope="module")
def published(shared_data: Any) -> WheelTables:
    """The published wheel tables; the value below is the same with those of 2025 and of 2026."""
    return wheels.load(shared_data / "emotion_wheels")


@pytest.mark.sheet("Reward unit values: answer [happy, excited] vs truth [joyful, surprised] -> mean .7")
def test_ew_reward_of_the_sheet(published: WheelTables) -> None:
    values = rewards.ew_reward([answer("happy, excited", "x")], [["joyful", "surprised"]], published)
    assert values[0] == pytest.approx(0.7, abs=1e-4)


def test_ew_reward_is_the_metric_function() -> None:
    texts = [answer("Happy, excited"), "angry and sad", "<answer>nonsense", "[]"]
    truth = [["joyful"], "['angry']", ["sad"], ["calm"]]
    direct = wheel_reward([["joyful"], ["angry"], ["sad"], ["calm"]], [["happy", "excited"], ["angry", "sad"], [], []])
    assert rewards.ew_reward(texts, truth) == pytest.approx(direct.tolist())
    chat = [[{"role": "assistant", "content": text}] for text in texts]
    assert rewards.ew_reward(chat, truth) == rewards.ew_reward(texts, truth)


def test_prompts_without_a_known_truth_are_told_and_give_nothing() -> None:
    assert rewards.ew_reward([answer("happy")], [["neutral"]]) == [0.0]
    assert not rewards.scorable(["neutral"])
    assert not rewards.scorable([])
    assert rewards.scorable("['happy', 'neutral']")


@pytest.mark.sheet(
    "Format reward: 1 for the exact template, 0 for missing close tag, text after, two blocks, wrong order"
)
def test_format_reward() -> None:
    texts = [
        "<think>\na\n</think>\n<answer>b</answer>", "<think>a</think><answer>b", "<think>a</think><answer>b</answer>.",
        "<think>a</think><answer>b</answer><answer>b</answer>", "<answer>b</answer><think>a</think>",
        "<answer>b</answer>",
    ]  # fmt: skip
    assert rewards.format_reward(texts) == [1, 0, 0, 0, 0, 0]
    assert rewards.format_reward(texts, think=False) == [0, 0, 0, 0, 0, 1]
    assert rewards.format_reward(texts[-1:] * 2, think=[True, False]) == [0, 1]


def test_alignment_and_dual_look_at_the_reasoning() -> None:
    agree = answer("angry", "He frowns, he is angry.")
    differ = answer("happy", "He frowns, he is angry.")
    assert rewards.alignment_reward([agree, differ, answer("angry")]) == [1.0, 0.0, 0.0]
    assert rewards.dual_reward([agree, differ, answer("angry")], [["angry"]] * 3) == [1.0, 1.0, 0.0]


@pytest.mark.sheet("(a) linear: -lambda*max(0, n-n_max); (b) ratio: min(1, (m+2)/n); (c) -lambda*clip((n-m)/m, 0, 1)")
def test_length_penalties() -> None:
    ten = ", ".join(list(wheels.load().forms)[:10])
    three = "happy, calm, proud"
    assert rewards.linear_length_penalty()([answer(ten), answer(three), ""]) == pytest.approx([-0.2, 0, 0])
    truth = [["happy", "calm"], ["happy", "calm"]]
    plain = rewards.ew_reward([answer(ten), answer(three)], truth)
    ratio = rewards.ratio_length_reward()([answer(ten), answer(three)], truth)
    assert ratio == pytest.approx([plain[0] * 0.4, plain[1]])
    assert rewards.soft_length_penalty()([answer(ten), answer(three)], truth) == pytest.approx([-0.1, -0.05])


@pytest.mark.sheet("Hacking: recall-only reward drives n to the maximum; EWF + penalty keeps n within 2 of the truth")
def test_long_lists_pay_under_recall_and_not_under_f1_with_penalty() -> None:
    words = ["happy", "angry", "sad", "scared", "disgusted", "surprised", "calm", "proud", "lonely", "hopeful", "bored"]
    truth = [["happy", "calm"]] * len(words)
    lists = [
        answer(", ".join([*words[:1], *words[6:7], *words[1:6], *words[7:]][:n])) for n in range(1, len(words) + 1)
    ]
    recall = rewards.recall_reward(lists, truth)
    guarded = rewards.total({rewards.ew_reward: 1.0, rewards.linear_length_penalty(0.1, 4): 1.0})(lists, openset=truth)
    assert recall == sorted(recall)
    assert recall[-1] == 1.0
    assert abs(int(np.argmax(guarded)) + 1 - 2) <= 2


@pytest.mark.sheet(
    "AU reward: pred {1,4}, gold {1,4,15}: F1 .8 -> code .6; pred {} -> 0 / -1; gold {} -> 0; case; think only"
)
def test_units_reward() -> None:
    texts = [
        answer("sad", "(AU1) and au4"),
        answer("sad", "none"),
        answer("sad", "AU1"),
        "AU1 AU4 AU15 " + answer("x", ""),
    ]
    gold = [["AU1", "AU4", "au15"], ["AU1"], [], ["AU1"]]
    assert rewards.units_reward()(texts, units=gold) == pytest.approx([0.8, 0, 0, 0])
    assert rewards.units_reward(published=True)(texts, units=gold) == pytest.approx([0.6, -1, 0, -1])


def calibrated(label: str, confidence: str, drop: str = "") -> str:
    inner = "".join(f"<{n}>x</{n}>" for n in ("element", "human", "context", "interaction", "analysis") if n != drop)
    return f"<think>{inner}</think><answer>{label}</answer><confidence>{confidence}</confidence>"


@pytest.mark.sheet(
    "(i=1,c=0.8) 1.5537; (0,0.2) 0.5537; (0,0.8) -2.2189; (1,0.5) 0.6137; (0,0.99) -8.2103; malformed -5"
)
def test_log_score_reward() -> None:
    texts = [
        calibrated("Awe.", "0.8"), calibrated("joy", "0.2"), calibrated("joy", "0.8"), calibrated("awe", "0.5"),
        calibrated("joy", "0.99"), calibrated("awe", "0.8", drop="human"), calibrated("awe", "1.0"),
        calibrated("awe", "?"),
    ]  # fmt: skip
    values = rewards.log_score_reward()(texts, label=["awe"] * 8)
    assert values == pytest.approx([1.5537, 0.5537, -2.2189, 0.6137, -8.2103, -5, -5, -5], abs=1e-4)
    clipped = rewards.log_score_reward(limits=(0.01, 0.95))(texts[4:5], label=["awe"])
    assert clipped[0] > -5


@given(st.integers(1, 9))
def test_the_log_score_is_proper(tenth: int) -> None:
    chance, grid = tenth / 10, [i / 20 for i in range(1, 20)]
    right = rewards.log_score_reward()([calibrated("awe", str(c)) for c in grid], label=["awe"] * 19)
    wrong = rewards.log_score_reward()([calibrated("joy", str(c)) for c in grid], label=["awe"] * 19)
    expected = [chance * r + (1 - chance) * w for r, w in zip(right, wrong, strict=True)]
    assert math.isclose(grid[int(np.argmax(expected))], chance)


def test_label_reward() -> None:
    texts = [answer("Happy.", "x"), "happy", answer("sad"), "<answer>happy</answer><answer>sad</answer>"]
    assert rewards.label_reward(texts, ["happy"] * 4) == [1, 1, 0, 0]


def test_perception_reward_cancels_a_biased_judge() -> None:
    prompt = load_prompt("judge/preference")
    judge = Judge(LocalClient("biased", lambda _: "a1"), prompt, read_preference)
    assert rewards.perception_reward(judge)(["x", "y"], reference=["z", "z"]) == [0.5, 0.5]
    assert judge.counts.contradictions == 2
    mute = Judge(LocalClient("mute", lambda _: "?"), prompt, read_preference)
    assert rewards.perception_reward(mute)(["x"], reference=["z"], evidence=["he smiles"]) == [0.5]


@pytest.mark.sheet("Reward router: each record type gets its rule")
def test_router() -> None:
    routed = rewards.route(
        {"ovlabel": {rewards.ew_reward: 1.0, rewards.format_reward: 0.1}, "onehot": {rewards.label_reward: 2.0}}
    )
    texts = [answer("happy", "x"), "sad", answer("angry", "y")]
    columns = {"openset": [["happy"], None, ["happy"]], "label": [None, "sad", None]}
    assert routed(texts, kind=["ovlabel", "onehot", "ovlabel"], **columns) == pytest.approx([1.1, 2.0, 0.1])
    with pytest.raises(ConfigError, match="no rewards for riddle"):
        routed(texts[:1], kind=["riddle"])
    with pytest.raises(ConfigError, match="column kind is missing"):
        routed(texts)
    assert routed.__name__ == "routed"
    assert rewards.weighted({"ew": 2.0, "length_linear": 1.0})([answer("happy")], openset=[["joyful"]]) == [2.0]
    with pytest.raises(ConfigError, match="unknown: nothing"):
        rewards.weighted({"onehot": {"nothing": 1.0}})


@given(st.lists(st.sampled_from(["happy", "sad", "angry", "blob", "calm"]), max_size=6))
def test_order_case_and_repetition_never_matter(words: list[str]) -> None:
    one = rewards.ew_reward([answer(", ".join(words))], [["happy", "sad"]])
    two = rewards.ew_reward([answer(", ".join(w.upper() for w in reversed(words + words)))], [["happy", "sad"]])
    assert one == pytest.approx(two)
    assert 0 <= one[0] <= 1
