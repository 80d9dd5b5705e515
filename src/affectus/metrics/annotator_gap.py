"""Where two sides see different emotions in the same text: the one who wrote it, and those who read it.

Intensities are numbers per item and emotion on the corpus's own scale (WRIME: 0 none … 3 strong). "Hidden" = the writer
has it and the readers under-rate it; "misread" = the readers see what the writer did not put there. The rule makes the
numbers: an AUC is comparable only under the same rule, so results store `GapRule.name`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from affectus.metrics.agreement import cohen_kappa
from affectus.metrics.inputs import Floats, Ints, numbers, same_length
from affectus.metrics.regression import pcc

RuleKind = Literal["hidden", "gap", "unseen", "misread", "excess"]


@dataclass(frozen=True)
class GapRule:
    """When an item counts as a gap.

    hidden: writer ≥ `writer` and mean of readers < `readers`. gap: writer - mean of readers ≥ `gap`. unseen: writer ≥ 1
    and every reader 0. misread: writer 0 and mean of readers ≥ `readers`. `contrast` restricts the negatives to items
    in which neither side sees the emotion (writer ≤ 0, mean of readers < `readers`); all others are left out (-1).
    """

    kind: RuleKind = "hidden"
    writer: float = 2.0
    readers: float = 1.0
    gap: float = 2.0
    contrast: bool = False

    @property
    def name(self) -> str:
        """The rule in words, to be stored with every result."""
        words = {
            "hidden": f"writer >= {self.writer:g} and mean of readers < {self.readers:g}",
            "gap": f"writer - mean of readers >= {self.gap:g}",
            "unseen": "writer >= 1 and every reader 0",
            "misread": f"writer = 0 and mean of readers >= {self.readers:g}",
            "excess": f"mean of readers - writer >= {self.gap:g}",
        }[self.kind]
        return words + (f", against writer <= 0 and mean of readers < {self.readers:g}" if self.contrast else "")

    def label(self, writer: npt.ArrayLike, readers: npt.ArrayLike) -> Ints:
        """1 where the rule holds, else 0, or -1 where `contrast` leaves an item out.

        `writer` is (N,), `readers` (N, R). The mean is taken from the readers themselves: published rounded means lose
        thirds.
        """
        own, theirs = _pair(writer, readers)
        mean = theirs.mean(1)
        # Thirds do not add up exactly in floating point.
        close = 1e-9
        holds = {
            "hidden": (own >= self.writer) & (mean < self.readers - close),
            "gap": own - mean >= self.gap - close,
            "unseen": (own >= 1) & (theirs.max(1) == 0),
            "misread": (own == 0) & (mean >= self.readers - close),
            "excess": mean - own >= self.gap - close,
        }[self.kind]
        found = holds.astype(np.int64)
        if self.contrast:
            found[~holds & ~((own <= 0) & (mean < self.readers - close))] = -1
        return found


def gap(writer: npt.ArrayLike, readers: npt.ArrayLike) -> Floats:
    """Writer minus mean of readers, (N,), in the unit of the ratings."""
    own, theirs = _pair(writer, readers)
    return own - theirs.mean(1)


def gap_agreement(writer: npt.ArrayLike, readers: npt.ArrayLike) -> dict[str, Any]:
    """How far readers recover what the writer meant, for one emotion: mean gap and its standard deviation, Pearson r
    and quadratic kappa of the writer with the mean reader (rounded for kappa) and with each reader.
    """
    own, theirs = _pair(writer, readers)
    mean = theirs.mean(1)
    return {
        "n": len(own),
        "mean_gap": float((own - mean).mean()),
        "sd_gap": float((own - mean).std()),
        "r": pcc(own, mean),
        "kappa": _kappa(own, np.floor(mean + 0.5)),
        "r_per_reader": [pcc(own, one) for one in theirs.T],
        "kappa_per_reader": [_kappa(own, one) for one in theirs.T],
    }


def rounded_mean_mismatches(readers: npt.ArrayLike, published: npt.ArrayLike) -> int:
    """Rows whose published whole-number mean is not the mean of the readers, rounded to the nearest (halves up)."""
    theirs = numbers(readers, "readers")
    return int((np.floor(theirs.mean(1) + 0.5) != numbers(published, "published")).sum())


def _pair(writer: npt.ArrayLike, readers: npt.ArrayLike) -> tuple[Floats, Floats]:
    own, theirs = numbers(writer, "writer"), numbers(readers, "readers")
    if own.ndim != 1 or theirs.ndim != 2:
        raise ValueError(f"writer must be (N,) and readers (N, R), not {own.shape} and {theirs.shape}")
    same_length(own, theirs, ("writer", "readers"))
    return own, theirs


def _kappa(first: Floats, second: Floats) -> float:
    top = int(max(first.max(), second.max()))
    return cohen_kappa(first.astype(np.int64), second.astype(np.int64), list(range(top + 1)), weights="quadratic")
