"""Parrott's tree, the emotion circle, rating scales and facial action units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import labels
from affectus.errors import LabelError
from affectus.labels.label_space import read_table


def test_parrott_tree_has_its_known_size() -> None:
    tree = labels.parrott()
    assert list(tree) == ["love", "joy", "surprise", "anger", "sadness", "fear"]
    assert [len(branch) for branch in tree.values()] == [3, 7, 1, 6, 6, 2]
    assert {name for branch in tree.values() for name in branch} == set(labels.space("webemo25").labels)
    leaves = [leaf for branch in tree.values() for below in branch.values() for leaf in below]
    assert len(leaves) == len(set(leaves)) > 90


def test_parrott_places() -> None:
    assert labels.parrott_place("Jealousy") == labels.Place("anger", "envy", "jealousy")
    assert labels.parrott_place("disgust") == labels.Place("anger", "disgust")
    assert labels.parrott_place("sadness") == labels.Place("sadness")
    assert labels.parrott_place("frustrated").secondary == "exasperation"
    assert labels.parrott_place("worried").primary == "fear"
    with pytest.raises(LabelError, match="Parrott"):
        labels.parrott_place("neutral")


def test_circle_similarity_of_conversation_emotions() -> None:
    known = labels.space("iemocap6")
    similarity = labels.circle_similarity(known)
    at = known.index
    np.testing.assert_allclose(similarity, similarity.T)
    assert similarity[at("happy"), at("excited")] == pytest.approx(math.cos(math.radians(36)))
    assert similarity[at("happy"), at("angry")] == 0
    assert similarity[at("angry"), at("frustrated")] == pytest.approx(math.cos(math.radians(90)), abs=1e-12)
    assert similarity[at("neutral"), at("sad")] == pytest.approx(1 / 6)
    assert similarity[at("sad"), at("frustrated")] == pytest.approx(0.3090, abs=5e-5)
    assert labels.circle_angles("emorynlp7")[labels.space("emorynlp7").index("Powerful")] == 45
    with pytest.raises(LabelError, match="calm"):
        labels.circle_angles("ravdess8")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("joy", "surprise", 0.5878), ("anger", "disgust", 0.5878), ("anger", "fear", 0.3090),
        ("fear", "disgust", 0.9511), ("anger", "sadness", 0.0), ("surprise", "fear", 0.0), ("neutral", "joy", 0.1429),
    ],
)  # fmt: skip
def test_circle_similarity_of_meld(first: str, second: str, expected: float) -> None:
    known = labels.space("meld7")
    similarity = labels.circle_similarity(known)
    assert similarity[known.index(first), known.index(second)] == pytest.approx(expected, abs=5e-5)


UNITS = ["signed", "unit", "likert5", "likert7", "likert9"]


@given(st.sampled_from(UNITS), st.sampled_from(UNITS), st.floats(0, 1))
def test_conversion_there_and_back(first: str, second: str, share: float) -> None:
    a = labels.scale(first)
    value = a.low + share * (a.high - a.low)
    there = labels.convert(np.array([value]), first, second)
    assert labels.scale(second).low - 1e-9 <= there[0] <= labels.scale(second).high + 1e-9
    np.testing.assert_allclose(labels.convert(there, second, first), [value], atol=1e-9)


def test_conversion_known_values() -> None:
    np.testing.assert_allclose(labels.convert([1, 5, 9], "likert9"), [-1, 0, 1])
    np.testing.assert_allclose(labels.convert([1, 4, 7], "oasis", "unit"), [0, 0.5, 1])
    np.testing.assert_allclose(labels.convert([0, 0.5], "unit", "likert5"), [1, 3])
    found = labels.convert([-2, 0.25], "affectnet")
    assert math.isnan(found[0])
    assert found[1] == 0.25
    assert labels.scale("msp_dim").dimensions == ("arousal", "dominance", "valence")
    assert labels.scale("mosei") is labels.scale("mosi")


def test_rating_off_its_scale_names_the_row() -> None:
    with pytest.raises(LabelError, match=r"ratings\.csv, row 3: 9\.5 is off the scale 1…9"):
        labels.scale("warriner").check(np.array([1.0, 9.0, 9.5]), file="ratings.csv")
    with pytest.raises(LabelError, match="no such rating scale"):
        labels.scale("ten")


def test_movie_affect_classes() -> None:
    known = labels.scale("movie_affect")
    assert known.to_class([-1, -0.72, -0.43, -0.14, 0, 0.15, 0.99, 1]).tolist() == [0, 0, 1, 3, 3, 4, 6, 6]
    np.testing.assert_allclose(known.class_centres(), [-1 + 1 / 7 + 2 * c / 7 for c in range(7)], atol=1e-12)
    assert known.class_centres()[known.to_class([0.0])[0]] == pytest.approx(0)
    with pytest.raises(LabelError, match="missing"):
        labels.scale("emotiontalk").to_class([-10.0])
    with pytest.raises(LabelError, match="give n"):
        labels.scale("signed").class_centres()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (12, 12), ("12", 12), ("AU12", 12), ("au 12", 12), ("AU12_r", 12), ("AU12_c", 12), ("AU04", 4), ("L12B", 12),
        ("R12", 12), ("Lip Corner Puller", 12), ("lip corner pull", 12), ("mouthSmileLeft", 12), ("Brow Lowerer", 4),
        ("Inner Brow Raiser", 1), ("cheek puffer", 13), ("Sharp Lip Puller", 13), ("Lip Part", 25), ("Lips Part", 25),
        ("jawOpen", 26), ("Action Unit 6", 6), ("Eyes Closed", 43), ("Nasolabial Deepener", 11),
    ],
)  # fmt: skip
def test_action_unit_names(text: str | int, number: int) -> None:
    assert labels.action_unit(text).number == number


@pytest.mark.parametrize("text", ["AU3", "AU0", "AU99", "", "nose", "123", "AU12345"])
def test_unknown_action_units_are_refused(text: str) -> None:
    with pytest.raises(LabelError, match=r"faces\.csv, row 2"):
        labels.action_unit(text, file="faces.csv", row=2)


def test_action_unit_sets() -> None:
    sizes = {name: len(labels.action_unit_set(name)) for name in labels.action_unit_sets()}
    assert sizes == {
        "openface_intensity": 17, "openface_presence": 18, "pyfeat20": 20, "disfa12": 12, "rafau27": 27,
        "affwild2_12": 12,
    }  # fmt: skip
    for unit in labels.action_units().values():
        assert labels.action_unit(unit.name) is labels.action_unit(unit.code) is labels.action_unit(unit.padded) is unit
        assert all(labels.action_unit(shape) is unit for shape in unit.arkit)
    with pytest.raises(LabelError, match="pyfeat20"):
        labels.action_unit_set("nobody")


def test_feafa_positions() -> None:
    values = labels.feafa()
    assert len(values) == 24
    assert [values[i][1].number for i in (2, 6, 8, 11, 12, 23)] == [5, 2, 26, 12, 12, 9]


def test_prototypes_of_displays() -> None:
    assert [unit.number for unit in labels.prototype("joy")] == [6, 12]
    assert {unit.number for unit in labels.prototype("surprised")} == {1, 2, 5, 26}
    with pytest.raises(LabelError, match="prototypical"):
        labels.prototype("neutral")


def test_every_data_table_parses() -> None:
    for name in ("concepts.toml", "scales.toml", "facs.toml", "parrott.toml", "circle.toml", "lemmas.toml"):
        assert read_table(name)
