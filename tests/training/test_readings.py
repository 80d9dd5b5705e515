"""Readings of conversations: what is learnt from synthetic dialogues, and cards that load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus.corpora.splits import group_folds
from affectus.metrics import auc
from affectus.models.common_space import LABELS
from affectus.models.dialogue import ContextReading, GapHints, context_features
from affectus.training.readings import context_run, gap_run
from affectus.training.readings.context_run import CANDIDATES, Linear, Talk, choose, fit, shift_bound, shift_scores
from affectus.training.recipe import read_recipe
from affectus.types import Card

RECIPES = Path(__file__).parents[2] / "recipes"


def synthetic(dialogues: int, inertia: float, seed: int = 0) -> Talk:
    """Two speakers take turns; with `inertia` a speaker keeps the emotion of the turn before."""
    random = np.random.default_rng(seed)
    truth, outputs, features, before = [], [], {name: [] for name in CANDIDATES}, []
    for number in range(dialogues):
        last = random.integers(0, 7, 2)
        said = np.full((10, 31), 0.1)
        for turn in range(10):
            who = turn % 2
            if random.random() > inertia:
                last[who] = random.integers(0, 7)
            truth.append(last[who])
            said[turn, last[who]] = random.choice([0.9, 0.1])  # half of the turns show nothing
        outputs.append(said)
        for name, parts in CANDIDATES.items():
            features[name].append(context_features(said, ["a", "b"] * 5, parts))
        before += [-1, -1, *(np.arange(8) + 10 * number)]
    table = {name: np.concatenate(parts) for name, parts in features.items()}
    dialogue = np.repeat(np.arange(dialogues), 10)
    return Talk(np.array(truth), dialogue, np.array(before), np.concatenate(outputs), table)


def folds_of(talk: Talk) -> list[np.ndarray]:
    import pyarrow as pa

    return group_folds(pa.table({"group:dialogue": talk.dialogue}), "group:dialogue", 3, 0)


def test_a_context_is_taken_where_it_helps_and_only_there() -> None:
    sticky = synthetic(60, inertia=0.9)
    name, held_out, record = choose(sticky, folds_of(sticky), 0.02)
    assert "own before" in name
    assert record["best_minus_turn_nll"]["high"] < 0
    np.testing.assert_allclose(held_out.sum(1), 1)
    assert choose(synthetic(60, inertia=0.0), folds_of(sticky), 0.02)[0] == "turn"


def test_a_class_that_never_occurs_gets_no_mass() -> None:
    talk = synthetic(20, 0.0)
    kept = talk.truth < 5
    linear = fit(talk.features["turn"][kept], talk.truth[kept], 1.0)
    assert linear(talk.features["turn"])[:, 5:].max() < 1e-9


def test_shifts_are_counted_between_turns_of_one_speaker() -> None:
    talk = synthetic(30, 0.5)
    perfect = np.eye(7)[talk.truth]
    scores = shift_scores(talk, perfect, 0.5)
    assert scores["precision"] == 1.0
    assert scores["recall"] == 1.0
    assert scores["pairs"] == 30 * 8
    assert shift_bound(talk, perfect, 0.75) == min(context_run.BOUNDS)
    assert shift_scores(talk, np.full((300, 7), 1 / 7), 0.1)["marked"] == 0


def test_logistic_regression_finds_what_is_there() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(600, 5))
    truth = (random.random(600) < 1 / (1 + np.exp(-(2 * features[:, 0] - 1)))).astype(np.int64)
    weights = gap_run.fit_logistic(features, truth, 1.0)
    assert weights[0] == pytest.approx(2, abs=0.4)
    assert np.abs(weights[1:5]).max() < 0.4
    assert weights[5] == pytest.approx(-1, abs=0.3)
    heavy = gap_run.fit_logistic(features, truth, 1e6)
    assert np.abs(heavy[:5]).max() < 0.01
    assert 1 / (1 + np.exp(-heavy[5])) == pytest.approx(truth.mean(), abs=0.01)
    folds = np.array_split(np.arange(600), 3)
    assert auc(truth, gap_run.held_out_scores(features, truth, folds, 1.0)) > 0.8


def test_a_gap_has_a_direction() -> None:
    writer, reader = np.array([3.0, 2.0, 3.0]), np.array([2.5, 3.0, 3.0])
    assert gap_run.labels_of(writer, reader, "either", 0.5).tolist() == [1, 1, 0]
    assert gap_run.labels_of(writer, reader, "writer higher", 0.5).tolist() == [1, 0, 0]
    assert gap_run.labels_of(writer, reader, "reader higher", 0.5).tolist() == [0, 1, 0]


def test_gaps_are_learnt_and_scored_out_of_fold() -> None:
    random = np.random.default_rng(1)
    told, noise = random.normal(size=(900, 4)), random.normal(size=(900, 4))
    writer = np.where(told[:, 0] > 1, 4.0, 3.0)
    sides = writer, np.where(random.random(900) < 0.05, 4.0, 3.0)
    folds = [np.arange(k, 900, 3) for k in range(3)]
    kind, direction, penalty, areas = gap_run.compare({"noise": noise, "told": told}, sides, folds, 0.5)
    assert (kind, direction) == ("told", "writer higher")
    assert areas[f"{kind}, {direction}, penalty {penalty:g}"] == max(areas.values())
    truth, developed = gap_run.labels_of(*sides, direction, 0.5), np.arange(900) >= 300
    hinted = gap_run.crossed(told, truth, developed, folds, gap_run.Plan(penalty, 3.0, 0.05))
    found = gap_run.measure(truth, gap_run.held_out_scores(told, truth, folds, penalty), hinted, np.arange(900) // 3)
    assert found["auc"]["low"] > 0.9
    assert found["lift_of_hints"]["low"] > 3
    assert found["lift_of_hints"]["value"] == pytest.approx(
        found["precision_of_hints"]["value"] / found["base_rate"]["value"], abs=1e-3
    )


def test_known_precision_recall_and_lift() -> None:
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    hinted = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0], bool)
    found = gap_run.measure(truth, hinted.astype(float), hinted, np.arange(10))
    assert {name: entry["value"] for name, entry in found.items() if "hint" in name or name == "base_rate"} == {
        "precision_of_hints": 0.66667,
        "recall_of_hints": 0.5,
        "lift_of_hints": 1.66667,
        "base_rate": 0.4,
        "share_hinted": 0.3,
    }


def gaps_by_score(count: int, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaps, and log-odds that must be stretched by `slope` to be true."""
    random = np.random.default_rng(3)
    scores = random.normal(-2, 1, count)
    return (random.random(count) < gap_run.probability(slope * scores)).astype(np.int64), scores


