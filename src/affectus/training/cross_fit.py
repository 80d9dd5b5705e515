"""Out-of-fold outputs: every item is scored by a system that learnt from the other folds alone.

Whatever is mined from scores (expressions, hard examples) must not come from items the model has memorised.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.systems.base import System
from affectus.training.loop import fit
from affectus.training.system_task import SystemTask, outputs_of


def cross_fit(
    build: Callable[[int], System],
    items: Dataset,
    folds: Sequence[np.ndarray],
    seed: int = 0,
    phases: list[Phase] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs by name for all items, each from the system that did not learn from its fold.

    `build(fold)` gives a fresh system, trained through its own phases (or the given ones) with the last weights kept,
    so that nothing is chosen on the held-out fold. `folds` are row numbers (see `corpora.splits.group_folds`); together
    they must hold every item once, else ConfigError.
    """
    count: int = len(items)  # type: ignore[arg-type]
    every = np.concatenate([np.asarray(fold, np.int64) for fold in folds])
    if len(folds) < 2 or not np.array_equal(np.sort(every), np.arange(count)):
        raise ConfigError("folds", f"do not hold each of {count} items once", "make them with group_folds")
    found: dict[str, np.ndarray] = {}
    for number, rows in enumerate(folds):
        system = build(number)
        rest = np.setdiff1d(np.arange(count), rows)
        nothing: Dataset = Subset(items, [])
        task = SystemTask(system, Subset(items, rest.tolist()), nothing, "none")
        task.select = "epoch"
        with tempfile.TemporaryDirectory(prefix="affectus-") as folder:
            fit(task, phases or system.phases(), Path(folder), seed)
        outputs = outputs_of(system.eval(), Subset(items, rows.tolist()), batch_size=64)[0]
        for name, values in outputs.items():
            found.setdefault(name, np.zeros((count, *values.shape[1:]), values.dtype))[rows] = values
    return found
