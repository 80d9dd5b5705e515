"""Rating scales of valence, arousal, dominance, sentiment and intensity, and conversion between their units.

Conversion is linear between the two ends of the scales; it aligns units, it does not make ratings of different
perspectives or instructions comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from affectus.errors import LabelError
from affectus.labels.label_space import read_table
from affectus.types import Perspective


@dataclass(frozen=True)
class Scale:
    """A rating scale from `low` to `high`; `missing` are codes for "no rating", `bins` the usual number of classes."""

    name: str
    title: str
    low: float
    high: float
    dimensions: tuple[str, ...]
    perspectives: tuple[Perspective, ...] = ()
    missing: tuple[float, ...] = ()
    bins: int = 0
    aliases: tuple[str, ...] = ()
    source: str = ""

    @property
    def middle(self) -> float:
        """The neutral point."""
        return (self.low + self.high) / 2

    def check(self, values: np.ndarray, file: str | Path | None = None, first_row: int = 1) -> np.ndarray:
        """Values as float64 with missing codes turned into NaN; a rating off the scale is a LabelError with its row."""
        ratings = np.array(values, dtype=np.float64)
        if self.missing:
            ratings[np.isin(ratings, self.missing)] = np.nan
        slack = 1e-9 * (self.high - self.low)
        off = (ratings < self.low - slack) | (ratings > self.high + slack)
        if off.any():
            where = np.argwhere(off)[0]
            row = first_row + int(where[0]) if ratings.ndim else first_row
            value = ratings[tuple(where)] if ratings.ndim else float(ratings)
            subject = f"{file}, row {row}" if file is not None else f"{self.name}, row {row}"
            raise LabelError(subject, f"{value:g} is off the scale {self.low:g}…{self.high:g}", "check the unit")
        return ratings

    def to_class(self, values: np.ndarray, n: int | None = None) -> np.ndarray:
        """Class 0…n-1 of each value, int64; n equal bins, lower edges included, the top end in the last class.

        With n = 7 on -1…1 this is the class rule of the movie-affect classifiers: min(6, floor((v + 1) / (2 / 7))).
        """
        count = n or self.bins
        if count < 1:
            raise LabelError(self.name, "the number of classes is not known", "give n")
        ratings = self.check(values)
        if np.isnan(ratings).any():
            raise LabelError(self.name, "a missing rating has no class", "drop missing rows first")
        share = (ratings - self.low) / (self.high - self.low) * count
        return np.clip(np.floor(share), 0, count - 1).astype(np.int64)

    def class_centres(self, n: int | None = None) -> np.ndarray:
        """Middle value of each of the n classes (n,)."""
        count = n or self.bins
        if count < 1:
            raise LabelError(self.name, "the number of classes is not known", "give n")
        return self.low + (np.arange(count) + 0.5) * (self.high - self.low) / count


def scale(name: str) -> Scale:
    """The scale of that name or alias."""
    table = _scales()
    key = str(name).strip().lower()
    if key not in table:
        raise LabelError(str(name), "no such rating scale", f"known: {', '.join(scales())}")
    return table[key]


def scales() -> tuple[str, ...]:
    """Names of all rating scales, sorted."""
    return tuple(sorted({known.name for known in _scales().values()}))


def convert(values: np.ndarray | float, source: str | Scale, target: str | Scale = "signed") -> np.ndarray:
    """Ratings from one unit to another, float64 of the same shape; missing codes become NaN.

    1…9 to -1…1, for example, is (v - 5) / 4. A rating off its scale is a LabelError.
    """
    a = source if isinstance(source, Scale) else scale(source)
    b = target if isinstance(target, Scale) else scale(target)
    ratings = a.check(np.asarray(values))
    return b.low + (ratings - a.low) * ((b.high - b.low) / (a.high - a.low))


@lru_cache(maxsize=1)
def _scales() -> Mapping[str, Scale]:
    found: dict[str, Scale] = {}
    for record in read_table("scales.toml")["scale"]:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        built = Scale(**fields)
        for name in (built.name, *built.aliases):
            if name in found:
                raise LabelError("scales.toml", f"the scale {name!r} is defined twice")
            found[name] = built
    return MappingProxyType(found)
