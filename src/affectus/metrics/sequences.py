"""Statistics of emotions in the order of time: transitions between neighbouring clips or turns, runs, patterns.

Rows are in time order. `groups` names the movie, dialogue or person of every row; nothing is counted across a border
between groups. (Temporal analysis of EmoVid, arXiv 2511.11002.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.classification import occurring
from affectus.metrics.inputs import Array, Floats, Ints, class_names, group_ids, not_empty, numbers


def _chain(labels: npt.ArrayLike, groups: npt.ArrayLike | None) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Labels `(N,)` ordered by group, and whether a row and the next belong together `(N - 1,)`."""
    given = not_empty(labels, "labels")
    if given.ndim != 1:
        raise ValueError(f"labels must be one series (N,), not {given.shape}")
    if groups is None:
        return given, np.ones(len(given) - 1, dtype=bool)
    ids, _ = group_ids(groups, len(given))
    order = np.argsort(ids, kind="stable")
    return given[order], np.diff(ids[order]) == 0


def transition_counts(
    labels: npt.ArrayLike, groups: npt.ArrayLike | None = None, states: Sequence[Any] | None = None
) -> tuple[Floats, list[Any]]:
    """Numbers of steps from state (row) to state (column) `(C, C)`, and the states: those given, or all that occur."""
    given, joined = _chain(labels, groups)
    names = class_names(states) or list(occurring(given, given))
    index = {name: number for number, name in enumerate(names)}
    unknown = [label for label in given.tolist() if label not in index]
    if unknown:
        raise ValueError(f"labels holds {unknown[0]!r}, which is none of the states")
    ids = np.array([index[label] for label in given.tolist()])
    cells = ids[:-1][joined] * len(names) + ids[1:][joined]
    return np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), -1).astype(np.float64), names


def transition_matrix(counts: npt.ArrayLike, smoothing: float = 0.0) -> Floats:
    """Probabilities of the next state `(C, C)` from `transition_counts`; rows sum to one.

    `smoothing` is added to every cell (1 where states have few exits). Without it, a state that is never left is NaN.
    """
    table = _square(counts) + smoothing
    if smoothing < 0:
        raise ValueError(f"smoothing must not be negative, not {smoothing}")
    exits = table.sum(axis=1, keepdims=True)
    return np.divide(table, exits, out=np.full_like(table, np.nan), where=exits > 0)


def _square(counts: npt.ArrayLike) -> Floats:
    table = numbers(counts, "counts")
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"counts must be (C, C), not {table.shape}")
    if table.min() < 0:
        raise ValueError("counts holds a negative number")
    return table


def stationary(matrix: npt.ArrayLike) -> Floats:
    """Shares of the states `(C,)` in the long run of a chain with transition `matrix` `(C, C)`.

    Least squares of p M = p with sum one. ValueError where the long run depends on the start, that is where the chain
    falls into parts that cannot reach each other.
    """
    table = _square(matrix)
    if np.abs(table.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError("every row of the matrix must sum to one")
    size = len(table)
    system = np.concatenate([table.T - np.eye(size), np.ones((1, size))])
    if np.linalg.matrix_rank(system, tol=1e-10) < size:
        raise ValueError("the chain falls into parts that cannot reach each other; smooth the counts")
    shares = np.linalg.lstsq(system, np.r_[np.zeros(size), 1.0], rcond=None)[0]
    shares = np.maximum(shares, 0)
    return np.asarray(shares / shares.sum())


def transition_entropy(matrix: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean entropy in bits of the next state, weighted by `weights` `(C,)`, by default the stationary shares.

    0 for a chain that always takes the same step, log2(C) for one that forgets its state.
    """
    table = _square(matrix)
    shares = stationary(table) if weights is None else numbers(weights, "weights")
    logs = np.log2(table, out=np.zeros_like(table), where=table > 0)
    return float(-(table * logs).sum(axis=1) @ shares / shares.sum()) + 0.0


@dataclass(frozen=True)
class Runs:
    """Runs of one and the same label: `label`, first row `start` and `length` in rows, each `(R,)`, in time order."""

    label: Array
    start: Ints
    length: Ints


def runs(labels: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Runs:
    """Runs of equal labels `(N,)`; a run ends with its group. `start` counts rows ordered by group."""
    given, joined = _chain(labels, groups)
    starts = np.flatnonzero(np.r_[True, ~joined | (given[1:] != given[:-1])])
    return Runs(given[starts], starts.astype(np.int64), np.diff(np.r_[starts, len(given)]).astype(np.int64))


@dataclass(frozen=True)
class SequenceStatistics:
    """What a labelled sequence does from one row to the next; shares are of all steps and lie in [0, 1].

    `steps` number of steps; `persistence` share without a change of label; `same_valence` share that changes the label
    but not its valence, `cross_valence` share that changes the valence; `mean_run` mean length of a run of one label in
    rows. `hold`, `drift` and `leap` are the pattern classes of EmoVid and sum to one: hold keeps the label, leap
    changes valence or arousal, drift is every other change.
    """

    steps: int
    persistence: float
    same_valence: float
    cross_valence: float
    mean_run: float
    hold: float
    drift: float
    leap: float


def sequence_statistics(
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    valence: Mapping[Any, Any] | None = None,
    arousal: Mapping[Any, Any] | None = None,
) -> SequenceStatistics:
    """Statistics of the steps of labels `(N,)`.

    `valence` and `arousal` name the side of every label ("positive", "high", 1 …; any values that compare). Without
    `valence` the shares that need it are NaN; without `arousal` a leap is a change of valence alone.
    """
    given, joined = _chain(labels, groups)
    if not joined.any():
        raise ValueError("no two rows follow each other, so there is no step")
    changed = (given[1:] != given[:-1])[joined]
    crossed = _changes(given, joined, valence, "valence")
    jumped = _changes(given, joined, arousal, "arousal")
    leap = crossed | jumped
    missing = valence is None
    share = lambda found: float("nan") if missing else float(found.mean())
    return SequenceStatistics(
        steps=int(joined.sum()),
        persistence=float(1 - changed.mean()),
        same_valence=share(changed & ~crossed),
        cross_valence=share(crossed),
        mean_run=float(runs(labels, groups).length.mean()),
        hold=float(1 - changed.mean()),
        drift=share(changed & ~leap),
        leap=share(leap),
    )


def _changes(
    given: Array, joined: npt.NDArray[np.bool_], sides: Mapping[Any, Any] | None, name: str
) -> npt.NDArray[np.bool_]:
    """Whether a step `(S,)` changes the side of its label; no step does without a table of sides."""
    if sides is None:
        return np.zeros(int(joined.sum()), dtype=bool)
    missing = [label for label in given.tolist() if label not in sides]
    if missing:
        raise ValueError(f"{name} says nothing about {missing[0]!r}")
    side = np.array([sides[label] for label in given.tolist()])
    return np.asarray((side[1:] != side[:-1])[joined])


def persistence(counts: npt.ArrayLike) -> Floats:
    """Share of the steps of every state that stay in it `(C,)`, NaN for a state that is never left or kept."""
    return np.asarray(np.diag(transition_matrix(counts)))
