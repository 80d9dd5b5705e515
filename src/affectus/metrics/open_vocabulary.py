"""Scores of predicted emotion words against true ones when neither comes from a closed list.

The words of a row (a list, or the text of one as published files hold it) are mapped to clusters of emotion wheels by
`affectus.labels.wheels`; a row is then a pair of sets, truth G and prediction P. Words out of vocabulary vanish, and so
does "neutral": a row without any known true word is not scored. (OV-MER, arXiv 2410.01495; MER2025, MER2026.)

All `wheel_*` scores take `tables` (from `wheels.load`; the library's own by default), `wheel` (None means the mean over
all wheels) and `level`; scores from different tables are not comparable, so a result names `tables.version`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.labels import wheels
from affectus.metrics.inputs import Array, Floats, Ints
from affectus.metrics.sums import sums_to

Mapped = npt.NDArray[np.uint64]
Modes = tuple[tuple[str, int, int], ...]
Score = Literal["precision", "recall", "f1"]

_SIGNS = {"positive": 1.0, "negative": -1.0}


class _Numbers(dict[Any, int]):
    """Word as written → its row in the tables of masks; every spelling is cleaned once."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        super().__init__(vocabulary)
        self.vocabulary = vocabulary

    def __missing__(self, word: Any) -> int:
        number = self[word] = self.vocabulary.get(wheels.clean_word(str(word)), len(self.vocabulary))
        return number


@lru_cache(maxsize=8)
def _vocabulary(tables: wheels.WheelTables) -> dict[str, int]:
    return {form: number for number, form in enumerate(tables.forms)}


