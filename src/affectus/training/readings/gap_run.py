"""The run behind `recipes/gap/*.yaml`: can the outputs of the words model tell where writer and reader differ?

EmoBank has the valence of each sentence from the writer's and from the reader's side. A sentence is a gap when the two
are `gap` points (of 4) or more apart, in either direction or in one. A ridge-penalised logistic regression on the words
model's outputs is scored out of fold, whole documents held out, on training and development sentences.

- Features, penalty and direction come from the training sentences. The words model has learnt the mean rating of
  those, so scores on them flatter (`auc_on_training_folds`): they can choose, and promise nothing.
- The operating point comes from development sentences, from which the words model did not learn: there the scores are
  calibrated, and the threshold is put where hints are right `target_lift` times as often as chance, yet not so high
  that less than `least_share` of the sentences carry one (see `operating_point`).
- All numbers of the card are of development sentences too, each in a fold whose documents had no part in the weights,
  the calibration and the threshold it was scored with (see `crossed`). What ships is made in the same way from all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from affectus import corpora, models
from affectus.corpora import Corpus
from affectus.corpora.splits import group_folds
from affectus.corpora.writer_reader import two_sides
from affectus.errors import CorpusError
from affectus.metrics import auc, average_precision, interval
from affectus.models.dialogue import GAP_FEATURES, gap_features
from affectus.models.words import WordsModel
from affectus.training.embedded.shipping import card_fields, write_package
from affectus.training.recipe import Recipe
from affectus.types import Card

FOLDS = 5
PENALTIES = (10.0, 100.0, 1000.0)
DIRECTIONS = ("either", "writer higher", "reader higher")
#: Gaps in each direction that the training and the development sentences must hold.
LEAST_GAPS = 10


class Plan(NamedTuple):
    """How hints are made: the ridge penalty, how many times the base rate they shall be right, and the least share of
    sentences that carries one."""

    penalty: float
    target_lift: float
    least_share: float


class OperatingPoint(NamedTuple):
    """Where hints begin: log-odds become `slope` · log-odds + `bias`, a hint is given from the probability `threshold`.

    `lift`, how many times the base rate hints are right, is `expected` by the calibration and `found` by counting.
    """

    slope: float
    bias: float
    threshold: float
    marks: int
    expected: float
    found: float


def probability(scores: np.ndarray) -> np.ndarray:
    """Of log-odds."""
    return 1 / (1 + np.exp(-scores))


def fit_logistic(features: np.ndarray, truth: np.ndarray, penalty: float, steps: int = 25) -> np.ndarray:
    """Weights (F + 1,), the last one the bias, of logistic regression with a ridge penalty that spares the bias.

    Newton's method (iteratively reweighted least squares); `features` (n, F) standardised, `truth` (n,) of 0 and 1.
    """
    columns = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    ridge = np.full(columns.shape[1], penalty)
    ridge[-1] = 1e-6
    weights = np.zeros(columns.shape[1])
    for _ in range(steps):
        p = probability(columns @ weights)
        gradient = columns.T @ (p - truth) + ridge * weights
        hessian = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    return weights


class Scorer(NamedTuple):
    """A linear score: features (n, F) are standardised by `mean` and `scale` (F,); the last of `weights` (F + 1,) is
    the bias."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Log-odds (n,)."""
        return (features - self.mean) / self.scale @ self.weights[:-1] + self.weights[-1]


def fit_scorer(features: np.ndarray, truth: np.ndarray, penalty: float) -> Scorer:
    """Standardise, then fit."""
    mean, scale = features.mean(0), features.std(0).clip(1e-6)
    return Scorer(mean, scale, fit_logistic((features - mean) / scale, truth, penalty))


def held_out_scores(features: np.ndarray, truth: np.ndarray, folds: list[np.ndarray], penalty: float) -> np.ndarray:
    """Log-odds (n,) of every row from the rows of the other folds."""
    found = np.empty(len(features))
    for rows in folds:
        rest = np.setdiff1d(np.arange(len(features)), rows)
        found[rows] = fit_scorer(features[rest], truth[rest], penalty)(features[rows])
    return found


def labels_of(writer: np.ndarray, reader: np.ndarray, direction: str, gap: float) -> np.ndarray:
    """1 where the two ratings (n,) are at least `gap` apart in that direction."""
    difference = writer - reader
    signed = {"either": np.abs(difference), "writer higher": difference, "reader higher": -difference}[direction]
    return (signed >= gap - 1e-9).astype(np.int64)


