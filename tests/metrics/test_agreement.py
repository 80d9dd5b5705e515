"""Agreement of raters beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from affectus.metrics import agreement as a
from affectus.metrics import interval

QUICK = settings(max_examples=40, deadline=None)
NAN = float("nan")

# EmotionTalk, all 19,250 utterances: label of all modalities (rows) against the label of one modality alone.
AUDIO = [
    [5762, 177, 183, 247, 242, 152, 90],
    [1443, 1805, 44, 53, 198, 37, 12],
    [266, 4, 812, 28, 14, 9, 20],
    [319, 10, 14, 3099, 58, 183, 15],
    [692, 75, 8, 87, 724, 40, 35],
    [601, 21, 16, 280, 58, 377, 18],
    [295, 13, 33, 26, 69, 20, 466],
]
VIDEO = [
    [4618, 733, 122, 521, 336, 476, 47],
    [205, 3266, 10, 23, 59, 21, 8],
    [280, 44, 669, 56, 7, 78, 19],
    [396, 52, 38, 2899, 46, 263, 4],
    [475, 260, 11, 216, 553, 109, 37],
    [353, 79, 59, 345, 29, 491, 15],
    [281, 17, 55, 130, 54, 125, 260],
]
TEXT = [
    [3625, 622, 412, 671, 872, 299, 352],
    [1804, 776, 135, 218, 494, 95, 70],
    [420, 46, 359, 140, 97, 34, 57],
    [793, 43, 138, 2014, 309, 331, 70],
    [530, 80, 37, 168, 736, 50, 60],
    [434, 31, 54, 413, 117, 266, 56],
    [297, 22, 48, 74, 87, 36, 358],
]
TEXT_VIDEO = [
    [3157, 2204, 356, 1136, 379, 536, 135],
    [540, 828, 44, 85, 49, 62, 12],
    [432, 181, 241, 184, 29, 93, 23],
    [834, 334, 135, 1882, 100, 377, 36],
    [877, 683, 92, 387, 433, 187, 53],
    [354, 131, 39, 363, 40, 173, 11],
    [414, 90, 57, 153, 54, 135, 120],
]

# Six targets rated by four judges (Shrout & Fleiss 1979, table 2).
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

# Four observers, twelve units, gaps (Krippendorff 2011).
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]

# Fourteen raters, ten subjects, five categories (Fleiss 1971 as reprinted in textbooks).
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40).map(
    lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
)
ratings = st.tuples(st.integers(2, 4), st.integers(2, 12)).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=st.integers(1, 5).map(float))
)


@pytest.mark.parametrize(("table", "kappa"), [(AUDIO, 0.572), (VIDEO, 0.567), (TEXT, 0.259), (TEXT_VIDEO, 0.174)])
def test_emotiontalk_kappa(table: list[list[int]], kappa: float) -> None:
    # the sheet cuts or rounds the last digit
    assert a.kappa_of(table) == pytest.approx(kappa, abs=6e-4)


@QUICK
@given(pairs, st.sampled_from(["none", "linear", "quadratic"]))
def test_cohen_equals_scikit_learn(pair: tuple[np.ndarray, np.ndarray], weights: a.KappaWeights) -> None:
    first, second = pair
    ours = a.cohen_kappa(first, second, 4, weights=weights)
    if len(np.unique(np.r_[first, second])) == 1:
        assert ours == 0
    else:
        peer = sk.cohen_kappa_score(first, second, labels=[0, 1, 2, 3], weights=None if weights == "none" else weights)
        assert ours == pytest.approx(peer)
    assert a.cohen_kappa(second, first, 4, weights=weights) == pytest.approx(ours)
    assert -1 - 1e-12 <= ours <= 1


def test_cohen_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 200)
    second = np.where(rng.random(200) < 0.7, first, rng.integers(0, 3, 200))
    value, low, high = interval(a.cohen_kappa, first, second, weights="quadratic")
    assert low < value < high
    with pytest.raises(ValueError, match="weights must be"):
        a.cohen_kappa(first, second, weights="cubic")  # type: ignore[arg-type]


def test_fleiss_textbook() -> None:
    assert a.fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_degenerate_and_bad() -> None:
    assert a.fleiss_kappa([[3, 0], [0, 3]]) == 1
    assert a.fleiss_kappa([[3, 0], [3, 0]]) == 0
    with pytest.raises(ValueError, match="same number of raters"):
        a.fleiss_kappa([[3, 0], [1, 1]])
    with pytest.raises(ValueError, match="same number of raters"):
        a.fleiss_kappa([[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="empty"):
        a.fleiss_kappa([])
    with pytest.raises(ValueError, match="non-negative"):
        a.fleiss_kappa([[3, -1]])


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_krippendorff_worked_example(level: a.Level, alpha: float) -> None:
    assert a.krippendorff_alpha(KRIPPENDORFF, level) == pytest.approx(alpha, abs=5e-4)


@QUICK
@given(ratings, st.sampled_from(["nominal", "ordinal", "interval", "ratio"]))
def test_alpha_equals_its_definition_over_pairs(table: np.ndarray, level: a.Level) -> None:
    values, units = np.unique(table), table.T
    totals = np.array([(table == value).sum() for value in values])
    ranks = dict(zip(values, np.cumsum(totals) - totals / 2, strict=True))

    def distance(c: float, k: float) -> float:
        if level == "nominal":
            return float(c != k)
        if level == "ratio":
            return ((c - k) / (c + k)) ** 2
        return (ranks[c] - ranks[k]) ** 2 if level == "ordinal" else (c - k) ** 2

    observed = np.mean([distance(c, k) for unit in units for i, c in enumerate(unit) for k in np.delete(unit, i)])
    pooled = table.ravel()
    expected = np.mean([distance(c, k) for i, c in enumerate(pooled) for k in np.delete(pooled, i)])
    wanted = 1 - observed / expected if expected else 0.0
    assert a.krippendorff_alpha(table, level) == pytest.approx(wanted, abs=1e-9)


@QUICK
@given(ratings)
def test_alpha_invariance(table: np.ndarray) -> None:
    raters, units = (
        np.random.default_rng(0).permutation(len(table)),
        np.random.default_rng(1).permutation(table.shape[1]),
    )
    for level in ("nominal", "ordinal", "interval"):
        value = a.krippendorff_alpha(table, level)
        assert value <= 1 + 1e-12
        assert a.krippendorff_alpha(table[raters][:, units], level) == pytest.approx(value, abs=1e-9)
        assert a.krippendorff_alpha(2 * table + 7, level) == pytest.approx(value, abs=1e-9)
    assert a.krippendorff_alpha(table, "ordinal") == pytest.approx(a.krippendorff_alpha(table**3, "ordinal"))


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0), (1, 1e8)])
def test_alpha_on_tiny_and_far_scales(scale: float, shift: float) -> None:
    table = np.array(KRIPPENDORFF) * scale + shift
    assert a.krippendorff_alpha(table, "interval") == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval", "ratio"])
def test_alpha_of_one_value_everywhere_is_zero(level: a.Level) -> None:
    assert a.krippendorff_alpha(np.full((3, 7), 0.1), level) == 0


def test_alpha_of_names_and_votes() -> None:
    named = [["joy", "fear", None, "joy"], ["joy", "joy", "fear", "joy"]]
    votes, labels = a.votes_of(named)
    assert labels == ["fear", "joy"]
    assert votes.tolist() == [[0, 2], [1, 1], [1, 0], [0, 2]]
    assert a.krippendorff_alpha(named) == pytest.approx(a.alpha_of_votes(votes))


@pytest.mark.parametrize(
    ("table", "level", "message"),
    [
        ([[1, NAN], [NAN, 2]], "nominal", "no unit has two ratings"),
        ([[NAN, NAN]], "nominal", "no rating"),
        ([], "nominal", "not empty"),
        ([[-1, 2], [1, 2]], "ratio", "negative"),
        ([["a", "b"], ["a", "a"]], "interval", "must hold numbers"),
        ([["a", 1], ["a", 2]], "nominal", "mixes"),
        ([[1, 2], [1, 2]], "rank", "level must be"),
    ],
)
def test_bad_ratings_are_named(table: object, level: a.Level, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a.krippendorff_alpha(table, level)  # type: ignore[arg-type]


def test_unknown_label_names_rater_and_unit() -> None:
    with pytest.raises(ValueError, match="rater 1 gave 'rage' to unit 0"):
        a.votes_of([["joy"], ["rage"]], ["joy"])


@pytest.mark.parametrize(
    ("form", "value"), [("1,1", 0.17), ("2,1", 0.29), ("3,1", 0.71), ("1,k", 0.44), ("2,k", 0.62), ("3,k", 0.91)]
)
def test_icc_of_shrout_and_fleiss(form: a.IccForm, value: float) -> None:
    assert a.icc(SHROUT_FLEISS, form) == pytest.approx(value, abs=0.005)


@QUICK
@given(ratings, st.floats(-20, 20))
def test_icc_properties(table: np.ndarray, shift: float) -> None:
    raters = np.random.default_rng(0).permutation(len(table))
    for form in ("1,1", "2,1", "3,1", "1,k", "2,k", "3,k"):
        value = a.icc(table.T, form)
        assert value <= 1 + 1e-9
        assert a.icc(table[raters].T + shift, form) == pytest.approx(value, abs=1e-6)
    # consistency ignores what a rater adds everywhere, agreement does not reward it
    biased = table + np.arange(len(table))[:, None] * 3
    assert a.icc(biased.T, "3,1") == pytest.approx(a.icc(table.T, "3,1"), abs=1e-6)


def test_icc_degenerate_and_bad() -> None:
    assert a.icc(np.full((4, 3), 0.1)) == 0
    assert a.icc([[1, 1], [2, 2], [5, 5]]) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least two"):
        a.icc([[1], [2]])
    with pytest.raises(ValueError, match="NaN"):
        a.icc([[1, NAN], [2, 3]])
    with pytest.raises(ValueError, match="form must be"):
        a.icc(SHROUT_FLEISS, "2")  # type: ignore[arg-type]


def test_swap_consistency_of_preferences() -> None:
    swap = {"a1": "a2", "a2": "a1"}
    first, swapped = ["a1", "a1", "same", "a2"], ["a2", "a1", "same", "a1"]
    assert a.swap_consistency(first, swapped, swap) == 0.75
    with pytest.raises(ValueError, match="answers"):
        a.swap_consistency(first, swapped[:2], swap)
    with pytest.raises(ValueError, match="empty"):
        a.swap_consistency([], [], swap)