@lru_cache(maxsize=64)
def _masks(tables: wheels.WheelTables, mode: str, wheel: int, level: int) -> Mapped:
    """The cluster of every word form as one bit, `(forms + 1, blocks of 64 clusters)`; the last row is no cluster."""
    known = tables.dictionary(mode, wheel, level)
    bits = {cluster: bit for bit, cluster in enumerate(sorted(set(known.values())))}
    masks = np.zeros((len(tables.forms) + 1, max(1, -(-len(bits) // 64))), dtype=np.uint64)
    numbers = _vocabulary(tables)
    rows = np.array([numbers[word] for word in known], dtype=np.int64)
    bit = np.array([bits[cluster] for cluster in known.values()], dtype=np.int64)
    masks[rows, bit // 64] = np.uint64(1) << (bit % 64).astype(np.uint64)
    return masks


def _rows_of(lists: Any, name: str) -> list[Any]:
    if isinstance(lists, (str, Mapping)):
        raise ValueError(f"{name} must be one word list per row, not a single {type(lists).__name__}")
    rows = lists.tolist() if isinstance(lists, np.ndarray) else list(lists)
    if not rows:
        raise ValueError(f"{name} is empty: there is nothing to score")
    return rows


def _words(row: Any, number: int, name: str) -> Iterable[Any]:
    """The words of a row; only texts, missing values and wrong kinds need parsing."""
    if isinstance(row, (list, tuple, set, frozenset)):
        return row
    try:
        return wheels.parse_words(row)
    except TypeError:
        raise ValueError(f"{name} row {number} is no list of words: {row!r}") from None


def _pieces(row: Any, number: int, name: str) -> Iterable[Any]:
    """As `_words`, but a text is only cut where `parse_words` cuts it: what is left over is no word of any table."""
    if not isinstance(row, str):
        return _words(row, number, name)
    text = row.strip()
    text = text[1:] if text.startswith("[") else text
    text = text[:-1] if text.endswith("]") else text
    # The first replacement changes nothing but the number of blank pieces.
    return text.replace("', '", ",").replace("'", ",").replace('"', ",").split(",")


def _pair(truth: Any, prediction: Any) -> tuple[list[Any], list[Any]]:
    true, predicted = _rows_of(truth, "truth"), _rows_of(prediction, "prediction")
    if len(true) != len(predicted):
        raise ValueError(f"truth has {len(true)} rows but prediction has {len(predicted)}")
    return true, predicted


def _sets(rows: list[Any], masks: Mapped, numbers: _Numbers, name: str) -> Mapped:
    """The clusters of every row as bits `(N, blocks)`."""
    found: list[int] = []
    ends = []
    for number, row in enumerate(rows):
        found.extend(map(numbers.__getitem__, _pieces(row, number, name)))
        ends.append(len(found))
    lengths = np.diff(ends, prepend=0)
    sets = np.zeros((len(rows), masks.shape[1]), dtype=np.uint64)
    if found:
        filled = lengths > 0
        starts = (np.cumsum(lengths) - lengths)[filled]
        sets[filled] = np.bitwise_or.reduceat(masks[np.array(found)], starts, axis=0)
    return sets


def _counts(true: list[Any], predicted: list[Any], tables: wheels.WheelTables, modes: Modes) -> tuple[Ints, Ints, Ints]:
    """|G & P|, |G| and |P| of every row in every mode, each `(N, modes)`."""
    blocks = [_masks(tables, *mode) for mode in modes]
    masks = np.concatenate(blocks, axis=1)
    starts = np.cumsum([0] + [block.shape[1] for block in blocks])[:-1]
    numbers = _Numbers(_vocabulary(tables))
    first, second = _sets(true, masks, numbers, "truth"), _sets(predicted, masks, numbers, "prediction")

    def sizes(bits: Mapped) -> Ints:
        return np.add.reduceat(np.bitwise_count(bits), starts, axis=1, dtype=np.int64)

    return sizes(first & second), sizes(first), sizes(second)


def _modes(tables: wheels.WheelTables, wheel: int | None, level: int, mode: str) -> Modes:
    if mode != "M3":
        return ((mode, 0, 0),)
    return tuple(("M3", number, level) for number in (range(1, tables.n_wheels + 1) if wheel is None else (wheel,)))


def _share(part: Array, whole: Array, empty: float = 0.0) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)


def _overlaps(hits: Ints, true: Ints, predicted: Ints) -> Floats:
    """Statistics `(N, 3 modes)`: whether a row is scored, its precision, its recall."""
    scored = (true > 0) * 1.0
    precision, recall = _share(hits * scored, predicted * 1.0), _share(hits * 1.0, true * 1.0)
    return np.stack([scored, precision, recall], axis=2).reshape(len(hits), -1)


def _mode_rows(truth: Any, prediction: Any, tables: wheels.WheelTables, modes: Modes) -> Floats:
    return _overlaps(*_counts(*_pair(truth, prediction), tables, modes))


def _wheel_rows(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    level: int = 1,
    mode: str = "M3",
) -> Floats:
    own = tables or wheels.load()
    return _mode_rows(truth, prediction, own, _modes(own, wheel, level, mode))


def _parts(sums: Floats) -> dict[str, Floats]:
    """Scores `(..., modes)` from sums `(..., 3 modes)`; NaN where no row was scored.

    F is the harmonic mean of the averages, not the average of the rows' F.
    """
    parts = sums.reshape(*sums.shape[:-1], -1, 3)
    scored = parts[..., 0]
    precision, recall = (_share(parts[..., i], scored, np.nan) for i in (1, 2))
    f1 = np.where(scored > 0, _share(2 * precision * recall, precision + recall), np.nan)
    return {"scored": scored, "precision": precision, "recall": recall, "f1": f1}


def _finish(sums: Floats, score: Score, **_options: Any) -> Floats:
    return np.asarray(_parts(sums)[score].mean(axis=-1))


def _total(rows: Floats, score: Score) -> float:
    value = float(_finish(rows.sum(axis=0), score))
    if np.isnan(value):
        raise ValueError("no true word is known to a wheel, so there is nothing to score")
    return value


@sums_to(_wheel_rows, partial(_finish, score="f1"))
def wheel_f1(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    level: int = 1,
    mode: str = "M3",
) -> float:
    """Set F of word lists (N rows) in [0, 1]: per wheel 2 P R / (P + R) of `wheel_precision` P and `wheel_recall` R.

    `mode` "M1" and "M2" compare base words and wheel words instead of clusters. ValueError when a wheel knows no true
    word at all. With `level=1` and the published tables this is the EW score of MER-UniBench.
    """
    return _total(_wheel_rows(truth, prediction, tables, wheel, level, mode), "f1")


@sums_to(_wheel_rows, partial(_finish, score="precision"))
def wheel_precision(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    level: int = 1,
    mode: str = "M3",
) -> float:
    """Mean over scored rows of |G & P| / |P|, 0 where P is empty (some papers call it accuracy); see `wheel_f1`."""
    return _total(_wheel_rows(truth, prediction, tables, wheel, level, mode), "precision")


@sums_to(_wheel_rows, partial(_finish, score="recall"))
def wheel_recall(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    level: int = 1,
    mode: str = "M3",
) -> float:
    """Mean over scored rows of |G & P| / |G|; see `wheel_f1`."""
    return _total(_wheel_rows(truth, prediction, tables, wheel, level, mode), "recall")


def _all_mode_rows(truth: Any, prediction: Any, tables: wheels.WheelTables | None = None) -> Floats:
    own = tables or wheels.load()
    return _mode_rows(truth, prediction, own, tuple(own.modes()))


@sums_to(_all_mode_rows, partial(_finish, score="f1"))
def mode_average(truth: Any, prediction: Any, tables: wheels.WheelTables | None = None) -> float:
    """Mean of the set F over all mapping modes (M1, M2, every wheel and level): the M-avg of OV-MER, in [0, 1]."""
    return _total(_all_mode_rows(truth, prediction, tables), "f1")


@dataclass(frozen=True)
class WheelScore:
    """One row of the report: a mapping mode, its scores, and how many rows were scored."""

    mode: str
    precision: float
    recall: float
    f1: float
    scored: int


@dataclass(frozen=True)
class WheelReport:
    """Scores of every wheel and their means, with what a reader needs to judge them.

    `skipped` are rows whose truth no wheel knows, `true_words` and `predicted_words` mean list lengths (a long list
    buys recall), `unknown` the share of predicted words outside the tables.
    """

    precision: float
    recall: float
    f1: float
    rows: int
    skipped: int
    true_words: float
    predicted_words: float
    unknown: float
    wheels: tuple[WheelScore, ...]
    tables: str
    digest: str


def wheel_report(
    truth: Any, prediction: Any, tables: wheels.WheelTables | None = None, level: int = 1, mode: str = "M3"
) -> WheelReport:
    """All set scores of word lists (N rows), per wheel and as means, with list lengths and the tables used."""
    own = tables or wheels.load()
    true, predicted = _pair(truth, prediction)
    modes = _modes(own, None, level, mode)
    rows = _overlaps(*_counts(true, predicted, own, modes))
    totals = {name: _total(rows, name) for name in ("precision", "recall", "f1")}  # type: ignore[arg-type]
    parts = _parts(rows.sum(axis=0))
    scores = tuple(
        WheelScore(
            f"M3-W{wheel}-L{used}" if kind == "M3" else kind,
            float(parts["precision"][i]),
            float(parts["recall"][i]),
            float(parts["f1"][i]),
            int(parts["scored"][i]),
        )
        for i, (kind, wheel, used) in enumerate(modes)
    )
    words = [[wheels.clean_word(str(w)) for w in _words(row, i, "prediction")] for i, row in enumerate(predicted)]
    listed = sum(map(len, words))
    lost = sum(word not in own.forms for row in words for word in row)
    return WheelReport(
        **totals,
        rows=len(true),
        skipped=int((rows.reshape(len(true), -1, 3)[:, :, 0].sum(axis=1) == 0).sum()),
        true_words=sum(len(list(_words(row, i, "truth"))) for i, row in enumerate(true)) / len(true),
        predicted_words=listed / len(true),
        unknown=lost / listed if listed else 0.0,
        wheels=scores,
        tables=own.version,
        digest=own.digest,
    )


def wheel_reward(truth: Any, prediction: Any, tables: wheels.WheelTables | None = None, level: int = 1) -> Floats:
    """F1 of every row's sets, averaged over the wheels, `(N,)` in [0, 1] (the reward of AffectGPT-R1).

    A wheel that does not know the truth counts 0; a row that no wheel knows is NaN, since no answer could score there.
    """
    own = tables or wheels.load()
    hits, true, predicted = _counts(*_pair(truth, prediction), own, _modes(own, None, level, "M3"))
    rewards = _share(2.0 * hits, (true + predicted) * 1.0).mean(axis=1)
    return np.where((true > 0).any(axis=1), rewards, np.nan)


def _hit_rows(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    candidates: Sequence[str] | None = None,
) -> Floats:
    """Statistics `(N, 3 wheels)` of one true label per row; see `wheel_hit_rate`. The third of each wheel is unused."""
    own = tables or wheels.load()
    labels, predicted = _pair(truth, prediction)
    for number, label in enumerate(labels):
        if not isinstance(label, str):
            raise ValueError(f"truth row {number} must be one label, not {label!r}")
    modes = _modes(own, wheel, 1, "M3")
    hits, true, _ = _counts([[label] for label in labels], predicted, own, modes)
    share = hits * 1.0
    if candidates is not None:
        listed, _, _ = _counts(predicted, [list(candidates)] * len(predicted), own, modes)
        share = _share(share, listed * 1.0)
    return np.stack([true * 1.0, share, np.zeros_like(share)], axis=2).reshape(len(labels), -1)


@sums_to(_hit_rows, partial(_finish, score="precision"))
def wheel_hit_rate(
    truth: Any,
    prediction: Any,
    tables: wheels.WheelTables | None = None,
    wheel: int | None = None,
    candidates: Sequence[str] | None = None,
) -> float:
    """Share of rows whose one true label falls in a level-1 cluster of the predicted words, mean over wheels.

    `truth` (N,) labels, `prediction` N word lists. Rows whose label a wheel does not know are left out there, hence
    every "neutral" row (MER-UniBench on MER2023, MELD, IEMOCAP). Long lists are not punished; with `candidates`, the
    labels of the corpus, a hit counts 1 / (number of their clusters that were predicted).
    """
    return _total(_hit_rows(truth, prediction, tables, wheel, candidates), "precision")


def any_wheel_hit(
    truth: Any, prediction: Any, tables: wheels.WheelTables | None = None, level: int = 1
) -> npt.NDArray[np.bool_]:
    """Whether truth and prediction share a cluster on at least one wheel `(N,)`; used to filter machine labels.

    Here, unlike in the scores, "neutral" is a cluster of its own and an empty list means neutral.
    """
    own = tables or wheels.load()
    true, predicted = _pair(truth, prediction)
    hits, _, _ = _counts(true, predicted, own, _modes(own, None, level, "M3"))
    neutral = [_neutral(rows, name) for rows, name in ((true, "truth"), (predicted, "prediction"))]
    return (hits > 0).any(axis=1) | (neutral[0] & neutral[1])


def _neutral(rows: list[Any], name: str) -> npt.NDArray[np.bool_]:
    found = [[wheels.clean_word(str(word)) for word in _words(row, i, name)] for i, row in enumerate(rows)]
    return np.array([not words or "neutral" in words for words in found])


def sentiment_sign(answers: Iterable[Any]) -> Floats:
    """Answers "positive", "negative", "neutral" as 1, -1, 0 `(N,)`; anything else is 0, as published.

    `sentiment_f1(scores, sentiment_sign(answers))` is the WAF of MER-UniBench: rows of true score 0 are left out and a
    predicted 0 counts as negative.
    """
    return np.array([_SIGNS.get(str(answer).strip().lower(), 0.0) for answer in answers])
