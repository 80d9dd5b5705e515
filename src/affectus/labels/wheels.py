"""Emotion wheels: from an open-vocabulary emotion word to a cluster of a wheel (OV-MER, MER2025/2026 metric).

    word --forms--> base words --synonyms--> wheel words --wheel, level--> one cluster, or "" when out of vocabulary

Three mapping modes, as published: M1, the alphabetically first base word; M2, the alphabetically first wheel word of
that base word; M3, all base words, all their wheel words sorted, the first that the wheel holds decides. The
alphabetical rule gives odd clusters for some words; it is kept because scores are compared with published ones.

The published tables are read from the user's folder. Without them the library's own small tables are used; every table
set carries a version and a digest that belong into results.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from affectus.errors import LabelError
from affectus.labels.label_space import read_table
from affectus.labels.restricted import load_npz

Mode = Literal["M1", "M2", "M3"]

#: First 16 hex digits of the SHA-256 of the published files.
PUBLISHED = {
    "mer2025": {
        "format": "ba6de7d61db8e129",
        "synonym": "23f81f9ab1d2418a",
        "wheel1": "e70485d354b82a74",
        "wheel2": "acc001e076a8e604",
        "wheel3": "d62f30bf88c17c55",
        "wheel4": "660260561b7fe155",
        "wheel5": "2dd4595b2cf8e762",
    }
}
PUBLISHED["mer2026"] = {**PUBLISHED["mer2025"], "format": "82234299875465ec"}
_PUBLISHED_NPZ = {"4cb21790c3392a14": "mer2026"}

_PIECES = re.compile(r"['\",]")


def clean_word(word: str) -> str:
    """Lower case, trimmed, typographic apostrophes straightened."""
    return word.strip().lower().replace("’", "'")


def parse_words(value: Any) -> list[str]:
    """Words of a published list cell or of a Python list, cleaned; empty, None and NaN give [].

    A string loses one leading "[" and one trailing "]" and is split at ' " and , only, so "let down" survives and a
    word with a straight apostrophe falls in two (as published).
    """
    if value is None or (isinstance(value, float) and value != value):
        return []
    if isinstance(value, str):
        text = value.strip()
        text = text[1:] if text.startswith("[") else text
        text = text[:-1] if text.endswith("]") else text
        pieces: Iterable[Any] = _PIECES.split(text)
    else:
        pieces = value
    return [word for word in (clean_word(str(piece)) for piece in pieces) if word]


@dataclass(frozen=True, eq=False)
class Wheel:
    """One wheel: every word of it → its cluster on level 1 and on level 2."""

    level1: Mapping[str, str]
    level2: Mapping[str, str]

    def level(self, number: int) -> Mapping[str, str]:
        """Word → cluster of level 1 or 2."""
        if number not in (1, 2):
            raise LabelError(f"level {number}", "wheels have the levels 1 and 2")
        return self.level1 if number == 1 else self.level2


@dataclass(frozen=True, eq=False)
class WheelTables:
    """A versioned set of tables; see the module text.

    `forms` maps a word form to its base words in file order, `synonyms` a base word to its wheel words in alphabetical
    order. `digest` is the SHA-256 (hex) of the content, independent of the file format it was read from.
    """

    forms: Mapping[str, tuple[str, ...]]
    synonyms: Mapping[str, tuple[str, ...]]
    wheels: tuple[Wheel, ...]
    version: str
    digest: str
    _dictionaries: dict[tuple[str, int, int], Mapping[str, str]] = field(default_factory=dict, repr=False)

    @property
    def n_wheels(self) -> int:
        """Number of wheels; they are counted from 1."""
        return len(self.wheels)

    def modes(self) -> Iterator[tuple[Mode, int, int]]:
        """All mapping modes (mode, wheel, level): M1, M2, then M3 for each wheel and level; wheel 0 means none."""
        yield ("M1", 0, 0)
        yield ("M2", 0, 0)
        for wheel in range(1, self.n_wheels + 1):
            yield ("M3", wheel, 1)
            yield ("M3", wheel, 2)

    def dictionary(self, mode: str = "M3", wheel: int = 1, level: int = 1) -> Mapping[str, str]:
        """Word form → cluster for every form that has one, computed once; look words up with `.get(word, "")`."""
        key = self._key(mode, wheel, level)
        if key not in self._dictionaries:
            self._dictionaries[key] = MappingProxyType(dict(self._entries(*key)))
        return self._dictionaries[key]

    def cluster(self, word: str, mode: str = "M3", wheel: int = 1, level: int = 1) -> str:
        """Cluster of one word, "" when it is out of vocabulary."""
        return self.dictionary(mode, wheel, level).get(clean_word(word), "")

    def clusters(self, words: Any, mode: str = "M3", wheel: int = 1, level: int = 1) -> frozenset[str]:
        """Set of clusters of a word list (or list string); words out of vocabulary vanish."""
        known = self.dictionary(mode, wheel, level)
        return frozenset(known[word] for word in parse_words(words) if word in known)

    def _key(self, mode: str, wheel: int, level: int) -> tuple[str, int, int]:
        name = {"case1": "M1", "case2": "M2", "case3": "M3"}.get(mode, mode)
        if name in ("M1", "M2"):
            return name, 0, 0
        if name != "M3":
            raise LabelError(str(mode), "no such mapping mode", "use M1, M2 or M3")
        if not 1 <= wheel <= self.n_wheels:
            raise LabelError(f"wheel {wheel}", f"the tables {self.version} have the wheels 1…{self.n_wheels}")
        self.wheels[wheel - 1].level(level)
        return name, wheel, level

    def _entries(self, mode: str, wheel: int, level: int) -> Iterator[tuple[str, str]]:
        if mode == "M1":
            yield from ((form, min(bases)) for form, bases in self.forms.items())
        elif mode == "M2":
            for form, bases in self.forms.items():
                if targets := self.synonyms.get(min(bases)):
                    yield form, targets[0]
        else:
            place = self.wheels[wheel - 1].level(level)
            best = {base: first for base, words in self.synonyms.items() if (first := _first(words, place))}
            for form, bases in self.forms.items():
                if hits := [best[base] for base in bases if base in best]:
                    yield form, place[min(hits)]


def _first(words: Iterable[str], place: Mapping[str, str]) -> str:
    return next((word for word in words if word in place), "")


def load(folder: str | Path | None = None) -> WheelTables:
    """Tables from a folder with the published files, from a `wheel_mapping.npz`, or the library's own without one.

    A folder holds `format.csv`, `synonym.xlsx` and `wheel1.xlsx`…`wheel5.xlsx` (csv instead of xlsx is accepted), or
    the npz cache. xlsx needs openpyxl (`affectus[data]`); the npz is read without running code. LabelError names what
    is missing or malformed.
    """
    if folder is None:
        return _builtin()
    path = Path(folder)
    if path.is_file():
        return _from_npz(path)
    if not path.is_dir():
        raise LabelError(path, "no such folder of emotion wheel tables")
    if not (path / "format.csv").exists() and (path / "wheel_mapping.npz").exists():
        return _from_npz(path / "wheel_mapping.npz")
    return _from_files(path)


def _from_files(folder: Path) -> WheelTables:
    names = ["format", "synonym", *(f"wheel{i}" for i in range(1, 6))]
    sources = {name: _source(folder, name) for name in names}
    forms = _forms((row[0], row[1]) for row in _rows(sources["format"], ("name", "format")))
    columns = tuple(f"{kind}_run{i}" for i in range(1, 9) for kind in ("word", "synonym"))
    pairs = ((row[i], row[i + 1]) for row in _rows(sources["synonym"], columns) for i in range(0, len(row), 2))
    wheels = [_wheel(_rows(sources[name], ("level1", "level2", "level3")), sources[name]) for name in names[2:]]
    hashes = {name: hashlib.sha256(source.read_bytes()).hexdigest()[:16] for name, source in sources.items()}
    version = next((known for known, expected in PUBLISHED.items() if expected == hashes), "")
    return _tables(forms, _synonyms(pairs), wheels, version)


def _source(folder: Path, name: str) -> Path:
    for suffix in (".csv",) if name == "format" else (".xlsx", ".csv"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise LabelError(
        folder, f"the table {name} is missing", "put format.csv, synonym.xlsx, wheel1.xlsx…wheel5.xlsx there"
    )


def _rows(file: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """Cells of the named columns as cleaned strings, blank cells as ""."""
    cells = _csv_cells(file) if file.suffix == ".csv" else _xlsx_cells(file)
    if not cells:
        raise LabelError(file, "the table is empty")
    header = [str(name or "").strip() for name in cells[0]]
    if missing := [name for name in columns if name not in header]:
        raise LabelError(file, f"lacks the columns {', '.join(missing)}")
    where = [header.index(name) for name in columns]
    return [
        [clean_word(str(row[i])) if i < len(row) and row[i] is not None else "" for i in where] for row in cells[1:]
    ]


def _csv_cells(file: Path) -> list[list[Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.reader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(file, f"it is no UTF-8 csv: {error}") from None


def _xlsx_cells(file: Path) -> list[list[Any]]:
    try:
        import openpyxl
    except ImportError:
        raise LabelError(
            file, "xlsx tables need openpyxl", "pip install 'affectus[data]' or save them as csv"
        ) from None
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        return [list(row) for row in islice(book.worksheets[0].iter_rows(values_only=True), 100_000)]
    except Exception as error:  # openpyxl raises many kinds for a damaged file
        raise LabelError(file, f"it cannot be read as xlsx: {error}") from None


def _forms(rows: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Form → base words in row order; a base word is also a form of itself."""
    found: dict[str, dict[str, None]] = {}
    for base, cell in rows:
        for form in [*(clean_word(piece) for piece in cell.split(",")), base]:
            if form and base:
                found.setdefault(form, {})[base] = None
    return {form: tuple(bases) for form, bases in found.items()}


