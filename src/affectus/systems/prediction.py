"""From media files to predictions of a system: its input specifications, batches, and what to do about bad files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectus.errors import AffectusError
from affectus.features.reading import read_inputs
from affectus.systems.base import Batch, System
from affectus.types import Prediction


@dataclass(frozen=True)
class Predicted:
    """One file: its prediction, or the reason why there is none."""

    item: str
    prediction: Prediction | None
    error: str = ""


def collate(items: Sequence[Mapping[str, Any]]) -> Batch:
    """Items → batch: arrays and numbers are stacked into tensors, texts and ids stay lists.

    A key that some items lack is left out, so that the system names it (or does without).
    """
    batch: Batch = {}
    for name in dict.fromkeys(key for item in items for key in item):
        values = [item[name] for item in items if name in item]
        if len(values) < len(items):
            continue
        if isinstance(values[0], (str, list, tuple, dict)):
            batch[name] = values
        else:
            batch[name] = torch.from_numpy(np.stack([np.asarray(value) for value in values]))
    return batch


def predict(system: System, sources: Iterable[Any], batch_size: int = 8) -> Iterator[Predicted]:
    """Predictions of media files (or mappings of decoded content) in order; a bad file gives its error and the rest
    goes on."""
    specs = system.inputs()
    system.eval()
    device = next((p.device for p in system.parameters()), torch.device("cpu"))
    remaining = iter(sources)
    while group := list(islice(remaining, batch_size)):
        read = [_read(source, specs) for source in group]
        good = [found for found in read if isinstance(found, dict)]
        results = iter(_run(system, good, device))
        for source, found in zip(group, read, strict=True):
            name = str(source) if isinstance(source, (str, Path)) else str(source.get("id", "item"))
            if isinstance(found, AffectusError):
                yield Predicted(name, None, str(found))
                continue
            outcome = next(results)
            failed = isinstance(outcome, AffectusError)
            yield Predicted(name, None if failed else outcome, str(outcome) if failed else "")  # type: ignore[arg-type]


def _read(source: Any, specs: Mapping[str, Any]) -> dict[str, np.ndarray] | AffectusError:
    try:
        return read_inputs(source, specs)
    except AffectusError as error:
        return error


def _run(system: System, items: list[dict[str, np.ndarray]], device: torch.device) -> list[Prediction | AffectusError]:
    """Items that hold the same modalities go through together."""
    results: list[Any] = [None] * len(items)
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for i, item in enumerate(items):
        kinds.setdefault(tuple((k, getattr(v, "shape", ())) for k, v in item.items()), []).append(i)
    for rows in kinds.values():
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in collate([items[i] for i in rows]).items()}
        try:
            with torch.inference_mode():
                found: Sequence[Any] = system.decode(system(batch))
        except AffectusError as error:
            found = [error] * len(rows)
        for i, outcome in zip(rows, found, strict=True):
            results[i] = outcome
    return results
