"""What a scoring task is given and what it returns."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from affectus.corpora.safe import load_npz
from affectus.errors import ConfigError, LabelError
from affectus.evaluation.items import Items
from affectus.evaluation.measures import Entries
from affectus.evaluation.presets import Benchmark, Protocol
from affectus.labels import LabelSpace, normalise, wheels
from affectus.labels import space as label_space


@dataclass
class Scored:
    """Result of one task; fields as in `record.Record`."""

    metrics: Entries
    n: int
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Context:
    """The benchmark, its variant, the files themselves, and where label tables may lie."""

    benchmark: Benchmark
    protocol: Protocol
    predictions: Items
    labels: Items | None = None
    tables: Path | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the variant."""
        return self.protocol.options

    @property
    def order(self) -> str | None:
        """Numbering of integer labels, None for the space's own."""
        return self.benchmark.order or None

    def space(self) -> LabelSpace:
        """Label space of the benchmark; `labels` in the options make one that is not registered."""
        if not (labels := tuple(self.options.get("labels", ()))):
            return label_space(self.benchmark.space)
        names = {normalise(label): label for label in labels}
        return LabelSpace(self.benchmark.name, self.benchmark.title, labels, ("expressed",), {}, names, {})

    def wheel_tables(self) -> wheels.WheelTables:
        """The user's emotion-wheel tables, or the library's own when there are none."""
        return self._wheels

    @cached_property
    def _wheels(self) -> wheels.WheelTables:
        return wheels.load(self.tables)

    def synonyms(self) -> Mapping[str, str] | None:
        """Spellings that a set metric treats as equal: from the options, else those of the label space."""
        stated = self.options.get("synonyms")
        return dict(stated) if stated else None

    def word_groups(self, names: Sequence[str]) -> list[Any] | None:
        """Published groups of equal words per item (`openset-synonym`, a folder or zip of npz beside the predictions);
        None where there are none."""
        near = Path(self.predictions.source).parent
        folder = next((near / n for n in ("openset-synonym.zip", "openset-synonym") if (near / n).exists()), None)
        if folder is None:
            return None
        held = _group_files(folder)
        return [held.get(name, []) for name in names]


def _group_files(path: Path) -> dict[str, list[list[str]]]:
    if path.is_dir():
        contents = {file.stem: file.read_bytes() for file in sorted(path.rglob("*.npz"))}
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                contents = {Path(n).stem: archive.read(n) for n in archive.namelist() if n.endswith(".npz")}
        except zipfile.BadZipFile as error:
            raise ConfigError(path, f"is no whole zip archive ({error})") from None
    return {name: _groups(list(load_npz(data, f"{path}::{name}").values())) for name, data in contents.items()}


def _groups(value: Any) -> list[list[str]]:
    """Lists of words found anywhere in nested lists."""
    entries = list(value.values()) if isinstance(value, Mapping) else list(value)
    if entries and all(isinstance(entry, str) for entry in entries):
        return [[wheels.clean_word(entry) for entry in entries]]
    return [group for entry in entries if not isinstance(entry, (str, int, float)) for group in _groups(entry)]


def read_label(value: Any, space: LabelSpace, order: str | None, name: str) -> str | None:
    """The label meant by a published name or number; None where there is none. LabelError names the item."""
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, (list, tuple)):
        return read_label(value[0], space, order, name) if len(value) == 1 else None
    text = str(value).strip()
    if text.lstrip("-").replace(".0", "").isdigit():
        return space.decode(text, order, name)
    if text not in space:
        if not space.source:  # labels listed by a benchmark: other published ones are not scored
            return None
        raise LabelError(name, f"{text!r} is no label of {space.name}", f"labels: {', '.join(space.labels)}")
    return space.lookup(text, name)
