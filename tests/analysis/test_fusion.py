from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectus.analysis import fusion
from affectus.analysis.fusion import LABELS, Opinion, conflict, decide, fuse, jensen_shannon, to_common
from affectus.analysis.persons import write_window
from affectus.analysis.rows import RowSink
from affectus.types import Card

K = len(LABELS)
SOURCES = ("face", "voice", "words")


def distributions() -> st.SearchStrategy[np.ndarray]:
    positive = arrays(np.float64, K, elements=st.floats(1e-3, 1.0))
    return positive.map(lambda v: v / v.sum())


@st.composite
def opinions(draw: st.DrawFn, least: int = 1) -> list[Opinion]:
    names = draw(st.lists(st.sampled_from(SOURCES), min_size=least, max_size=3, unique=True))
    return [
        Opinion(
            name,
            draw(distributions()),
            draw(st.floats(0.05, 1.0)),
            spread=np.full(K, draw(st.floats(0, 0.3))),
            affect=(draw(st.floats(-1, 1)), draw(st.floats(-1, 1))),
            prior=draw(st.none() | distributions()),
        )
        for name in names
    ]


def informed(some: list[Opinion]) -> bool:
    """Whether any modality says more than its prior; where none does there is nothing to keep unchanged."""
    priors = [np.full(K, 1 / K) if o.prior is None else o.prior for o in some]
    return any(np.abs(o.probabilities - prior).max() > 0.01 for o, prior in zip(some, priors, strict=True))


def peaked(label: str, p: float) -> np.ndarray:
    values = np.full(K, (1 - p) / (K - 1))
    values[LABELS.index(label)] = p
    return values


@given(opinions())
def test_probabilities_sum_to_one_and_lie_within_their_band(some: list[Opinion]) -> None:
    result = fuse(some)
    assert result.probabilities.sum() == pytest.approx(1)
    assert (result.probabilities >= 0).all()
    assert (result.low <= result.probabilities).all()
    assert (result.probabilities <= result.high).all()
    assert (result.low >= 0).all()
    assert (result.high <= 1).all()
    assert (result.affect_low <= result.affect).all()
    assert (result.affect <= result.affect_high).all()
    assert (np.abs(result.affect) <= 1).all()


@given(opinions(2), st.randoms())
def test_order_of_modalities_is_irrelevant(some: list[Opinion], random: object) -> None:
    mixed = list(some)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert np.array_equal(fuse(some).probabilities, fuse(mixed).probabilities)
    assert np.array_equal(fuse(some).affect, fuse(mixed).affect)
    assert conflict(some, 0.1) == conflict(mixed, 0.1)


@given(opinions(), st.floats(0.05, 1.0))
def test_a_uniform_modality_changes_nothing(some: list[Opinion], weight: float) -> None:
    assume(informed(some))
    more = [*some, Opinion("zzz", np.full(K, 1 / K), weight)]
    np.testing.assert_allclose(fuse(more).probabilities, fuse(some).probabilities, atol=1e-9)


@given(opinions(), distributions(), st.floats(0.05, 1.0))
def test_a_modality_that_repeats_its_prior_changes_nothing(
    some: list[Opinion], prior: np.ndarray, weight: float
) -> None:
    assume(informed(some))
    more = [*some, Opinion("zzz", prior, weight, prior=prior)]
    np.testing.assert_allclose(fuse(more).probabilities, fuse(some).probabilities, atol=1e-6)


@given(st.sampled_from(LABELS), distributions(), distributions())
def test_a_certain_modality_dominates_vague_ones(label: str, first: np.ndarray, second: np.ndarray) -> None:
    vague = [0.5 * p + 0.5 / K for p in (first, second)]
    some = [Opinion("face", peaked(label, 1 - 1e-4)), *(Opinion(n, p) for n, p in zip(SOURCES[1:], vague, strict=True))]
    assert decide(fuse(some).probabilities, 0.0)[0] == label


@given(distributions(), st.one_of(st.none(), distributions()))
def test_one_reliable_modality_keeps_its_posterior(p: np.ndarray, prior: np.ndarray | None) -> None:
    np.testing.assert_allclose(fuse([Opinion("face", p, 1.0, prior=prior)]).probabilities, p, atol=1e-3)


