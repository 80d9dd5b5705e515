"""Set scores of emotion words: published tables, published outputs, own tables, invariances, bad input."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.labels import wheels
from affectus.labels.restricted import load_npz
from affectus.metrics import interval, sentiment_f1
from affectus.metrics import open_vocabulary as o

QUICK = settings(max_examples=40, deadline=None)

TRUTH = [["joyful", "surprised"], ["worried", "sad"], ["angry", "frustrated", "helpless"], ["neutral"], ["calm"]]
GUESS = [["happy", "excited"], ["anxious"], ["angry", "sad", "neutral"], ["calm"], []]

lists = st.lists(
    st.lists(
        st.sampled_from(["happy", "sad", "Angry", "neutral", "unheard-of", "calm", "worried", " love"]), max_size=4
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def published(shared_data: Path) -> wheels.WheelTables:
    pytest.importorskip("openpyxl")
    tables = wheels.load(shared_data / "emotion_wheels")
    assert tables.version in ("mer2025", "mer2026")
    return tables


@pytest.fixture(scope="module")
def mer2024(shared_data: Path) -> tuple[list[str], list[str]]:
    """True and predicted list texts of the 332 published clips, joined by name."""
    columns = []
    for name in ("check", "predict"):
        path = shared_data / "open_vocabulary" / "mer2024" / f"{name}-openset.csv"
        with path.open(encoding="utf-8-sig", newline="") as stream:
            columns.append({row["name"]: row["openset"] for row in csv.DictReader(stream)})
    truth, prediction = columns
    assert len(truth) == 332
    return list(truth.values()), [prediction[name] for name in truth]


def test_worked_example(published: wheels.WheelTables) -> None:
    report = o.wheel_report(TRUTH, GUESS, published)
    expected = [
        (0.75, 0.625, 0.681818),
        (0.75, 0.416667, 0.535714),
        (0.625, 0.375, 0.46875),
        (0.625, 0.5, 0.555556),
        (0.5, 0.5, 0.5),
    ]
    for row, (precision, recall, f1) in zip(report.wheels, expected, strict=True):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision, recall, f1), abs=1e-6)
        assert row.scored == 4
    assert (report.precision, report.recall, report.f1) == pytest.approx((0.65, 0.483333, 0.548368), abs=1e-6)
    second = [o.wheel_f1(TRUTH, GUESS, published, wheel=wheel, level=2) for wheel in range(1, 6)]
    assert second == pytest.approx([0.267857, 0.267857, 0.428571, 0.555556, 0.5], abs=1e-6)
    assert (report.rows, report.skipped, report.unknown) == (5, 1, pytest.approx(1 / 7))
    assert (report.true_words, report.predicted_words) == pytest.approx((9 / 5, 7 / 5))
    assert (report.tables, report.digest) == (published.version, published.digest)


def test_mer2024_pair(published: wheels.WheelTables, mer2024: tuple[list[str], list[str]]) -> None:
    report = o.wheel_report(*mer2024, published)
    counts = [row.scored for row in report.wheels]
    assert counts == [327, 328, 324, 327, 316]
    first = {
        "mer2025": (0.5537059069585599, 0.559395213821158, 0.5485155879797873),
        "mer2026": (0.5546078, 0.56052395, 0.54918725),
    }[published.version]
    assert (report.f1, report.precision, report.recall) == pytest.approx(first, abs=1e-7)
    second = {
        "mer2025": (0.4244863488795757, 0.44742075932955183, 0.40504023059457717),
        "mer2026": (0.4245826, 0.44802633, 0.40476384),
    }[published.version]
    found = [metric(*mer2024, published, level=2) for metric in (o.wheel_f1, o.wheel_precision, o.wheel_recall)]
    assert found == pytest.approx(second, abs=1e-7)


def test_mer2024_pair_without_wheels(published: wheels.WheelTables, mer2024: tuple[list[str], list[str]]) -> None:
    expected = {"M1": (0.3338872104733132, 0.2581966623507409), "M2": (0.35659617321248743, 0.3037332757876564)}
    for mode, scores in expected.items():
        found = o.wheel_precision(*mer2024, published, mode=mode), o.wheel_recall(*mer2024, published, mode=mode)
        assert found == pytest.approx(scores, abs=1e-12)
    assert o.wheel_report(*mer2024, published, mode="M2").wheels[0].scored == 331
    modes = [o.wheel_f1(*mer2024, published, mode=mode) for mode in ("M1", "M2")]
    modes += [o.wheel_f1(*mer2024, published, wheel=w, level=n) for w in range(1, 6) for n in (1, 2)]
    assert o.mode_average(*mer2024, published) == pytest.approx(np.mean(modes), abs=1e-12)


@pytest.mark.parametrize(
    ("corpus", "scored", "expected"),
    [
        ("cmumosi", 656, [81.2124, 78.483, 81.3014, 80.7404, 79.8483, 79.5341, 78.304]),
        ("cmumosei", 3634, [80.8999, 80.7237, 78.7857, 79.7393, 79.2058, 78.9077, 78.5076]),
    ],
)
def test_affectgpt_outputs(shared_data: Path, corpus: str, scored: int, expected: list[float]) -> None:
    folder = shared_data / "open_vocabulary"
    labels = load_npz(folder / "labels" / f"{corpus}_label.npz")["test_corpus"]
    truth = [label["val"] for label in labels.values()]
    assert np.count_nonzero(truth) == scored
    found = []
    for file in sorted((folder / "affectgpt_outputs" / corpus).glob("*-sentiment.npz")):
        record = load_npz(file)
        answers = dict(zip(record["filenames"].tolist(), record["fileitems"].tolist(), strict=True))
        found.append(100 * sentiment_f1(truth, o.sentiment_sign(answers[name] for name in labels)))
    assert found == pytest.approx(expected, abs=5e-5)


def test_hit_rate(published: wheels.WheelTables) -> None:
    truth = ["happy", "worried", "angry", "surprise", "neutral", "sad"]
    guess = [["joyful", "relaxed"], ["anxious", "sad"], ["frustrated"], ["confused"], ["calm"], []]
    by_wheel = [o.wheel_hit_rate(truth, guess, published, wheel=wheel) for wheel in range(1, 6)]
    assert by_wheel == pytest.approx([0.6, 0.6, 0.6, 0.4, 0.75])
    assert o.wheel_hit_rate(truth, guess, published) == pytest.approx(0.59)
    side = [o.wheel_hit_rate(truth, guess, published, wheel=wheel, candidates=truth) for wheel in range(1, 6)]
    assert side == pytest.approx([0.5, 0.5, 0.5, 0.3, 0.625])
    assert interval(o.wheel_hit_rate, truth, guess, tables=published, draws=50).value == pytest.approx(0.59)


def test_surprise_is_unknown_to_the_fifth_wheel_only(published: wheels.WheelTables) -> None:
    for wheel in range(1, 5):
        assert o.wheel_hit_rate(["surprise"], [["surprised"]], published, wheel=wheel) == 1
    with pytest.raises(ValueError, match="no true word is known"):
        o.wheel_hit_rate(["surprise"], [["surprised"]], published, wheel=5)


def test_reward(published: wheels.WheelTables) -> None:
    rewards = o.wheel_reward([["joyful", "surprised"], ["neutral"]], [["happy", "excited"], ["happy"]], published)
    assert rewards[0] == pytest.approx(0.7)
    assert np.isnan(rewards[1])


def test_word_lists_of_other_models_than_the_truth(published: wheels.WheelTables, shared_data: Path) -> None:
    file = next((shared_data / "open_vocabulary/affectgpt_outputs/cmumosi").glob("*030*-openset.npz"))
    texts = load_npz(file)["fileitems"]
    report = o.wheel_report(texts, texts, published)
    assert (report.f1, report.rows) == (pytest.approx(1), 686)
    parsed = [wheels.parse_words(text) for text in texts]
    shifted = [*parsed[1:], parsed[0]]
    assert o.wheel_f1(texts, shifted, published) == o.wheel_f1(parsed, [str(row) for row in shifted], published)


def test_own_tables_golden_values() -> None:
    report = o.wheel_report(TRUTH, GUESS)
    assert report.tables == "builtin-1"
    # joyful and surprised against happy and excited share one of two clusters on every wheel: P = 3/4, R = 1/2.
    assert [(row.precision, row.recall, row.scored) for row in report.wheels] == [(0.75, 0.5, 4)] * 3
    assert (report.f1, o.mode_average(TRUTH, GUESS)) == pytest.approx((0.6, 0.45), abs=1e-12)


@QUICK
@given(lists, lists, st.sampled_from(["M1", "M2", "M3"]), st.sampled_from([1, 2]))
def test_equals_sets_one_by_one(truth: list[list[str]], guess: list[list[str]], mode: str, level: int) -> None:
    rows = min(len(truth), len(guess))
    tables = wheels.load()
    wheel = 2
    pairs = [
        (tables.clusters(true, mode, wheel, level), tables.clusters(other, mode, wheel, level))
        for true, other in zip(truth[:rows], guess[:rows], strict=True)
    ]
    scored = [(true, other) for true, other in pairs if true]
    arguments = (truth[:rows], guess[:rows], None, wheel, level, mode)
    if not scored:
        with pytest.raises(ValueError, match="no true word is known"):
            o.wheel_f1(*arguments)
        return
    precision = np.mean([len(true & other) / len(other) if other else 0 for true, other in scored])
    recall = np.mean([len(true & other) / len(true) for true, other in scored])
    assert o.wheel_precision(*arguments) == pytest.approx(precision)
    assert o.wheel_recall(*arguments) == pytest.approx(recall)
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert o.wheel_f1(*arguments) == pytest.approx(expected)


@QUICK
@given(lists)
def test_writing_does_not_matter(guess: list[list[str]]) -> None:
    truth = [["happy"], ["sad", "angry"], *[["calm"]] * 20][: len(guess)]
    value = o.wheel_f1(truth, guess)
    assert 0 <= value <= 1
    for other in (
        [row[::-1] for row in guess],
        [row + row for row in guess],
        [[word.upper() for word in row] for row in guess],
        [[*row, "neutral"] for row in guess],
        [str(row) for row in guess],
        ["[" + ", ".join(row) + "]" for row in guess],
    ):
        assert o.wheel_f1(truth, other) == value
    assert o.wheel_f1([[*row, "neutral"] for row in truth], guess) == value


@QUICK
@given(st.text(alphabet="[]'\", abhpsy", max_size=12))
def test_texts_are_cut_like_the_list_parser(text: str) -> None:
    tables = wheels.load()
    assert (o.wheel_reward([text], [wheels.parse_words(text)]) == 1).all() == bool(tables.clusters(text, wheel=1))


def test_perfect_and_empty_predictions() -> None:
    truth = [["happy"], ["sad", "angry"], ["neutral"]]
    for mode, wheel, level in wheels.load().modes():
        arguments = {"mode": mode, "wheel": wheel or None, "level": level}
        assert o.wheel_f1(truth, truth, **arguments) == 1
        assert o.wheel_f1(truth, [[], "", None], **arguments) == 0
    assert o.wheel_reward(truth, [[], [], []])[:2].tolist() == [0, 0]


def test_any_wheel_hit_keeps_neutral() -> None:
    truth = [["neutral"], [], ["neutral", "happy"], ["happy"], ["happy"], ["happy"]]
    guess = [["Neutral"], ["neutral"], [], ["joyful"], [], ["neutral"]]
    assert o.any_wheel_hit(truth, guess).tolist() == [True, True, True, True, False, False]


def test_interval_of_rows_and_groups() -> None:
    truth = [["happy"], ["sad", "angry"], ["calm"], ["worried"]] * 10
    guess = [["joyful"], ["sad"], ["angry"], ["afraid", "happy"]] * 10
    found = interval(o.wheel_f1, truth, guess, draws=200)
    assert found.low < found.value < found.high
    assert found.value == o.wheel_f1(truth, guess)
    grouped = interval(o.wheel_f1, truth, guess, groups=[0, 1, 2, 3] * 10, draws=200)
    assert grouped.high - grouped.low > found.high - found.low
    texts = interval(o.wheel_f1, [str(row) for row in truth], [str(row) for row in guess], draws=200)
    assert texts == found


def test_sentiment_answers() -> None:
    answers = ["positive", " Negative", "neutral", "mixed", None, float("nan")]
    assert o.sentiment_sign(answers).tolist() == [1, -1, 0, 0, 0, 0]
    truth, words = (
        [1.2, -0.6, 0, 2.0, -1.0, 0.4],
        ["positive", "negative", "positive", "neutral", "negative", "positive"],
    )
    assert sentiment_f1(truth, o.sentiment_sign(words)) == pytest.approx(0.8)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="truth is empty"):
        o.wheel_f1([], [])
    with pytest.raises(ValueError, match="2 rows but prediction has 1"):
        o.wheel_f1([["sad"], ["sad"]], [["sad"]])
    with pytest.raises(ValueError, match="one word list per row"):
        o.wheel_f1("sad", "sad")
    with pytest.raises(ValueError, match="prediction row 1 is no list of words: 3"):
        o.wheel_f1([["sad"], ["sad"]], [["sad"], 3])
    with pytest.raises(ValueError, match="no true word is known"):
        o.wheel_f1([["neutral"]], [["sad"]])
    with pytest.raises(ValueError, match="truth row 0 must be one label"):
        o.wheel_hit_rate([["happy"]], [["happy"]])
