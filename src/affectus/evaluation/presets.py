"""Benchmarks as data: what is scored against what, by which rule, and what others reported (`data/*.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from affectus.errors import ConfigError

VariantName = Literal["published", "strict"]


@dataclass(frozen=True)
class Protocol:
    """One variant of a benchmark: the rule in words, how the scored system was chosen, and options of the task."""

    rule: str
    selection: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark in a published and a strict variant.

    `published` repeats the rule behind printed tables, quirks included; `strict` is the honest one: nothing chosen on
    the test set, no item silently left out, unusable answers wrong. `parts` names the parts of a label file that
    belong to it, `place` the letter that names must have at a position, `order` the numbering of integer labels,
    `n` the number of items that the publishers scored (0 unknown), `members` the benchmarks of a suite.
    `results` are published numbers: system, metric, value, unit (`fraction`, `percent`), variant, source.
    """

    name: str
    title: str
    task: str
    corpus: str
    split: str
    headline: str
    published: Protocol
    strict: Protocol
    space: str = ""
    order: str = ""
    perspective: str = "expressed"
    aggregation: str = "one test set"
    parts: tuple[str, ...] = ()
    place: tuple[int, str] | None = None
    members: tuple[str, ...] = ()
    n: int = 0
    results: tuple[Mapping[str, Any], ...] = ()
    source: str = ""

    def protocol(self, variant: str) -> Protocol:
        """The rules of a variant; ConfigError for any other name."""
        if variant not in ("published", "strict"):
            raise ConfigError(variant, "is no variant", "choose published or strict")
        return self.published if variant == "published" else self.strict


def benchmarks() -> tuple[Benchmark, ...]:
    """All benchmarks, sorted by name."""
    return tuple(entry for _, entry in sorted(_registry().items()))


def benchmark(name: str) -> Benchmark:
    """One benchmark by name; ConfigError with near names when there is none."""
    key = name.strip().lower().replace("_", "-")
    known = {entry.replace("_", "-"): entry for entry in _registry()}
    if key not in known:
        near = get_close_matches(key, known, 3, 0.4)
        remedy = f"did you mean {', '.join(known[n] for n in near)}?" if near else ", ".join(_registry())
        raise ConfigError(name, "no such benchmark", remedy)
    return _registry()[known[key]]


@lru_cache(maxsize=1)
def _registry() -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    folder = files("affectus.evaluation").joinpath("data")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".toml"):
            continue
        held = tomllib.loads(file.read_text(encoding="utf-8"))
        shared = held.get("shared", {})
        for record in held["benchmark"]:
            entry = _benchmark({**shared, **record}, file.name)
            if entry.name in found:
                raise ConfigError(file.name, f"the benchmark {entry.name!r} is defined twice")
            found[entry.name] = entry
    return found


def _benchmark(record: Mapping[str, Any], file: str) -> Benchmark:
    fields = dict(record)
    common = fields.pop("options", {})
    try:
        for variant in ("published", "strict"):
            rules = dict(fields[variant])
            fields[variant] = Protocol(rules.pop("rule"), rules.pop("selection", ""), {**common, **rules})
        for name in ("parts", "members", "results"):
            fields[name] = tuple(fields.get(name, ()))
        if "place" in fields:
            fields["place"] = tuple(fields["place"])
        return Benchmark(**fields)
    except (KeyError, TypeError) as error:
        raise ConfigError(file, f"benchmark {record.get('name')!r} is malformed: {error}") from None
