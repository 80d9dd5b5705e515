"""The card of a published system: what it is, where it comes from, what it reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from affectus.types import Perspective


@dataclass(frozen=True)
class Published:
    """One number of the paper: where measured, on which split or protocol, which metric, and where it is printed.

    `value` is in the unit of the metric's usual range (rates in [0, 1], errors in the unit of the label).
    """

    corpus: str
    metric: str
    value: float
    protocol: str = ""
    source: str = ""


@dataclass(frozen=True)
class SystemCard:
    """Facts of a system that do not depend on its weights.

    `modalities` are the names of its inputs in the order of the paper (image, face, video, audio, text, eeg, flow …);
    `space` is the label space of the default head and `labels` its order ("" and () where the system gives values or
    features instead); `dimensions` those it can give. `licence` has the keys `code`, `weights` and `data`; `weights`
    says where published weights can be had ("none published" is an answer).
    """

    name: str
    title: str
    year: int
    paper: str
    code: str
    summary: str
    modalities: tuple[str, ...]
    perspective: Perspective
    task: str
    space: str
    labels: tuple[str, ...]
    licence: Mapping[str, str]
    weights: str
    published: tuple[Published, ...]
    dimensions: tuple[str, ...] = ()
    stages: tuple[str, ...] = ("finetune",)
    missing: Literal["handled", "refused"] = "refused"
    deviations: tuple[str, ...] = ()
    limits: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-like record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SystemCard:
        """The card of a record made by `as_dict`, also after a trip through JSON."""
        known = {f.name for f in fields(cls)}
        if unknown := set(record) - known:
            raise ValueError(f"unknown card fields {sorted(unknown)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        values["published"] = tuple(Published(**p) for p in record["published"])
        return cls(**values)