@given(distributions(), st.floats(0.1, 0.9))
def test_less_reliability_is_less_certain(p: np.ndarray, weight: float) -> None:
    firm, vague = (fuse([Opinion("face", p, w)]).probabilities for w in (1.0, weight))
    assert vague.max() <= firm.max() + 1e-9
    assert int(vague.argmax()) == int(firm.argmax()) or np.isclose(np.sort(p)[-1], np.sort(p)[-2])


def test_agreement_strengthens_and_the_band_narrows() -> None:
    one = fuse([Opinion("face", peaked("anger", 0.6))])
    two = fuse([Opinion("face", peaked("anger", 0.6)), Opinion("voice", peaked("anger", 0.6))])
    a = LABELS.index("anger")
    assert two.probabilities[a] > one.probabilities[a]
    # dependence: two equal opinions count for less than two independent ones
    independent = 0.6**2 / (0.6**2 + 6 * (0.4 / 6) ** 2)
    assert two.probabilities[a] < independent


def test_known_value_of_two_equal_opinions() -> None:
    # M = 2, d = 3/4 each, sum of exponents 1.5 on the uniform prior
    p = peaked("fear", 0.5)
    wanted = p**1.5 / (p**1.5).sum()
    result = fuse([Opinion("face", p), Opinion("voice", p)])
    np.testing.assert_allclose(result.probabilities, wanted, atol=1e-9)


def test_spread_within_the_window_widens_the_band() -> None:
    steady = fuse([Opinion("face", peaked("anger", 0.6), spread=np.zeros(K))])
    shaky = fuse([Opinion("face", peaked("anger", 0.6), spread=np.full(K, 0.2))])
    assert (shaky.high - shaky.low).sum() > (steady.high - steady.low).sum()


def test_unknown_affect_stays_unknown() -> None:
    result = fuse([Opinion("face", peaked("anger", 0.6))])
    assert np.isnan(result.affect).all()
    half = fuse([Opinion("face", peaked("anger", 0.6)), Opinion("voice", peaked("anger", 0.6), affect=(np.nan, 0.4))])
    assert np.isnan(half.affect[0])
    assert half.affect[1] == pytest.approx(0.4)


def test_nothing_to_fuse_is_refused() -> None:
    with pytest.raises(ValueError, match="no opinion"):
        fuse([])


@given(distributions(), distributions())
def test_divergence_is_symmetric_and_between_0_and_1(p: np.ndarray, q: np.ndarray) -> None:
    bits = jensen_shannon(p, q)
    assert 0 <= bits <= 1
    assert bits == pytest.approx(jensen_shannon(q, p))
    assert jensen_shannon(p, p) == pytest.approx(0, abs=1e-12)


def test_divergence_of_distributions_with_nothing_in_common_is_one_bit() -> None:
    assert jensen_shannon(np.eye(K)[0], np.eye(K)[3]) == pytest.approx(1)
    # against scipy's distance (its square, base 2)
    from scipy.spatial.distance import jensenshannon

    p, q = peaked("anger", 0.7), peaked("happiness", 0.4)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


def test_conflict_names_the_pair_that_differs_most() -> None:
    some = [
        Opinion("face", peaked("happiness", 0.9)),
        Opinion("voice", peaked("anger", 0.95)),
        Opinion("words", peaked("sadness", 0.5)),
    ]
    found = conflict(some, 0.4)
    assert found is not None
    assert found[:2] == ("face", "voice")
    assert found[2] == pytest.approx(jensen_shannon(some[0].probabilities, some[1].probabilities))


@pytest.mark.parametrize(
    ("other", "weight"),
    [("neutral", 1.0), ("happiness", 1.0), ("anger", 0.1)],
    ids=["neutral is no contrary cue", "same label", "too little weight"],
)
def test_no_conflict(other: str, weight: float) -> None:
    some = [Opinion("face", peaked("happiness", 0.9)), Opinion("voice", peaked(other, 0.9), weight)]
    assert conflict(some, 0.05) is None


def test_conflict_below_the_threshold_is_silent() -> None:
    some = [Opinion("face", peaked("happiness", 0.4)), Opinion("voice", peaked("anger", 0.4))]
    assert conflict(some, 0.9) is None
    assert conflict(some, 0.05) is not None


