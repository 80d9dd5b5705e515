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
    features = random.normal(size=(900, 4))
    writer = np.where(features[:, 0] > 1, 4.0, 3.0)
    sides = writer, np.where(random.random(900) < 0.05, 4.0, 3.0)
    learnt = np.arange(900) < 700
    folds = [np.arange(k, 900, 3) for k in range(3)]
    direction, penalty, scores, areas = gap_run.compare(features, sides, learnt, folds, 0.5)
    assert direction == "writer higher"
    assert areas[f"{direction}, penalty {penalty:g}"] == max(areas.values())
    truth = gap_run.labels_of(*sides, direction, 0.5)
    documents = np.arange(900) // 3
    found = gap_run.measure(truth[700:], scores[700:], scores[700:] > np.quantile(scores, 0.9), documents[700:])
    assert found["auc"]["low"] > 0.9
    assert found["precision_of_hints"]["value"] > 3 * found["base_rate"]["value"]


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