def _synonyms(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Base word → wheel words in alphabetical order, united over all runs; a wheel word is also its own synonym."""
    found: dict[str, set[str]] = {}
    for wheel_word, cell in pairs:
        if wheel_word:
            for word in [*(clean_word(piece) for piece in cell.split(",")), wheel_word]:
                if word:
                    found.setdefault(word, set()).add(wheel_word)
    return {word: tuple(sorted(targets)) for word, targets in found.items()}


def _wheel(rows: Iterable[list[str]], file: Path) -> Wheel:
    """Both level maps; blank cells repeat the cell above, for a word that occurs twice the last row wins."""
    level1: dict[str, str] = {}
    level2: dict[str, str] = {}
    children: dict[str, set[str]] = {}
    above = ["", "", ""]
    for row in rows:
        above = [cell or old for cell, old in zip(row, above, strict=True)]
        one, two, three = above
        if not one or not two or not three:
            raise LabelError(file, "the first row has a blank cell")
        children.setdefault(one, set()).add(two)
        level1.update({one: one, two: one, three: one})
        level2.update({two: two, three: two})
    level2.update({one: min(found) for one, found in children.items()})
    return Wheel(MappingProxyType(level1), MappingProxyType(level2))


def _from_npz(file: Path) -> WheelTables:
    record = load_npz(file)
    try:
        forms = {clean_word(k): tuple(clean_word(w) for w in v) for k, v in record["format_mapping"].items()}
        synonyms = {clean_word(k): tuple(sorted(clean_word(w) for w in v)) for k, v in record["raw_mapping"].items()}
        whole = record["wheel_map_whole"]
        wheels = [
            Wheel(*(MappingProxyType({clean_word(k): clean_word(v) for k, v in whole[w][n].items()}) for n in _LEVELS))
            for w in (f"wheel{i}" for i in range(1, 6))
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise LabelError(file, f"it is no cache of emotion wheel tables: {error!r}") from None
    version = _PUBLISHED_NPZ.get(hashlib.sha256(file.read_bytes()).hexdigest()[:16], "")
    return _tables(forms, synonyms, wheels, version)


_LEVELS = ("level1", "level2")


def _tables(
    forms: Mapping[str, tuple[str, ...]], synonyms: Mapping[str, tuple[str, ...]], wheels: list[Wheel], version: str
) -> WheelTables:
    content = [dict(forms), dict(synonyms), [[dict(w.level1), dict(w.level2)] for w in wheels]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return WheelTables(
        MappingProxyType(dict(forms)),
        MappingProxyType(dict(synonyms)),
        tuple(wheels),
        version or f"user-{digest[:8]}",
        digest,
    )


@lru_cache(maxsize=1)
def _builtin() -> WheelTables:
    """The library's own tables: word families in three arrangements; families that all three place together are
    synonyms of each other."""
    record = read_table("wheels/builtin.toml")
    text = files("affectus.labels").joinpath("data", "wheels", "builtin.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    forms = _forms(
        (row["family"], ",".join(row["forms"].replace(" ", ",").split(",")).replace("_", " ")) for row in rows
    )
    sectors: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        sectors.setdefault(_sector(row), []).append(row["family"])
    synonyms = {row["family"]: tuple(sorted(sectors[_sector(row)])) for row in rows}
    wheels = []
    for number, column in ((1, "tree"), (2, "circle"), (3, "plane")):
        parent = {two: one for one, below in record["wheels"][str(number)].items() for two in below}
        level2 = {row["family"]: row[column] for row in rows}
        wheels.append(Wheel(MappingProxyType({w: parent[two] for w, two in level2.items()}), MappingProxyType(level2)))
    return _tables(forms, synonyms, wheels, record["version"])


def _sector(row: Mapping[str, str]) -> tuple[str, ...]:
    return row["tree"], row["circle"], row["plane"]
