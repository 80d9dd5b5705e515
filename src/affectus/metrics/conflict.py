"""Scores on clips whose modalities disagree: always all subsets, never their mean alone (CA-MER, Han et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SUBSETS = ("video-aligned", "audio-aligned", "consistent")


def subset_means(scores: Sequence[float], subsets: Sequence[str]) -> dict[str, float]:
    """Mean score of each subset, `conflict` (mean of the two conflict subsets) and `overall` (mean of the three).

    `scores` (N) are per clip, `subsets` (N) their names. ValueError for an unknown name, and when a subset has no clip:
    a mean over fewer subsets would hide what is missing.
    """
    values, names = np.asarray(scores, float), np.asarray(subsets, object)
    if len(values) != len(names):
        raise ValueError(f"scores have {len(values)} rows but subsets {len(names)}")
    if unknown := sorted(set(names) - set(SUBSETS)):
        raise ValueError(f"unknown subset {unknown[0]!r}; subsets are {', '.join(SUBSETS)}")
    if np.isnan(values).any():
        raise ValueError("scores hold NaN")
    if missing := [name for name in SUBSETS if not (names == name).any()]:
        raise ValueError(f"no clip is {missing[0]}")
    found = {name: float(values[names == name].mean()) for name in SUBSETS}
    parts = list(found.values())
    return found | {"conflict": (parts[0] + parts[1]) / 2, "overall": sum(parts) / 3}


def conflict_specificity(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Gain on conflicts minus gain on consistent clips, from two results of `subset_means`: about 0 for a method that
    only lifts general skill."""
    return (after["conflict"] - before["conflict"]) - (after["consistent"] - before["consistent"])
