"""Label spaces as data: names, published orders, spellings, polarity and default valence-arousal-dominance points.

A space is a list of labels as its publisher spells them. Every label resolves to an emotion concept by its spelling
(`data/concepts.toml`), which gives synonyms, polarity and a default point; a compound takes the mean of its parts.
Labels are found and mapped by name only. A published integer is turned into a name through the named variant it was
published under, because the same corpus appears with different numbers in different releases.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from itertools import permutations, product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from affectus.errors import LabelError
from affectus.labels.text import normalise
from affectus.types import Perspective

Polarity = Literal["positive", "negative", "neutral", "ambiguous"]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Concept:
    """An emotion independent of any corpus: its spellings, polarity and (valence, arousal, dominance) on [-1, 1]."""

    name: str
    words: tuple[str, ...]
    polarity: Polarity
    vad: Point


@dataclass(frozen=True)
class Variant:
    """A published numbering: label `i` of `order` carries the integer `first + i`. `order` holds the space's labels,
    `spellings` the words as that release writes them."""

    order: tuple[str, ...]
    spellings: tuple[str, ...]
    first: int = 0
    source: str = ""


@dataclass(frozen=True)
class LabelSpace:
    """A closed set of labels; see the module text. `perspective` is the first (usual) one of `perspectives`.

    `synonyms` maps a normalised spelling to a label, `vad` a label to its point on [-1, 1], `concepts` a label to the
    emotions it stands for (several for a compound), `parents` and `levels` a label to its basic form and its intensity
    where the space is graded. `multi_label` says that labels hold independently of each other.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    perspectives: tuple[Perspective, ...]
    polarity: Mapping[str, Polarity]
    synonyms: Mapping[str, str]
    vad: Mapping[str, Point]
    variants: Mapping[str, Variant] = field(default_factory=dict)
    concepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    multi_label: bool = False
    aliases: tuple[str, ...] = ()
    source: str = ""

    @property
    def perspective(self) -> Perspective:
        """The usual perspective of the labels: expressed, evoked or felt."""
        return self.perspectives[0]

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and normalise(text) in self.synonyms

    def index(self, label: str) -> int:
        """Position of a label (any accepted spelling) in `labels`; LabelError when unknown."""
        return self.labels.index(self.lookup(label))

    def lookup(self, text: str, file: str | Path | None = None, row: int | None = None) -> str:
        """The label meant by a spelling; case, blanks, hyphens and known synonyms are tolerated.

        `file` and `row` name the place in the error for an unknown spelling.
        """
        found = self.synonyms.get(normalise(text)) if isinstance(text, str) else None
        if found is None:
            raise _unknown(self, text, file, row)
        return found

    def lookup_many(self, texts: Iterable[str], file: str | Path | None = None, first_row: int = 1) -> list[str]:
        """`lookup` over a column; rows are counted from `first_row` in the error."""
        return [self.lookup(text, file, first_row + i) for i, text in enumerate(texts)]

    def variant(self, name: str | None = None) -> Variant:
        """A published numbering by name; None is the space's own order counted from 0."""
        if name is None:
            return Variant(self.labels, self.labels, 0, self.source)
        if name not in self.variants:
            known = ", ".join(self.variants) or "none"
            raise LabelError(self.name, f"has no published order {name!r}", f"known orders: {known}")
        return self.variants[name]

    def decode(
        self, code: int | str, variant: str | None = None, file: str | Path | None = None, row: int | None = None
    ) -> str:
        """The label of a published integer under a named variant (own order from 0 when None)."""
        known = self.variant(variant)
        try:
            value = float(code)
            position = int(value) - known.first
        except (TypeError, ValueError, OverflowError):
            value, position = float("nan"), -1
        if value != int(value if value == value else 0) or not 0 <= position < len(known.order):
            last = known.first + len(known.order) - 1
            where = f"{self.name} ({variant})" if variant else self.name
            raise LabelError(_place(where, file, row), f"no label has the number {code!r}", f"use {known.first}…{last}")
        return known.order[position]

    def reorder(self, variant: str) -> np.ndarray:
        """Indices (n_labels,) that bring scores published in a variant's order into this space's order.

        `scores[..., space.reorder("affectgpt")]` has the columns of `space.labels`.
        """
        order = self.variant(variant).order
        if len(order) != len(self.labels):
            missing = ", ".join(label for label in self.labels if label not in order)
            raise LabelError(self.name, f"the order {variant!r} lacks {missing}", "map to the smaller space by name")
        return np.array([order.index(label) for label in self.labels], dtype=np.intp)

    def points(self) -> np.ndarray:
        """Default (valence, arousal, dominance) of all labels, float64 (n_labels, 3) on [-1, 1]."""
        return np.array([self.vad[label] for label in self.labels], dtype=np.float64)


