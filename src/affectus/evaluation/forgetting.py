"""Forgetting: what a system that answers in words could do before a stretch of training and can no longer do after it.

    before = registry.load("emotion_qwen", "runs/pretrain/model")
    after = registry.load("emotion_qwen", "runs/tuned/model")
    report = forgetting(before, after, items)          # {"general": Change(...), "emotion": Change(...)}

An item counts as known when the system gives its whole reference answer a probability above one half, so that the
likeliest tokens are that answer. The same items go through both systems, and the interval resamples items, not systems.
`phase_ends` shows the same over the phases of one run, from its log.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectus.errors import ConfigError
from affectus.metrics.intervals import interval


@dataclass(frozen=True)
class Change:
    """One kind of items: `before` and `after` are the shares known, in [0, 1]; `change` is their difference with the
    bounds `low` and `high` of its 95 % interval; `lost` and `gained` count items."""

    n: int
    before: float
    after: float
    change: float
    low: float
    high: float
    lost: int
    gained: int

    def as_dict(self) -> dict[str, float]:
        """JSON-like record."""
        return asdict(self)


def change(before: np.ndarray, after: np.ndarray) -> Change:
    """What became of items of which some were known before (n,) bool and some after (n,) bool."""
    if len(before) != len(after) or not len(before):
        raise ConfigError("forgetting", f"cannot compare {len(before)} items with {len(after)}", "give the same items")
    first, second = before.astype(float), after.astype(float)
    found = interval(_mean_difference, first, second)
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    shares = float(first.mean()), float(second.mean())
    return Change(len(before), *shares, found.value, found.low, found.high, lost, gained)


def forgetting(before: Any, after: Any, items: Any) -> dict[str, Change]:
    """Changes from one system to another over items with records, by kind: `general` and `emotion` where the systems
    tell them apart, else `all`."""
    from affectus.training.system_task import outputs_of

    first, second = (outputs_of(system.eval(), items)[0] for system in (before, after))
    if "nll" not in first:
        raise ConfigError(before.card.name, "gives no likelihood of answers", "use a system that answers in words")
    known = [np.exp(-part["nll"] * part["tokens"]) > 0.5 for part in (first, second)]
    kinds = {"all": np.ones(len(known[0]), bool)}
    if "general" in first:
        kinds = {"general": first["general"] > 0, "emotion": first["general"] == 0}
    return {name: change(known[0][rows], known[1][rows]) for name, rows in kinds.items() if rows.any()}


def phase_ends(folder: str | Path, metrics: tuple[str, ...] = ("sure_general", "sure_emotion")) -> list[dict[str, Any]]:
    """One record per phase of a run with the metrics of its kept epoch, that of the lowest validation loss, and as
    `NAME_change` the difference to the first phase that has the metric."""
    log = Path(folder) / "log.jsonl"
    if not log.is_file():
        raise ConfigError(log, "does not exist", "give the folder of a training run")
    kept: dict[str, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        best = kept.get(record["phase"])
        if best is None or record.get("loss", np.inf) < best.get("loss", np.inf):
            kept[record["phase"]] = record
    start: dict[str, float] = {}
    found = []
    for phase, record in kept.items():
        row: dict[str, Any] = {"phase": phase, "epoch": record["epoch"]}
        for name in metrics:
            if name in record:
                row |= {name: record[name], f"{name}_change": record[name] - start.setdefault(name, record[name])}
        found.append(row)
    return found


def _mean_difference(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.mean(after - before))
