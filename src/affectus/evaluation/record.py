"""Result records: one JSON object per score, with everything needed to judge it and to repeat it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from affectus import __version__
from affectus.errors import AffectusError, ConfigError

Variant = Literal["", "published", "strict"]

#: Packages whose version can change a number.
_PACKAGES = ("numpy", "pyarrow", "onnxruntime", "opencv-python-headless", "av", "pillow", "tokenizers")


class Entry(BaseModel):
    """One metric with the bounds of its 95 % interval (None where there is none)."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float | None = None
    high: float | None = None


class Record(BaseModel):
    """A score of a model or of a predictions file.

    `metrics` are fractions or natural units, never percent; `n` is the number of scored items, `left_out` says per
    reason how many others there were, `skipped` lists files that could not be read. `target` is what was scored
    (columns of the corpus), `mapping` how model labels became corpus labels and what that loses. `tables` holds
    versions and digests of label tables, `weights` the SHA-256 of the model files, `inputs` those of scored files.
    `selection` says what was chosen on which data. `published` are printed numbers of the same benchmark and variant.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str
    corpus: str
    split: str
    n: int
    metrics: dict[str, Entry]
    benchmark: str = ""
    variant: Variant = ""
    headline: str = ""
    perspective: str = ""
    target: str = ""
    labels: list[str] = []
    mapping: dict[str, Any] = {}
    baselines: dict[str, dict[str, float]] = {}
    confusion: list[list[int]] = []
    left_out: dict[str, int] = {}
    skipped: list[dict[str, str]] = []
    notes: list[str] = []
    selection: str = ""
    interval: dict[str, Any] = {}
    tables: dict[str, str] = {}
    version: str = ""
    weights: dict[str, str] = {}
    inputs: dict[str, str] = {}
    parts: dict[str, dict[str, Any]] = {}
    published: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-like dictionary without fields that were left empty."""
        full = self.model_dump()
        required = ("model", "corpus", "split", "n", "metrics", "skipped")
        return {name: value for name, value in full.items() if name in required or value not in ("", [], {})}


def environment() -> dict[str, Any]:
    """What the numbers were made with: versions, machine architecture and threads."""
    return {
        "affectus": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": dict(_versions()),
        "threads": _threads(),
    }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "absent"))
    return tuple(found)


def _threads() -> int:
    from affectus.models.package import threads

    return threads() if os.environ.get("AFFECTUS_THREADS", "1").isdigit() else 1


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain(value: Any) -> Any:
    """`value` with numpy numbers and arrays as Python ones; NaN and infinities become None, as JSON has none."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_record(record: Record | Mapping[str, Any], path: str | Path) -> Path:
    """Write a record as indented JSON, whole or not at all; returns the path. ConfigError when it cannot be written."""
    file = Path(path)
    fields = record.as_dict() if isinstance(record, Record) else dict(record)
    text = json.dumps(plain(fields), indent=1, ensure_ascii=False) + "\n"
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise ConfigError(file, f"cannot be written ({error.strerror})", "choose another folder") from None
    return file


def read_record(path: str | Path) -> Record:
    """Read a record; ConfigError names the file and the field that is missing, unknown or of the wrong kind."""
    file = Path(path)
    try:
        return Record.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(file, f"cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(file, f"is no JSON ({error})", "give files written by affectus evaluate or score") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the object"
        raise ConfigError(file, f"is no result record: {where}: {first['msg']}", "see evaluation.Record") from None


def skip_list(problems: Iterable[tuple[str, AffectusError | str]], limit: int = 200) -> list[dict[str, str]]:
    """Items that could not be used and why, at most `limit` of them."""
    found = [{"item": item, "reason": getattr(why, "reason", str(why))} for item, why in problems]
    more = len(found) - limit
    return found[:limit] + ([{"item": "…", "reason": f"{more} more"}] if more > 0 else [])
