"""Sentiment scores read as classes: Acc-2, Acc-5, Acc-7 and the weighted F1 that goes with them.

Corpora give a number per utterance (CMU-MOSI and MOSEI -3..3, CH-SIMS -1..1, EmotionTalk -2..2). Published tables
differ in what happens at zero, so the rule is always named.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, Ints, numbers, paired_numbers
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Bools = npt.NDArray[np.bool_]
NeutralRule = Literal["drop", "non-negative", "negative"]

# Class borders of CH-SIMS; a score on a border belongs to the class below it.
SIMS_EDGES: dict[int, tuple[float, ...]] = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}


def polarity(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, neutral: NeutralRule = "drop"
) -> tuple[Ints, Ints, Bools]:
    """True and predicted polarity `(N,)` (0 negative, 1 positive), and which rows are scored `(N,)`.

    "drop": rows of true score 0 are left out, positive is > 0 on both sides, so a predicted 0 counts as negative (MOSI
    "negative/positive", MER-UniBench). "non-negative": all rows, positive is >= 0 (MOSI "negative/non-negative").
    "negative": all rows, positive is > 0 (CH-SIMS).
    """
    true, predicted = paired_numbers(truth, prediction)
    if neutral not in ("drop", "non-negative", "negative"):
        raise ValueError(f"neutral must be 'drop', 'non-negative' or 'negative', not {neutral!r}")
    scored = true != 0 if neutral == "drop" else np.ones(len(true), dtype=bool)
    if not scored.any():
        raise ValueError("every true score is 0, so nothing is left under neutral='drop'")
    if neutral == "non-negative":
        return (true >= 0).astype(np.int64), (predicted >= 0).astype(np.int64), scored
    return (true > 0).astype(np.int64), (predicted > 0).astype(np.int64), scored


def _cells(truth: npt.ArrayLike, prediction: npt.ArrayLike, neutral: NeutralRule = "drop") -> Floats:
    """Rows `(N, 4)`: the cell of the 2x2 table (truth, prediction) that a scored row falls in."""
    true, predicted, scored = polarity(truth, prediction, neutral)
    cells = np.zeros((len(true), 4))
    cells[np.arange(len(true)), 2 * true + predicted] = scored
    return cells


def _share(part: Floats, whole: Floats) -> Floats:
    """Quotient; NaN where a draw holds no scored row."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _finish_accuracy(sums: Floats, neutral: NeutralRule = "drop") -> Floats:
    return _share(sums[..., 0] + sums[..., 3], sums.sum(axis=-1))


def _finish_f1(sums: Floats, neutral: NeutralRule = "drop") -> Floats:
    right_negative, false_positive, false_negative, right_positive = np.moveaxis(sums, -1, 0)
    wrong = false_positive + false_negative
    negative = right_negative * 2 / np.maximum(2 * right_negative + wrong, 1)
    positive = right_positive * 2 / np.maximum(2 * right_positive + wrong, 1)
    weighted = negative * (right_negative + false_positive) + positive * (right_positive + false_negative)
    return _share(weighted, sums.sum(axis=-1))


@sums_to(_cells, _finish_accuracy)
def acc2(truth: npt.ArrayLike, prediction: npt.ArrayLike, neutral: NeutralRule = "drop") -> float:
    """Accuracy of the polarity of two series `(N,)`, in [0, 1]; see `polarity` for the rules."""
    return float(_finish_accuracy(_cells(truth, prediction, neutral).sum(axis=0)))


@sums_to(_cells, _finish_f1)
def sentiment_f1(truth: npt.ArrayLike, prediction: npt.ArrayLike, neutral: NeutralRule = "drop") -> float:
    """F1 of the polarity weighted by the number of true rows, in [0, 1]; see `polarity` for the rules."""
    return float(_finish_f1(_cells(truth, prediction, neutral).sum(axis=0)))


def _equal_when_rounded(truth: npt.ArrayLike, prediction: npt.ArrayLike, limit: int) -> Floats:
    true, predicted = paired_numbers(truth, prediction)
    return mean_of_rows((np.round(np.clip(true, -limit, limit)) == np.round(np.clip(predicted, -limit, limit))) * 1.0)


@sums_to(partial(_equal_when_rounded, limit=3), finish_mean)
def acc7(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Share of rows whose scores, clipped to [-3, 3] and rounded, are equal; halves round to the even number."""
    return float(_equal_when_rounded(truth, prediction, 3)[:, 1].mean())


@sums_to(partial(_equal_when_rounded, limit=2), finish_mean)
def acc5(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """Share of rows whose scores, clipped to [-2, 2] and rounded, are equal; halves round to the even number."""
    return float(_equal_when_rounded(truth, prediction, 2)[:, 1].mean())


def _same_range(truth: npt.ArrayLike, prediction: npt.ArrayLike, edges: Sequence[float]) -> Floats:
    true, predicted = paired_numbers(truth, prediction)
    borders = numbers(edges, "edges")
    if borders.ndim != 1 or (np.diff(borders) <= 0).any():
        raise ValueError("edges must be one increasing series")
    return mean_of_rows((np.searchsorted(borders, true) == np.searchsorted(borders, predicted)) * 1.0)


@sums_to(_same_range, finish_mean)
def acc_edges(truth: npt.ArrayLike, prediction: npt.ArrayLike, edges: Sequence[float]) -> float:
    """Share of rows whose scores fall between the same `edges` (increasing; a score on an edge belongs below it).

    `SIMS_EDGES[2]`, `[3]` and `[5]` are the classes of CH-SIMS.
    """
    return float(_same_range(truth, prediction, edges)[:, 1].mean())


def sentiment_report(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> dict[str, float]:
    """Scores on -2…2 together: `mse`, `acc5`, and unless every true score is 0 `sentiment_f1` and `acc2` without these.

    Always saying the more frequent sign is a strong baseline where one sign prevails (EmotionTalk: F1 .8836).
    """
    true, predicted = paired_numbers(truth, prediction)
    found = {"mse": float(np.mean((true - predicted) ** 2)), "acc5": acc5(true, predicted)}
    if (true != 0).any():
        found |= {"sentiment_f1": sentiment_f1(true, predicted), "acc2": acc2(true, predicted)}
    return found
