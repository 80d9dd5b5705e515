"""Who follows whom: does a speaker's perceived expression take up that of the one who spoke just before?

For every ordered pair of speakers the replies (a turn of B right after one of A) give a table of transitions from A's
leading label to B's. The labels are those of the turns read without what was said before them: a reading that knows the
turn before would follow it by itself. `echo` is the share of replies with the same label minus the share that the two
speakers' own habits give by chance (the numerator of Cohen's kappa). It is an association in the order of speaking,
never a cause.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from affectus.analysis.fusion import LABELS
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.persons import FusedWindow
from affectus.analysis.rows import RowSink

#: Replies from which a pair is told of, and pairs that are told of at most, those with most replies first.
LEAST_REPLIES, MOST_PAIRS = 8, 60
#: Rows a statement refers to, at most.
MOST_REFS = 12
#: Label before, label of the reply, row of the reply.
Reply = tuple[str, str, int]


def echo(counts: np.ndarray) -> np.ndarray:
    """Share of equal labels beyond chance (…), in [-1, 1], of tables of transitions (…, 7, 7)."""
    total = np.maximum(counts.sum(axis=(-2, -1)), 1)
    shares = counts / total[..., None, None]
    same = np.trace(shares, axis1=-2, axis2=-1)
    return np.asarray(same - (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1))


def write_influence(groups: Sequence[Sequence[WordsTurn]], windows: Mapping[int, FusedWindow], sink: RowSink) -> None:
    """Write an `influence` row for every pair with enough replies, and its transition matrix."""
    replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
    for group in groups:
        for before, after in itertools.pairwise(group):
            first, second = before.turn.speaker, after.turn.speaker
            if first and second and first != second and after.number == before.number + 1:
                labels = [_label(item, windows) for item in (before, after)]
                replies[first, second].append((labels[0], labels[1], windows[after.number].row))
    often = sorted((pair for pair in replies if len(replies[pair]) >= LEAST_REPLIES), key=lambda p: -len(replies[p]))
    for pair in often[:MOST_PAIRS]:
        _write_pair(pair, replies[pair], sink)


def _label(item: WordsTurn, windows: Mapping[int, FusedWindow]) -> str:
    return windows[item.number].label if item.alone is None else LABELS[int(np.argmax(item.alone))]


def _write_pair(pair: tuple[str, str], replies: Sequence[Reply], sink: RowSink) -> None:
    from affectus.metrics import bootstrap_counts, transition_counts, transition_matrix

    labels = [label for before, after, _ in replies for label in (before, after)]
    counts, _ = transition_counts(labels, np.repeat(np.arange(len(replies)), 2), LABELS)
    found = float(echo(counts))
    low, high = np.quantile(echo(bootstrap_counts(counts, 500)), (0.025, 0.975)).tolist()
    same = [row for before, after, row in replies if before == after]
    name = f"{pair[0]}→{pair[1]}"
    expected = len(same) - found * len(replies)
    text = (
        f"After {pair[0]}, {pair[1]} shows the same perceived expression in {len(same)} of {len(replies)} replies; "
        f"{expected:.1f} would be expected by chance. An association, not a cause."
    )
    shared = {"source": "fusion", "speaker": pair[1], "perspective": "expressed", "space": "influence"}
    first = sink.add(
        method="echo",
        label=name,
        score=found,
        low=min(low, found),
        high=max(high, found),
        text=text,
        refs=same[:MOST_REFS],
        **shared,
    )
    matrix = transition_matrix(counts)
    for i, j in np.argwhere(counts > 0).tolist():
        sink.add(
            method="transition",
            label=f"{LABELS[i]}→{LABELS[j]}",
            score=float(matrix[i, j]),
            text=name,
            refs=[first],
            **shared,
        )