def compare(
    features: Mapping[str, np.ndarray], sides: tuple[np.ndarray, np.ndarray], folds: list[np.ndarray], gap: float
) -> tuple[str, str, float, dict[str, float]]:
    """Features, direction and penalty with the highest AUC out of fold, and all AUCs; `features` by name, (n, F)."""
    areas: dict[tuple[str, str, float], float] = {}
    for direction in DIRECTIONS:
        truth = labels_of(*sides, direction, gap)
        for name, penalty in product(features, PENALTIES):
            scores = held_out_scores(features[name], truth, folds, penalty)
            areas[name, direction, penalty] = auc(truth, scores)
    best = max(areas, key=lambda key: areas[key])
    return *best, {f"{name}, {d}, penalty {p:g}": round(area, 4) for (name, d, p), area in areas.items()}


def operating_point(truth: np.ndarray, scores: np.ndarray, target: float, least: float) -> OperatingPoint:
    """The lowest threshold whose hints are right `target` times as often as chance, or, where the share `least` of the
    rows does not reach that, the threshold from which that share gets a hint.

    `truth` (n,) of 0 and 1, `scores` (n,) held-out log-odds. How often hints are right is read from a calibration of
    two parameters: counted, it would jump with every single one of a few right hints, and the highest jump would be
    chosen. Raises CorpusError when higher scores are not more often gaps.
    """
    slope, bias = fit_logistic(scores[:, None], truth, 1e-6).tolist()
    if slope <= 0:
        raise CorpusError("gaps", "held-out sentences with higher scores are not more often gaps", "ship no hints")
    order = np.argsort(-scores, kind="stable")
    chances = probability(slope * scores[order] + bias)
    expected = chances.cumsum() / np.arange(1, len(order) + 1) / truth.mean()
    marks = max(1, round(least * len(order)), int((expected >= target).sum()))
    found = float(truth[order[:marks]].mean() / truth.mean())
    return OperatingPoint(slope, bias, float(chances[marks - 1]), marks, float(expected[marks - 1]), found)


def calibrated(scorer: Scorer, point: OperatingPoint) -> Scorer:
    """The scorer whose log-odds are those of the calibration."""
    weights = point.slope * scorer.weights
    weights[-1] += point.bias
    return scorer._replace(weights=weights)


def whole(
    features: np.ndarray, truth: np.ndarray, chosen_on: np.ndarray, folds: list[np.ndarray], plan: Plan
) -> tuple[Scorer, OperatingPoint]:
    """What ships: a calibrated scorer of all rows and its operating point, chosen on the rows `chosen_on` (n,)."""
    held_out = held_out_scores(features, truth, folds, plan.penalty)
    point = operating_point(truth[chosen_on], held_out[chosen_on], plan.target_lift, plan.least_share)
    return calibrated(fit_scorer(features, truth, plan.penalty), point), point


def crossed(
    features: np.ndarray, truth: np.ndarray, chosen_on: np.ndarray, folds: list[np.ndarray], plan: Plan
) -> np.ndarray:
    """Which rows get a hint, (n,), each fold by what the rows of the other folds alone would make ship."""
    hinted = np.empty(len(features), bool)
    for rows in folds:
        rest = np.setdiff1d(np.arange(len(features)), rows)
        others = [np.searchsorted(rest, other) for other in folds if other is not rows]
        scorer, point = whole(features[rest], truth[rest], chosen_on[rest], others, plan)
        hinted[rows] = probability(scorer(features[rows])) >= point.threshold
    return hinted


