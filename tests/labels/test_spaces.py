"""Label spaces: totality of the tables, published orders, spellings and errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import labels
from affectus.errors import LabelError

ALL = labels.spaces()
NAMED = [
    "ekman6", "ekman7", "ekman8", "ferplus8", "fer7", "affectnet7", "affectnet8", "rafdb7", "dfew7", "ferv39k7",
    "mafw11", "mafw43", "cremad6", "ravdess8", "emodb7", "iemocap4", "iemocap6", "meld7", "emorynlp7", "mer6",
    "cexpr7", "mikels8", "emo8", "emotion6", "sentiment2", "webemo7", "webemo25", "artemis9", "goemotions28",
    "goemotions_ekman", "goemotions_sentiment", "plutchik8", "plutchik24", "wrime8", "leia5", "vce27", "raer5",
    "emotiontalk7", "sentiment5", "heco8", "merr9", "seed4", "mahnob9", "dreamer9",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_spaces_named_by_the_sheets_exist(name: str) -> None:
    known = labels.space(name)
    digits = "".join(c for c in known.name if c.isdigit())
    if known.name not in ("affwild2_8",) and digits and len(digits) <= 2:
        assert len(known) == int(digits)


@pytest.mark.parametrize("name", ALL)
def test_tables_are_complete(name: str) -> None:
    known = labels.space(name)
    assert len(set(known.labels)) == len(known.labels) > 1
    assert set(known.polarity) == set(known.vad) == set(known.concepts) == set(known.labels)
    assert set(known.polarity.values()) <= {"positive", "negative", "neutral", "ambiguous"}
    points = known.points()
    assert points.shape == (len(known), 3)
    assert (np.abs(points) <= 1).all()
    assert known.title
    assert known.source
    assert known.perspective in known.perspectives


@pytest.mark.parametrize("name", ALL)
def test_labels_and_synonyms_are_found(name: str) -> None:
    known = labels.space(name)
    for i, label in enumerate(known.labels):
        assert known.lookup(label) == label
        assert known.lookup(f"  {label.upper().replace(' ', '_')} ") == label
        assert known.index(label) == i
        assert known.decode(i) == label
    assert set(known.synonyms.values()) == set(known.labels)


@pytest.mark.parametrize("name", ALL)
def test_published_orders_invert_each_other(name: str) -> None:
    known = labels.space(name)
    for variant, order in known.variants.items():
        assert set(order.order) <= set(known.labels)
        assert [known.decode(order.first + i, variant) for i in range(len(order.order))] == list(order.order)
        indices = known.reorder(variant)
        assert [order.order[i] for i in indices] == list(known.labels)


@given(st.sampled_from(ALL), st.data())
def test_reordered_scores_follow_their_label(name: str, data: st.DataObject) -> None:
    known = labels.space(name)
    if not known.variants:
        return
    variant = data.draw(st.sampled_from(sorted(known.variants)))
    order = known.variants[variant].order
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(order), max_size=len(order))))
    brought = scores[known.reorder(variant)]
    for label, score in zip(order, scores, strict=True):
        assert brought[known.index(label)] == score


@pytest.mark.parametrize(
    ("space", "text", "label"),
    [
        ("ferplus8", "Happy", "happiness"),
        ("ferplus8", "NEUTRAL ", "neutral"),
        ("ravdess8", "fear", "fearful"),
        ("cremad6", "ang", "anger"),
        ("emodb7", "W", "anger"),
        ("emodb7", "A", "fear"),
        ("msp_improv4", "A", "anger"),
        ("iemocap6", "exc", "excited"),
        ("cexpr7", "Angrily-Surprised", "Angrily Surprised"),
        ("cexpr7", "surprise_anger", "Angrily Surprised"),
        ("mafw43", "Anxiety_Anger_Disgust", "anger_disgust_anxiety"),
        ("emotic26", "doubt/confusion", "Doubt/Confusion"),
        ("vce27", "Awe", "Awe (or Wonder)"),
        ("dailydialog7", "neutral", "no emotion"),
        ("emorynlp7", "scared", "Scared"),
        ("mer2023", "worry", "worried"),
    ],
)
def test_spellings(space: str, text: str, label: str) -> None:
    assert labels.lookup(space, text) == label


def test_unknown_label_names_file_row_and_remedy() -> None:
    with pytest.raises(LabelError) as caught:
        labels.lookup("ferplus8", "hapyness", file="votes.csv", row=17)
    message = str(caught.value)
    assert message.startswith("votes.csv, row 17:")
    assert "hapyness" in message
    assert "did you mean happiness" in message
    assert "\n" not in message
    with pytest.raises(LabelError, match=r"column\.csv, row 3"):
        labels.space("fer7").lookup_many(["sad", "angry", "hungry"], file="column.csv")


def test_a_word_that_means_two_labels_is_refused() -> None:
    assert "no emotion" in labels.space("fer7")
    assert "no emotion" not in labels.space("ravdess_intensity2")


@pytest.mark.parametrize("code", [0, 8, -1, 2.5, "x", None, float("nan"), "", float("inf")])
def test_numbers_outside_a_published_order_are_refused(code: object) -> None:
    with pytest.raises(LabelError, match=r"list\.txt, row 4"):
        labels.space("rafdb7").decode(code, "publisher", file="list.txt", row=4)  # type: ignore[arg-type]


def test_numbers_differ_between_releases() -> None:
    meld = labels.space("meld7")
    assert [meld.decode(3, v) for v in (None, "affectgpt", "compound_features", "compound_text")] == [
        "sadness", "neutral", "fear", "joy",
    ]  # fmt: skip
    assert labels.space("rafdb7").decode("5", "publisher") == "sadness"
    assert labels.space("dfew7").decode(1, "publisher") == labels.space("dfew7").decode(0, "s4d") == "happy"
    assert labels.space("mafw11").decode(1, "s4d") == "anxiety"
    assert labels.space("mafw11").decode(1, "hicmae") == "disgust"
    assert labels.space("affectnet8").decode(1.0, "kaggle") == "neutral"
    assert labels.space("leia5").labels == ("Sadness", "Affection", "Fear", "Happiness", "Anger")


def test_unknown_space_and_order() -> None:
    with pytest.raises(LabelError, match="ferplus8"):
        labels.space("ferpluss")
    with pytest.raises(LabelError, match="affectgpt"):
        labels.space("meld7").variant("nobody")


def test_compounds_lie_between_their_parts() -> None:
    cexpr, ekman = labels.space("cexpr7"), labels.space("ekman7")
    assert cexpr.concepts["Sadly Fearful"] == ("sadness", "fear")
    expected = (np.array(ekman.vad["sadness"]) + np.array(ekman.vad["fear"])) / 2
    np.testing.assert_allclose(cexpr.vad["Sadly Fearful"], expected)
    assert cexpr.polarity["Happily Surprised"] == "positive"
    assert cexpr.polarity["Sadly Angry"] == "negative"
    assert len(labels.space("mafw43")) == 43
    assert sum(len(parts) > 1 for parts in labels.space("mafw43").concepts.values()) == 32


def test_points_order_as_the_circumplex_does() -> None:
    vad = labels.space("ferplus8").vad
    assert vad["happiness"][0] > vad["surprise"][0] > vad["sadness"][0]
    assert min(vad["anger"][1], vad["fear"][1]) > vad["neutral"][1] > vad["sadness"][1]
    assert vad["anger"][2] > 0 > vad["fear"][2]
    graded = labels.space("plutchik24")
    for label, parent in graded.parents.items():
        if graded.levels[label] == "intense":
            assert graded.vad[label][1] >= graded.vad[parent][1] or parent in ("trust", "anticipation")


def test_every_word_belongs_to_one_concept() -> None:
    words = [labels.normalise(word) for concept in labels.concepts().values() for word in concept.words]
    assert len(words) == len(set(words))


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = labels.normalise(text)
    assert labels.normalise(once) == once


def test_goemotions_file_order(shared_data: Path) -> None:
    names = (shared_data / "goemotions" / "labels.txt").read_text().split()
    assert tuple(names) == labels.space("goemotions28").labels


def test_emoset_vocabulary(shared_data: Path) -> None:
    info = json.loads((shared_data / "emoset" / "info.json").read_text())
    known = labels.space("mikels8")
    assert {name: known.index(name) for name in info["emotion"]["label2idx"]} == info["emotion"]["label2idx"]
    faces = labels.space("emoset_face6")
    assert {faces.lookup(name) for name in info["facial_expression"]["label2idx"]} == set(faces.labels)


def test_ferv39k_folder_names_agree_with_their_numbers(shared_data: Path) -> None:
    known = labels.space("ferv39k7")
    with (shared_data / "face_video_splits" / "FERV39K" / "Annotation" / "test.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7847
    for number, row in enumerate(rows, start=2):
        assert known.decode(row["id"], "s4d", row=number) == known.lookup(row["path"].split("/")[1])


def test_dfew_test_counts(shared_data: Path) -> None:
    path = shared_data / "face_video_splits" / "DFEW" / "EmoLabel_DataSplit" / "test(single-labeled)" / "test_set_1.csv"
    known = labels.space("dfew7")
    with path.open() as stream:
        found = [known.decode(row["label"], "s4d") for row in csv.DictReader(stream)]
    assert [found.count(label) for label in known.labels] == [489, 379, 534, 435, 294, 29, 181]


def test_column_headers_of_real_tables(shared_data: Path) -> None:
    header = (shared_data / "semeval2018_ec" / "2018-E-c-En-dev.txt").open(encoding="utf-8").readline().split()
    assert tuple(header[2:]) == labels.space("semeval11").labels
    header = (shared_data / "wrime" / "dev.tsv").open(encoding="utf-8").readline().split()
    wrime = labels.space("wrime8")
    assert tuple(wrime.lookup(name.split("_")[1]) for name in header if name.startswith("Writer_")) == wrime.labels
    for file, name in (("meld", "meld7"), ("emorynlp", "emorynlp7")):
        for path in sorted((shared_data / file).glob("**/*.csv")):
            with path.open(encoding="utf-8", errors="replace") as stream:
                found = {row["Emotion"] for row in csv.DictReader(stream)}
            assert {labels.lookup(name, text) for text in found} == set(labels.space(name).labels)
    with (shared_data / "emocontext" / "valid.txt").open(encoding="utf-8") as stream:
        found = {line.rstrip("\n").split("\t")[-1] for line in list(stream)[1:]}
    assert found == set(labels.space("emocontext4").labels)
