"""Valence-arousal-dominance lexicons: Warriner's norms or any word table, on [-1, 1].

Lexicons are read from the user's file. Words are looked up as written and then by lemma; a lexicon carries name and
digest for results. `builtin()` holds the few hundred words of the emotion concepts and needs no file.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from affectus.errors import LabelError
from affectus.labels.label_space import concept_of_word, concepts
from affectus.labels.lemmas import lemma
from affectus.labels.rating_scale import Scale, convert, scale

DIMENSIONS = ("valence", "arousal", "dominance")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

#: Columns of the published Warriner table.
WARRINER_COLUMNS = {
    "word": "Word",
    "valence": "V.Mean.Sum",
    "arousal": "A.Mean.Sum",
    "dominance": "D.Mean.Sum",
}


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words and their (valence, arousal, dominance), float32 (n, 3) on [-1, 1], NaN where a dimension is not rated."""

    name: str
    rows: Mapping[str, int]
    values: np.ndarray
    digest: str
    source: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.find(word) is not None

    def find(self, word: str) -> str | None:
        """The entry a word is looked up under: itself, or its lemma when the lexicon holds that."""
        text = word.strip().lower().replace("’", "'")
        if text in self.rows:
            return text
        base = lemma(text, self.rows)
        return base if base in self.rows else None

    def get(self, word: str) -> tuple[float, float, float] | None:
        """(valence, arousal, dominance) of a word on [-1, 1], None when it is not in the lexicon."""
        found = self.find(word)
        if found is None:
            return None
        v, a, d = self.values[self.rows[found]].tolist()
        return v, a, d

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """Values of many words, float32 (n, 3); NaN rows for words that are not in the lexicon."""
        found = np.full((len(words), 3), np.nan, dtype=np.float32)
        known = {word: self.find(word) for word in set(words)}
        for i, word in enumerate(words):
            entry = known[word]
            if entry is not None:
                found[i] = self.values[self.rows[entry]]
        return found

    def mean(self, text: str | Sequence[str]) -> tuple[np.ndarray, float]:
        """Mean (valence, arousal, dominance) of the known words of a text, float32 (3,), and their share of all words.

        NaN and 0 where no word is known.
        """
        words = tokens(text) if isinstance(text, str) else list(text)
        values = self.lookup(words)
        known = ~np.isnan(values).all(axis=1)
        if not known.any():
            return np.full(3, np.nan, dtype=np.float32), 0.0
        sums, counts = np.nansum(values[known], axis=0), (~np.isnan(values[known])).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return (sums / counts).astype(np.float32), float(known.mean())


def tokens(text: str) -> list[str]:
    """Words of a text in order, lower case; apostrophes and hyphens inside a word stay."""
    return [match.group().lower() for match in _TOKEN.finditer(text)]


def read_warriner(path: str | Path) -> Lexicon:
    """The Warriner norms from the published csv (`Ratings_Warriner_et_al.csv`), 1…9 brought to -1…1."""
    return read_lexicon(path, columns=WARRINER_COLUMNS, unit="warriner", name="warriner")


def read_lexicon(
    path: str | Path,
    columns: Mapping[str, str | int] | None = None,
    unit: str | Scale = "signed",
    delimiter: str | None = None,
    encoding: str = "utf-8-sig",
    name: str = "",
) -> Lexicon:
    """A lexicon from csv or tsv.

    `columns` maps word, valence, arousal, dominance to header names, or to positions for a table without header; by
    default headers of these names are looked for. Dimensions may be absent. `unit` names the rating scale of the file
    (`labels.scales()`). A word that occurs twice keeps its first entry. LabelError names file, row and reason.
    """
    file = Path(path)
    content = _content(file)
    cells = _cells(file, content, delimiter, encoding)
    where, first = _columns(file, cells, columns)
    known = unit if isinstance(unit, Scale) else scale(unit)
    rows: dict[str, int] = {}
    values: list[list[float]] = []
    for number, row in enumerate(cells[first:], start=first + 1):
        if not any(cell.strip() for cell in row):
            continue
        word, rating = _entry(f"{file}, row {number}", row, where, known)
        if word and word not in rows:
            rows[word] = len(values)
            values.append(rating)
    if not rows:
        raise LabelError(file, "the lexicon has no words")
    ratings = convert(np.array(values), known)
    digest = hashlib.sha256(content).hexdigest()
    return Lexicon(name or file.stem, rows, ratings.astype(np.float32), digest, str(file))


@lru_cache(maxsize=1)
def builtin() -> Lexicon:
    """Words of the emotion concepts with the library's own default points; small, needs no file."""
    points = {word: concepts()[concept].vad for word, concept in concept_of_word().items()}
    values = np.array(list(points.values()), dtype=np.float32)
    digest = hashlib.sha256(repr(sorted(points.items())).encode()).hexdigest()
    return Lexicon("builtin", {word: i for i, word in enumerate(points)}, values, digest, "concepts.toml")


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LabelError(file, f"the lexicon cannot be read: {error.strerror}") from None


def _cells(file: Path, content: bytes, delimiter: str | None, encoding: str) -> list[list[str]]:
    try:
        lines = content.decode(encoding).splitlines()
    except UnicodeDecodeError:
        raise LabelError(file, f"it is not {encoding} text", "give the encoding") from None
    if not lines:
        raise LabelError(file, "the lexicon is empty")
    separator = delimiter or max("\t,;", key=lines[0].count)
    return list(csv.reader(lines, delimiter=separator))


def _columns(file: Path, cells: list[list[str]], columns: Mapping[str, str | int] | None) -> tuple[dict[str, int], int]:
    """Position of word and dimensions, and the index of the first data row."""
    header = [cell.strip() for cell in cells[0]]
    if columns is None:
        lower = [cell.lower() for cell in header]
        wanted: Mapping[str, str | int] = {n: header[lower.index(n)] for n in ("word", *DIMENSIONS) if n in lower}
    else:
        wanted = columns
    if unknown := set(wanted) - {"word", *DIMENSIONS}:
        raise LabelError(file, f"no such lexicon column: {', '.join(sorted(unknown))}", "use word, valence, …")
    if "word" not in wanted or len(wanted) < 2:
        raise LabelError(file, "no columns for word and a dimension", f"headers are {', '.join(header)}; give columns")
    missing = [str(name) for name in wanted.values() if isinstance(name, str) and name not in header]
    if missing:
        raise LabelError(file, f"lacks the columns {', '.join(missing)}", f"headers are {', '.join(header[:12])}")
    where = {key: at if isinstance(at, int) else header.index(at) for key, at in wanted.items()}
    return where, 0 if all(isinstance(at, int) for at in wanted.values()) else 1


def _entry(place: str, row: list[str], where: Mapping[str, int], known: Scale) -> tuple[str, list[float]]:
    if max(where.values()) >= len(row):
        raise LabelError(place, f"has {len(row)} cells, {max(where.values()) + 1} are needed")
    rating = []
    for dimension in DIMENSIONS:
        cell = row[where[dimension]].strip() if dimension in where else ""
        try:
            value = float(cell) if cell else float("nan")
        except ValueError:
            raise LabelError(place, f"{dimension} is {cell!r}, not a number") from None
        if value in known.missing:
            value = float("nan")
        elif value < known.low or value > known.high:
            raise LabelError(place, f"{dimension} {value:g} is off the scale {known.low:g}…{known.high:g}")
        rating.append(value)
    return row[where["word"]].strip().lower().replace("’", "'"), rating
