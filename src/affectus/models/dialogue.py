"""What a conversation needs beyond the words model: two readings of a few numbers each, kept whole in their cards.

`ContextReading` makes the posterior of a turn from what the words model says about it and about the turns before it;
`GapHints` tells where writers and readers of such texts were found to differ. Neither has a weights file: the numbers
are `inputs` of the card, made by a recipe.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectus.errors import ModelError
from affectus.types import Card

NAMES = ("context", "gap")
#: What a posterior may rest on: the turn, the turn before by the same speaker, the turn before by anybody.
PARTS = ("turn", "own before", "before")
#: What a hint at a gap may rest on, and how many numbers that is.
GAP_FEATURES = {"outputs": 37, "affect": 9}


def card_path(name: str, folder: str | Path | None = None) -> Path:
    """Where the card of a reading lies: in `folder`, else in AFFECTUS_MODELS where that holds one, else packaged."""
    if name not in NAMES:
        raise ModelError(name, "is no reading of conversations", f"choose one of {', '.join(NAMES)}")
    packaged = Path(__file__).parent / "weights" / name
    chosen = Path(os.environ.get("AFFECTUS_MODELS") or packaged.parent) / name
    path = (Path(folder) if folder else chosen if (chosen / "card.json").is_file() else packaged) / "card.json"
    if not path.is_file():
        raise ModelError(path, "is missing", "reinstall affectus, or make it with the recipe in recipes/")
    return path


def dialogue_card(name: str, folder: str | Path | None = None) -> Card:
    """Card of a reading; see `card_path`."""
    path = card_path(name, folder)
    try:
        return Card.read(path)
    except (ValueError, TypeError) as error:
        raise ModelError(path, f"is no model card: {error}", "reinstall affectus") from error


def log_odds(outputs: np.ndarray) -> np.ndarray:
    """Outputs (n, 31) of the words model with log-odds in place of the probabilities of its 28 labels."""
    labels = np.clip(np.asarray(outputs[:, :-3], np.float64), 1e-4, 1 - 1e-4)
    return np.concatenate([np.log(labels / (1 - labels)), np.asarray(outputs[:, -3:], np.float64)], axis=1)


def rows_before(speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For every turn of one conversation the number of the same speaker's turn before it, and of the turn before by
    anybody; -1 for none."""
    own = np.full(len(speakers), -1, np.int64)
    last: dict[str, int] = {}
    for number, name in enumerate(speakers):
        own[number] = last.get(name, -1)
        last[name] = number
    return own, np.arange(len(speakers), dtype=np.int64) - 1


def context_features(outputs: np.ndarray, speakers: Sequence[str], parts: Sequence[str] = PARTS) -> np.ndarray:
    """What the posteriors of the turns of one conversation rest on, (n, F), from the outputs (n, 31) for them.

    31 columns for each of `parts`, zeros where there is no such turn, then for each part but the turn itself whether
    there is one.
    """
    values = log_odds(outputs)
    own, anybody = rows_before(speakers)
    blocks, known = [], []
    for part in parts:
        if part == "turn":
            blocks.append(values)
            continue
        rows = own if part == "own before" else anybody
        there = (rows >= 0)[:, None]
        blocks.append(np.where(there, values[rows], 0.0))
        known.append(there.astype(np.float64))
    return np.concatenate([*blocks, *known], axis=1)


