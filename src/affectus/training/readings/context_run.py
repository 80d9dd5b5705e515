"""The run behind `recipes/context/*.yaml`: the posterior of a turn from the words model and its conversation.

The words model is not trained. Candidates are linear softmaxes on its outputs for the turn alone, with the same
speaker's turn before, with the turn before by anybody, or with both; and, as the baseline, its own posterior under one
temperature. Folds hold whole dialogues. The candidate with the lowest log loss on held-out folds is taken; a context is
taken only where its gain over the linear softmax of the turn alone is sure (95 % interval over dialogues). The
development split chooses nothing. Where a chat corpus is given as well, the choice is scored on its last turns, which
are of another kind than the dialogues it was made on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from affectus import corpora, models
from affectus.corpora import Corpus
from affectus.corpora.splits import group_folds
from affectus.labels import map_between
from affectus.metrics import Interval, fit_temperature, interval, nll, paired_interval, weighted_f1
from affectus.metrics.reports import classification_report
from affectus.models.common_space import LABELS, NEUTRAL, divergence, to_common
from affectus.models.dialogue import context_features, rows_before, softmax
from affectus.models.words import WordsModel
from affectus.training.embedded.shipping import card_fields, write_package
from affectus.training.recipe import Recipe
from affectus.types import Card

FOLDS = 5
ALONE = "turn"
#: Name of a candidate → what it rests on.
CANDIDATES: dict[str, tuple[str, ...]] = {
    ALONE: ("turn",),
    "turn, own before": ("turn", "own before"),
    "turn, before": ("turn", "before"),
    "turn, own before, before": ("turn", "own before", "before"),
}
#: Divergences (bits) that are tried as the bound of a shift.
BOUNDS = tuple(round(0.05 * k, 2) for k in range(1, 17))
#: Probability both turns of a shift need, as the analyzer needs it to name a label.
SURE = 0.45
FLOOR = 1e-6


@dataclass(frozen=True)
class Talk:
    """Turns of one split, ordered by dialogue: true classes (n,), dialogue numbers (n,), row of the same speaker's turn
    before (-1 for none), outputs (n, 31) of the words model, and features (n, F) by candidate."""

    truth: np.ndarray
    dialogue: np.ndarray
    own_before: np.ndarray
    outputs: np.ndarray
    features: dict[str, np.ndarray]

    @property
    def posterior(self) -> np.ndarray:
        """What the words model says about the turns alone (n, 7)."""
        return to_common("goemotions28", self.outputs[:, :-3])


@dataclass(frozen=True)
class Linear:
    """A fitted softmax: standardisation (F,), weights (F, 7), bias (7,)."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Posteriors (n, 7)."""
        return softmax((features - self.mean) / self.scale @ self.weights + self.bias)


def read_talk(corpus: Corpus, words: WordsModel) -> Talk:
    """Score every turn of a split and gather the features of its conversation."""
    names = corpus.labels("label:meld7")
    to_ekman = map_between("meld7", "ekman7").matrix.argmax(1)
    labels, texts, speakers = (corpus.column(name) for name in ("label:meld7", "text", "speaker"))
    outputs, own_before, count = [], [], 0
    features: dict[str, list[np.ndarray]] = {name: [] for name in CANDIDATES}
    dialogues = list(corpus.dialogues().values())
    for rows in dialogues:
        who = [speakers[i] for i in rows]
        said = words.outputs([texts[i] for i in rows])
        outputs.append(said)
        for name, parts in CANDIDATES.items():
            features[name].append(context_features(said, who, parts))
        before = rows_before(who)[0]
        own_before.append(np.where(before >= 0, before + count, -1))
        count += len(rows)
    return Talk(
        np.array([to_ekman[names.index(labels[i])] for rows in dialogues for i in rows]),
        np.repeat(np.arange(len(dialogues)), [len(rows) for rows in dialogues]),
        np.concatenate(own_before),
        np.concatenate(outputs),
        {name: np.concatenate(parts) for name, parts in features.items()},
    )


