"""Buckets of a curriculum and the difficulty of conversations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.corpora.difficulty import dialogue_difficulty
from affectus.errors import ConfigError, CorpusError
from affectus.systems.base import Batch
from affectus.training.curriculum import bucket_rows, curriculum_part
from affectus.training.system_task import BatchItems


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 5))
def test_buckets_nest_and_rise(values: list[float], of: int) -> None:
    difficulty = np.array(values)
    parts = [set(bucket_rows(difficulty, i, of).tolist()) for i in range(1, of + 1)]
    assert len(parts[-1]) == len(values)
    for smaller, larger in pairwise(parts):
        assert smaller <= larger
        new = larger - smaller
        if smaller and new:
            assert max(difficulty[list(smaller)]) <= min(difficulty[list(new)])
    sizes = [len(part) for part in parts]
    assert all(abs(size - len(values) * i / of) < 1 for i, size in enumerate(sizes, 1))


def test_chance_takes_as_many_but_others() -> None:
    batch: Batch = {"label": np.arange(40), "difficulty": np.arange(40) / 40}
    by = {
        way: curriculum_part(BatchItems(batch), {"bucket": 1, "of": 2, "by": way}) for way in ("difficulty", "chance")
    }
    rows = {way: [int(part[i]["label"]) for i in range(len(part))] for way, part in by.items()}  # type: ignore
    assert rows["difficulty"] == list(range(20))
    assert len(rows["chance"]) == 20
    assert rows["chance"] != rows["difficulty"]
    assert curriculum_part(BatchItems(batch), None).batch is batch  # type: ignore[attr-defined]


def test_unknown_difficulty_is_named() -> None:
    batch: Batch = {"label": np.arange(3), "difficulty": np.array([0.1, np.nan, 0.2])}
    with pytest.raises(ConfigError, match="1 items have no difficulty"):
        curriculum_part(BatchItems(batch), {"bucket": 1, "of": 2})


@given(st.lists(st.tuples(st.sampled_from(["joy", "anger", "neutral", "sadness"]), st.sampled_from("AB")), min_size=1,
                max_size=12))  # fmt: skip
def test_difficulty_equals_its_definition(talk: list[tuple[str, str]]) -> None:
    """Written out from the formula: opposite valences 0, neutral 1/7, else the cosine of the angles."""
    angles = {"joy": 27, "anger": 99, "sadness": 261}

    def weight(a: str, b: str) -> float:
        if "neutral" in (a, b):
            return 1 / 7 + 0.4
        x, y = np.cos(np.deg2rad(angles[a])), np.cos(np.deg2rad(angles[b]))
        return max(np.cos(np.deg2rad(angles[a] - angles[b])), 0) * (x * y > 0) + 0.4

    total = 0.0
    for speaker in "AB":
        own = [emotion for emotion, name in talk if name == speaker]
        total += sum(weight(a, b) for a, b in pairwise(own) if a != b)
    total += sum(weight(a, b) for (a, p), (b, q) in pairwise(talk) if p != q and a != b)
    people = len({name for _, name in talk})
    found = dialogue_difficulty([emotion for emotion, _ in talk], [name for _, name in talk], "meld7")
    assert found == pytest.approx((total + people) / (len(talk) + people))


def test_an_empty_conversation_is_named() -> None:
    with pytest.raises(CorpusError, match="0 labels"):
        dialogue_difficulty([], [], "meld7")
