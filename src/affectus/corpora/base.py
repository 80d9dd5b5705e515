"""What a corpus is: its facts, the problems found in a folder, and the one table every reader fills.

Column names follow one grammar, so that a reader is a list of plain rows and a user can find things by name:

| column | type | meaning |
|---|---|---|
| `id` | string | the publisher's own name of the item, unique within the corpus |
| `split` | string | `train`, `valid`, `test`, as published, else as the reader says it deals them, else null |
| `fold` | int32 | number of the official fold in which the item is tested, null without folds |
| `media` | string | reference of the item's file, see `files.Files` |
| `start`, `end` | float64 | span in seconds within the medium |
| `text`, `speaker` | string | words of the item and who says them |
| `group:NAME` | string | key that must not be shared between train and test (subject, dialogue, video, writer, theme) |
| `label:SPACE` | string | one label |
| `labels:SPACE` | list of string | several labels |
| `votes:SPACE` | list of float | rater votes, in the order of the field's `labels` metadata |
| `dist:SPACE` | list of float | share of each label, sums to one or is null |
| `scores:SPACE` | list of float | intensity of each label, published unit |
| `dim:NAME` | float64 | valence, arousal, dominance … rescaled to [-1, 1] |
| `raw:NAME` | float64 | the same in the published unit |
| `meta:NAME` | any | other published facts |

A name may end in `@expressed`, `@evoked` or `@felt` where a corpus has several perspectives; without it the column has
the perspective of the corpus. `table.field(name).metadata` holds `perspective`, `labels` (JSON list) and `unit`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from affectus.errors import CorpusError, LabelError
from affectus.labels import space as label_space

#: Columns that every table has, in this order.
BASE_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "split": pa.string(),
    "fold": pa.int32(),
    "media": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "text": pa.string(),
    "speaker": pa.string(),
}

_KINDS: dict[str, pa.DataType | None] = {
    "group": pa.string(),
    "label": pa.string(),
    "labels": pa.list_(pa.string()),
    "votes": pa.list_(pa.float32()),
    "dist": pa.list_(pa.float32()),
    "scores": pa.list_(pa.float32()),
    "dim": pa.float64(),
    "raw": pa.float64(),
    "meta": None,
}

#: Published spellings of the three splits.
SPLIT_NAMES: dict[str, str] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "development": "valid",
    "test": "test",
    "testing": "test",
}

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class CorpusInfo:
    """Facts about a corpus that a user needs before having it.

    `perspective` is that of the unmarked label columns (`mixed` where raters' and authors' views were averaged).
    `labels` gives the order of list columns by space name, `units` the published unit of `raw:` columns.
    `counts` are the published numbers of items per split; `archives` are glob patterns of archives to look into.
    `needs_media` says that an item without its file is useless (pictures, recordings), so that it is left out of the
    table as soon as some files are there; a folder holding lists only keeps all rows with a null `media`.
    `leaks` says what the official splits share and why, by kind (see `leaks.Leak`): a fact of the publication, which
    training reports, whereas any other leak stops it.
    """

    name: str
    title: str
    modalities: tuple[str, ...]
    perspective: str
    licence: str
    obtain: str
    size: str
    layout: str
    citation: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    archives: tuple[str, ...] = ("*.tar", "*.tar.gz", "*.tgz", "*.zip")
    needs_media: bool = False
    leaks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One thing that is missing or malformed: `row` is the 1-based line or record number in `file`, 0 for the file."""

    file: str
    row: int
    reason: str
    remedy: str = ""
    level: Level = "error"

    def __str__(self) -> str:
        where = f"{self.file}:{self.row}" if self.row else self.file
        return f"{where}: {self.reason}" + (f" ({self.remedy})" if self.remedy else "")


