"""Expressions that characterise one set of texts against the rest: effect sizes, exact p-values, corrected.

Counts are of texts, not of occurrences: one text that repeats a phrase ten times is one text. With `groups` (writers,
documents) the test is conditional on them: within each group the marked texts could have been any others, so a phrase
that only tells who wrote the text is no discovery.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectus.features.ngrams import NgramTable
from affectus.metrics.inputs import Floats, Ints, binary, group_ids
from affectus.metrics.significance import benjamini_hochberg

#: Two tables count as equally probable when their probabilities agree to this share.
_TIE = 1e-7


@dataclass(frozen=True)
class Expression:
    """One expression: in how many marked and other texts it occurs, and how much more than elsewhere.

    `log_odds` is the log-odds ratio with informative Dirichlet prior (Monroe et al. 2008) and `z` its z-score;
    `odds_ratio` (common over groups after Mantel & Haenszel, half a text added to each cell) has its 95 % bounds; `p`
    is exact and two-sided, `q` corrected after Benjamini & Hochberg; `information` is the pointwise mutual information
    in bits.
    """

    text: str
    marked: int
    other: int
    log_odds: float
    z: float
    odds_ratio: float
    low: float
    high: float
    information: float
    p: float
    q: float


def log_odds(
    marked: npt.ArrayLike, other: npt.ArrayLike, prior: npt.ArrayLike | None = None, strength: float = 0.0
) -> tuple[Floats, Floats]:
    """Log-odds ratio of each expression between two sets with informative Dirichlet prior, and its z-score.

    delta = log((y_i + a)/(n_i + a0 - y_i - a)) - log((y_j + a)/(n_j + a0 - y_j - a)),
    z = delta / sqrt(1/(y_i + a) + 1/(y_j + a)) (Monroe, Colaresi & Quinn 2008, eq. 16-22). `marked` and `other` are
    counts (V,); the prior is proportional to `prior` (default: both counts together) and sums to `strength` (default:
    a tenth of all counts, at least 1).
    """
    one, two = _counts(marked, "marked"), _counts(other, "other")
    if one.shape != two.shape:
        raise ValueError(f"marked {one.shape} and other {two.shape} must count the same expressions")
    base = one + two if prior is None else _counts(prior, "prior")
    if base.shape != one.shape or base.sum() <= 0:
        raise ValueError("prior must give every expression a weight, and not only zeros")
    if not one.sum() or not two.sum():
        raise ValueError("both sets need at least one counted expression")
    total = strength or max(1.0, 0.1 * float(base.sum()))
    # An expression that the prior has never seen still gets a sliver, or its log-odds would be infinite.
    pseudo = np.maximum(base, 1e-6) / np.maximum(base, 1e-6).sum() * total
    rest_one = one.sum() + total - one - pseudo
    rest_two = two.sum() + total - two - pseudo
    tiny = np.finfo(np.float64).tiny
    delta = np.log((one + pseudo) / np.maximum(rest_one, tiny)) - np.log((two + pseudo) / np.maximum(rest_two, tiny))
    return delta, delta / np.sqrt(1 / (one + pseudo) + 1 / (two + pseudo))


def pointwise_information(joint: npt.ArrayLike, texts: npt.ArrayLike, marked: int, total: int) -> Floats:
    """log2 of p(expression, marked) / (p(expression) p(marked)), (V,); minus infinity where they never meet.

    `joint` counts marked texts with the expression, `texts` all texts with it, `marked` and `total` all marked and all
    texts. A rare expression gets large values by chance: set a floor on `texts` before ranking.
    """
    both, every = _counts(joint, "joint"), _counts(texts, "texts")
    if not 0 < marked <= total or (both > every).any() or not (every > 0).all():
        raise ValueError("counts do not nest: joint <= texts, 0 < texts, 0 < marked <= total")
    with np.errstate(divide="ignore"):
        return np.log2(both) + math.log2(total) - np.log2(every) - math.log2(marked)


def exact_association(joint: npt.ArrayLike, texts: npt.ArrayLike, marked: npt.ArrayLike, total: npt.ArrayLike) -> float:
    """Exact two-sided p-value that expression and mark are unrelated within every group; one group gives Fisher's test.

    All four are counts per group (G,): marked texts with the expression, texts with it, marked texts, texts. Given the
    margins of each group, the number of joint texts is a sum of independent hypergeometric numbers, whose distribution
    is convolved exactly; p adds up all sums that are at most as probable as the one observed.
    """
    parts = np.stack([np.atleast_1d(_counts(v, "counts")).astype(np.int64) for v in (joint, texts, marked, total)])
    if (parts[0] > np.minimum(parts[1], parts[2])).any() or (parts[1:3] > parts[3]).any():
        raise ValueError("counts do not nest: joint <= texts, joint <= marked, both <= total")
    if (parts[3] - parts[1] - parts[2] + parts[0] < 0).any():
        raise ValueError("counts do not nest: more texts than there are")
    logs = _log_factorials(int(parts[3].max()))
    chance, observed = np.ones(1), 0
    free = (parts[1:3].min(0) > 0) & (parts[1:3].max(0) < parts[3])  # elsewhere the margins leave no choice
    for hits, with_it, picked, size in parts[:, free].T.tolist():
        low, high = max(0, with_it + picked - size), min(with_it, picked)
        observed += hits - low
        chance = np.convolve(chance, _hypergeometric(low, high, with_it, picked, size, logs))
    return float(min(1.0, chance[chance <= chance[observed] * (1 + _TIE)].sum()))


def characteristic(
    table: NgramTable, marked: npt.ArrayLike, groups: npt.ArrayLike | None = None, most: int | None = None
) -> list[Expression]:
    """Expressions of a table by their z-score, those most typical of the marked texts first.

    `marked` is (N,) of zeros and ones, `groups` (N,) a group per text. p-values are of all expressions of the table and
    are corrected together, also when `most` cuts the list.
    """
    flags = binary(marked, "marked").astype(np.int64)
    if len(flags) != table.texts:
        raise ValueError(f"marked has {len(flags)} rows but the table was counted over {table.texts} texts")
    if not table.names:
        return []
    if not 0 < flags.sum() < len(flags):
        raise ValueError("marked needs both marked and other texts")
    ids, count = (np.zeros(len(flags), np.int64), 1) if groups is None else group_ids(groups, len(flags))
    every, picked = np.bincount(ids, minlength=count), np.bincount(ids, flags, count).astype(np.int64)
    texts = np.stack([np.bincount(ids[rows], minlength=count) for rows in table.rows])  # (V, G)
    joint = np.stack([np.bincount(ids[rows], flags[rows], count) for rows in table.rows]).astype(np.int64)
    inside = joint.sum(1)
    delta, z = log_odds(inside, texts.sum(1) - inside)
    information = pointwise_information(inside, texts.sum(1), int(flags.sum()), len(flags))
    ratio, low, high = _common_odds(joint, texts, picked, every)
    free = (picked > 0) & (picked < every)
    p = np.array([_within(j[free], t[free], picked[free], every[free]) for j, t in zip(joint, texts, strict=True)])
    q = benjamini_hochberg(p)
    order = np.argsort(-z, kind="stable")[:most]
    return [
        Expression(
            table.names[i], int(inside[i]), int(texts[i].sum() - inside[i]), float(delta[i]), float(z[i]),
            float(ratio[i]), float(low[i]), float(high[i]), float(information[i]), float(p[i]), float(q[i]),
        )
        for i in order
    ]  # fmt: skip


def _within(joint: Ints, texts: Ints, picked: Ints, every: Ints) -> float:
    """The exact test over the groups in which the expression occurs; 1 where there are none."""
    occurs = texts > 0
    return exact_association(joint[occurs], texts[occurs], picked[occurs], every[occurs]) if occurs.any() else 1.0


def _common_odds(joint: Ints, texts: Ints, picked: Ints, every: Ints) -> tuple[Floats, Floats, Floats]:
    """Mantel-Haenszel odds ratio over groups and its 95 % bounds after Robins, Breslow & Greenland (1986).

    Half a text in all is added to every cell, spread over the groups in which both marks and expression vary: added to
    each of many small groups it would pull the ratio far off. With no such group the ratio is 1 with infinite bounds.
    """
    a = joint.astype(np.float64)
    b, c = texts - a, picked - a
    d = every - texts - c
    used = (texts > 0) & (texts < every) & (picked > 0) & (picked < every)
    half = 0.5 / np.maximum(used.sum(1, keepdims=True), 1)
    a, b, c, d = ((part + half) * used for part in (a, b, c, d))
    n = np.maximum(a + b + c + d, 1.0)
    agree, differ = a * d / n, b * c / n
    first, second = (a + d) / n, (b + c) / n
    r, s = agree.sum(1), differ.sum(1)
    known = (r > 0) & (s > 0)
    r, s = np.where(known, r, 1.0), np.where(known, s, 1.0)
    variance = (
        (first * agree).sum(1) / (2 * r**2)
        + (first * differ + second * agree).sum(1) / (2 * r * s)
        + (second * differ).sum(1) / (2 * s**2)
    )
    spread = np.where(known, 1.959964 * np.sqrt(variance), np.inf)
    with np.errstate(over="ignore"):
        return r / s, r / s * np.exp(-spread), r / s * np.exp(spread)


def _hypergeometric(low: int, high: int, with_it: int, picked: int, size: int, logs: Floats) -> Floats:
    """Chances of low … high joint texts."""
    k = np.arange(low, high + 1)
    rest = size - with_it
    found = (
        logs[with_it] - logs[k] - logs[with_it - k]
        + logs[rest] - logs[picked - k] - logs[rest - picked + k]
        - logs[size] + logs[picked] + logs[size - picked]
    )  # fmt: skip
    return np.exp(found)


def _log_factorials(top: int) -> Floats:
    return np.r_[0.0, np.cumsum(np.log(np.arange(1, top + 1)))]


def _counts(values: npt.ArrayLike | Sequence[float], name: str) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name} must hold counts, finite and not negative")
    return array