def fit(features: np.ndarray, truth: np.ndarray, strength: float) -> Linear:
    """Multinomial logistic regression with a ridge penalty of 1 / `strength`; classes that never occur get no mass."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(0), features.std(0).clip(1e-6)
    model = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit((features - mean) / scale, truth)
    weights, bias = np.zeros((features.shape[1], len(LABELS))), np.full(len(LABELS), -30.0)
    weights[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return Linear(mean, scale, weights, bias)


def cross_validated(talk: Talk, name: str, folds: Sequence[np.ndarray], strength: float) -> np.ndarray:
    """Posteriors (n, 7) of a candidate, every fold from what the others teach."""
    found = np.empty((len(talk.truth), len(LABELS)))
    for rows in folds:
        rest = np.setdiff1d(np.arange(len(talk.truth)), rows)
        found[rows] = fit(talk.features[name][rest], talk.truth[rest], strength)(talk.features[name][rows])
    return found


def choose(talk: Talk, folds: Sequence[np.ndarray], strength: float) -> tuple[str, np.ndarray, dict[str, Any]]:
    """The candidate to ship, its held-out posteriors, and the record of the comparison."""
    found = {name: cross_validated(talk, name, folds, strength) for name in CANDIDATES}
    losses = {name: round(nll(talk.truth, p), 5) for name, p in found.items()}
    best = min(losses, key=lambda name: losses[name])
    record: dict[str, Any] = {"nll": losses, "best": best}
    if best != ALONE:
        gain = paired_interval(nll, talk.truth, found[best], found[ALONE], talk.dialogue)
        record["best_minus_turn_nll"] = rounded(gain)
        best = best if gain.high < 0 else ALONE
    record["taken"] = best
    return best, found[best], record


def shift_scores(talk: Talk, posterior: np.ndarray, bound: float) -> dict[str, float]:
    """How often a marked change between two turns of a speaker is one in the labels, and how many it finds."""
    now = np.flatnonzero(talk.own_before >= 0)
    then = talk.own_before[now]
    tops, sure = posterior.argmax(1), posterior.max(1) >= SURE
    far = divergence(posterior[then], posterior[now]) >= bound
    marked = (tops[now] != tops[then]) & sure[now] & sure[then] & far
    true = talk.truth[now] != talk.truth[then]
    return {
        "precision": round(float(true[marked].mean()), 4) if marked.any() else 0.0,
        "recall": round(float(marked[true].mean()), 4) if true.any() else 0.0,
        "share_true": round(float(true.mean()), 4) if len(true) else 0.0,
        "pairs": len(now),
        "marked": int(marked.sum()),
    }


def shift_bound(talk: Talk, posterior: np.ndarray, least: float, fewest: int = 30) -> float:
    """The smallest bound at which marked shifts are right at least so often, else the one that is right most often,
    among those that mark at least `fewest`."""
    scores = {bound: shift_scores(talk, posterior, bound) for bound in BOUNDS}
    known = {bound: s for bound, s in scores.items() if s["marked"] >= fewest} or scores
    reached = [bound for bound, s in known.items() if s["precision"] >= least]
    return min(reached) if reached else max(known, key=lambda bound: known[bound]["precision"])


def chat_scores(corpus: Corpus, words: WordsModel, parts: Sequence[str], linear: Linear) -> dict[str, Any]:
    """Last turns of three-turn chats: angry, happy, sad or others, by the reading and by the words model itself.

    `others` is whatever remains; the first and third turn are one speaker's.
    """
    names = ("angry", "happy", "sad", "others")
    truth = np.array([names.index(label) for label in corpus.column("label:emocontext4")])
    turns = [words.outputs(corpus.column(name)) for name in ("meta:turn1", "meta:turn2", "text")]
    read = np.concatenate(
        [linear(context_features(np.stack(said), ("a", "b", "a"), parts))[2:] for said in zip(*turns, strict=True)]
    )
    posteriors = {"reading": read, "words_model": to_common("goemotions28", turns[2][:, :-3])}
    scores: dict[str, Any] = {"n": len(truth), "share_others": round(float((truth == 3).mean()), 4)}
    places = [LABELS.index(name) for name in ("anger", "happiness", "sadness")]
    for name, p in posteriors.items():
        four = np.concatenate([p[:, places], 1 - p[:, places].sum(1, keepdims=True)], axis=1)
        # "Others" pools four labels; a decision is for the label that leads among the seven.
        decided = np.array([places.index(top) if top in places else 3 for top in p.argmax(1).tolist()])
        scores[name] = {
            "nll": rounded(interval(nll, truth, four, floor=FLOOR)),
            "weighted_f1": rounded(interval(weighted_f1, truth, decided)),
        }
    return scores


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Choose on the training dialogues, measure on the development ones; the card lies in `folder/model`."""
    started = time.perf_counter()
    words = models.load("words")
    assert isinstance(words, WordsModel)
    strength = float(recipe.options.get("strength", 0.01))
    corpus = corpora.load("meld", roots["meld"])
    train, dev = (read_talk(corpus.split(split), words) for split in ("train", "valid"))
    folds = group_folds(pa.table({"group:dialogue": train.dialogue}), "group:dialogue", FOLDS, recipe.seed)
    name, held_out, record = choose(train, folds, strength)
    bound = shift_bound(train, held_out, float(recipe.options.get("shift_precision", 0.75)))
    linear = fit(train.features[name], train.truth, strength)
    found = linear(dev.features[name])
    record["shifts"] = {"train": shift_scores(train, held_out, bound), "dev": shift_scores(dev, found, bound)}
    chats = corpora.load("emocontext", roots["emocontext"]).split("valid")
    some = np.random.default_rng(recipe.seed).permutation(len(chats))[: int(recipe.options.get("chats", 600))]
    numbers = {key: np.round(getattr(linear, key), 5).tolist() for key in ("mean", "scale", "weights", "bias")}
    fields = card_fields(
        recipe,
        # The numbers fit the outputs of this very file: with other words weights this recipe is to be run again.
        backbone={**recipe.card["backbone"], "weights": words.card.files["model.onnx"]},
        labels=LABELS,
        inputs={"parts": list(CANDIDATES[name]), "shift": bound, "strength": strength, **numbers},
        n=len(dev.truth),
        metrics=classification_report(dev.truth, found, dev.dialogue),
        calibration={"cross_validation": record},
        baselines={
            **baselines(train, dev, found, strength),
            "chats": chat_scores(chats.take(some), words, CANDIDATES[name], linear),
        },
        speed={"training_minutes": round((time.perf_counter() - started) / 60, 1)},
    )
    package = folder / "model"
    package.mkdir(parents=True, exist_ok=True)
    return write_package(package, fields)


