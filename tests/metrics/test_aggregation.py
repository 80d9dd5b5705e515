"""Means over sub-tasks, pooled means and scores per group; the room's front door."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import affectus.metrics as room
from affectus.metrics import aggregation as a
from affectus.metrics import mae, pcc

# Released accuracies of EmoCaliber and the sizes of its test sets.
EMOCALIBER = {
    "ID VER": {"FI-8": (69.70, 1000), "EmoSet-8": (68.10, 1000), "WebEmo-7": (54.00, 1000), "WebEmo-25": (28.28, 997)},
    "ID VSA": {"FI-2": (88.10, 1000), "WebEmo-2": (75.80, 1000)},
    "OOD VER": {"Abstract-8": (29.26, 229), "Artphoto-8": (41.94, 806), "UnbiasedEmo-6": (79.90, 1000)},
}


@pytest.mark.parametrize(
    ("group", "macro", "pooled"), [("ID VER", 55.02, 55.04), ("ID VSA", 81.95, 81.95), ("OOD VER", 50.37, 59.17)]
)
def test_emocaliber_groups(group: str, macro: float, pooled: float) -> None:
    scores, sizes = zip(*EMOCALIBER[group].values(), strict=True)
    assert a.nested_mean(scores) == pytest.approx(macro, abs=0.006)
    assert a.pooled_mean(scores, sizes) == pytest.approx(pooled, abs=0.006)


def test_emocaliber_totals() -> None:
    tree = {group: {task: score for task, (score, _) in tasks.items()} for group, tasks in EMOCALIBER.items()}
    assert a.nested_mean(tree) == pytest.approx((55.02 + 81.95 + 50.37) / 3, abs=0.01)
    rows = [pair for tasks in EMOCALIBER.values() for pair in tasks.values()]
    assert a.pooled_mean(*zip(*rows, strict=True)) == pytest.approx(62.79, abs=0.006)


def test_weighted_table_of_three_kinds_of_tasks() -> None:
    assert a.nested_mean([[60, 50, 40], 30, [70, 50]]) == pytest.approx(46.67, abs=0.005)


def test_mean_of_nine_sets() -> None:
    assert a.nested_mean([78.54, 78.80, 55.65, 60.54, 81.30, 80.90, 88.49, 86.18, 62.52]) == pytest.approx(
        74.769, abs=5e-4
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 9))
def test_means_stay_within_their_scores(scores: list[float], size: int) -> None:
    for value in (
        a.nested_mean(scores),
        a.nested_mean([scores, scores[::-1]]),
        a.pooled_mean(scores, [size] * len(scores)),
    ):
        assert min(scores) - 1e-12 <= value <= max(scores) + 1e-12
        assert value == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("tree", [[], {"a": []}, [1.0, float("nan")], "ab"])
def test_bad_trees(tree: object) -> None:
    with pytest.raises(ValueError, match="score"):
        a.nested_mean(tree)  # type: ignore[arg-type]


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="sizes"):
        a.pooled_mean([1, 2], [0, 0])
    with pytest.raises(ValueError, match="rows"):
        a.pooled_mean([1, 2], [1])


def test_scores_per_film_are_not_the_score_of_all_films() -> None:
    truth = np.r_[np.arange(10.0), np.arange(10.0) + 100]
    prediction = np.r_[-np.arange(10.0), -np.arange(10.0) + 100]
    names, values = a.by_group(pcc, truth, prediction, ["one"] * 10 + ["two"] * 10)
    assert names == ["one", "two"]
    assert values == pytest.approx([-1, -1])
    assert pcc(truth, prediction) > 0.9


def test_an_error_names_the_group() -> None:
    with pytest.raises(ValueError, match="group 'two': prediction holds 1 values that are NaN"):
        a.by_group(mae, [1.0, 2.0], [1.0, np.nan], ["one", "two"])


def test_every_public_name_exists_and_is_documented() -> None:
    for name in room.__all__:
        assert getattr(room, name).__doc__, name
    assert set(room.__all__) <= set(dir(room))
    with pytest.raises(AttributeError, match="no attribute 'vibes'"):
        _ = room.vibes


def test_the_room_needs_numpy_only() -> None:
    code = (
        "import sys, affectus.metrics as m; [getattr(m, n) for n in m.__all__];"
        "print([n for n in ('scipy', 'sklearn', 'pandas', 'torch', 'polars', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
