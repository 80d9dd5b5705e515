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
#: Gaps in each direction that the training and the development sentences must hold.
LEAST_GAPS = 10


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


def compare(
    features: np.ndarray, sides: tuple[np.ndarray, np.ndarray], learnt: np.ndarray, folds: list[np.ndarray], gap: float
) -> tuple[str, float, np.ndarray, dict[str, float]]:
    """Direction and penalty with the highest AUC on held-out training sentences, their log-odds (n,), and all AUCs."""
    areas: dict[tuple[str, float], float] = {}
    scores: dict[tuple[str, float], np.ndarray] = {}
    for direction in DIRECTIONS:
        truth = labels_of(*sides, direction, gap)
        for penalty in PENALTIES:
            scores[direction, penalty] = held_out_scores(features, truth, folds, penalty)
            areas[direction, penalty] = auc(truth[learnt], scores[direction, penalty][learnt])
    best = max(areas, key=lambda key: areas[key])
    return *best, scores[best], {f"{name}, penalty {p:g}": round(area, 4) for (name, p), area in areas.items()}


def measure(
    truth: np.ndarray, scores: np.ndarray, hinted: np.ndarray, documents: np.ndarray
) -> dict[str, dict[str, float]]:
    """Scores of held-out development sentences with intervals over documents."""
    found = {
        "auc": interval(auc, truth, scores, documents),
        "average_precision": interval(average_precision, truth, scores, documents),
        "precision_of_hints": interval(_mean, truth[hinted], truth[hinted], documents[hinted]),
        "base_rate": interval(_mean, truth, truth, documents),
        "share_hinted": interval(_mean, hinted, hinted, documents),
    }
    return {name: {key: round(value, 5) for key, value in entry._asdict().items()} for name, entry in found.items()}


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Fit, score out of fold, and write the card to `folder/model`.

    Raises CorpusError when too few sentences are rated from both sides, or hardly any has a gap.
    """
    started = time.perf_counter()
    gap, share = float(recipe.options.get("gap", 0.5)), float(recipe.options.get("share", 0.05))
    corpus = corpora.load("emobank", roots["emobank"])
    writer, readers = two_sides(corpus, "valence")
    rated = ~np.isnan(writer) & ~np.isnan(readers[:, 0])
    corpus = corpus.filter(rated & np.isin(corpus.column("split"), ("train", "valid")))
    writer, readers = two_sides(corpus, "valence")
    sides = writer, readers[:, 0]
    learnt = np.array([split == "train" for split in corpus.column("split")])
    for side in (learnt, ~learnt):
        if any(labels_of(*sides, direction, gap)[side].sum() < LEAST_GAPS for direction in DIRECTIONS):
            raise CorpusError(
                roots["emobank"], f"fewer than {LEAST_GAPS} sentences have a gap of {gap}", "give it whole"
            )
    words = models.load("words")
    assert isinstance(words, WordsModel)
    features = gap_features(words.outputs(corpus.column("text")))
    folds = group_folds(corpus.table, "group:document", FOLDS, recipe.seed)
    direction, penalty, scores, compared = compare(features, sides, learnt, folds, gap)
    truth = labels_of(*sides, direction, gap)
    bound = np.quantile(scores[learnt], 1 - share)
    mean, scale = features.mean(0), features.std(0).clip(1e-6)
    weights = fit_logistic((features - mean) / scale, truth, penalty)
    hinted = (scores >= bound)[~learnt]
    chosen = {"direction": direction, "gap": gap, "penalty": penalty, "share": share}
    chosen |= {"threshold": round(float(1 / (1 + np.exp(-bound))), 5)}
    numbers = {"mean": _list(mean), "scale": _list(scale), "weights": _list(weights[:-1])}
    documents = np.array(corpus.column("group:document"))
    fields = card_fields(
        recipe,
        labels=("no gap", "gap"),
        inputs={**chosen, **numbers, "bias": round(float(weights[-1]), 6)},
        n=int((~learnt).sum()),
        metrics=measure(truth[~learnt], scores[~learnt], hinted, documents[~learnt]),
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
