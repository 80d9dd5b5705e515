"""Facial action units: numbers, names, muscles, the names other tools use, and published column orders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from affectus.errors import LabelError
from affectus.labels.label_space import concept_of_word, read_table
from affectus.labels.text import normalise

_CODE = re.compile(r"(?:au|action unit|unit)?\s*[lr]?0*(\d{1,2})\s*[lr]?\s*[a-e]?\s*[rc]?")


@dataclass(frozen=True)
class ActionUnit:
    """One unit of the Facial Action Coding System. `arkit` are the blendshapes that show it, left before right."""

    number: int
    name: str
    muscles: tuple[str, ...]
    region: str
    aliases: tuple[str, ...] = ()
    arkit: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """Short form without padding: AU4."""
        return f"AU{self.number}"

    @property
    def padded(self) -> str:
        """Two-digit form of OpenFace and py-feat: AU04."""
        return f"AU{self.number:02d}"


@lru_cache(maxsize=1)
def action_units() -> Mapping[int, ActionUnit]:
    """All units by number, rising."""
    units = [
        ActionUnit(
            record["number"],
            record["name"],
            tuple(record["muscles"]),
            record["region"],
            tuple(record["aliases"]),
            tuple(record.get("arkit", ())),
        )
        for record in read_table("facs.toml")["unit"]
    ]
    return MappingProxyType({unit.number: unit for unit in units})


def action_unit(text: str | int, file: str | Path | None = None, row: int | None = None) -> ActionUnit:
    """The unit meant by a number, code, name, alias or blendshape.

    12, AU12, AU12_r, au12c, Lip Corner Puller and mouthSmileLeft are the same. Side letters (L, R) and intensity
    letters (A…E) around the number are accepted. Unknown: LabelError with file and row.
    """
    units = action_units()
    key = normalise(str(text))
    found = _names().get(key)
    if found is None and (match := _CODE.fullmatch(key)):
        found = int(match.group(1))
    if found is None or found not in units:
        place = f"{file}, row {row}" if file is not None and row is not None else str(file or "action units")
        raise LabelError(place, f"{text!r} is no facial action unit", "use a number such as AU12 or a FACS name")
    return units[found]


def action_unit_set(name: str) -> tuple[ActionUnit, ...]:
    """Units of a published detector or corpus in its column order: openface_intensity, pyfeat20, disfa12, …"""
    sets = read_table("facs.toml")["sets"]
    if name not in sets:
        raise LabelError(name, "no such set of action units", f"known: {', '.join(sorted(sets))}")
    return tuple(action_units()[number] for number in sets[name])


def action_unit_sets() -> tuple[str, ...]:
    """Names of all published column orders."""
    return tuple(sorted(read_table("facs.toml")["sets"]))


def feafa() -> tuple[tuple[str, ActionUnit], ...]:
    """The 24 action values of FEAFA in order, each with its nearest unit (left values before right ones)."""
    return tuple((entry["name"], action_units()[entry["unit"]]) for entry in read_table("facs.toml")["feafa"])


def prototype(emotion: str) -> tuple[ActionUnit, ...]:
    """Units of the typical display of a basic emotion (EMFACS); a display is not proof of the emotion."""
    table = read_table("facs.toml")["prototypes"]
    concept = concept_of_word().get(normalise(emotion), "")
    if concept not in table:
        raise LabelError(emotion, "has no prototypical display", f"known: {', '.join(table)}")
    return tuple(action_units()[number] for number in table[concept])


@lru_cache(maxsize=1)
def _names() -> Mapping[str, int]:
    found: dict[str, int] = {}
    for unit in action_units().values():
        for word in (unit.name, *unit.aliases, *unit.arkit):
            if found.setdefault(normalise(word), unit.number) != unit.number:
                raise LabelError("facs.toml", f"{word!r} names two units")
    return MappingProxyType(found)