@pytest.mark.parametrize("target", [1.5, 2.0, 3.0])
def test_hints_begin_where_they_are_right_often_enough(target: float) -> None:
    truth, scores = gaps_by_score(20_000, 1.5)
    point = gap_run.operating_point(truth, scores, target, 0.001)
    assert point.slope == pytest.approx(1.5, abs=0.1)
    assert point.expected == pytest.approx(target, abs=0.01)
    assert point.found == pytest.approx(target, rel=0.1)
    # Other sentences of the same kind are right as often from that threshold on.
    other, more = gaps_by_score(20_000, 1.5)[0][10_000:], scores[10_000:]
    hinted = gap_run.probability(point.slope * more + point.bias) >= point.threshold
    assert other[hinted].mean() / truth.mean() == pytest.approx(target, rel=0.15)


def test_a_target_out_of_reach_leaves_the_least_share() -> None:
    truth, scores = gaps_by_score(2000, 0.3)
    point = gap_run.operating_point(truth, scores, 50.0, 0.05)
    assert point.marks == 100
    assert 1 < point.expected < 50
    chances = gap_run.probability(point.slope * scores + point.bias)
    assert (chances >= point.threshold).sum() == 100


def test_scores_that_tell_nothing_give_no_hints() -> None:
    from affectus.errors import CorpusError

    truth, scores = gaps_by_score(2000, 1.0)
    with pytest.raises(CorpusError, match="not more often gaps"):
        gap_run.operating_point(truth, -scores, 3.0, 0.05)


def test_the_rows_of_a_fold_have_no_part_in_its_hints() -> None:
    random = np.random.default_rng(5)
    features = random.normal(size=(600, 3))
    truth = (random.random(600) < gap_run.probability(2 * features[:, 0] - 2)).astype(np.int64)
    folds = [np.arange(k, 600, 3) for k in range(3)]
    plan, everywhere = gap_run.Plan(10.0, 2.0, 0.05), np.ones(600, bool)
    hinted = gap_run.crossed(features, truth, everywhere, folds, plan)
    turned = truth.copy()
    turned[folds[1]] = random.permutation(turned[folds[1]])
    again = gap_run.crossed(features, turned, everywhere, folds, plan)
    np.testing.assert_array_equal(hinted[folds[1]], again[folds[1]])
    assert (hinted[folds[0]] != again[folds[0]]).any()


