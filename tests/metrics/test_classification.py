"""Scores of one label per row: published confusion matrices, scikit-learn, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from affectus.metrics import classification as c

QUICK = settings(max_examples=40, deadline=None)

EMOTION_LLAMA_MER2023 = [
    [179, 1, 2, 1, 0, 0],
    [2, 152, 7, 4, 3, 1],
    [10, 10, 134, 6, 2, 4],
    [2, 2, 1, 250, 0, 2],
    [1, 0, 3, 1, 6, 3],
    [4, 1, 3, 2, 1, 34],
]
MAE_DFER_DFEW = [
    [454, 7, 10, 14, 2, 1, 1],
    [5, 292, 49, 15, 11, 1, 6],
    [19, 30, 403, 38, 33, 5, 6],
    [9, 9, 49, 336, 22, 3, 7],
    [4, 11, 58, 9, 194, 0, 18],
    [0, 0, 16, 4, 3, 3, 3],
    [1, 20, 23, 17, 48, 1, 71],
]
MAE_DFER_FERV39K = [
    [1076, 57, 201, 59, 40, 33, 7],
    [91, 752, 228, 183, 51, 45, 43],
    [180, 205, 1158, 245, 71, 63, 36],
    [56, 197, 310, 750, 81, 54, 39],
    [78, 63, 138, 116, 192, 17, 34],
    [56, 75, 98, 114, 27, 84, 13],
    [26, 113, 89, 70, 39, 20, 74],
]
# EmotionTalk test split: multimodal label (rows) against the label from one modality alone (columns).
EMOTIONTALK_AUDIO = [
    [664, 25, 16, 32, 25, 28, 11],
    [87, 137, 3, 3, 10, 4, 2],
    [42, 1, 69, 8, 2, 1, 0],
    [28, 0, 1, 257, 11, 38, 4],
    [57, 8, 1, 7, 78, 6, 4],
    [35, 2, 0, 32, 5, 57, 3],
    [31, 4, 4, 6, 12, 3, 65],
]
EMOTIONTALK_TEXT = [
    [434, 80, 41, 81, 92, 42, 31],
    [109, 77, 9, 9, 35, 5, 2],
    [56, 3, 32, 13, 11, 1, 7],
    [91, 5, 7, 172, 24, 28, 12],
    [61, 11, 3, 13, 63, 4, 6],
    [51, 3, 4, 41, 3, 28, 4],
    [56, 6, 11, 9, 8, 8, 27],
]
EMOTIONTALK_VIDEO = [
    [603, 67, 15, 54, 16, 35, 11],
    [12, 229, 1, 1, 2, 1, 0],
    [41, 18, 47, 5, 0, 4, 8],
    [47, 2, 10, 255, 5, 17, 3],
    [48, 15, 0, 31, 48, 8, 11],
    [33, 14, 3, 40, 2, 39, 3],
    [25, 1, 25, 21, 1, 1, 51],
]


def rows_of(counts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction that give this table."""
    table = np.array(counts)
    cells = np.repeat(np.arange(table.size), table.ravel())
    return cells // len(table), cells % len(table)


label_pairs = st.integers(2, 5).flatmap(
    lambda size: st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), min_size=1, max_size=40).map(
        lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), size)
    )
)


@pytest.mark.parametrize(
    ("counts", "uar", "war", "weighted", "macro"),
    [
        (MAE_DFER_DFEW, 62.59, 74.88, 0.7441, 0.6357),
        (MAE_DFER_FERV39K, 43.12, 52.07, 0.5110, 0.4366),
    ],
)
def test_published_face_video_logs(
    counts: list[list[int]], uar: float, war: float, weighted: float, macro: float
) -> None:
    assert 100 * c.uar_of(counts) == pytest.approx(uar, abs=0.005)
    assert 100 * c.accuracy_of(counts) == pytest.approx(war, abs=0.005)
    assert c.weighted_f1_of(counts) == pytest.approx(weighted, abs=5e-5)
    assert c.macro_f1_of(counts) == pytest.approx(macro, abs=5e-5)