def test_decision_abstains_below_the_stated_confidence() -> None:
    assert decide(peaked("fear", 0.44), 0.45) == ("uncertain", pytest.approx(0.44))
    assert decide(peaked("fear", 0.46), 0.45) == ("fear", pytest.approx(0.46))


@pytest.mark.parametrize("space", ["ferplus8", "ravdess8", "goemotions28"])
@given(data=st.data())
def test_posteriors_of_the_model_spaces_sum_to_one(space: str, data: st.DataObject) -> None:
    from affectus.labels import space as label_space

    n = len(label_space(space))
    scores = data.draw(arrays(np.float64, (3, n), elements=st.floats(0, 1)))
    common = to_common(space, scores)
    assert common.shape == (3, K)
    np.testing.assert_allclose(common.sum(axis=1), 1)


def test_go_emotions_join_by_group() -> None:
    from affectus.labels import space

    labels = space("goemotions28").labels
    scores = np.zeros(28)
    scores[labels.index("joy")], scores[labels.index("love")], scores[labels.index("anger")] = 0.5, 0.5, 0.25
    common = to_common("goemotions28", scores)
    # happiness 1 - .5 · .5 = .75, anger .25
    assert common[LABELS.index("happiness")] == pytest.approx(0.75)
    assert common[LABELS.index("anger")] == pytest.approx(0.25)


def test_reliability_follows_the_card() -> None:
    card = {"name": "x", "title": "", "version": "", "modality": "face", "task": "", "perspective": "expressed"}
    card |= {"space": "ferplus8", "labels": ()}
    assert fusion.reliability(Card(**card, metrics={"ece": {"value": 0.02}})) == pytest.approx(0.9)
    assert fusion.reliability(Card(**card, calibration={"ece_after": 0.1})) == pytest.approx(0.5)
    assert fusion.reliability(Card(**card, metrics={"ece": {"value": 0.9}})) == pytest.approx(0.05)
    assert fusion.reliability(Card(**card)) == 0.5


def test_prior_comes_from_the_true_classes_of_the_card() -> None:
    from affectus.labels import space

    labels = space("ravdess8").labels
    confusion = np.zeros((8, 8), int)
    confusion[labels.index("angry"), labels.index("happy")] = 10
    card = Card("v", "", "", "voice", "", "expressed", "ravdess8", labels, confusion=confusion.tolist())
    prior = fusion.prior_of(card)
    assert prior.sum() == pytest.approx(1)
    assert prior[LABELS.index("anger")] == pytest.approx(0.5 / 7 + 0.5)
    np.testing.assert_allclose(fusion.prior_of(Card("v", "", "", "voice", "", "expressed", "ravdess8", labels)), 1 / 7)


def mixed(**shares: float) -> np.ndarray:
    return np.array([shares.get(label, (1 - sum(shares.values())) / (K - len(shares))) for label in LABELS])


@pytest.mark.parametrize(("threshold", "decided"), [(0.4, "uncertain"), (1.0, "neutral")])
def test_a_compromise_of_a_conflict_is_not_named(threshold: float, decided: str) -> None:
    some = [
        Opinion("voice", mixed(anger=0.58, neutral=0.4)),
        Opinion("words", mixed(sadness=0.58, neutral=0.4)),
    ]
    assert LABELS[int(np.argmax(fuse(some).probabilities))] == "neutral"
    assert not fusion.led(some, fuse(some).probabilities)
    with RowSink("a.wav") as sink:
        window = write_window(sink, (-1, ""), 0, (0.0, 1.0), some, 0.45, threshold)
        table = sink.finish()
    assert window.score > 0.45
    assert window.decision == decided
    assert decided in table["label"].to_pylist()


def test_a_label_that_wins_a_conflict_is_named() -> None:
    some = [Opinion("voice", mixed(anger=0.97)), Opinion("words", mixed(sadness=0.5, anger=0.3))]
    with RowSink("a.wav") as sink:
        window = write_window(sink, (-1, ""), 0, (0.0, 1.0), some, 0.45, 0.2)
        sink.finish()
    assert window.conflict is not None
    assert window.decision == "anger"
