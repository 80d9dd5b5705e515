"""Maps between label spaces: totality, mass, round trips, stated losses, known groupings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus import labels
from affectus.errors import LabelError
from affectus.labels.maps import tables

TABLES = sorted(tables())
ALL = labels.spaces()
DROPPING = {
    ("ekman7", "ekman6"), ("affwild2_8", "ekman7"), ("cexpr8", "ekman7"), ("cexpr8", "cexpr7"), ("cremad6", "cremad4"),
    ("iemocap6", "iemocap4"), ("iemocap10", "iemocap6"), ("iemocap10", "ekman7"), ("emotiontalk7", "emotiontalk4"),
    ("merr9", "ekman7"), ("goemotions28", "leia5"), ("ekman7", "leia5"), ("vent10", "leia5"), ("vent10", "ekman7"),
    ("semeval11", "ekman7"), ("emocontext4", "ekman7"), ("plutchik8", "ekman7"), ("artemis9", "mikels8"),
    ("emotion6_7", "emotion6"), ("raer5", "ekman7"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "target"), TABLES)
def test_every_table_is_stochastic_and_states_its_loss(source: str, target: str) -> None:
    known = labels.map_between(source, target)
    assert known.matrix.shape == (len(known.source), len(known.target))
    assert (known.matrix >= 0).all()
    sums = known.matrix.sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    assert known.total is ((source, target) not in DROPPING)
    assert known.reference
    assert known.loss != "nothing"
    for label in (*known.dropped, *known.unreached):
        assert label in known.loss


@settings(deadline=None)
@given(st.sampled_from(TABLES), st.data())
def test_mass_is_conserved_where_the_map_is_total(pair: tuple[str, str], data: st.DataObject) -> None:
    known = labels.map_between(*pair)
    n = len(known.source)
    rows = data.draw(st.lists(st.lists(st.floats(0, 1), min_size=n, max_size=n), min_size=1, max_size=4))
    scores = np.array(rows)
    mapped = known.apply(scores)
    assert mapped.shape == (len(rows), len(known.target))
    kept = [label not in known.dropped for label in known.source.labels]
    np.testing.assert_allclose(mapped.sum(axis=1), scores[:, kept].sum(axis=1), atol=1e-9)
    either = known.apply(scores, combine="any")
    assert ((either >= -1e-12) & (either <= 1 + 1e-12)).all()
    assert (either <= mapped + 1e-9).all()
    np.testing.assert_allclose(known.apply(scores.reshape(1, len(rows), n))[0], mapped)


@pytest.mark.parametrize("name", ALL)
def test_identity_and_sentiment_exist_for_every_space(name: str) -> None:
    same = labels.map_between(name, name)
    np.testing.assert_array_equal(same.matrix, np.eye(len(same.source)))
    assert same.loss == "nothing"
    polar = labels.map_between(name, "sentiment3")
    assert polar.total
    for label in polar.source.labels:
        polarity = polar.source.polarity[label]
        assert polar.matrix[polar.source.index(label)].max() == (0.5 if polarity == "ambiguous" else 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("fer7", "ekman7"), ("affectnet7", "ekman7"), ("rafdb7", "ekman7"), ("meld7", "ekman7"), ("dfew7", "ekman7"),
        ("ferv39k7", "ekman7"), ("caer7", "fer7"), ("emotiontalk7", "meld7"), ("affectnet8", "ferplus8"),
        ("mikels8", "emo8"), ("wrime8", "plutchik8"), ("ve8", "plutchik8"), ("cremad4", "msp_improv4"),
    ],
)  # fmt: skip
def test_round_trip_between_equal_spaces_loses_nothing(first: str, second: str) -> None:
    there, back = labels.map_between(first, second), labels.map_between(second, first)
    np.testing.assert_array_equal(there.matrix @ back.matrix, np.eye(len(there.source)))
    assert there.total
    assert back.total


def test_maps_go_by_name_not_by_position() -> None:
    known = labels.map_between("meld7", "ekman7")
    for label, name in [("joy", "happiness"), ("neutral", "neutral"), ("anger", "anger"), ("surprise", "surprise")]:
        assert known.label(label) == name
    assert known.loss == "nothing"


def test_maps_of_the_shipped_models() -> None:
    face = labels.map_between("ferplus8", "ekman7")
    mapped = face.apply(np.eye(8)[labels.space("ferplus8").index("contempt")])
    expected = dict.fromkeys(labels.space("ekman7").labels, 0.0) | {"anger": 0.5, "disgust": 0.5}
    assert dict(zip(labels.space("ekman7").labels, mapped.tolist(), strict=True)) == expected
    assert labels.map_between("ravdess8", "ekman7").label("calm") == "neutral"
    words = labels.map_between("goemotions28", "ekman7")
    groups = {name: sorted(x for x in words.source.labels if words.label(x) == name) for name in words.target.labels}
    assert groups["anger"] == ["anger", "annoyance", "disapproval"]
    assert groups["fear"] == ["fear", "nervousness"]
    assert groups["sadness"] == ["disappointment", "embarrassment", "grief", "remorse", "sadness"]
    assert groups["surprise"] == ["confusion", "curiosity", "realization", "surprise"]
    assert len(groups["happiness"]) == 12
    assert groups["neutral"] == ["neutral"]


def test_goemotions_sentiment_groups() -> None:
    known = labels.map_between("goemotions28", "goemotions_sentiment")
    counts = dict(zip(known.target.labels, known.matrix.sum(axis=0).tolist(), strict=True))
    assert counts == {"positive": 12, "negative": 11, "ambiguous": 4, "neutral": 1}
    assert {x for x in known.source.labels if known.label(x) == "ambiguous"} == {
        "realization", "surprise", "curiosity", "confusion",
    }  # fmt: skip


def test_compounds_are_shared_by_their_parts() -> None:
    known = labels.map_between("mafw43", "mafw11")
    row = known.matrix[known.source.index("anger_disgust_contempt")]
    assert row[known.target.index("contempt")] == pytest.approx(1 / 3)
    direct = labels.map_between("cexpr7", "ekman6")
    assert direct.via == ("ekman7",)
    assert direct.matrix[direct.source.index("Sadly Angry"), direct.target.index("anger")] == 0.5


def test_intensities_fall_to_their_basic_emotion() -> None:
    known = labels.map_between("plutchik24", "plutchik8")
    assert known.label("terror") == "fear"
    assert known.label("serenity") == "joy"
    assert (known.matrix.sum(axis=0) == 3).all()


def test_chained_map_states_pivot_and_each_loss() -> None:
    known = labels.map_between("ravdess8", "fer7")
    assert known.via == ("ekman7",)
    assert "calm is counted as neutral" in known.loss
    evoked = labels.map_between("emotion6", "ferplus8")
    assert "the perspective changes from evoked to expressed" in evoked.loss


def test_neutral_is_dropped_where_the_target_has_none() -> None:
    known = labels.map_between("meld7", "mosei6")
    assert known.dropped == ("neutral",)
    assert "dropped: neutral" in known.loss
    assert not known.total
    assert labels.map_between("mikels8", "emotion6").via == ("ekman7",)
    assert labels.map_between("ferplus8", "vce27").loss.endswith("the perspective changes from expressed to evoked")


def test_missing_map_is_an_error_with_a_way_out() -> None:
    with pytest.raises(LabelError, match="maps to ekman8, ekman7"):
        labels.map_between("ferplus8", "mikels8")
    with pytest.raises(LabelError, match="no such label space"):
        labels.map_between("ferplus8", "nothing")


def test_wrong_number_of_scores_is_refused() -> None:
    known = labels.map_between("ferplus8", "ekman7")
    for wrong in (np.zeros(7), np.zeros((8, 3)), np.float64(1.0)):
        with pytest.raises(LabelError, match="expected 8 scores"):
            known.apply(wrong)
    with pytest.raises(LabelError, match="'sum' or 'any'"):
        known.apply(np.zeros(8), combine="max")  # type: ignore[arg-type]


def test_independent_probabilities_combine_to_at_least_one() -> None:
    known = labels.map_between("goemotions28", "goemotions_ekman")
    scores = np.zeros(28)
    scores[[known.source.index("joy"), known.source.index("love")]] = 0.5
    assert known.apply(scores, combine="any")[known.target.index("joy")] == pytest.approx(0.75)
    assert known.apply(scores)[known.target.index("joy")] == pytest.approx(1.0)


def test_map_matrix_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        labels.map_between("ferplus8", "ekman7").matrix[0, 0] = 5