def test_emotion_llama_mer2023_to_machine_precision() -> None:
    truth, prediction = rows_of(EMOTION_LLAMA_MER2023)
    assert c.accuracy(truth, prediction) == pytest.approx(0.9052757793764988, abs=1e-12)
    assert c.weighted_precision(truth, prediction) == pytest.approx(0.9036254851540454, abs=1e-12)
    assert c.weighted_f1(truth, prediction) == pytest.approx(0.9035772132511264, abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "accuracy", "weighted"),
    [
        (EMOTIONTALK_AUDIO, 0.6879, 0.6826),
        (EMOTIONTALK_TEXT, 0.4318, 0.4283),
        (EMOTIONTALK_VIDEO, 0.6594, 0.6446),
    ],
)
def test_emotiontalk_labels_of_one_modality(counts: list[list[int]], accuracy: float, weighted: float) -> None:
    assert c.accuracy_of(counts) == pytest.approx(accuracy, abs=5e-5)
    assert c.weighted_f1_of(counts) == pytest.approx(weighted, abs=5e-5)


def test_emotiontalk_majority_baseline() -> None:
    truth, _ = rows_of(EMOTIONTALK_AUDIO)
    neutral = np.zeros_like(truth)
    assert 100 * c.accuracy(truth, neutral, 7) == pytest.approx(41.52, abs=0.005)
    assert 100 * c.weighted_f1(truth, neutral, 7) == pytest.approx(24.37, abs=0.005)


@pytest.mark.parametrize(
    ("counts", "war", "uar"), [([[8, 2], [3, 1]], 0.642857, 0.5250), ([[8, 2], [1, 1]], 0.75, 0.65)]
)
def test_hand_made_tables(counts: list[list[int]], war: float, uar: float) -> None:
    assert c.accuracy_of(counts) == pytest.approx(war, abs=1e-6)
    assert c.uar_of(counts) == pytest.approx(uar, abs=1e-12)


def test_present_only_against_all_classes() -> None:
    truth, labels = ["anger", "fear", "fear"], [*"abcdef", "anger", "fear"]
    assert c.macro_f1(truth, truth, labels, present_only=True) == 1
    assert c.macro_f1(truth, truth, labels) == 0.25
    assert c.uar(truth, truth, labels) == 1
    assert c.uar(truth, truth, labels, present_only=False) == 0.25


def test_present_columns_chooses_only_among_labels_of_the_target() -> None:
    truth = np.array([2, 0, 2])
    scores = np.array([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1]])
    assert c.accuracy(truth, scores) == pytest.approx(1 / 3)
    renumbered, kept, present = c.present_columns(truth, scores)
    assert present.tolist() == [0, 2]
    assert renumbered.tolist() == [1, 0, 1]
    assert c.accuracy(renumbered, kept) == pytest.approx(2 / 3)


def test_give_ups_count_as_wrong() -> None:
    truth, verdict = ["correct", "correct", "incorrect", "incorrect"], ["correct", "incorrect", "none", "correct"]
    assert c.accuracy(truth, verdict, ["correct", "incorrect", "none"]) == 0.25


def test_micro_f1_without_the_neutral_class() -> None:
    truth, prediction = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    assert c.micro_f1(truth, prediction) == pytest.approx(c.accuracy(truth, prediction))
    expected = sk.f1_score(truth, prediction, labels=[1, 2], average="micro")
    assert c.micro_f1(truth, prediction, classes=[1, 2]) == pytest.approx(expected)


