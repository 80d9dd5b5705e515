"""Scores of retrieval: for every query a row of similarities to all items of a gallery, higher is closer.

`truth` is `(Q,)`, the number of the right item of every query (`np.arange(Q)` for paired data), or `(Q, G)`, the grade
of every item with 0 for irrelevant. `similarity` is `(Q, G)`. Intervals resample queries; the gallery stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, class_ids, numbers, same_length
from affectus.metrics.regression import ranks as average_ranks
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Ties = Literal["average", "best", "worst"]


def _similarities(similarity: npt.ArrayLike) -> Floats:
    table = numbers(similarity, "similarity")
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"similarity must be (queries, gallery), not {table.shape}")
    return table


def _grades(truth: npt.ArrayLike, table: Floats) -> Floats:
    """Grades `(Q, G)`, at least one of them positive in every row."""
    given = numbers(truth, "truth")
    same_length(given, table, ("truth", "similarity"))
    if given.ndim == 1:
        grades = np.zeros_like(table)
        grades[np.arange(len(table)), class_ids(given, table.shape[1])] = 1
        return grades
    if given.shape != table.shape:
        raise ValueError(f"truth must be (Q,) or {table.shape}, not {given.shape}")
    if given.min() < 0:
        raise ValueError("truth holds a negative grade")
    if not (given > 0).any(axis=1).all():
        raise ValueError(f"query {int(np.argmin((given > 0).any(axis=1)))} has no relevant item")
    return given


def retrieval_ranks(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> Floats:
    """Rank of the best-placed right item of every query `(Q,)`, 1 is the top.

    Among equal similarities a right item takes the mean of the places ("average", so that a constant similarity ranks
    (G + 1) / 2), the first ("best") or the last ("worst"). Other right items never push it down.
    """
    table = _similarities(similarity)
    wrong = _grades(truth, table) <= 0
    best = np.where(wrong, -np.inf, table).max(axis=1, keepdims=True)
    before = ((table > best) & wrong).sum(axis=1)
    beside = ((table == best) & wrong).sum(axis=1)
    weight = {"average": 0.5, "best": 0.0, "worst": 1.0}.get(ties)
    if weight is None:
        raise ValueError(f"ties must be average, best or worst, not {ties!r}")
    return np.asarray(1 + before + weight * beside, dtype=np.float64)


def _checked_k(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k


def _within(truth: npt.ArrayLike, similarity: npt.ArrayLike, k: int = 1, ties: Ties = "average") -> Floats:
    return mean_of_rows((retrieval_ranks(truth, similarity, ties) <= _checked_k(k)).astype(np.float64))


@sums_to(_within, finish_mean)
def recall_at(truth: npt.ArrayLike, similarity: npt.ArrayLike, k: int = 1, ties: Ties = "average") -> float:
    """R@k: share of queries with a right item among the first `k`, in [0, 1]."""
    return float(_within(truth, similarity, k, ties)[:, 1].mean())


def median_rank(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> float:
    """MdR: median over queries of the rank of the right item, at least 1."""
    return float(np.median(retrieval_ranks(truth, similarity, ties)))


def _rank_rows(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> Floats:
    return mean_of_rows(retrieval_ranks(truth, similarity, ties))


@sums_to(_rank_rows, finish_mean)
def mean_rank(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> float:
    """MnR: mean over queries of the rank of the right item, at least 1."""
    return float(_rank_rows(truth, similarity, ties)[:, 1].mean())


def _reciprocal_rows(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> Floats:
    return mean_of_rows(1 / retrieval_ranks(truth, similarity, ties))


@sums_to(_reciprocal_rows, finish_mean)
def mrr(truth: npt.ArrayLike, similarity: npt.ArrayLike, ties: Ties = "average") -> float:
    """Mean over queries of 1 / rank of the right item, in (0, 1]."""
    return float(_reciprocal_rows(truth, similarity, ties)[:, 1].mean())


def _precision_rows(truth: npt.ArrayLike, similarity: npt.ArrayLike) -> Floats:
    table = _similarities(similarity)
    relevant = _grades(truth, table) > 0
    order = np.argsort(-table, axis=1, kind="stable")
    ordered, hits = np.take_along_axis(table, order, axis=1), np.take_along_axis(relevant, order, axis=1)
    # Equal similarities share their last place, so that a constant similarity gains nothing.
    last = _last_of_ties(ordered)
    found = np.take_along_axis(np.cumsum(hits, axis=1), last, axis=1)
    return mean_of_rows((hits * found / (last + 1)).sum(axis=1) / relevant.sum(axis=1))


def _last_of_ties(ordered: Floats) -> npt.NDArray[np.int64]:
    """Column of the last equal value, for every cell of rows sorted downwards."""
    columns = np.arange(ordered.shape[1])
    ends = np.concatenate([ordered[:, 1:] != ordered[:, :-1], np.ones((len(ordered), 1), dtype=bool)], axis=1)
    marked = np.where(ends, columns, ordered.shape[1])
    return np.minimum.accumulate(marked[:, ::-1], axis=1)[:, ::-1].astype(np.int64)


@sums_to(_precision_rows, finish_mean)
def retrieval_map(truth: npt.ArrayLike, similarity: npt.ArrayLike) -> float:
    """mAP: mean over queries of the average precision at the places of the right items, in (0, 1].

    Equal similarities count as one block with its last place.
    """
    return float(_precision_rows(truth, similarity)[:, 1].mean())


def _gain_rows(
    truth: npt.ArrayLike, similarity: npt.ArrayLike, k: int | None = None, exponential: bool = False
) -> Floats:
    table = _similarities(similarity)
    grades = _grades(truth, table)
    gains = np.exp2(grades) - 1 if exponential else grades
    discount = 1 / np.log2(np.arange(table.shape[1]) + 2)
    if k is not None:
        discount[_checked_k(k) :] = 0
    order = np.argsort(-table, axis=1, kind="stable")
    ordered, placed = np.take_along_axis(table, order, axis=1), np.take_along_axis(gains, order, axis=1)
    last = _last_of_ties(ordered)
    # Items of equal similarity share the mean gain of their block.
    block = last + np.arange(len(table))[:, None] * table.shape[1]
    size = np.bincount(block.ravel(), minlength=table.size)
    total = np.bincount(block.ravel(), placed.ravel(), minlength=table.size)
    reached = (total / np.maximum(size, 1))[block] @ discount
    return mean_of_rows(reached / (-np.sort(-gains, axis=1) @ discount))


@sums_to(_gain_rows, finish_mean)
def ndcg(truth: npt.ArrayLike, similarity: npt.ArrayLike, k: int | None = None, exponential: bool = False) -> float:
    """nDCG of the first `k` items (all by default), in [0, 1]: gain = grade, or 2^grade - 1 when `exponential`.

    Discount log2(place + 1); items of equal similarity share their mean gain, the expectation over random order.
    """
    return float(_gain_rows(truth, similarity, k, exponential)[:, 1].mean())


def fuse_similarities(tables: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> Floats:
    """Weighted sum `(Q, G)` of similarity tables, equal weights by default (late fusion)."""
    stack = _stack(tables)
    shares = np.full(len(stack), 1 / len(stack)) if weights is None else numbers(weights, "weights")
    if shares.shape != (len(stack),):
        raise ValueError(f"weights must name one weight per table ({len(stack)}), not {shares.shape}")
    return np.tensordot(shares, stack, axes=1)


def fuse_ranks(tables: Sequence[npt.ArrayLike], constant: float = 60.0) -> Floats:
    """Reciprocal rank fusion `(Q, G)`: sum over tables of 1 / (constant + rank), equal items share their rank."""
    return np.asarray(sum(1 / (constant + _gallery_ranks(table)) for table in _stack(tables)))


def _stack(tables: Sequence[npt.ArrayLike]) -> Floats:
    given = [_similarities(table) for table in tables]
    if not given or len({table.shape for table in given}) != 1:
        raise ValueError("fusion needs similarity tables of one shape")
    return np.stack(given)


def _gallery_ranks(table: Floats) -> Floats:
    """Rank of every item for every query `(Q, G)`, 1 is the top, mean rank among equals."""
    return np.stack([average_ranks(-row) for row in table])


@dataclass(frozen=True)
class LayeredRecall:
    """Recall at `k` of queries that exist in several layers of meaning, all in [0, 1].

    `layers` R@k of each; `every` share of queries found in every layer, `some` in at least one; `mean` of the layers;
    `depth_gap` first layer minus last; `consistency` mean Spearman correlation of the gallery order between layers.
    """

    k: int
    layers: dict[str, float]
    every: float
    some: float
    mean: float
    depth_gap: float
    consistency: float


def layered_recall(
    truth: npt.ArrayLike, similarities: Mapping[str, npt.ArrayLike], k: int = 1, ties: Ties = "average"
) -> LayeredRecall:
    """Recall of one query set asked through several layers, surface first (VideoMind: factual, abstract, intent).

    `similarities` maps layer → `(Q, G)`. every <= lowest layer <= mean <= highest layer <= some. `consistency` is NaN
    with one layer or where a similarity is constant.
    """
    stack = _stack(list(similarities.values()))
    found = np.stack([retrieval_ranks(truth, table, ties) <= _checked_k(k) for table in stack])
    layers = {name: float(hit.mean()) for name, hit in zip(similarities, found, strict=True)}
    shares = list(layers.values())
    return LayeredRecall(
        k,
        layers,
        every=float(found.all(axis=0).mean()),
        some=float(found.any(axis=0).mean()),
        mean=float(np.mean(shares)),
        depth_gap=shares[0] - shares[-1],
        consistency=_consistency([_gallery_ranks(table) for table in stack]),
    )


def _consistency(orders: list[Floats]) -> float:
    centred = [order - order.mean(axis=1, keepdims=True) for order in orders]
    values: list[Any] = []
    for i, first in enumerate(centred):
        for second in centred[i + 1 :]:
            norm = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
            product = (first * second).sum(axis=1)
            values.append(np.divide(product, norm, out=np.full(len(norm), np.nan), where=norm > 0).mean())
    return float(np.mean(values)) if values else float("nan")
