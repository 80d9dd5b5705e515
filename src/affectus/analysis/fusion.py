"""What several modalities say about one window becomes one answer, or a stated disagreement.

**Common space.** Every modality gives a posterior over `ekman7` (`to_common`). A single-label space is mapped by its
published table. GoEmotions gives independent probabilities; the labels of one Ekman group are joined as the chance that
at least one of them holds, 1 - prod(1 - p), and the seven numbers are normalised.

**Pooling** (`fuse`) is the log-linear opinion pool with prior correction (Genest & Zidek 1986; Hinton 2002 for products
of experts). With posteriors p_m, class priors q_m each model was trained with, weights w_m and their mean prior q:

    p(y) ∝ q(y) · prod_m (p_m(y) / q_m(y)) ^ (w_m · d)

A modality that says no more than its prior changes nothing; with one fully reliable modality the result is its own
posterior. d accounts for dependence: modalities of one person in one second are not independent evidence, so of M that
say something the sum of exponents is half way between 1 (the mean) and M (full independence):
d = (1 + (M - 1) / 2) / M, where M = (Σ a)² / Σ a² with a_m = w_m · KL(p_m ‖ q_m) counts those that say something.

**Weights** are reliabilities in [0, 1]: calibration (1 - 5 · ECE of the model's card) × quality × share of the window
that was covered. A missing modality has no weight.

**Bands.** For each label s² = Σ_m u_m² s_m² + p (1 - p) / (1 + n), where u_m is the share of the modality in the
weights, s_m the standard error of its scores within the window, and n = 4 + 16 · Σ w_m. `low`/`high` are p ∓ 1.645 s
within [0, 1]: an indication of how firm a score is, not a confidence interval.

**Conflict** is the Jensen–Shannon divergence (bits, 0…1) of the two modalities that differ most. "neutral" in one
channel is the absence of a cue there, not a contrary one, so only pairs that lead to two different emotions count.
Where modalities conflict and the pool puts first what none of them does, that label is a compromise nobody voted for,
mostly "neutral": the decision is then `uncertain`, whatever its probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np

from affectus.labels import map_between
from affectus.models.common_space import LABELS, NEUTRAL, SPACE, normalised, to_common
from affectus.types import Card

__all__ = [
    "LABELS",
    "NEUTRAL",
    "SPACE",
    "UNCERTAIN",
    "Fused",
    "Opinion",
    "conflict",
    "decide",
    "fuse",
    "jensen_shannon",
    "led",
    "normalised",
    "prior_of",
    "reliability",
    "to_common",
]

UNCERTAIN = "uncertain"
#: Smallest probability a modality may give, so that no single model can veto a label for good.
FLOOR = 1e-4
#: Share of the uniform distribution in a prior: class counts of a corpus only roughly are those of recordings.
PRIOR_SOFTENING = 0.5
#: Least weight with which a modality can take part in a conflict.
CONFLICT_WEIGHT = 0.2


@dataclass(frozen=True)
class Opinion:
    """What one modality says about one window.

    `probabilities` (7,) over `LABELS`; `weight` its reliability in [0, 1]; `spread` (7,) the standard error of the
    probabilities within the window; `affect` valence and arousal on [-1, 1] (NaN unknown) with `affect_spread`; `prior`
    (7,) the class prior of its model, None for uniform; `rows` the timeline rows it rests on.
    """

    source: str
    probabilities: np.ndarray
    weight: float = 1.0
    spread: np.ndarray | None = None
    affect: tuple[float, float] = (float("nan"), float("nan"))
    affect_spread: tuple[float, float] = (0.0, 0.0)
    prior: np.ndarray | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fused:
    """The pooled answer: `probabilities` (7,) with `low`/`high`, and `affect`, `affect_low`, `affect_high` (2,) for
    valence and arousal (NaN where no modality knows them). `weight` is the sum of the weights that went in."""

    probabilities: np.ndarray
    low: np.ndarray
    high: np.ndarray
    affect: np.ndarray
    affect_low: np.ndarray
    affect_high: np.ndarray
    weight: float
    sources: tuple[str, ...] = field(default=())


@cache
def _matrix(space_name: str) -> np.ndarray:
    return map_between(space_name, SPACE).matrix


def reliability(card: Card) -> float:
    """Weight of a model from the expected calibration error in its card: 1 - 5 · ECE, one half where it is unknown."""
    entry = card.metrics.get("ece") if card.metrics else None
    value = entry.get("value") if isinstance(entry, dict) else None
    if value is None:
        value = card.calibration.get("ece_after") if card.calibration else None
    return 0.5 if value is None else float(np.clip(1 - 5 * float(value), 0.05, 1.0))


def prior_of(card: Card) -> np.ndarray:
    """Class prior (7,) from the class counts in the card's confusion matrix (rows are true classes), softened by
    `PRIOR_SOFTENING`; uniform where the card has none."""
    uniform = np.full(len(LABELS), 1 / len(LABELS))
    counts = np.asarray(card.confusion, np.float64)
    if counts.ndim != 2 or counts.shape[0] != len(card.labels) or counts.sum() <= 0:
        return uniform
    shares = normalised(counts.sum(axis=1) @ _matrix(card.space))
    return PRIOR_SOFTENING * uniform + (1 - PRIOR_SOFTENING) * shares


def fuse(opinions: Sequence[Opinion]) -> Fused:
    """Pool opinions, in any order; see the module text. Raises ValueError when there is none."""
    if not opinions:
        raise ValueError("no opinion to fuse")
    opinions = sorted(opinions, key=lambda o: o.source)
    uniform = np.full(len(LABELS), 1 / len(LABELS))
    p = np.clip(np.stack([normalised(np.asarray(o.probabilities, np.float64)) for o in opinions]), FLOOR, None)
    p /= p.sum(axis=1, keepdims=True)
    q = np.stack([uniform if o.prior is None else normalised(np.clip(o.prior, FLOOR, None)) for o in opinions])
    w = np.clip([o.weight for o in opinions], 0.0, 1.0)
    informed = w * np.maximum((p * np.log(p / q)).sum(axis=1), 0.0)
    # An opinion equal to its prior must not pull the common prior its way either.
    shares = informed / informed.sum() if informed.sum() > 1e-12 else np.full(len(w), 1 / len(w))
    count = informed.sum() ** 2 / np.square(informed).sum() if informed.sum() > 1e-12 else 1.0
    exponents = w * (1 + (count - 1) / 2) / count
    logs = np.log(shares @ q) + exponents @ (np.log(p) - np.log(q))
    pooled = np.exp(logs - logs.max())
    pooled /= pooled.sum()

    total = float(w.sum())
    part = w / total if total > 0 else np.full(len(w), 1 / len(w))
    spread = np.stack([np.zeros(len(LABELS)) if o.spread is None else o.spread for o in opinions])
    deviation = np.sqrt(np.square(part) @ np.square(spread) + pooled * (1 - pooled) / (5 + 16 * total))
    affect, low, high = _pool_affect(opinions, w)
    return Fused(
        pooled,
        np.clip(pooled - 1.645 * deviation, 0, 1),
        np.clip(pooled + 1.645 * deviation, 0, 1),
        affect,
        low,
        high,
        total,
        tuple(o.source for o in opinions),
    )


def _pool_affect(opinions: Sequence[Opinion], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted means (2,) of valence and arousal over the opinions that have them, with bands from the spread within
    the window, the spread between modalities, and a floor of .3 / sqrt(1 + 4 Σ w)."""
    values = np.array([o.affect for o in opinions], np.float64)
    spreads = np.array([o.affect_spread for o in opinions], np.float64)
    mean, half = np.full(2, np.nan), np.full(2, np.nan)
    for k in range(2):
        known = np.isfinite(values[:, k])
        if not known.any():
            continue
        w = weights[known] + 1e-9
        share = w / w.sum()
        mean[k] = share @ values[known, k]
        between = share @ np.square(values[known, k] - mean[k]) * (known.sum() > 1)
        within = np.square(share) @ np.square(np.nan_to_num(spreads[known, k]))
        half[k] = 1.645 * np.sqrt(within + between / known.sum() + 0.09 / (1 + 4 * w.sum()) / 4)
    return np.clip(mean, -1, 1), np.clip(mean - half, -1, 1), np.clip(mean + half, -1, 1)


