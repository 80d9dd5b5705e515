"""Character and word n-grams: hashed ids as an input for models, and named ones for counting.

Character n-grams need no tokenizer or dictionary, so Japanese and Chinese posts go the same way as English ones; what
is lost against a pretrained encoder is every similarity between different spellings. Laughing marks, ellipses and emoji
carry signal and stay; texts are NFKC-normalised once, and lower-cased.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from affectus.features.inputs import InputSpec

Unit = Literal["character", "word"]
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]+")
_BLANK = re.compile(r"\s+")


def fold(text: str) -> str:
    """Comparable form of a text: NFKC, lower case, runs of blanks as one; nothing else is dropped."""
    return _BLANK.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()


def ngrams(text: str, sizes: Sequence[int] = (1, 2, 3), unit: Unit = "character") -> list[str]:
    """All n-grams of a text in order, smaller sizes first, repeats included.

    Characters: of the folded text, none that begins or ends in a blank. Words: of words and runs of marks, joined by
    blanks. A text shorter than n has none of that size.
    """
    folded = fold(text)
    parts: Sequence[str] = folded if unit == "character" else _WORD.findall(folded)
    glue = "" if unit == "character" else " "
    found = []
    for size in sizes:
        grams = (glue.join(parts[i : i + size]) for i in range(len(parts) - size + 1))
        found += [gram for gram in grams if gram and gram == gram.strip()]
    return found


def bucket(gram: str, buckets: int) -> int:
    """Place of an n-gram among 1 … buckets - 1, the same on every machine; 0 is left for padding."""
    return 1 + zlib.crc32(gram.encode("utf-8")) % (buckets - 1)


@dataclass(frozen=True)
class NgramInput(InputSpec):
    """Hashed ids of the different n-grams of a text, (length,) int64 in ascending order, padded with 0.

    Presence counts, not frequency. Of a text with more n-grams than `length` the first ones in reading order of the
    smaller sizes are kept.
    """

    sizes: tuple[int, ...] = (1, 2, 3)
    buckets: int = 1 << 15
    length: int = 512
    unit: Unit = "character"

    takes: ClassVar[str] = "text"

    @property
    def shape(self) -> tuple[int, ...]:
        """(length,)."""
        return (self.length,)

    def __call__(self, raw: str) -> np.ndarray:
        kept = dict.fromkeys(bucket(gram, self.buckets) for gram in ngrams(raw, self.sizes, self.unit))
        ids = sorted(list(kept)[: self.length])
        out = np.zeros(self.length, np.int64)
        out[: len(ids)] = ids
        return out


@dataclass(frozen=True)
class NgramTable:
    """Which n-grams occur in which texts: `names` of the columns, and for every column its rows in ascending order."""

    names: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    texts: int

    @property
    def counts(self) -> np.ndarray:
        """Texts per n-gram, (n-grams,) int64."""
        return np.array([len(rows) for rows in self.rows], np.int64)


def count_ngrams(
    texts: Sequence[str],
    sizes: Sequence[int] = (1, 2, 3),
    unit: Unit = "character",
    least: int = 5,
    closed: bool = True,
) -> NgramTable:
    """n-grams that occur in at least `least` texts, by name.

    `closed` leaves out an n-gram that a longer one of the table contains and that occurs in the very same texts, so
    that one expression is listed once and in full.
    """
    places: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        for gram in dict.fromkeys(ngrams(text, sizes, unit)):
            places.setdefault(gram, []).append(row)
    kept = {gram: rows for gram, rows in places.items() if len(rows) >= least}
    if closed:
        longest: dict[tuple[int, ...], list[str]] = {}
        for gram, rows in kept.items():
            longest.setdefault(tuple(rows), []).append(gram)
        names = [g for same in longest.values() for g in same if not any(g != other and g in other for other in same)]
        kept = {gram: kept[gram] for gram in sorted(names)}
    return NgramTable(tuple(kept), tuple(np.asarray(rows, np.int64) for rows in kept.values()), len(texts))
