"""What every embedded model goes through after training: calibration, a card, hashes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affectus.metrics import confusion, ece, nll
from affectus.metrics.recalibration import softmax
from affectus.models.package import file_hash
from affectus.training.recipe import Recipe
from affectus.types import Card

#: Licence and origin of every corpus the embedded models learn from, as stated by its publisher.
CORPUS_FACTS: dict[str, dict[str, str]] = {
    "ferplus": {
        "title": "FER2013 images with FER+ votes",
        "licence": "labels MIT; images ICML 2013 challenge, research",
        "citation": "Barsoum et al., ICMI 2016; Goodfellow et al., ICONIP 2013",
    },
    "ravdess": {
        "title": "RAVDESS speech, actors 1-18",
        "licence": "CC BY-NC-SA 4.0",
        "citation": "Livingstone & Russo, PLoS ONE 2018",
    },
    "goemotions": {
        "title": "GoEmotions",
        "licence": "Apache-2.0 / CC BY 4.0",
        "citation": "Demszky et al., ACL 2020",
    },
    "meld": {
        "title": "MELD",
        "licence": "GPL-3.0 (annotations); television script, research use",
        "citation": "Poria et al., ACL 2019",
    },
    "emocontext": {
        "title": "EmoContext (SemEval-2019 task 3)",
        "licence": "research use",
        "citation": "Chatterjee et al., SemEval 2019",
    },
    "vader": {
        "title": "VADER sentences (texts alone)",
        "licence": "MIT (as distributed with vaderSentiment)",
        "citation": "Hutto & Gilbert, ICWSM 2014",
    },
    "emobank": {"title": "EmoBank", "licence": "CC BY-SA 4.0", "citation": "Buechel & Hahn, EACL 2017"},
    "oasis": {
        "title": "OASIS images",
        "licence": "open-access image set, cite the authors",
        "citation": "Kurdi, Lozano & Banaji, Behavior Research Methods 2017",
    },
}


def calibration_record(
    logits: np.ndarray, calibrated: np.ndarray, truth: np.ndarray, temperature: float
) -> dict[str, Any]:
    """ECE and NLL before and after temperature scaling, on rows that did not choose the temperature."""
    plain = softmax(logits)
    return {
        "temperature": round(temperature, 4),
        "ece_before": round(ece(truth, plain), 5),
        "ece_after": round(ece(truth, calibrated), 5),
        "nll_before": round(nll(truth, plain), 5),
        "nll_after": round(nll(truth, calibrated), 5),
    }


def confusion_table(truth: np.ndarray, guess: np.ndarray, classes: int) -> list[list[int]]:
    """Rows: true class, columns: predicted class, both in the order of the card's labels."""
    return np.asarray(confusion(truth, guess, labels=list(range(classes)))).astype(int).tolist()


def measure_speed(call: Callable[[Sequence[Any]], Any], items: Sequence[Any], seconds: float = 3.0) -> float:
    """Items per second of a model call, after one warm-up call."""
    call(items)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        call(items)
        done += len(items)
    return round(done / (time.perf_counter() - started), 1)


def card_fields(recipe: Recipe, **measured: Any) -> dict[str, Any]:
    """Fields of a `Card`: the recipe's card text, what follows from it, and what was measured.

    `inputs` given in `measured` are added to those of the recipe.
    """
    fields: dict[str, Any] = {
        "title": recipe.title,
        "version": recipe.version,
        "data": [{"name": name, "part": part, **CORPUS_FACTS[name]} for name, part in recipe.corpora.items()],
        **recipe.card,
    }
    fields["inputs"] = {**fields.get("inputs", {}), **measured.pop("inputs", {})}
    for name in ("labels", "dimensions", "limits"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return {**fields, **measured}


def write_package(folder: Path, fields: Mapping[str, Any], log: Path | None = None) -> Card:
    """Write `card.json` with the hashes of the files the model needs; the training log lies beside it."""
    names = [name for name in ("model.onnx", "tokenizer.json") if (folder / name).exists()]
    card = Card(**{**fields, "files": {name: file_hash(folder / name) for name in names}})
    card.write(folder / "card.json")
    if log is not None and log.exists():
        (folder / "training-log.jsonl").write_text(log.read_text(encoding="utf-8"), encoding="utf-8")
    return card
