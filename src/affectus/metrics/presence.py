"""Scores over all labels of a model beside those over the labels that a test set holds, for tests on other corpora."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from affectus.metrics.classification import accuracy, macro_f1, uar


def presence_report(truth: npt.ArrayLike, prediction: npt.ArrayLike, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`acc`, `macro_f1` and `bacc` over all labels (key "8way" for eight) and over the present ones ("present_only").

    `truth` and `prediction` (N,) are positions in `names`. Over all labels, absent ones count as 0; the second part
    also has `present_idx` and `present_names`. The layout is that of NeuroGaze-Distill's `metrics.json`.
    """
    found: dict[str, dict[str, Any]] = {
        key: {
            "acc": accuracy(truth, prediction, len(names)),
            "macro_f1": macro_f1(truth, prediction, len(names), present_only=only),
            "bacc": uar(truth, prediction, len(names), present_only=only),
        }
        for key, only in ((f"{len(names)}way", False), ("present_only", True))
    }
    present = sorted({int(value) for value in truth})  # type: ignore[union-attr, arg-type]
    found["present_only"] |= {"present_idx": present, "present_names": [names[i] for i in present]}
    return found


def write_presence(path: str | Path, truth: npt.ArrayLike, prediction: npt.ArrayLike, names: Sequence[str]) -> Path:
    """Write `presence_report` as JSON; returns the path."""
    path = Path(path)
    path.write_text(json.dumps(presence_report(truth, prediction, names), indent=1) + "\n", encoding="utf-8")
    return path