@dataclass(frozen=True)
class ContextReading:
    """A linear softmax over `ekman7` on the features of a turn in its conversation.

    `parts` are those of `context_features`; `mean`, `scale` (F,) standardise, `weights` (F, 7), `bias` (7,). `shift` is
    the Jensen-Shannon divergence (bits) from which two turns of a speaker count as a shift of perceived expression.
    """

    card: Card
    parts: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    shift: float

    @classmethod
    def load(cls, folder: str | Path | None = None) -> ContextReading:
        """The packaged reading, or that of another folder. Raises ModelError for a card without its numbers."""
        card = dialogue_card("context", folder)
        try:
            said = card.inputs
            mean, scale, weights, bias = (np.asarray(said[n], np.float64) for n in ("mean", "scale", "weights", "bias"))
            if weights.shape != (len(mean), len(bias)) or mean.shape != scale.shape:
                raise ValueError("its lists do not fit each other")
            if said["parts"][:1] != [PARTS[0]] or not set(said["parts"]) <= set(PARTS):
                raise ValueError(f"its parts are {said['parts']}")
            return cls(card, tuple(said["parts"]), mean, scale, weights, bias, float(said["shift"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("context", f"its card lacks a number ({error})", "reinstall affectus") from error

    @property
    def how_often(self) -> str:
        """How often marked shifts are changes of the label, beside chance, in words; empty where the card does not
        say."""
        shifts = self.card.calibration.get("cross_validation", {}).get("shifts", {}).get("dev", {})
        if not {"precision", "recall", "share_true"} <= set(shifts):
            return ""
        return (
            f"{shifts['precision']:.0%} of such marks are right on labelled dialogues they were not learnt from "
            f"(MELD), where {shifts['share_true']:.0%} of such pairs of turns differ; {shifts['recall']:.0%} of all "
            "changes are marked."
        )

    def posterior(self, outputs: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
        """Posteriors (n, 7) of the turns of one conversation from the outputs (n, 31) of the words model for them."""
        return self._read(context_features(outputs, speakers, self.parts))

    def alone(self, outputs: np.ndarray) -> np.ndarray:
        """Posteriors (n, 7) of the same turns, each as if nothing had been said before it."""
        features = np.zeros((len(outputs), len(self.mean)))
        features[:, : outputs.shape[1]] = log_odds(outputs)
        return self._read(features)

    def _read(self, features: np.ndarray) -> np.ndarray:
        return softmax((features - self.mean) / self.scale @ self.weights + self.bias)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Rows (n, k) as probabilities."""
    found = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def gap_features(outputs: np.ndarray, kind: str) -> np.ndarray:
    """What the hints rest on, from the outputs (n, 31) of the words model: of kind "affect" valence, arousal,
    dominance, their squares and their absolute values, (n, 9); of kind "outputs" the log-odds of the 28 labels before
    these, (n, 37)."""
    affect = np.asarray(outputs[:, -3:], np.float64)
    values = affect if kind == "affect" else log_odds(outputs)
    return np.concatenate([values, affect**2, np.abs(affect)], axis=1)


@dataclass(frozen=True)
class GapHints:
    """A linear score of the words model's outputs: are the writer's and the reader's ratings of this text far apart?

    `features` is a kind of `gap_features`, `threshold` the probability from which a text gets a hint; how often hints
    are right stands in the card.
    """

    card: Card
    features: str
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float
    threshold: float

    @classmethod
    def load(cls, folder: str | Path | None = None) -> GapHints:
        """The packaged hints, or those of another folder. Raises ModelError for a card without its numbers."""
        card = dialogue_card("gap", folder)
        try:
            mean, scale, weights = (np.asarray(card.inputs[n], np.float64) for n in ("mean", "scale", "weights"))
            features = str(card.inputs["features"])
            if features not in GAP_FEATURES or {len(mean), len(scale), len(weights)} != {GAP_FEATURES[features]}:
                raise ValueError("its lists do not fit each other")
            bias, threshold = float(card.inputs["bias"]), float(card.inputs["threshold"])
            return cls(card, features, mean, scale, weights, bias, threshold)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("gap", f"its card lacks a number ({error})", "reinstall affectus") from error

    @property
    def meaning(self) -> str:
        """What a hint says about a text."""
        ways = {"writer higher": "more kindly", "reader higher": "less kindly"}
        way = ways.get(str(self.card.inputs.get("direction")), "more or less kindly")
        return f"the writer may have meant this {way} than it reads"

    @property
    def odds(self) -> str:
        """How often a hint is right, in a few words."""
        return f"right about 1 time in {round(1 / self.card.metrics['precision_of_hints']['value'])}"

    @property
    def how_often(self) -> str:
        """How often hints are right, beside chance, and how many gaps they miss: the numbers of the card in words."""
        names = ("precision_of_hints", "base_rate", "recall_of_hints", "share_hinted")
        right, usual, found, share = (self.card.metrics[name] for name in names)
        return (
            f"About 1 in {round(1 / right['value'])} such hints is right ({right['value']:.0%}; 95% interval "
            f"{right['low']:.0%} to {right['high']:.0%}); by chance it would be 1 in {round(1 / usual['value'])} "
            f"({usual['value']:.0%}). {1 - found['value']:.0%} of such gaps get no hint. Measured on edited English "
            f"prose, where {share['value']:.0%} of sentences get one; chats were not measured."
        )

    def score(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities of a gap (n,) from outputs (n, 31) of the words model."""
        logits = (gap_features(outputs, self.features) - self.mean) / self.scale @ self.weights + self.bias
        return np.asarray(1 / (1 + np.exp(-logits)))