def decide(probabilities: np.ndarray, confidence: float) -> tuple[str, float]:
    """Label with the highest probability when that reaches `confidence`, else "uncertain"; and that probability."""
    best = int(np.argmax(probabilities))
    score = float(probabilities[best])
    return (LABELS[best] if score >= confidence else UNCERTAIN), score


def led(opinions: Sequence[Opinion], probabilities: np.ndarray) -> bool:
    """Whether the label that a pool puts first is put first by one of its opinions."""
    best = int(np.argmax(probabilities))
    return any(int(np.argmax(opinion.probabilities)) == best for opinion in opinions)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen–Shannon divergence of two distributions in bits, 0 (equal) … 1 (nothing in common)."""
    p, q = normalised(np.asarray(p, np.float64)), normalised(np.asarray(q, np.float64))
    m = (p + q) / 2
    bits = 0.0
    for side in (p, q):
        some = side > 0
        bits += 0.5 * float((side[some] * np.log2(side[some] / m[some])).sum())
    return min(1.0, max(0.0, bits))


def conflict(opinions: Sequence[Opinion], threshold: float) -> tuple[str, str, float] | None:
    """The two modalities that disagree most and their divergence (bits), or None below the threshold.

    Pairs in which one side leads to "neutral", or both lead to the same label, are no conflict; nor are opinions of
    less weight than `CONFLICT_WEIGHT`.
    """
    heard = sorted((o for o in opinions if o.weight >= CONFLICT_WEIGHT), key=lambda o: o.source)
    best: tuple[str, str, float] | None = None
    for a, b in combinations(heard, 2):
        tops = {int(np.argmax(a.probabilities)), int(np.argmax(b.probabilities))}
        if len(tops) < 2 or NEUTRAL in tops:
            continue
        bits = jensen_shannon(a.probabilities, b.probabilities)
        if bits >= threshold and (best is None or bits > best[2]):
            best = (a.source, b.source, bits)
    return best
