"""Splits that keep groups together, and the official folds of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectus.corpora.leaks import plain_text
from affectus.errors import CorpusError


def linked_groups(table: pa.Table, by: str | Sequence[str]) -> np.ndarray:
    """Group number of each row, `(rows,)` int64: rows that share a value in *any* of the columns are one group.

    `by` names columns with or without `group:` (`"subject"`, `["speaker", "dialogue"]`). A null is a group of its own.
    """
    names = [by] if isinstance(by, str) else list(by)
    parent = np.arange(table.num_rows)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for name in names:
        first: dict[object, int] = {}
        for row, value in enumerate(_column(table, name).to_pylist()):
            if value is None:
                continue
            if value in first:
                a, b = root(first[value]), root(row)
                parent[max(a, b)] = min(a, b)
            else:
                first[value] = row
    roots = np.asarray([root(i) for i in range(table.num_rows)])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    for candidate in (f"group:{name}", name):
        if candidate in table.column_names:
            return table[candidate]
    groups = [c for c in table.column_names if c.startswith("group:")]
    raise CorpusError(name, "no such group column", f"the table has {', '.join(groups) or 'none'}")


def group_split(
    table: pa.Table, by: str | Sequence[str], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, np.ndarray]:
    """Row numbers per part so that no group is in two parts.

    `fractions` maps part names to shares that sum to 1 (`{"train": .8, "valid": .1, "test": .1}`). Groups are dealt in
    random order (seeded), each to the part that lacks most rows of its share, so parts come close to their shares as
    long as no group is large. Raises `CorpusError` when there are fewer groups than parts.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6 or any(f <= 0 for f in fractions.values()):
        raise CorpusError("fractions", f"{dict(fractions)} do not sum to 1")
    groups = linked_groups(table, by)
    sizes = np.bincount(groups)
    if len(sizes) < len(fractions):
        raise CorpusError(str(by), f"only {len(sizes)} groups for {len(fractions)} parts")
    names, wanted = list(fractions), np.asarray(list(fractions.values())) * len(groups)
    part = _deal(sizes, wanted, np.random.default_rng(seed))
    return {name: np.flatnonzero(part[groups] == k) for k, name in enumerate(names)}


def _deal(sizes: np.ndarray, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Part of each group: big groups first among random ties, each where most is lacking relative to the share."""
    order = random.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    part, lack = np.zeros(len(sizes), np.int64), wanted.astype(float).copy()
    for position, group in enumerate(order):
        empty = np.flatnonzero(lack == wanted)
        if len(order) - position <= len(empty):  # the last groups go to parts that have none
            choice = int(empty[0])
        else:
            choice = int(np.argmax(lack / wanted + 1e-9 * random.random(len(wanted))))
        part[group] = choice
        lack[choice] -= sizes[group]
    return part


def group_folds(table: pa.Table, by: str | Sequence[str], folds: int, seed: int = 0) -> list[np.ndarray]:
    """Row numbers of the test part of each of `folds` folds of about equal size; no group is in two folds."""
    parts = group_split(table, by, {str(k): 1 / folds for k in range(folds)}, seed)
    return [parts[str(k)] for k in range(folds)]


def official_folds(table: pa.Table) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """`(fold, train rows, test rows)` of the published folds, in order of their number."""
    folds = table["fold"].to_numpy()
    numbers = sorted(int(n) for n in pc.unique(table["fold"].drop_null()).to_pylist())
    if len(numbers) < 2:
        raise CorpusError("fold", "the corpus has no official folds", "use group_folds")
    for number in numbers:
        yield (
            number,
            np.flatnonzero((folds != number) & ~np.isnan(folds.astype(float))),
            np.flatnonzero(folds == number),
        )


def text_split(table: pa.Table, fractions: Mapping[str, float], seed: int = 0) -> dict[str, np.ndarray]:
    """Random parts of about the given shares, in which no text (compared without case, blanks and marks) is twice."""
    plain = pa.array([plain_text(text or "") or None for text in table["text"].to_pylist()], pa.string())
    return group_split(pa.table({"text": plain}), "text", fractions, seed)


def time_split(table: pa.Table, column: str, fractions: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Parts in order of time, the first named part earliest; rows of the same instant stay together.

    `column` holds times that sort as text (2017-03-01 10:00:00) or as numbers. Raises `CorpusError` where a time is
    missing or a part stays empty.
    """
    if column not in table.column_names or table[column].null_count:
        raise CorpusError(column, "does not give a time for every row", "choose a column without gaps")
    times = np.asarray(table[column].to_pylist())
    order = np.argsort(times, kind="stable")
    ends = np.round(np.cumsum(list(fractions.values())) * len(order)).astype(int)
    parts, start = {}, 0
    for name, end in zip(fractions, ends, strict=True):
        while 0 < end < len(order) and times[order[end]] == times[order[end - 1]]:
            end += 1
        if end <= start:
            raise CorpusError(column, f"leaves nothing for {name}", "give other shares")
        parts[name], start = np.sort(order[start:end]), end
    return parts


def class_split(
    labels: Sequence[str | None], names: Sequence[str], shares: tuple[float, float, float], seed: int = 42
) -> dict[str, np.ndarray]:
    """Rows of `train`, `valid` and `test` by shares of every class, the same on every run.

    Within a class the items are taken in order of their names and shuffled by `seed`: the division by which several
    picture corpora without an official one are used (UniEmoX's of Emotion6: shares .7, .1, .2 and seed 42). Two cuts,
    each rounded down: training items first, then validation items from the rest. Rows without a label are in no part.
    """
    if abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        raise CorpusError("shares", f"{shares} are not three positive shares that sum to 1")
    found: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for label in sorted({v for v in labels if v is not None}):
        rows = np.array(sorted((i for i, v in enumerate(labels) if v == label), key=lambda i: names[i]))
        rest, learnt = _cut(rows, shares[0], seed)
        tested, chosen = _cut(rest, shares[1] / (shares[1] + shares[2]), seed)
        for part, some in zip(found.values(), (learnt, chosen, tested), strict=True):
            part += some.tolist()
    return {part: np.sort(np.array(rows, np.int64)) for part, rows in found.items()}


def _cut(rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rest, and a share rounded down, in the order that scikit-learn's `train_test_split` gives them."""
    order = np.random.RandomState(seed).permutation(len(rows))
    rest = len(rows) - int(share * len(rows))
    return rows[order[:rest]], rows[order[rest:]]