def measure(
    truth: np.ndarray, scores: np.ndarray, hinted: np.ndarray, documents: np.ndarray
) -> dict[str, dict[str, float]]:
    """Scores of held-out sentences with intervals over documents; `hinted` (n,) says which carry a hint."""
    found = {
        "auc": interval(auc, truth, scores, documents),
        "average_precision": interval(average_precision, truth, scores, documents),
        "precision_of_hints": interval(_precision, truth, hinted, documents),
        "recall_of_hints": interval(_recall, truth, hinted, documents),
        "lift_of_hints": interval(_lift, truth, hinted, documents),
        "base_rate": interval(_base, truth, hinted, documents),
        "share_hinted": interval(_share, truth, hinted, documents),
    }
    return {name: {key: round(value, 5) for key, value in entry._asdict().items()} for name, entry in found.items()}


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Choose, measure out of fold, fit, and write the card to `folder/model`.

    Raises CorpusError when too few sentences are rated from both sides, or hardly any has a gap.
    """
    started = time.perf_counter()
    gap = float(recipe.options.get("gap", 0.5))
    target, least = (float(recipe.options.get(n, d)) for n, d in (("target_lift", 3), ("least_share", 0.05)))
    corpus, sides = _rated(roots["emobank"], gap)
    learnt = np.array(corpus.column("split")) == "train"
    words = models.load("words")
    assert isinstance(words, WordsModel)
    outputs = words.outputs(corpus.column("text"))
    all_features = {kind: gap_features(outputs, kind) for kind in GAP_FEATURES}
    folds = group_folds(corpus.table, "group:document", FOLDS, recipe.seed)
    place = np.cumsum(learnt) - 1  # row → row among the training sentences
    learnt_folds = [place[rows[learnt[rows]]] for rows in folds]
    kind, direction, penalty, compared = compare(
        {name: values[learnt] for name, values in all_features.items()},
        (sides[0][learnt], sides[1][learnt]),
        learnt_folds,
        gap,
    )
    features, truth, plan = all_features[kind], labels_of(*sides, direction, gap), Plan(penalty, target, least)
    held, hinted = truth[~learnt], crossed(features, truth, ~learnt, folds, plan)[~learnt]
    scores = held_out_scores(features, truth, folds, penalty)[~learnt]
    scorer, point = whole(features, truth, ~learnt, folds, plan)
    mean, scale, weights = (np.round(values, 6).tolist() for values in scorer)
    chosen = {"direction": direction, "gap": gap, "features": kind, "penalty": penalty}
    chosen |= {"threshold": round(point.threshold, 5)}
    fields = card_fields(
        recipe,
        # The numbers fit the outputs of this very file: with other words weights this recipe is to be run again.
        backbone={**recipe.card["backbone"], "weights": words.card.files["model.onnx"]},
        labels=("no gap", "gap"),
        inputs={**chosen, "mean": mean, "scale": scale, "weights": weights[:-1], "bias": weights[-1]},
        n=len(held),
        metrics=measure(held, scores, hinted, np.array(corpus.column("group:document"))[~learnt]),
        baselines={
            "auc_by_chance": 0.5,
            "auc_on_training_folds": compared,
            "gaps": int(held.sum()),
            "hinted": int(hinted.sum()),
            "hinted_right": int(held[hinted].sum()),
            "operating_point": _record(point, plan),
        },
        speed={"training_minutes": round((time.perf_counter() - started) / 60, 1)},
    )
    package = folder / "model"
    package.mkdir(parents=True, exist_ok=True)
    return write_package(package, fields)


def _rated(root: Path, gap: float) -> tuple[Corpus, tuple[np.ndarray, np.ndarray]]:
    """The training and development sentences rated from both sides, and their valence from each, 1…5."""
    corpus = corpora.load("emobank", root)
    writer, readers = two_sides(corpus, "valence")
    rated = ~np.isnan(writer) & ~np.isnan(readers[:, 0]) & np.isin(corpus.column("split"), ("train", "valid"))
    corpus, sides = corpus.filter(rated), (writer[rated], readers[rated, 0])
    parts = np.array(corpus.column("split"))
    gaps = [labels_of(*sides, direction, gap) for direction in DIRECTIONS]
    if any(of[parts == name].sum() < LEAST_GAPS for of in gaps for name in ("train", "valid")):
        raise CorpusError(root, f"fewer than {LEAST_GAPS} sentences have a gap of {gap}", "give it whole")
    return corpus, sides


def _record(point: OperatingPoint, plan: Plan) -> dict[str, float | int]:
    """How the threshold that ships was chosen, for the card."""
    return {
        "target_lift": plan.target_lift,
        "least_share": plan.least_share,
        "hinted": point.marks,
        "lift_expected": round(point.expected, 3),
        "lift_counted": round(point.found, 3),
    }


def _precision(truth: np.ndarray, hinted: np.ndarray) -> float:
    return float(truth[hinted].mean()) if hinted.any() else float("nan")


def _recall(truth: np.ndarray, hinted: np.ndarray) -> float:
    return float(hinted[truth == 1].mean()) if truth.any() else float("nan")


def _lift(truth: np.ndarray, hinted: np.ndarray) -> float:
    return _precision(truth, hinted) / float(truth.mean()) if truth.any() else float("nan")


def _base(truth: np.ndarray, _: np.ndarray) -> float:
    return float(truth.mean())


def _share(_: np.ndarray, hinted: np.ndarray) -> float:
    return float(hinted.mean())