def space(name: str) -> LabelSpace:
    """The label space of that name or alias; LabelError with near names when there is none."""
    table, aliases = _registry()
    key = str(name).strip().lower()
    key = aliases.get(key, key)
    if key not in table:
        near = get_close_matches(key, [*table, *aliases], n=3, cutoff=0.5)
        remedy = f"did you mean {', '.join(near)}?" if near else "labels.spaces() lists them"
        raise LabelError(str(name), "no such label space", remedy)
    return table[key]


def spaces() -> tuple[str, ...]:
    """Names of all label spaces, sorted."""
    return tuple(sorted(_registry()[0]))


def lookup(space_name: str, text: str, file: str | Path | None = None, row: int | None = None) -> str:
    """The label of a space meant by a spelling; an unknown one is a LabelError naming file and row."""
    return space(space_name).lookup(text, file, row)


@lru_cache(maxsize=1)
def concepts() -> Mapping[str, Concept]:
    """All emotion concepts by name."""
    record = read_table("concepts.toml")["concepts"]
    found = {}
    for name, entry in record.items():
        words = _distinct(name.replace("_", " "), entry["words"])
        found[name] = Concept(name, words, entry["polarity"], tuple(entry["vad"]))
    return MappingProxyType(found)


def _distinct(name: str, words: Sequence[str]) -> tuple[str, ...]:
    return tuple({normalise(word): word for word in (name, *words)}.values())


@lru_cache(maxsize=1)
def concept_of_word() -> Mapping[str, str]:
    """Normalised spelling → concept name."""
    return MappingProxyType({normalise(word): c.name for c in concepts().values() for word in c.words})


@cache
def read_table(relative: str) -> dict[str, Any]:
    """One packaged TOML table by its name below the data folder."""
    resource = files("affectus.labels").joinpath("data", *relative.split("/"))
    return tomllib.loads(resource.read_text(encoding="utf-8"))


def data_files(folder: str) -> Sequence[str]:
    """Relative names of the TOML tables in one folder of the packaged data, sorted."""
    entries = files("affectus.labels").joinpath("data", folder).iterdir()
    return sorted(f"{folder}/{entry.name}" for entry in entries if entry.name.endswith(".toml"))


@lru_cache(maxsize=1)
def _registry() -> tuple[Mapping[str, LabelSpace], Mapping[str, str]]:
    table: dict[str, LabelSpace] = {}
    aliases: dict[str, str] = {}
    for name in data_files("spaces"):
        for record in read_table(name)["space"]:
            built = _build(record, name)
            if built.name in table:
                raise LabelError(name, f"the space {built.name!r} is defined twice")
            table[built.name] = built
            aliases.update(dict.fromkeys(built.aliases, built.name))
    if clash := set(table) & set(aliases):
        raise LabelError("label spaces", f"alias and name at once: {', '.join(sorted(clash))}")
    return MappingProxyType(table), MappingProxyType(aliases)


def _build(record: Mapping[str, Any], file: str) -> LabelSpace:
    labels = tuple(record["labels"])
    meanings = {label: _meaning(label, record, file) for label in labels}
    synonyms = _synonyms(record, labels, meanings, file)
    known = concepts()
    points = {label: _mean_point([known[name] for name in meanings[label]]) for label in labels}
    points.update({label: tuple(point) for label, point in record.get("vad", {}).items()})
    polarity = {label: _polarity([known[name] for name in meanings[label]]) for label in labels}
    polarity.update(record.get("polarity", {}))
    for perspective in record["perspectives"]:
        if perspective not in get_args(Perspective):
            raise LabelError(file, f"{record['name']}: unknown perspective {perspective!r}")
    return LabelSpace(
        name=record["name"],
        title=record["title"],
        labels=labels,
        perspectives=tuple(record["perspectives"]),
        polarity=MappingProxyType(polarity),
        synonyms=MappingProxyType(synonyms),
        vad=MappingProxyType(points),
        variants=MappingProxyType(
            {name: _variant(entry, synonyms, f"{file}: {name}") for name, entry in record.get("variants", {}).items()}
        ),
        concepts=MappingProxyType(meanings),
        parents=MappingProxyType(dict(record.get("parents", {}))),
        levels=MappingProxyType({label: level for level, of in record.get("levels", {}).items() for label in of}),
        multi_label=record.get("multi_label", False),
        aliases=tuple(record.get("aliases", ())),
        source=record.get("source", ""),
    )


