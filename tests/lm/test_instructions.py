from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from affectus.errors import ConfigError
from affectus.lm.instructions import KINDS, Mixer, build_instruction, possible_kinds, without_leaks

RECORD: dict[str, Any] = {
    "name": "clip1", "reason": "He frowns, so he is angry.", "openset": "['Angry', 'let down']", "label": "angry",
    "labels": ["angry", "sad"], "valence": -0.5, "low": -1, "high": 1, "first": "one", "second": "two",
    "preferred": "a2", "subtitle": "No {way}!",
}  # fmt: skip
SLOTS = {"audio": "<AudioHere>"}


@pytest.mark.parametrize(
    ("kind", "answer", "asked"),
    [
        ("description", "He frowns, so he is angry.", "Name the clues"),
        ("ovlabel", "<answer>angry, let down</answer>", "Give only the words"),
        ("ovlabel_think", "<think>He frowns, so he is angry.</think><answer>angry, let down</answer>", "First reason"),
        ("onehot", "angry", "angry, sad?"),
        ("valence", "-0.50", "from -1 (most negative) to 1"),
        ("sentiment", "negative", "positive, negative or neutral"),
        ("preference", "a2", "a1: one\na2: two"),
    ],
)
def test_every_kind(kind: str, answer: str, asked: str) -> None:
    found = build_instruction(RECORD, kind, SLOTS)
    text = found.messages[-1]["content"]
    assert found.answer == answer
    assert asked in text
    assert "<AudioHere>" in text
    assert "There is no video." in text
    assert "<Subtitle>No {way}!</Subtitle>" in text
    assert found.prompt["name"] == KINDS[kind].prompt


def test_records_say_what_they_can_be_used_for() -> None:
    assert possible_kinds({"openset": "[]", "reason": "", "valence": float("nan"), "label": None}) == []
    assert possible_kinds({"openset": ["sad"], "valence": 0}) == ["ovlabel", "valence", "sentiment"]
    with pytest.raises(ConfigError, match="record x: lacks reason"):
        build_instruction({"name": "x"}, "description")
    with pytest.raises(ConfigError, match="no such kind"):
        build_instruction(RECORD, "riddle")


def test_mixing_follows_the_shares_and_the_seed() -> None:
    records = [{"name": str(i), "reason": "r", "openset": ["sad"]} for i in range(3000)] + [{"name": "empty"}]
    mixer = Mixer(records, {"description": 3, "ovlabel": 1}, seed=5)
    assert (len(mixer), mixer.skipped) == (3000, 1)
    counts = mixer.counts()
    assert abs(counts["description"] / 3000 - 0.75) < 0.03
    kinds = [item.kind for item in mixer.epoch()]
    assert Counter(kinds) == counts
    assert [mixer.kind(i) for i in reversed(range(3000))] == kinds[::-1]
    assert Mixer(records, {"description": 3, "ovlabel": 1}, seed=5).counts() == counts
    assert [mixer.kind(i, 1) for i in range(100)] != kinds[:100]
    assert [Mixer(records, mixer.shares, seed=6).kind(i) for i in range(100)] != kinds[:100]


def test_a_record_draws_among_what_it_has() -> None:
    mixer = Mixer([{"name": "a", "reason": "r"}, {"name": "b", "openset": ["sad"]}], {"description": 1, "ovlabel": 9})
    assert [item.kind for item in mixer.epoch()] == ["description", "ovlabel"]
    for shares, said in [({"riddle": 1}, "unknown kinds"), ({}, "needs shares"), ({"onehot": -1.0}, "needs shares")]:
        with pytest.raises(ConfigError, match=said):
            Mixer([], shares)


@pytest.mark.sheet(
    "Stage switch: the trainer refuses RL prompts whose names occur in the evaluation list and reports them"
)
def test_evaluated_names_are_dropped_and_told() -> None:
    kept, dropped = without_leaks([{"name": "a"}, {"name": "b"}, {"name": "c"}], ["b", "z"])
    assert [r["name"] for r in kept] == ["a", "c"]
    assert dropped == ["b"]
