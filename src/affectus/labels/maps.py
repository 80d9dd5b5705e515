"""Maps between label spaces, by name only, each with its loss stated.

A map is a row-stochastic matrix (n_source, n_target): a row sums to 1 where the label has a counterpart and to 0 where
it is dropped. Maps come from a table (`data/maps/*.toml`), from the names alone when every source label but a neutral
one is also a spelling of a target label, or by chaining through one of the stated `PIVOTS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from affectus.errors import LabelError
from affectus.labels.label_space import LabelSpace, data_files, read_table, space
from affectus.labels.text import normalise
from affectus.labels.trees import parrott_place

#: Spaces a map may be chained through; the one that keeps most labels is taken, at a tie the first.
PIVOTS = ("ekman8", "ekman7", "mikels8", "parrott6", "plutchik8")


@dataclass(frozen=True, eq=False)
class LabelMap:
    """How scores over `source` labels become scores over `target` labels.

    `matrix` is float64 (n_source, n_target), `loss` says in words what is lost, `dropped` names source labels without a
    counterpart, `unreached` target labels that never receive anything, `via` the spaces passed through.
    """

    source: LabelSpace
    target: LabelSpace
    matrix: np.ndarray
    loss: str
    reference: str = ""
    via: tuple[str, ...] = ()

    @property
    def total(self) -> bool:
        """Whether every source label has a counterpart, so that `apply` conserves mass."""
        return not self.dropped

    @property
    def dropped(self) -> tuple[str, ...]:
        """Source labels without a counterpart."""
        return tuple(label for label, row in zip(self.source.labels, self.matrix, strict=True) if not row.any())

    @property
    def unreached(self) -> tuple[str, ...]:
        """Target labels that no source label maps to."""
        return tuple(label for label, column in zip(self.target.labels, self.matrix.T, strict=True) if not column.any())

    def label(self, text: str) -> str | None:
        """Counterpart of one label (any spelling); None when it is dropped, the larger share when it is split."""
        row = self.matrix[self.source.index(text)]
        return self.target.labels[int(row.argmax())] if row.any() else None

    def apply(self, probabilities: np.ndarray, combine: Literal["sum", "any"] = "sum") -> np.ndarray:
        """Scores (…, n_source) → (…, n_target), float64.

        `sum` adds the mass of labels that fall together and conserves it where the map is total. `any` is for
        independent probabilities of a multi-label space: the chance that at least one of the labels holds,
        1 - prod(1 - w p).
        """
        scores = np.asarray(probabilities, dtype=np.float64)
        if scores.ndim == 0 or scores.shape[-1] != len(self.source):
            found = scores.shape[-1] if scores.ndim else "a single number"
            raise LabelError(
                f"{self.source.name} → {self.target.name}",
                f"expected {len(self.source)} scores per item, got {found}",
                f"columns are {', '.join(self.source.labels)}",
            )
        if combine == "sum":
            return scores @ self.matrix
        if combine != "any":
            raise LabelError(str(combine), "no such way to combine", "use 'sum' or 'any'")
        return 1.0 - np.prod(1.0 - scores[..., :, None] * self.matrix, axis=-2)


def map_between(source: str | LabelSpace, target: str | LabelSpace) -> LabelMap:
    """The map from one space to another: a table, by name, or chained through a pivot.

    LabelError when there is none, with the spaces that can be reached.
    """
    first = source.name if isinstance(source, LabelSpace) else space(source).name
    second = target.name if isinstance(target, LabelSpace) else space(target).name
    return _map_between(first, second)


@cache
def _map_between(source: str, target: str) -> LabelMap:
    direct = _direct(source, target)
    if direct is not None:
        return direct
    steps = [(_direct(source, pivot), _direct(pivot, target)) for pivot in PIVOTS if pivot not in (source, target)]
    chains = [_chain([first, second]) for first, second in steps if first is not None and second is not None]
    if chains and (best := max(chains, key=lambda chain: chain.matrix.sum())).matrix.any():
        return best
    reach = [name for name in (*PIVOTS, "sentiment3", "sentiment2") if name != source and _direct(source, name)]
    raise LabelError(
        f"{source} → {target}",
        "there is no map between these label spaces",
        f"{source} maps to {', '.join(reach)}" if reach else "score the labels of one space only",
    )


def tables() -> Iterator[tuple[str, str]]:
    """(source, target) of every map given by a table."""
    yield from _tables()


@lru_cache(maxsize=1)
def _tables() -> Mapping[tuple[str, str], tuple[Mapping[str, Any], str]]:
    found: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}
    for file in data_files("maps"):
        for record in read_table(file)["map"]:
            key = (space(record["source"]).name, space(record["target"]).name)
            if key in found:
                raise LabelError(file, f"the map {key[0]} → {key[1]} is defined twice")
            found[key] = (record, file)
    return MappingProxyType(found)


def _direct(source: str, target: str) -> LabelMap | None:
    """Map without a pivot: identity, table, polarity or names; None when there is none."""
    a, b = space(source), space(target)
    if source == target:
        return LabelMap(a, b, np.eye(len(a)), "nothing")
    if (source, target) in _tables():
        record, file = _tables()[source, target]
        return _from_table(a, b, record, file)
    if target in ("sentiment2", "sentiment3"):
        return _by_polarity(a, b, "only the polarity of the label is kept", "polarity of the labels")
    if all(label in b or a.polarity[label] == "neutral" for label in a.labels) and any(x in b for x in a.labels):
        return _by_name(a, b)
    return None


def _from_table(a: LabelSpace, b: LabelSpace, record: Mapping[str, Any], file: str) -> LabelMap:
    if "via" in record:
        return _chain([_required(x, y) for x, y in pairwise([a.name, *record["via"], b.name])])
    if record.get("by") == "polarity":
        return _by_polarity(a, b, record["loss"], record.get("reference", ""))
    table = {a.lookup(label, file): entry for label, entry in record.get("table", {}).items()}
    matrix = np.zeros((len(a), len(b)))
    for i, label in enumerate(a.labels):
        shares = _shares(a, b, label, table.get(label), record)
        if shares is None:
            raise LabelError(file, f"{a.name} → {b.name}: nothing is said about {label!r}")
        for name, share in shares.items():
            matrix[i, b.index(name)] += share
    return _finished(a, b, matrix, record["loss"], record.get("reference", ""))


def _shares(
    a: LabelSpace, b: LabelSpace, label: str, entry: str | Mapping[str, float] | None, record: Mapping[str, Any]
) -> Mapping[str, float] | None:
    """Target labels and shares of one source label; empty when it is dropped, None when nothing is known."""
    rule = record.get("by", "name")
    if entry is None and rule == "parts" and all(part in b for part in a.concepts[label]):
        return {part: 1.0 / len(a.concepts[label]) for part in a.concepts[label]}
    if entry is None and rule == "parts":
        entry = ""
    if entry is None and rule == "parents":
        entry = a.parents[label]
    if entry is None and rule == "parrott":
        entry = parrott_place(label).primary
    if entry is None:
        entry = record.get("rest", b.synonyms.get(normalise(label)))
    if entry is None:
        return None
    if isinstance(entry, str):
        return {entry: 1.0} if entry else {}
    return entry


def _by_name(a: LabelSpace, b: LabelSpace) -> LabelMap:
    """Same names and synonyms; a neutral label is dropped where the target has none."""
    matrix = np.zeros((len(a), len(b)))
    for i, label in enumerate(a.labels):
        if label in b:
            matrix[i, b.index(label)] = 1.0
    merged = [label for label, column in zip(b.labels, matrix.T, strict=True) if column.sum() > 1]
    loss = f"several labels become {', '.join(merged)}" if merged else "nothing"
    return _finished(a, b, matrix, loss, "same names")


def _by_polarity(a: LabelSpace, b: LabelSpace, loss: str, reference: str) -> LabelMap:
    """Labels by polarity; without an ambiguous class in the target such a label is half positive, half negative."""
    matrix = np.zeros((len(a), len(b)))
    for i, label in enumerate(a.labels):
        polarity = a.polarity[label]
        if polarity in b.labels:
            matrix[i, b.index(polarity)] = 1.0
        elif polarity == "ambiguous":
            matrix[i, [b.index("positive"), b.index("negative")]] = 0.5
    if "ambiguous" not in b.labels and "ambiguous" in a.polarity.values():
        loss += "; labels of either polarity are split in halves"
    return _finished(a, b, matrix, loss, reference)


def _finished(a: LabelSpace, b: LabelSpace, matrix: np.ndarray, loss: str, reference: str) -> LabelMap:
    """Complete the stated loss by what the matrix and the perspectives show."""
    built = LabelMap(a, b, matrix, loss, reference)
    notes = [] if loss == "nothing" else [loss]
    if built.dropped and not all(label in loss for label in built.dropped):
        notes.append(f"dropped: {', '.join(built.dropped)}")
    if built.unreached:
        notes.append(f"never produced: {', '.join(built.unreached)}")
    if note := _perspective_note(a, b):
        notes.append(note)
    matrix.setflags(write=False)
    return LabelMap(a, b, matrix, "; ".join(notes) or "nothing", reference)


def _perspective_note(a: LabelSpace, b: LabelSpace) -> str:
    if set(a.perspectives) & set(b.perspectives):
        return ""
    return f"the perspective changes from {a.perspective} to {b.perspective}"


def _chain(maps: list[LabelMap]) -> LabelMap:
    first, last = maps[0], maps[-1]
    matrix = np.linalg.multi_dot([m.matrix for m in maps]) if len(maps) > 1 else first.matrix
    via = tuple(m.target.name for m in maps[:-1])
    losses = [f"{m.source.name} → {m.target.name}: {m.loss}" for m in maps if m.loss != "nothing"]
    if note := _perspective_note(first.source, last.target):
        losses.append(note)
    matrix = np.array(matrix)
    matrix.setflags(write=False)
    reference = "; ".join(dict.fromkeys(m.reference for m in maps if m.reference))
    return LabelMap(first.source, last.target, matrix, "; ".join(losses) or "nothing", reference, via)


def _required(source: str, target: str) -> LabelMap:
    found = _direct(source, target)
    if found is None:
        raise LabelError(f"{source} → {target}", "a step of a chained map is missing")
    return found