def _meaning(label: str, record: Mapping[str, Any], file: str) -> tuple[str, ...]:
    """Concepts of a label: its stated parts, a stated concept, or the one its spelling belongs to."""
    if label in record.get("parts", {}):
        return tuple(record["parts"][label])
    stated = record.get("concepts", {}).get(label) or concept_of_word().get(normalise(label))
    if stated is None or stated not in concepts():
        raise LabelError(file, f"{record['name']}: the label {label!r} belongs to no concept")
    return (stated,)


def _synonyms(
    record: Mapping[str, Any], labels: Sequence[str], meanings: Mapping[str, tuple[str, ...]], file: str
) -> dict[str, str]:
    """Spellings in rising priority: concept words, stated synonyms, the labels themselves."""
    known, found = concepts(), {}
    claimed: dict[str, set[str]] = {}
    for label in labels:
        if len(meanings[label]) == 1:
            for word in known[meanings[label][0]].words:
                claimed.setdefault(normalise(word), set()).add(label)
    found.update({word: next(iter(owners)) for word, owners in claimed.items() if len(owners) == 1})
    for label in labels:
        if len(meanings[label]) > 1:
            found.update(_compound_spellings(label, [known[name] for name in meanings[label]]))
    for word, label in record.get("synonyms", {}).items():
        if label not in labels:
            raise LabelError(file, f"{record['name']}: synonym {word!r} of the unknown label {label!r}")
        found[normalise(word)] = label
    found.update({normalise(label): label for label in labels})
    if len({normalise(label) for label in labels}) != len(labels):
        raise LabelError(file, f"{record['name']}: two labels have the same spelling")
    return found


def _compound_spellings(label: str, parts: Sequence[Concept]) -> dict[str, str]:
    """Spellings of a compound in any order of its parts: fearfully surprised, fear surprise, surprise fear, …"""
    words = [[normalise(word) for word in part.words[: 6 if len(parts) == 2 else 2]] for part in parts]
    return {" ".join(choice): label for order in permutations(words) for choice in product(*order)}


def _variant(entry: Mapping[str, Any], synonyms: Mapping[str, str], place: str) -> Variant:
    spellings = tuple(entry["order"])
    unknown = [word for word in spellings if normalise(word) not in synonyms]
    if unknown:
        raise LabelError(place, f"published order names unknown labels: {', '.join(unknown)}")
    order = tuple(synonyms[normalise(word)] for word in spellings)
    if len(set(order)) != len(order):
        raise LabelError(place, "published order names a label twice")
    return Variant(order, spellings, entry.get("first", 0), entry.get("source", ""))


def _mean_point(parts: Sequence[Concept]) -> Point:
    v, a, d = np.mean([part.vad for part in parts], axis=0).round(4).tolist()
    return v, a, d


def _polarity(parts: Sequence[Concept]) -> Polarity:
    """Shared polarity of the parts; parts without an own direction (surprise, neutral) do not vote."""
    found = {part.polarity for part in parts} - ({"ambiguous", "neutral"} if len(parts) > 1 else set())
    return next(iter(found)) if len(found) == 1 else "ambiguous"


def _place(subject: str, file: str | Path | None, row: int | None) -> str:
    if file is None:
        return subject if row is None else f"{subject}, row {row}"
    return str(file) if row is None else f"{file}, row {row}"


def _unknown(known: LabelSpace, text: object, file: str | Path | None, row: int | None) -> LabelError:
    near = get_close_matches(normalise(str(text)), list(known.synonyms), n=3, cutoff=0.6)
    guesses = list(dict.fromkeys(known.synonyms[word] for word in near))
    listed = ", ".join(known.labels[:30]) + (", …" if len(known) > 30 else "")
    remedy = f"did you mean {' or '.join(guesses)}?" if guesses else f"labels: {listed}"
    return LabelError(_place(known.name, file, row), f"{text!r} is no label of {known.name}", remedy)
