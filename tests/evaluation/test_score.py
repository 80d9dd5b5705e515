"""Scoring of labels, ratings, spans and boxes from files in published shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import corpora, evaluation
from affectus.errors import ConfigError, CorpusError, LabelError
from affectus.evaluation.scoring import wheel_folder

from .conftest import Write, value


def test_missing_predictions_are_wrong_in_strict_and_left_out_as_published(write: Write) -> None:
    truth = write("label.csv", [("name", "label"), ("a", "neutral"), ("b", "joy"), ("c", "joy"), ("d", "fear")])
    guess = write("p.csv", [("name", "prediction"), ("a", "neutral"), ("b", "joy")])
    strict = evaluation.score("meld", guess, truth, "strict")
    assert (strict["n"], value(strict, "accuracy")) == (4, 0.5)
    published = evaluation.score("meld", guess, truth, "published")
    assert (published["n"], value(published, "accuracy")) == (2, 1.0)
    assert published["left_out"] == {"without a prediction": 2}


def test_generated_labels_exact_or_by_any_spelling(write: Write) -> None:
    truth = write("label.csv", [("name", "label"), ("a", "joy"), ("b", "anger"), ("c", "neutral")])
    guess = write("p.csv", [("name", "prediction"), ("a", "Joy."), ("b", "angry"), ("c", "who knows")])
    assert value(evaluation.score("meld", guess, truth, "published"), "accuracy") == 0
    strict = evaluation.score("meld", guess, truth, "strict")
    assert value(strict, "accuracy") == pytest.approx(2 / 3)
    assert any("1 answers name no label" in note for note in strict["notes"])


def test_one_file_may_hold_both_sides(write: Write) -> None:
    rows = [
        {"name": str(i), "label": t, "prediction": p} for i, (t, p) in enumerate([("fear", "fear"), ("joy", "fear")])
    ]
    assert value(evaluation.score("meld", write("both.jsonl", rows)), "accuracy") == 0.5


def test_meld_files_join_by_their_two_numbers(write: Write, tmp_path: Path) -> None:
    root = corpora.write_tiny("meld", tmp_path / "meld")
    corpus = corpora.load("meld", root, "test")
    rows = [("name", "prediction"), *zip(corpus.column("id"), corpus.column("label:meld7"), strict=True)]
    guess = write("p.csv", [(name.rpartition("/")[2], label) for name, label in rows])
    assert value(evaluation.score("meld", guess, root), "weighted_f1") == 1  # a corpus folder
    by_file = evaluation.score("meld", guess, root / "test_sent_emo.csv")  # the publisher's own list
    assert (value(by_file, "weighted_f1"), by_file["n"]) == (1, len(corpus))


def test_probabilities_by_column_give_calibration(write: Write) -> None:
    labels = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    truth = write("label.csv", [("name", "label"), *((f"fer{i}.png", labels[i % 3]) for i in range(30))])
    rows = [(f"fer{i}", *(0.93 if k == i % 3 else 0.01 for k in range(8))) for i in range(30)]
    record = evaluation.score("ferplus", write("p.csv", [("name", *labels), *rows]), truth)
    assert value(record, "accuracy") == 1
    assert value(record, "ece") == pytest.approx(0.07)
    assert any("names were matched without" in note for note in record["notes"])


def test_eight_way_counts_absent_classes_and_present_only_does_not(write: Write) -> None:
    labels = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "contempt", "neutral")
    truth = write("label.csv", [("name", "label"), *((str(i), labels[i % 2]) for i in range(10))])
    rows = [(str(i), *(0.4 if k == i % 2 else 0.6 if k == 7 else 0.0 for k in range(8))) for i in range(10)]
    guess = write("p.csv", [("name", *labels), *rows])
    assert value(evaluation.score("cross-dataset/8way", guess, truth), "macro_f1") == 0
    assert value(evaluation.score("cross-dataset/present-only", guess, truth), "macro_f1") == 1
    perfect = [(str(i), *(float(k == i % 2) for k in range(8))) for i in range(10)]
    guess = write("q.csv", [("name", *labels), *perfect])
    assert value(evaluation.score("cross-dataset/8way", guess, truth), "macro_f1") == pytest.approx(0.25)


def test_folds_are_averaged_or_pooled(write: Write, tmp_path: Path) -> None:
    truth = write("label.csv", [("name", "label"), *((f"{i:05d}", "happy" if i < 3 else "sad") for i in range(4))])
    write("folds/fold1.csv", [("name", "prediction"), ("00000", "happy"), ("00001", "happy"), ("00002", "happy")])
    write("folds/fold2.csv", [("name", "prediction"), ("3", "happy")])
    published = evaluation.score("dfew", tmp_path / "folds", truth, "published")
    assert value(published, "accuracy") == pytest.approx(0.5)
    assert evaluation.score("dfew", tmp_path / "folds", truth, "strict")["metrics"]["accuracy"][
        "value"
    ] == pytest.approx(0.75)


def vecbench(rows: list[tuple[str, bool]]) -> list[dict[str, Any]]:
    return [
        {
            "task": task,
            "ground_truth": "joy",
            "candidates": ["fear", "joy"],
            "response": f"<think>fear?</think><answer>{'joy' if right else 'fear'}</answer>",
            "confidence": 1.0,
        }
        for task, right in rows
    ]


def test_vecbench_means_of_subtasks_and_pooled(write: Write) -> None:
    # the sheet: 29.26, 41.94 and 79.90 on sets of unequal size are 50.37 as a mean and more when pooled
    hits = {"Abstract-8": (67, 229), "Artphoto-8": (338, 806), "UnbaisedEmo-6": (799, 1000)}
    rows = [(tag, i < right) for tag, (right, total) in hits.items() for i in range(total)]
    record = evaluation.score("vecbench", write("p.jsonl", vecbench(rows)), variant="published")
    assert 100 * value(record, "accuracy_ood_ver") == pytest.approx(50.37, abs=0.01)
    assert round(100 * value(record, "accuracy_ood_ver_pooled"), 2) == 59.16
    assert value(record, "ece_ood_ver") == 0  # a confidence of 1 falls in no bin there
    strict = evaluation.score("vecbench", write("p.jsonl", vecbench(rows)), variant="strict")
    assert value(strict, "ece_ood_ver") == pytest.approx(1 - 1204 / 2035)


def test_vecbench_rules_differ_on_words_within_words(write: Write) -> None:
    row = {
        "task": "FI-2",
        "ground_truth": "negative",
        "candidates": ["rage", "negative"],
        "response": "outrage, negative",
    }
    file = write("p.jsonl", [row])
    assert value(evaluation.score("vecbench", file, variant="published"), "accuracy_id_vsa") == 0
    assert value(evaluation.score("vecbench", file, variant="strict"), "accuracy_id_vsa") == 1


def test_mvei_reads_verdicts_in_the_published_layout(write: Write) -> None:
    answers = [
        ("Incorrect.", "incorrect"),
        ("Correct", "correct"),
        ("I cannot say", "correct"),
        ("not correct", "incorrect"),
    ]
    held = [{"statement": "x", "label": label, "class": "scene context", "predict": text} for text, label in answers]
    file = write("MVEI_predict.json", [{"image_id": "awe/awe_1.jpg", "ov_emotion": ["awe"], "statement_list": held}])
    published = evaluation.score("mvei", file, variant="published")
    assert (published["n"], value(published, "accuracy")) == (4, 0.5)
    assert value(published, "give_up_ratio") == 0.25
    assert value(evaluation.score("mvei", file, variant="strict"), "accuracy") == 0.75


def test_mvei_counts_of_answers(write: Write) -> None:
    def scored(answers: list[str], labels: list[str]) -> dict[str, float]:
        held = [
            {"statement": "x", "label": label, "class": "scene context", "predict": answer}
            for answer, label in zip(answers, labels, strict=True)
        ]
        item = {"image_id": "awe/awe_1.jpg", "ov_emotion": ["awe"], "statement_list": held}
        record = evaluation.score("mvei", write("MVEI_predict.json", [item]), variant="published")
        return {name: value(record, name) for name in ("accuracy", "positive_ratio", "give_up_ratio")}

    labels = ["correct", "correct", "incorrect", "incorrect"]
    mixed = scored(["Correct", "Incorrect.", "I am unsure", "The statement is correct."], labels)
    assert mixed == {"accuracy": 0.25, "positive_ratio": 0.5, "give_up_ratio": 0.25}
    always = scored(["CORRECT"] * 4, ["correct", "incorrect", "incorrect", "incorrect"])
    assert always == {"accuracy": 0.25, "positive_ratio": 1.0, "give_up_ratio": 0.0}
    assert scored(["", "I am unsure", "", ""], labels)["give_up_ratio"] == 1


def test_ca_mer_example_of_the_sheet(write: Write) -> None:
    truth = write("g.json", {"a": ["happy"], "b": ["angry", "worry"], "c": ["sad"]})
    guess = write("p.json", {"a": ["joy"], "b": ["anger"], "c": ["sadness", "fear", "neutral"]})
    record = evaluation.score("ca-mer", guess, truth)
    assert value(record, "word_precision") == pytest.approx(0.7778, abs=1e-4)
    assert value(record, "word_recall") == pytest.approx(0.8333, abs=1e-4)
    assert value(record, "word_overlap") == pytest.approx(0.8056, abs=1e-4)


def test_judged_replies_without_a_number_are_failures(write: Write) -> None:
    rows = [("name", "clue", "label"), ("a", "score: 8; reason: close", "6"), ("b", "no idea", "8")]
    file = write("judged.csv", rows)
    assert value(evaluation.score("emer", file, variant="published"), "clue_overlap") == 8
    strict = evaluation.score("emer", file, variant="strict")
    assert (value(strict, "clue_overlap"), value(strict, "label_overlap")) == (4, 7)


def test_top_labels_by_word_part_or_exactly(write: Write) -> None:
    truth = write(
        "labels.json",
        {
            "00000.mp4": {"topK": ["Joy", "Awe (or Wonder)", "Calmness"]},
            "00001.mp4": {"topK": ["Fear", "Horror", "Joy"]},
        },
    )
    guess = write(
        "p.jsonl", [{"videoid": "00000.mp4", "response": "enjoyment"}, {"videoid": "00001.mp4", "response": "Horror"}]
    )
    published = evaluation.score("vce", guess, truth, "published")
    assert (value(published, "top1"), value(published, "top3")) == (0.5, 1.0)
    strict = evaluation.score("vce", guess, truth, "strict")
    assert (value(strict, "top1"), value(strict, "top3")) == (0.0, 0.5)


def test_spans_of_charades_from_the_publishers_file(write: Write, tmp_path: Path) -> None:
    held = {
        "AO8RW": {"duration": 30.0, "timestamps": [[0, 10], [10, 20]], "sentences": ["a person sits.", "they stand."]}
    }
    truth = write("charades_test.json", held)
    rows = [
        {"video": "AO8RW", "sentence": "a person sits.", "spans": [[0, 8, 0.9], [20, 30, 0.1]]},
        {"video": "AO8RW", "sentence": "they stand.", "spans": [[0, 5], [10, 20]]},
    ]
    record = evaluation.score("charades-sta", write("p.jsonl", rows), truth, "published")
    assert value(record, "R1@0.7") == 0.5
    assert value(record, "mIoU") == pytest.approx(0.4)
    plain = tmp_path / "charades_sta_test.txt"
    plain.write_text("AO8RW 0.0 10.0##a person sits.\nAO8RW 10.0 20.0##they stand.\n")
    again = evaluation.score("charades-sta", write("p.jsonl", rows), plain, "published")
    assert again["metrics"] == record["metrics"]


def test_boxes_in_the_published_instances_file(write: Write) -> None:
    boxes = [{"image_id": 9, "width": 64, "height": 64, "bbox": [4, 5, 20, 30], "expressions": ["left man", "him"]}]
    truth = write("instances.json", {"val": boxes, "train": boxes})
    rows = [{"image_id": 9, "expression": "left man", "bbox": [5, 5, 20, 30]}]
    assert value(evaluation.score("refcoco/val", write("p.jsonl", rows), truth, "published"), "precision@0.5") == 1
    strict = evaluation.score("refcoco/val", write("p.jsonl", rows), truth, "strict")
    assert (strict["n"], value(strict, "precision@0.5")) == (2, 0.5)


def test_retrieval_layers_and_ties(tmp_path: Path) -> None:
    file = tmp_path / "similarity.npz"
    np.savez(file, factual=np.eye(4), abstract=np.eye(4), intent=np.ones((4, 4)))
    record = evaluation.score("videomind", file, variant="published")
    assert value(record, "R@1_factual") == 1
    assert value(record, "mean_rank_intent") == pytest.approx(2.5)
    assert value(evaluation.score("videomind", file, variant="strict"), "mean_rank_intent") == 4
    assert value(record, "depth_gap@1") == 1


def test_ratings_in_any_unit_keep_their_correlation(write: Write, tmp_path: Path) -> None:
    root = corpora.write_tiny("oasis", tmp_path / "oasis")
    corpus = corpora.load("oasis", root)
    rows = zip(corpus.column("id"), corpus.column("raw:valence"), corpus.column("raw:arousal"), strict=True)
    guess = write("p.csv", [("name", "valence", "arousal"), *rows])
    record = evaluation.score("oasis", guess, root)
    assert value(record, "pcc_valence") == pytest.approx(1)
    assert value(record, "srcc_valence") == pytest.approx(1)


def test_hidden_anger_follows_the_stated_rule(write: Write, tmp_path: Path) -> None:
    root = corpora.write_tiny("wrime", tmp_path / "wrime")
    corpus = corpora.load("wrime", root, "test")
    felt = np.stack(corpus.column("scores:wrime8@felt"))[:, 4]
    seen = np.stack(corpus.column("scores:wrime8"))[:, 4]
    hidden = (felt >= 2) & (seen < 1)
    rows = [("name", "score"), *zip(corpus.column("id"), hidden * 1.0, strict=True)]
    if hidden.all() or not hidden.any():
        rows = [("name", "score"), *((name, 0.5) for name in corpus.column("id"))]
        with pytest.raises(ConfigError, match="cannot be scored"):
            evaluation.score("wrime/hidden-anger", write("p.csv", rows), root)
    else:
        assert value(evaluation.score("wrime/hidden-anger", write("p.csv", rows), root), "auc") == 1


def test_several_labels_from_lists_or_probabilities(write: Write, tmp_path: Path) -> None:
    root = corpora.write_tiny("goemotions", tmp_path / "goemotions")
    corpus = corpora.load("goemotions", root, "test")
    lists = [
        {"id": n, "prediction": ls}
        for n, ls in zip(corpus.column("id"), corpus.column("labels:goemotions28"), strict=True)
    ]
    assert value(evaluation.score("goemotions", write("p.jsonl", lists), root), "micro_f1") == 1
    names = corpus.labels("labels:goemotions28")
    hot = corpus.multi_hot("labels:goemotions28") * 0.4
    rows = [("id", *names), *((n, *row) for n, row in zip(corpus.column("id"), hot.tolist(), strict=True))]
    guess = write("p.csv", rows)
    assert value(evaluation.score("goemotions", guess, root, "published"), "micro_f1") == 1
    assert value(evaluation.score("goemotions", guess, root, "strict"), "micro_f1") == 0


def test_visualness_threshold_depends_on_the_variant(write: Write) -> None:
    truth = write("t.csv", [("name", "label"), ("a", "visual"), ("b", "non-visual"), ("c", "ambiguous")])
    guess = write("p.csv", [("name", "prediction"), ("a", 0.8), ("b", 0.7), ("c", 0.5)])
    published = evaluation.score("visualness", guess, truth, "published")
    assert (published["n"], value(published, "macro_f1")) == (2, 1)
    assert value(evaluation.score("visualness", guess, truth, "strict"), "accuracy") == 0.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", {}, "holds no items"),
        ("p.json", {"zz": "joy"}, "no name occurs in"),
        ("p.csv", [("text", "mood"), ("x", "y")], "no name occurs in"),
        ("p.jsonl", [["a"]], "is no JSON object"),
    ],
)
def test_unusable_predictions_are_named(write: Write, name: str, content: Any, message: str) -> None:
    truth = write("label.csv", [("name", "label"), ("a", "joy")])
    with pytest.raises(ConfigError, match=message):
        evaluation.score("meld", write(name, content), truth)


def test_wrong_names_and_files_are_refused(write: Write, tmp_path: Path) -> None:
    truth = write("label.csv", [("name", "label"), ("a", "bliss")])
    guess = write("p.csv", [("name", "prediction"), ("a", "joy")])
    with pytest.raises(LabelError, match="'bliss' is no label of meld7"):
        evaluation.score("meld", guess, truth)
    with pytest.raises(ConfigError, match="no such benchmark"):
        evaluation.score("mer-unibench/mosy", guess, truth)
    with pytest.raises(ConfigError, match="is no variant"):
        evaluation.score("meld", guess, truth, "honest")
    with pytest.raises(ConfigError, match="no such file or folder"):
        evaluation.score("meld", tmp_path / "nothing.csv", truth)
    (tmp_path / "p.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match="of no known kind"):
        evaluation.score("meld", tmp_path / "p.bin", truth)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("ran",))

    np.savez(tmp_path / "p.npz", filenames=np.array(["a"]), fileitems=np.array([Evil()], object))
    with pytest.raises(CorpusError, match="refused"):
        evaluation.score("mer-unibench/mosi", tmp_path / "p.npz")


def test_wheel_tables_are_found_beside_or_above_or_where_they_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFFECTUS_WHEELS", raising=False)
    file = tmp_path / "a" / "b" / "labels.npz"
    file.parent.mkdir(parents=True)
    file.touch()
    assert wheel_folder(None, [file]) is None
    (tmp_path / "emotion_wheels").mkdir()
    (tmp_path / "emotion_wheels" / "format.csv").touch()
    assert wheel_folder(None, [file]) == tmp_path / "emotion_wheels"
    monkeypatch.setenv("AFFECTUS_WHEELS", "/elsewhere")
    assert wheel_folder(None, [file]) == Path("/elsewhere")
    assert wheel_folder(tmp_path, [file]) == tmp_path
