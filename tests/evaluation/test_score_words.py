"""Scoring of emotion words and sentiments: published files reproduce, examples of known result."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from affectus import evaluation
from affectus.errors import ConfigError
from affectus.metrics import sentiment_f1

from .conftest import Write, value

# Published WAF x 100 of the epochs 30 to 60.
WAF = {
    "mosi": (81.2124, 78.483, 81.3014, 80.7404, 79.8483, 79.5341, 78.304),
    "mosei": (80.8999, 80.7237, 78.7857, 79.7393, 79.2058, 78.9077, 78.5076),
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["mosi", "mosei"])
def test_published_sentiments_of_affectgpt_reproduce(shared_data: Path, name: str) -> None:
    root = shared_data / "open_vocabulary"
    files = sorted((root / "affectgpt_outputs" / f"cmu{name}").glob("*-sentiment.npz"))
    labels = root / "labels" / f"cmu{name}_label.npz"
    scores = [evaluation.score(f"mer-unibench/{name}", file, labels, "published") for file in files]
    assert [100 * value(record, "weighted_f1") for record in scores] == pytest.approx(WAF[name], abs=1e-3)
    assert scores[0]["n"] == {"mosi": 656, "mosei": 3634}[name]


@pytest.mark.corpus
def test_the_table_value_is_the_best_epoch_and_strict_takes_the_last(shared_data: Path) -> None:
    root = shared_data / "open_vocabulary"
    folder, labels = root / "affectgpt_outputs" / "cmumosi", root / "labels" / "cmumosi_label.npz"
    published = evaluation.score("mer-unibench/mosi", folder, labels, "published")
    printed = next(r for r in published["published"] if r["system"] == "AffectGPT")
    assert round(100 * value(published, "weighted_f1"), 2) == printed["value"] == 81.30
    assert "best of 7 checkpoints on the test set" in published["selection"]
    strict = evaluation.score("mer-unibench/mosi", folder, labels, "strict")
    assert strict["model"].startswith("checkpoint_000060")
    assert "published" not in strict
    assert value(strict, "weighted_f1") < value(published, "weighted_f1")


@pytest.mark.corpus
def test_mer2024_open_set_pair_gives_the_score_of_the_sheet(shared_data: Path) -> None:
    pytest.importorskip("openpyxl")
    root = shared_data / "open_vocabulary" / "mer2024"
    record = evaluation.score("mer2024/openset", root / "predict-openset.csv", root / "check-openset.csv", "published")
    assert record["tables"]["wheels"] == "mer2026"
    expected = {"f1": 0.5546078, "precision": 0.56052395, "recall": 0.54918725}
    expected |= {"f1_level2": 0.4245826, "precision_level2": 0.44802633, "recall_level2": 0.40476384}
    for metric, number in expected.items():
        assert value(record, metric) == pytest.approx(number, abs=1e-7)
    assert [part["n"] for part in record["parts"].values()] == [327, 328, 324, 327, 316]


@pytest.mark.corpus
def test_a_suite_finds_its_sets_and_says_which_are_missing(shared_data: Path) -> None:
    root = shared_data / "open_vocabulary"
    record = evaluation.score("mer-unibench", root / "affectgpt_outputs", root / "labels", "published")
    assert set(record["parts"]) == {"mer-unibench/mosi", "mer-unibench/mosei"}
    assert value(record, "mean_of_2") == pytest.approx((0.813014 + 0.808999) / 2, abs=1e-6)
    assert "published" not in record  # a mean of two sets is not the mean of nine


def test_sentiment_example_of_the_sheet_and_its_strict_reading(write: Write) -> None:
    truth = write("label.json", {f"c{i}": {"emo": 0, "val": v} for i, v in enumerate((1.2, -0.6, 0, 2.0, -1.0, 0.4))})
    words = ("positive", "negative", "positive", "neutral", "negative", "positive")
    guess = write("sentiment.json", {f"c{i}": word for i, word in enumerate(words)})
    published = evaluation.score("mer-unibench/sims", guess, truth, "published")
    assert value(published, "weighted_f1") == pytest.approx(0.8)
    assert value(published, "accuracy") == pytest.approx(0.8)
    assert (published["n"], published["left_out"]) == (5, {"true score 0": 1})
    strict = evaluation.score("mer-unibench/sims", guess, truth, "strict")
    assert value(strict, "weighted_f1") == pytest.approx((2 * 1 + 3 * 0.8) / 5)  # the neutral answer helps no class


def test_sentiment_agrees_with_the_metric_of_the_metrics_room(write: Write) -> None:
    random = np.random.default_rng(0)
    scores = random.choice([-2.0, -1.0, 0.0, 1.0], 60)
    answers = random.choice(["positive", "negative", "neutral", "mixed"], 60)
    truth = write("label.json", {str(i): {"val": v} for i, v in enumerate(scores)})
    guess = write("p.json", {str(i): a for i, a in enumerate(answers)})
    signs = [{"positive": 1.0, "negative": -1.0}.get(answer, 0.0) for answer in answers]
    record = evaluation.score("mer-unibench/mosi", guess, truth, "published")
    assert value(record, "weighted_f1") == pytest.approx(sentiment_f1(scores, signs))


def test_word_lists_are_not_taken_for_sentiments(write: Write) -> None:
    truth, guess = write("label.json", {"a": {"val": 1.0}}), write("openset.json", {"a": "[happy, calm]"})
    with pytest.raises(ConfigError, match="give the -sentiment file"):
        evaluation.score("mer-unibench/mosi", guess, truth)


@pytest.mark.corpus
def test_hit_rate_example_of_the_sheet(write: Write, shared_data: Path) -> None:
    pytest.importorskip("openpyxl")
    labels = ("happy", "worried", "angry", "surprise", "neutral", "sad")
    lists = (["joyful", "relaxed"], ["anxious", "sad"], ["frustrated"], ["confused"], ["calm"], [])
    truth = write("label.json", {f"s{i}": {"emo": label, "val": -10} for i, label in enumerate(labels)})
    guess = write("openset.json", {f"s{i}": str(words) for i, words in enumerate(lists)})
    tables = shared_data / "emotion_wheels"
    record = evaluation.score("mer-unibench/mer2023", guess, truth, "published", tables=tables)
    assert value(record, "hit_rate") == pytest.approx(0.59)
    assert value(record, "hit_rate_per_candidate") == pytest.approx(np.mean([0.5, 0.5, 0.5, 0.3, 0.625]))
    assert [part["hit_rate"] for part in record["parts"].values()] == pytest.approx([0.6, 0.6, 0.6, 0.4, 0.75])
    assert [part["n"] for part in record["parts"].values()] == [5, 5, 5, 5, 4]
    strict = evaluation.score("mer-unibench/mer2023", guess, truth, "strict", tables=tables)
    assert strict["n"] == 6  # the neutral clip counts, and "calm" is no neutral
    assert value(strict, "hit_rate") == pytest.approx(np.mean([3 / 6, 3 / 6, 3 / 6, 2 / 6, 3 / 5]))


def test_numbers_of_labels_follow_the_published_order(write: Write) -> None:
    # MELD archives number anger, joy, sadness, neutral, disgust, fear, surprise
    truth = write("label.json", {"test_corpus": {"a": {"emo": 0}, "b": {"emo": 1}, "c": {"emo": 6}}})
    guess = write("openset.json", {"a": ["anger"], "b": ["joy"], "c": ["surprise"]})
    record = evaluation.score("mer-unibench/meld", guess, truth, "strict")
    assert value(record, "hit_rate") == 1
    assert record["tables"]["wheels"].startswith("builtin")


def test_iemocap_keeps_session_five(write: Write) -> None:
    names = {"Ses05F_impro01_F000": 0, "Ses04F_impro01_F000": 1, "Ses05M_impro02_M001": 3}
    truth = write("label.json", {"whole_corpus": {name: {"emo": emo} for name, emo in names.items()}})
    guess = write("openset.json", {name: ["happy", "anger"] for name in names})
    record = evaluation.score("mer-unibench/iemocap", guess, truth, "strict")
    assert record["n"] == 2
    assert record["left_out"] == {"predictions for other items": 1}


def test_published_synonym_groups_beside_the_predictions_are_used(write: Write, tmp_path: Path) -> None:
    truth = write("check-openset.csv", [("name", "openset"), ("a", "['glad', 'calm']"), ("b", "['sad']")])
    guess = write("predict-openset.csv", [("name", "openset"), ("a", "['happy']"), ("b", "['gloomy']")])
    plain = evaluation.score("mer2024/openset", guess, truth, "published")
    assert value(plain, "word_overlap") == 0
    groups = {"a": [["glad", "happy"], ["calm"]], "b": [["sad"], ["gloomy"]]}
    (tmp_path / "openset-synonym").mkdir()
    for name, held in groups.items():
        table = np.empty(len(held), object)
        table[:] = held
        np.savez(tmp_path / "openset-synonym" / f"{name}.npz", groups=table)
    with zipfile.ZipFile(tmp_path / "openset-synonym.zip", "w") as archive:
        for file in (tmp_path / "openset-synonym").iterdir():
            archive.write(file, f"openset-synonym/{file.name}")
    record = evaluation.score("mer2024/openset", guess, truth, "published")
    assert value(record, "word_precision") == pytest.approx(0.5)
    assert value(record, "word_recall") == pytest.approx(0.25)