class Notes:
    """Collects problems while a folder is read; in strict mode the first error is raised instead."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.problems: list[Problem] = []
        self._known: dict[tuple[str, str | None], str] = {}

    def error(self, file: str, row: int, reason: str, remedy: str = "") -> None:
        """Record a malformed file or row; raises `CorpusError` in strict mode."""
        self.problems.append(Problem(file, row, reason, remedy, "error"))
        if self.strict:
            raise CorpusError(f"{file}:{row}" if row else file, reason, remedy)

    def warn(self, file: str, row: int, reason: str, remedy: str = "") -> None:
        """Record something that does not spoil the table, such as an item without its file."""
        self.problems.append(Problem(file, row, reason, remedy, "warning"))

    def label(self, value: Any, known: Mapping[Any, str] | Sequence[str], file: str, row: int) -> str | None:
        """The known label for a published value (a name or a code), or an error that names file and row."""
        if isinstance(known, Mapping):
            if value in known:
                return known[value]
        elif value in known:
            return str(value)
        expected = ", ".join(str(k) for k in list(known)[:12])
        self.error(file, row, f"unknown label {value!r}", f"expected one of {expected}")
        return None

    def lookup(self, space: str, value: str | None, file: str, row: int) -> str | None:
        """The label of a space for a published spelling (synonyms count), or an error that names file and row."""
        if (space, value) not in self._known:
            try:
                self._known[space, value] = label_space(space).lookup(value or "")
            except LabelError as error:
                self.error(file, row, error.reason, error.remedy)
                return None
        return self._known[space, value]

    def decode(self, space: str, code: str | int | None, file: str, row: int, variant: str | None = None) -> str | None:
        """The label of a space for a published number, by the named order of the space; names are taken as such."""
        if isinstance(code, str) and re.search(r"[^\W\d_]", code):
            return self.lookup(space, code, file, row)
        try:
            return label_space(space).decode("" if code is None else code, variant)
        except LabelError as error:
            self.error(file, row, error.reason, error.remedy)
            return None

    def number(self, value: Any, low: float, high: float, name: str, file: str, row: int) -> float | None:
        """`value` as a float within [low, high], or an error that names file and row."""
        try:
            result = float(value)
        except (TypeError, ValueError):
            self.error(file, row, f"{name} is {value!r}, not a number", f"expected {low:g} to {high:g}")
            return None
        if not low <= result <= high:
            self.error(file, row, f"{name} is {result:g}", f"expected {low:g} to {high:g}")
            return None
        return result


def orders(*names: str) -> dict[str, tuple[str, ...]]:
    """Label orders of registered label spaces, for `CorpusInfo.labels`."""
    return {name: tuple(label_space(name).labels) for name in names}


def rescale(value: float | None, low: float, high: float) -> float | None:
    """Map a rating on [low, high] to [-1, 1]; None stays None."""
    return None if value is None else 2.0 * (value - low) / (high - low) - 1.0


def column_kind(name: str) -> tuple[str, str, str]:
    """Split a column name into kind, name and perspective (empty where unmarked): `dim:valence@felt`."""
    kind, _, rest = name.partition(":")
    rest, _, perspective = rest.partition("@")
    return kind, rest, perspective


def _field(name: str, values: Sequence[Any], info: CorpusInfo) -> tuple[pa.Field, pa.Array | pa.ChunkedArray]:
    ready = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else None
    if name in BASE_COLUMNS:
        return pa.field(name, BASE_COLUMNS[name]), pa.array(values, BASE_COLUMNS[name]) if ready is None else ready
    kind, rest, perspective = column_kind(name)
    if kind not in _KINDS or not rest:
        raise CorpusError(info.name, f"reader filled an unknown column {name!r}")
    array = pa.array(values, _KINDS[kind]) if ready is None else ready
    metadata: dict[str, str] = {}
    if kind not in ("group", "meta"):
        metadata["perspective"] = perspective or info.perspective
    if rest in info.labels:
        metadata["labels"] = json.dumps(list(info.labels[rest]))
    if kind == "dim":
        metadata["unit"] = "-1…1"
    elif unit := info.units.get(rest):
        metadata["unit"] = unit
    return pa.field(name, array.type, metadata=metadata), array


def build_table(filled: Mapping[str, Any] | Iterable[Mapping[str, Any]], info: CorpusInfo) -> pa.Table:
    """Arrow table from a reader's rows (dictionaries) or columns; absent base columns and values become null."""
    if not isinstance(filled, Mapping):
        rows = list(filled)
        names = dict.fromkeys(name for row in rows for name in row)
        filled = {name: [row.get(name) for row in rows] for name in names}
    count = len(next(iter(filled.values()), ()))
    ordered = [*BASE_COLUMNS, *(n for n in filled if n not in BASE_COLUMNS)]
    parts = [_field(n, filled[n] if n in filled else [None] * count, info) for n in ordered]
    return pa.table([a for _, a in parts], schema=pa.schema([f for f, _ in parts]))


#: A reader module offers `INFO`, `read(files, notes)` and, where that is not enough, `check(files, table, notes)`.
Reader = Callable[..., Mapping[str, Any] | Iterable[Mapping[str, Any]]]
