"""From easy to hard: a phase of training learns from the easiest of several equal buckets of the items.

`Phase.options` hold `curriculum`: {`bucket`: 1, `of`: 2} learns from the first of two, {`bucket`: 2, `of`: 2} from both
(PRC-Emo). With `by: chance` the items are dealt into buckets at random: the same steps without their order, which is
what a curriculum must be compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

from affectus.errors import ConfigError


def bucket_rows(difficulty: np.ndarray, bucket: int, of: int) -> np.ndarray:
    """Rows of the first `bucket` of `of` equal buckets by rising difficulty (n,); equal ones by row number.

    Raises ConfigError for a bucket that there is not.
    """
    if not 1 <= bucket <= of:
        raise ConfigError("curriculum", f"there is no bucket {bucket} of {of}", "count buckets from 1")
    order = np.argsort(difficulty, kind="stable")
    return np.sort(order[: -(-len(order) * bucket // of)])


def curriculum_part(items: Dataset, settings: Mapping[str, Any] | None) -> Dataset:
    """The items that a phase learns from by its `curriculum` settings; all of them without.

    Items say how hard they are by an attribute `difficulty` (n,), or by that name in their batch. Raises ConfigError.
    """
    if not settings:
        return items
    if unknown := sorted(set(settings) - {"bucket", "of", "by"}):
        raise ConfigError("curriculum", f"unknown settings {', '.join(unknown)}", "known are bucket, of, by")
    by, count = settings.get("by", "difficulty"), len(items)  # type: ignore[arg-type]
    if by == "chance":
        values = np.random.default_rng(0).permutation(count).astype(float)
    elif by == "difficulty":
        values = difficulty_of(items)
    else:
        raise ConfigError("curriculum", f"cannot go by {by!r}", "use difficulty or chance")
    return Subset(items, bucket_rows(values, int(settings.get("bucket", 1)), int(settings.get("of", 2))).tolist())


def difficulty_of(items: Dataset) -> np.ndarray:
    """Difficulty of each item (n,); ConfigError when they do not say."""
    found = getattr(items, "difficulty", None)
    if found is None:
        found = getattr(items, "batch", {}).get("difficulty")
    if found is None:
        raise ConfigError("curriculum", "these items do not say how hard they are", "leave curriculum out")
    values = np.asarray(found, float)
    if np.isnan(values).any():
        raise ConfigError("curriculum", f"{int(np.isnan(values).sum())} items have no difficulty")
    return values
