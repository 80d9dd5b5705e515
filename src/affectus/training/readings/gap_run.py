"""The run behind `recipes/gap/*.yaml`: can the outputs of the words model tell where writer and reader differ?

EmoBank has the valence of each sentence from the writer's and from the reader's side. A sentence is a gap when the two
are `gap` points (of 4) or more apart, in either direction or in one. A ridge-penalised logistic regression on the words
model's outputs is scored out of fold, whole documents held out; penalty, direction and the threshold, where the
highest-scored `share` begins, come from the training sentences. The words model has learnt the mean rating of those, so
scores on them flatter (`auc_on_training_folds`): all numbers of the card, the precision a hint states among them, are
those of held-out development sentences, from which neither has learnt.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from affectus import corpora, models
from affectus.corpora.splits import group_folds
from affectus.corpora.writer_reader import two_sides
from affectus.errors import CorpusError
from affectus.metrics import auc, average_precision, interval
from affectus.models.dialogue import gap_features
from affectus.models.words import WordsModel
from affectus.training.embedded.shipping import card_fields, write_package
from affectus.training.recipe import Recipe
from affectus.types import Card

FOLDS = 5
PENALTIES = (10.0, 100.0, 1000.0)
DIRECTIONS = ("either", "writer higher", "reader higher")


def fit_logistic(features: np.ndarray, truth: np.ndarray, penalty: float, steps: int = 25) -> np.ndarray:
    """Weights (F + 1,), the last one the bias, of logistic regression with a ridge penalty that spares the bias.

    Newton's method (iteratively reweighted least squares); `features` (n, F) standardised, `truth` (n,) of 0 and 1.
    """
    columns = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    ridge = np.full(columns.shape[1], penalty)
    ridge[-1] = 1e-6
    weights = np.zeros(columns.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-columns @ weights))
        gradient = columns.T @ (p - truth) + ridge * weights
        hessian = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def held_out_scores(features: np.ndarray, truth: np.ndarray, folds: list[np.ndarray], penalty: float) -> np.ndarray:
    """Log-odds (n,) of every row from the rows of the other folds."""
    found = np.empty(len(features))
    for rows in folds:
        rest = np.setdiff1d(np.arange(len(features)), rows)
        mean, scale = features[rest].mean(0), features[rest].std(0).clip(1e-6)
        weights = fit_logistic((features[rest] - mean) / scale, truth[rest], penalty)
        found[rows] = (features[rows] - mean) / scale @ weights[:-1] + weights[-1]
    return found


def labels_of(writer: np.ndarray, reader: np.ndarray, direction: str, gap: float) -> np.ndarray:
    """1 where the two ratings (n,) are at least `gap` apart in that direction."""
    difference = writer - reader
    signed = {"either": np.abs(difference), "writer higher": difference, "reader higher": -difference}[direction]
    return (signed >= gap - 1e-9).astype(np.int64)


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Fit, score out of fold, and write the card to `folder/model`."""
    started = time.perf_counter()
    gap, share = float(recipe.options.get("gap", 0.5)), float(recipe.options.get("share", 0.02))
    corpus = corpora.load("emobank", roots["emobank"])
    corpus = corpus.filter([split in ("train", "valid") for split in corpus.column("split")])
    writer, readers = two_sides(corpus, "valence")
    corpus = corpus.filter(~np.isnan(writer) & ~np.isnan(readers[:, 0]))
    if not len(corpus):
        raise CorpusError(
            roots["emobank"], "no sentence is rated from both sides", "writer.csv and reader.csv are needed"
        )
    writer, readers = two_sides(corpus, "valence")
    words = models.load("words")
    assert isinstance(words, WordsModel)
    features = gap_features(words.outputs(corpus.column("text")))
    documents = np.array(corpus.column("group:document"))
    folds = group_folds(corpus.table, "group:document", FOLDS, recipe.seed)
    learnt = np.array([split == "train" for split in corpus.column("split")])
    compared: dict[str, Any] = {}
    best: tuple[float, str, float, np.ndarray] | None = None
    for direction in DIRECTIONS:
        truth = labels_of(writer, readers[:, 0], direction, gap)
        for penalty in PENALTIES:
            scores = held_out_scores(features, truth, folds, penalty)
            area = auc(truth[learnt], scores[learnt])
            compared[f"{direction}, penalty {penalty:g}"] = round(area, 4)
            if best is None or area > best[0]:
                best = (area, direction, penalty, scores)
    assert best is not None
    _, direction, penalty, scores = best
    truth = labels_of(writer, readers[:, 0], direction, gap)
    mean, scale = features.mean(0), features.std(0).clip(1e-6)
    weights = fit_logistic((features - mean) / scale, truth, penalty)
    threshold = float(1 / (1 + np.exp(-np.quantile(scores[learnt], 1 - share))))
    dev, said, hinted = truth[~learnt], scores[~learnt], 1 / (1 + np.exp(-scores[~learnt])) >= threshold
    held = documents[~learnt]
    metrics = {
        "auc": interval(auc, dev, said, held),
        "average_precision": interval(average_precision, dev, said, held),
        "precision_of_hints": interval(_mean, dev[hinted], dev[hinted], held[hinted]),
        "base_rate": interval(_mean, dev, dev, held),
        "share_hinted": interval(_mean, hinted, hinted, held),
    }
    fields = card_fields(
        recipe,
        labels=("no gap", "gap"),
        inputs={
            **{
                "direction": direction,
                "gap": gap,
                "threshold": round(threshold, 5),
                "share": share,
                "penalty": penalty,
            },
            **{"mean": _list(mean), "scale": _list(scale), "weights": _list(weights[:-1])},
            "bias": round(float(weights[-1]), 6),
        },
        n=int((~learnt).sum()),
        metrics={name: {k: round(v, 5) for k, v in found._asdict().items()} for name, found in metrics.items()},
        baselines={"auc_by_chance": 0.5, "auc_on_training_folds": compared, "hinted": int(hinted.sum())},
        speed={"training_minutes": round((time.perf_counter() - started) / 60, 1)},
    )
    package = folder / "model"
    package.mkdir(parents=True, exist_ok=True)
    return write_package(package, fields)


def _mean(truth: np.ndarray, _: np.ndarray) -> float:
    return float(np.mean(truth))


def _list(values: np.ndarray) -> list[float]:
    return [round(float(v), 6) for v in values]