def test_top_k_with_ties_follows_argmax() -> None:
    scores = [[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]
    assert c.top_k([1, 0], scores, 1) == 0 == c.accuracy([1, 0], scores)
    assert c.top_k([1, 0], scores, 2) == 0.5
    assert c.top_k([1, 0], scores, 3) == 1
    with pytest.raises(ValueError, match="at least 1"):
        c.top_k([1, 0], scores, 0)


def test_merging_classes_never_lowers_the_accuracy() -> None:
    merged = c.merged_counts(MAE_DFER_FERV39K, [[0], [1], [2, 3], [4], [5, 6]])
    assert merged.sum() == np.sum(MAE_DFER_FERV39K)
    assert c.accuracy_of(merged) > c.accuracy_of(MAE_DFER_FERV39K)
    with pytest.raises(ValueError, match="exactly once"):
        c.merged_counts(MAE_DFER_FERV39K, [[0, 1], [1, 2, 3, 4, 5, 6]])


@QUICK
@given(label_pairs)
def test_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, size = pair
    labels = list(range(size))
    assert (c.confusion(truth, prediction, size) == sk.confusion_matrix(truth, prediction, labels=labels)).all()
    assert c.accuracy(truth, prediction) == pytest.approx(sk.accuracy_score(truth, prediction))
    present = np.unique(truth)
    assert c.uar(truth, prediction, size) == pytest.approx(
        sk.recall_score(truth, prediction, labels=present, average="macro")
    )
    for average, metric in (("macro", c.macro_f1), ("weighted", c.weighted_f1), ("micro", c.micro_f1)):
        expected = sk.f1_score(truth, prediction, labels=labels, average=average, zero_division=0)
        assert metric(truth, prediction, size) == pytest.approx(expected)
    expected = sk.precision_score(truth, prediction, labels=labels, average="macro", zero_division=0)
    assert c.macro_precision(truth, prediction, size) == pytest.approx(expected)


@QUICK
@given(label_pairs)
def test_range_row_order_and_class_order(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, size = pair
    rows = np.random.default_rng(len(truth)).permutation(len(truth))
    names = np.random.default_rng(size).permutation(size)
    for metric in (c.accuracy, c.uar, c.macro_f1, c.weighted_f1, c.micro_f1, c.macro_precision):
        value = metric(truth, prediction, size)
        assert 0 <= value <= 1
        assert metric(truth[rows], prediction[rows], size) == pytest.approx(value)
        assert metric(names[truth], names[prediction], size) == pytest.approx(value)
        assert metric(truth, truth) == 1


def test_stacked_tables_give_stacked_scores() -> None:
    stack = np.stack([MAE_DFER_DFEW, MAE_DFER_FERV39K]).astype(float)
    for metric in (c.accuracy_of, c.uar_of, c.macro_f1_of, c.weighted_f1_of, c.micro_f1_of):
        assert metric(stack).tolist() == pytest.approx([float(metric(table)) for table in stack])


def test_names_are_matched_by_name_in_any_order() -> None:
    truth, prediction = ["joy", "fear", "joy"], ["joy", "joy", "fear"]
    expected = c.confusion(truth, prediction, ["fear", "joy"])
    assert expected.tolist() == [[0, 1], [1, 1]]
    assert c.confusion(truth, prediction, ["joy", "fear"]).tolist() == [[1, 1], [1, 0]]
    objects = np.array(truth, dtype=object)
    assert (c.confusion(objects, prediction, ["fear", "joy"]) == expected).all()


@pytest.mark.parametrize(
    ("truth", "prediction", "labels", "message"),
    [
        ([], [], None, "truth is empty"),
        ([1, 2], [1], None, "2 rows but prediction has 1"),
        ([0.0, np.nan], [0, 1], None, "NaN"),
        ([0, 3], [0, 1], 2, "class 3 outside 0..1"),
        ([0, -1], [0, 1], 2, "class -1"),
        ([0.5, 1], [0, 1], 2, "whole class numbers"),
        (["joy", "rage"], ["joy", "joy"], ["joy", "fear"], "'rage' in row 1"),
        ([0, 1], ["joy", "fear"], None, "mix"),
        (["joy", None], ["joy", "joy"], None, "mix"),
        ([0, 1], [0, 1], [0, 0], "twice"),
        ([0, 1], [0, 1], [], "labels is empty"),
        ([0, 1], [[0.1, 0.9], [0.2, 0.8]], ["a", "b", "c"], "2 columns but labels names 3"),
        ([0, 2], [[0.1, 0.9], [0.2, 0.8]], None, "class 2"),
        ([0, 1], [[0.1, np.nan], [0.2, 0.8]], None, "NaN or infinite, first in row 0"),
        ([[0], [1]], [0, 1], None, "expected truth"),
        (3, [0, 1], None, "must be a sequence"),
    ],
)
def test_bad_input_is_named(truth: object, prediction: object, labels: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        c.macro_f1(truth, prediction, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [[[0, 0], [0, 0]], [[1, -1], [0, 1]], [[1, 2, 3], [1, 2, 3]], []])
def test_bad_tables_are_refused(counts: object) -> None:
    with pytest.raises(ValueError, match="counts"):
        c.accuracy_of(counts)  # type: ignore[arg-type]