def baselines(train: Talk, dev: Talk, found: np.ndarray, strength: float) -> dict[str, Any]:
    """On the development split: the words model's own posterior, also under one temperature, the linear softmax of the
    turn alone, one class for all, and the difference of what ships to the turn alone (interval over dialogues)."""
    logs = [np.log(np.maximum(talk.posterior, FLOOR)) for talk in (train, dev)]
    alone = fit(train.features[ALONE], train.truth, strength)(dev.features[ALONE])
    tried = {
        "words_model": dev.posterior,
        "words_model_tempered": softmax(logs[1] / fit_temperature(train.truth, logs[0])),
        "turn": alone,
    }
    shown = ("accuracy", "weighted_f1", "macro_f1", "nll", "ece")
    reports = {name: classification_report(dev.truth, p, dev.dialogue) for name, p in tried.items()}
    decided = paired_interval(weighted_f1, dev.truth, found.argmax(1), alone.argmax(1), dev.dialogue)
    return {
        **{name: {key: report[key]["value"] for key in shown} for name, report in reports.items()},
        "always_neutral": {"weighted_f1": round(weighted_f1(dev.truth, np.full(len(dev.truth), NEUTRAL)), 5)},
        "shipped_minus_turn": {
            "nll": rounded(paired_interval(nll, dev.truth, found, alone, dev.dialogue)),
            "weighted_f1": rounded(decided),
        },
    }


def rounded(found: Interval) -> dict[str, float]:
    """An interval as a card holds it."""
    return {name: round(value, 5) for name, value in found._asdict().items()}