def test_the_whole_gap_run_writes_hints_that_load(
    tmp_path: Path, fake_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectus.training.run import train

    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    root = emobank(tmp_path / "emobank")
    monkeypatch.setattr(gap_run, "PENALTIES", (10.0,))
    card = train(RECIPES / "gap/emobank.yaml", {"emobank": root}, tmp_path / "out")
    assert isinstance(card, Card)
    hints = GapHints.load(tmp_path / "out/model")
    assert card.inputs["direction"] == "writer higher"
    assert card.n == 120
    assert card.baselines["hinted_right"] <= card.baselines["hinted"] <= 120
    assert card.metrics["lift_of_hints"]["value"] > 1.5
    assert hints.how_often.startswith("About 1 in ")
    from affectus import models

    words = models.load("words")
    sad, plain = hints.score(words.outputs(["so sad", "the table"]))  # type: ignore[union-attr]
    assert sad > 3 * plain


def emobank(root: Path) -> Path:
    """A corpus in EmoBank's layout whose sad sentences were often meant more kindly than they read."""
    import csv

    random = np.random.default_rng(0)
    files = {name: [] for name in ("emobank", "writer", "reader")}
    for i in range(480):
        text = random.choice(["so sad today", "I am furious", "the table stands", "a chair and a table"])
        hurt = "sad" in text or "furious" in text
        more = 0.8 if random.random() < (0.4 if hurt else 0.04) else 0.0
        less = 0.8 if random.random() < 0.15 else 0.0
        row = {"id": f"110CYL{i // 4:03d}_{i}_{i + 9}", "V": 3.0, "A": 3.0, "D": 3.0, "text": text}
        files["emobank"].append(row | {"split": "dev" if i % 4 == 0 else "train"})
        files["writer"].append(row | {"V": 3.0 + more - less, "N": 5, "stdV": 1, "stdA": 1, "stdD": 1})
        files["reader"].append(row | {"N": 5, "stdV": 1, "stdA": 1, "stdD": 1})
    root.mkdir()
    for name, rows in files.items():
        with (root / f"{name}.csv").open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return root


def test_a_corpus_without_gaps_is_refused(tmp_path: Path) -> None:
    from affectus import corpora
    from affectus.errors import CorpusError

    root = corpora.write_tiny("emobank", tmp_path / "emobank")
    with pytest.raises(CorpusError, match="fewer than 10 sentences have a gap"):
        gap_run.run(read_recipe(RECIPES / "gap/emobank.yaml"), {"emobank": root}, tmp_path / "out")


def test_the_whole_context_run_writes_a_card_that_loads(
    tmp_path: Path, fake_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectus import corpora
    from affectus.training.run import train

    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    roots = {name: corpora.write_tiny(name, tmp_path / name) for name in ("meld", "emocontext")}
    monkeypatch.setattr(context_run, "FOLDS", 2)
    card = train(RECIPES / "context/meld.yaml", roots, tmp_path / "out")
    assert isinstance(card, Card)
    reading = ContextReading.load(tmp_path / "out/model")
    assert reading.card == card
    assert reading.weights.shape == (len(reading.mean), 7)
    assert card.n == 6
    assert card.baselines["chats"]["n"] == 4


@pytest.mark.parametrize("name", ["context/meld", "gap/emobank"])
def test_recipes_are_complete(name: str) -> None:
    from affectus.training.embedded.shipping import card_fields
    from affectus.training.run import READINGS

    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert set(recipe.corpora) == READINGS[recipe.model]
    card = Card(**card_fields(recipe, labels=LABELS))
    assert card.limits
    assert card.split
    assert card.selection
    assert {entry["name"] for entry in card.data} == set(recipe.corpora)


def test_a_card_without_its_numbers_is_refused(tmp_path: Path) -> None:
    from affectus.errors import ModelError

    wrong: dict[str, Any] = {"parts": ["turn"], "shift": 0.2, "mean": [0.0], "scale": [1.0, 1.0], "weights": [[0.0]]}
    for name, kind in (("context", ContextReading), ("gap", GapHints)):
        card = Card(name, "", "", "words", "", "expressed", "ekman7", LABELS, inputs=wrong)
        card.write(tmp_path / "card.json")
        with pytest.raises(ModelError, match=f"{name}: its card lacks a number"):
            kind.load(tmp_path)
        (tmp_path / "card.json").write_text("{}")
        with pytest.raises(ModelError, match="no model card"):
            kind.load(tmp_path)


@pytest.mark.parametrize("change", [{"features": "nothing"}, {"features": "outputs"}, {"weights": [0.0]}])
def test_hints_whose_numbers_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    from affectus.errors import ModelError

    nine = [1.0] * 9
    right = {"features": "affect", "mean": nine, "scale": nine, "weights": nine, "bias": 0.0, "threshold": 0.5}
    for inputs in (right, right | change):
        Card("gap", "", "", "words", "", "evoked", "", ("no gap", "gap"), inputs=inputs).write(tmp_path / "card.json")
        if inputs is right:
            assert GapHints.load(tmp_path).score(np.zeros((2, 31))).shape == (2,)
            continue
        with pytest.raises(ModelError, match="gap: its card lacks a number"):
            GapHints.load(tmp_path)


def test_a_linear_reading_of_a_card_is_that_of_the_run(tmp_path: Path) -> None:
    talk = synthetic(10, 0.5)
    linear = fit(talk.features["turn, before"], talk.truth, 1.0)
    numbers = {key: getattr(linear, key).tolist() for key in ("mean", "scale", "weights", "bias")}
    inputs = {"parts": list(CANDIDATES["turn, before"]), "shift": 0.2, **numbers}
    Card("context", "", "", "words", "", "expressed", "ekman7", LABELS, inputs=inputs).write(tmp_path / "card.json")
    reading = ContextReading.load(tmp_path)
    found = reading.posterior(talk.outputs[:10], ["a", "b"] * 5)
    np.testing.assert_allclose(found, linear(talk.features["turn, before"][:10]))
    # Without a turn before, both ways of reading are the same.
    np.testing.assert_allclose(reading.alone(talk.outputs[:1]), found[:1])
    assert isinstance(linear, Linear)
