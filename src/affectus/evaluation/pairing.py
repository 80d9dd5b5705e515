"""Truth and predictions brought together by name, with what is missing on either side counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affectus.errors import ConfigError
from affectus.evaluation.items import Item, Items, loose

#: Field names of the two sides, in order of preference; `item` is a value without a field name.
TRUTH = ("ground_truth", "truth", "gt", "target", "gold", "y_true", "reference")
PREDICTION = (
    "prediction", "predicted", "predict", "pred", "y_pred", "answer", "response", "output", "generations", "generation",
    "reason", "text",
)  # fmt: skip


@dataclass
class Pairs:
    """Items that are scored: names, true fields and predicted fields (None where there is no prediction)."""

    names: list[str]
    truth: list[Item]
    predicted: list[Item | None]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    single_file: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def keep(self, mask: Iterable[bool], reason: str) -> Pairs:
        """The pairs of a mask; the others are counted under `reason`."""
        rows = np.flatnonzero(np.asarray(list(mask), bool))
        lost = len(self) - len(rows)
        left_out = self.left_out | ({reason: self.left_out.get(reason, 0) + lost} if lost else {})
        return Pairs(
            [self.names[i] for i in rows],
            [self.truth[i] for i in rows],
            [self.predicted[i] for i in rows],
            left_out,
            list(self.notes),
            self.single_file,
        )

    def true(self, names: Iterable[str]) -> list[Any]:
        """Value of the first of these fields that an item has, per item; None without."""
        wanted = (*TRUTH, *names) if self.single_file else (*names, *TRUTH, "item")
        return [pick(item, wanted) for item in self.truth]

    def guessed(self, names: Iterable[str] = ()) -> list[Any]:
        """The same for predictions; in a file that holds both sides only fields that cannot be truth."""
        wanted = PREDICTION if self.single_file else (*names, *PREDICTION, "item")
        return [None if item is None else pick(item, wanted) for item in self.predicted]

    def facts(self, *names: str) -> list[Any]:
        """A stated fact about each item, such as its sub-task; None without."""
        return [pick(item, names) for item in self.truth]

    def groups(self) -> np.ndarray | None:
        """Keys of the first `group:` field that all items have, None without at least two values."""
        if not self.truth:
            return None
        for key in self.truth[0]:
            if key.startswith("group:") and all(item.get(key) for item in self.truth):
                values = np.array([str(item[key]) for item in self.truth])
                if 2 <= len(np.unique(values)) < len(values):
                    return values
        return None


def pick(item: Item, names: Iterable[str]) -> Any:
    """Value of the first of these fields that is there; letter case does not matter, `name:…` matches by prefix."""
    folded = {str(key).strip().lower(): value for key, value in item.items() if key is not None}
    for name in names:
        if name.endswith(":"):
            found = next((v for k, v in folded.items() if k.startswith(name) and v is not None), None)
        else:
            found = folded.get(name.lower())
        if found is not None:
            return found
    return None


def pair(
    predicted: Items,
    truth: Items | None,
    parts: Iterable[str] = (),
    place: tuple[int, str] | None = None,
    missing: str = "wrong",
) -> Pairs:
    """Join by name. Without `truth` the predictions file holds both sides.

    `parts` names the parts of a label file in order of preference, `place` keeps names with that letter at that
    position. `missing="wrong"` keeps items without a prediction, `"drop"` leaves them out. ConfigError when nothing
    fits together.
    """
    guesses = predicted.of(parts)
    if truth is None:
        rows = list(guesses.values())
        return Pairs(list(guesses), rows, list(rows), single_file=True)
    known = truth.of(parts)
    if place is not None:
        known = {name: item for name, item in known.items() if name[place[0] : place[0] + 1] == place[1]}
    if not known:
        raise ConfigError(truth.source, "holds no item of this benchmark")
    notes = []
    matched = {name: guesses[name] for name in known if name in guesses}
    if 2 * len(matched) < min(len(known), len(guesses)):
        relaxed = _loosely(known, guesses)
        if len(relaxed) > len(matched):
            matched = relaxed
            notes.append("names were matched without folders, suffixes, letter case and leading zeros")
    if not matched:
        mine, theirs = next(iter(guesses), ""), next(iter(known))
        raise ConfigError(
            predicted.source,
            f"no name occurs in {truth.source} (such as {mine!r}; there {theirs!r})",
            "give predictions and labels of the same release",
        )
    names = list(known) if missing == "wrong" else [name for name in known if name in matched]
    left_out: dict[str, int] = {}
    lost = len(known) - len(matched)
    if lost and missing == "wrong":
        notes.append(f"{lost} items without a prediction count as wrong")
    elif lost:
        left_out["without a prediction"] = lost
    if extra := len(guesses) - len(matched):
        left_out["predictions for other items"] = extra
    return Pairs(names, [known[n] for n in names], [matched.get(n) for n in names], left_out, notes)


def _loosely(known: Mapping[str, Item], guesses: Mapping[str, Item]) -> dict[str, Item]:
    """Matches by `loose` names, where those are unique on both sides."""
    short: dict[str, list[str]] = {}
    for name in guesses:
        short.setdefault(loose(name), []).append(name)
    twice = {key for key, names in short.items() if len(names) > 1}
    seen: dict[str, int] = {}
    for name in known:
        seen[loose(name)] = seen.get(loose(name), 0) + 1
    return {
        name: guesses[short[key][0]]
        for name in known
        if (key := loose(name)) in short and key not in twice and seen[key] == 1
    }
