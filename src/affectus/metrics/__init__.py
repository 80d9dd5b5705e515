"""Scores of predictions against labels, with intervals: numpy arrays in, plain floats out.

Signatures are `metric(truth, prediction or probabilities, ...)`. Rows run along the first axis; NaN, empty input and
wrong shapes raise `ValueError`. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "classification": (
        "accuracy war uar balanced_accuracy macro_f1 weighted_f1 micro_f1 macro_precision weighted_precision confusion"
    ),
    "regression": "mae mse rmse pcc ccc",
    "calibration": "ece mce ace brier nll reliability",
    "intervals": "interval confusion_interval bootstrap bootstrap_counts",
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.metrics.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, *_MODULES])
