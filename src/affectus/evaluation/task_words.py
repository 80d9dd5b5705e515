"""Scoring of free emotion words: wheel clusters, hit rate of one true label, sentiment signs, plain word sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affectus.errors import ConfigError
from affectus.evaluation.measures import Entries, entry
from affectus.evaluation.pairing import Pairs
from affectus.evaluation.record import Entry
from affectus.evaluation.scored import Context, Scored, read_label
from affectus.labels import wheels
from affectus.metrics import accuracy, uar, weighted_f1
from affectus.metrics.open_vocabulary import (
    mode_average,
    sentiment_sign,
    wheel_f1,
    wheel_hit_rate,
    wheel_precision,
    wheel_recall,
    wheel_report,
)
from affectus.metrics.sums import sums_to
from affectus.metrics.word_sets import word_overlap, word_precision, word_recall

_WORDS = ("openset", "words", "labels:openset", "ov_labels", "ov_emotion", "labels", "emotions")
_LABEL = ("emo", "label", "discrete", "emotion", "label:", "labels")
_SCORE = ("val", "valence", "sentiment", "raw:sentiment", "score", "label")
_SET_METRICS = {"word_precision": word_precision, "word_recall": word_recall, "word_overlap": word_overlap}
_SIGNS = {"positive": 1.0, "negative": -1.0, "neutral": 0.0}


def _lists(values: Sequence[Any]) -> np.ndarray:
    """Word lists as an object array `(N,)`; nothing becomes the empty list."""
    rows = np.empty(len(values), object)
    for i, value in enumerate(values):
        rows[i] = wheels.parse_words(value.tolist() if isinstance(value, np.ndarray) else value)
    return rows


def _array(values: Sequence[Any]) -> np.ndarray:
    rows = np.empty(len(values), object)
    rows[:] = values
    return rows


def wheel_sets(pairs: Pairs, context: Context) -> Scored:
    """Set precision, recall and F over the wheels, levels 1 and 2, mean of all modes, and plain word overlap."""
    tables = context.wheel_tables()
    truth, guess = _lists(pairs.true(_WORDS)), _lists(pairs.guessed(_WORDS))
    found: Entries = {}
    for level, suffix in ((1, ""), (2, "_level2")):
        for name, metric in (("f1", wheel_f1), ("precision", wheel_precision), ("recall", wheel_recall)):
            found[f"{name}{suffix}"] = entry(metric, truth, guess, tables=tables, level=level)
    found["mode_average"] = entry(mode_average, truth, guess, tables=tables)
    grouped = context.word_groups(pairs.names)
    alike = (truth, guess) if grouped is None else (_first_members(truth, grouped), _first_members(guess, grouped))
    found |= {name: entry(overlap, *alike) for name, overlap in _SET_METRICS.items()}
    report = wheel_report(truth, guess, tables)
    common = _commonest(truth)
    return Scored(
        found,
        len(pairs),
        baselines={"most_frequent_words": {"f1": wheel_f1(truth, _array([common] * len(truth)), tables)}},
        left_out={"no true word in any wheel": report.skipped} if report.skipped else {},
        tables={"wheels": tables.version, "wheels_sha256": tables.digest},
        parts={
            score.mode: {"f1": score.f1, "precision": score.precision, "recall": score.recall, "n": score.scored}
            for score in report.wheels
        },
        notes=[
            "word_ metrics compare words as they are" if grouped is None else "word_ metrics use the synonym groups",
            f"mean list length: truth {report.true_words:.2f}, prediction {report.predicted_words:.2f}; "
            f"{report.unknown:.1%} of predicted words are in no table",
        ],
    )


def _first_members(rows: np.ndarray, groups: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """Every word of a row as the first member of its group of equal words (MER2024)."""
    renamed = [{word: group[0] for group in reversed(own) for word in group} for own in groups]
    return _array([[names.get(word, word) for word in row] for row, names in zip(rows, renamed, strict=True)])


def _commonest(truth: np.ndarray, count: int = 3) -> list[str]:
    seen: dict[str, int] = {}
    for words in truth:
        for word in words:
            seen[word] = seen.get(word, 0) + 1
    return sorted(seen, key=lambda word: (-seen[word], word))[:count]


def hit_rate(pairs: Pairs, context: Context) -> Scored:
    """Hit rate of one true label among the predicted words, mean over wheels.

    `neutral = "skip"` (published) leaves neutral items out, as no wheel holds the word; `"own"` scores them with a
    cluster of their own, an empty list meaning neutral.
    """
    tables = context.wheel_tables()
    known = context.space()
    labels = [
        read_label(value, known, context.order, name)
        for value, name in zip(pairs.true(_LABEL), pairs.names, strict=True)
    ]
    pairs = pairs.keep([label is not None for label in labels], "no label")
    truth = _array([label for label in labels if label is not None])
    guess = _lists(pairs.guessed(_WORDS))
    candidates = list(known.labels)
    own = context.options.get("neutral", "skip") == "own"
    metric = hit_rate_with_neutral if own else wheel_hit_rate
    found = {"hit_rate": entry(metric, truth, guess, tables=tables)}
    if not own:
        found["hit_rate_per_candidate"] = entry(wheel_hit_rate, truth, guess, tables=tables, candidates=candidates)
    counts = {label: int((truth == label).sum()) for label in candidates}
    always = _array([[max(counts, key=lambda label: (label != "neutral" or own, counts[label]))]] * len(truth))
    everything = _array([candidates] * len(truth))
    scored = _scored_rows(truth, tables, own)
    return Scored(
        found,
        int(scored.any(axis=1).sum()),
        baselines={
            "most_frequent_label": {"hit_rate": metric(truth, always, tables=tables)},
            "all_labels": {"hit_rate": metric(truth, everything, tables=tables)},
        },
        left_out=pairs.left_out
        | ({"label in no wheel, such as neutral": lost} if (lost := int((~scored.any(axis=1)).sum())) else {}),
        labels=candidates,
        tables={"wheels": tables.version, "wheels_sha256": tables.digest},
        parts={
            f"wheel{w + 1}": {
                "hit_rate": metric(truth, guess, tables=tables, wheel=w + 1),
                "n": int(scored[:, w].sum()),
            }
            for w in range(tables.n_wheels)
            if scored[:, w].any()
        },
        notes=[
            f"mean list length of predictions: {np.mean([len(words) for words in guess]):.2f}; long lists score higher"
        ],
    )


def _scored_rows(truth: np.ndarray, tables: wheels.WheelTables, own: bool) -> np.ndarray:
    """Which rows each wheel scores `(N, wheels)`."""
    known = [tables.dictionary("M3", w + 1, 1) for w in range(tables.n_wheels)]
    return np.array([[label in wheel or (own and label == "neutral") for wheel in known] for label in truth], bool)


def _hits_with_neutral(truth: Any, prediction: Any, tables: wheels.WheelTables, wheel: int | None = None) -> np.ndarray:
    """Statistics `(N, 2 wheels)`: scored, hit."""
    numbers = range(1, tables.n_wheels + 1) if wheel is None else [wheel]
    columns = []
    for number in numbers:
        known = tables.dictionary("M3", number, 1)
        scored, hits = np.zeros(len(truth)), np.zeros(len(truth))
        for i, (label, words) in enumerate(zip(truth, prediction, strict=True)):
            if label == "neutral":
                scored[i], hits[i] = 1, not words or "neutral" in words
            elif label in known:
                scored[i], hits[i] = 1, any(known.get(word) == known[label] for word in words)
        columns += [scored, hits]
    return np.stack(columns, axis=1)


def _finish_hits(sums: np.ndarray, **_options: Any) -> np.ndarray:
    scored, hits = sums[..., ::2], sums[..., 1::2]
    return np.divide(hits, scored, out=np.full(scored.shape, np.nan), where=scored > 0).mean(axis=-1)


@sums_to(_hits_with_neutral, _finish_hits)
def hit_rate_with_neutral(truth: Any, prediction: Any, tables: wheels.WheelTables, wheel: int | None = None) -> float:
    """Hit rate in [0, 1] in which neutral items count: hit by the word neutral or by an empty list.

    A label unknown to a wheel is left out there. `truth` (N,) labels, `prediction` (N,) word lists.
    """
    return float(_finish_hits(_hits_with_neutral(truth, prediction, tables, wheel).sum(axis=0)))


def sentiment(pairs: Pairs, context: Context) -> Scored:
    """Polarity of a sentiment score against an answer (positive, negative, neutral, or a number).

    `neutral = "negative"` (published): items of score 0 are left out and any answer but positive counts as negative.
    `"wrong"`: an answer that is neither positive nor negative is wrong for both classes.
    """
    values = pairs.true(_SCORE)
    scores = np.array([np.nan if value is None else float(value) for value in values])
    pairs = pairs.keep(~np.isnan(scores) & (scores != -10), "no score")
    scores = scores[~np.isnan(scores) & (scores != -10)]
    answers = pairs.guessed(_SCORE)
    listed = next((a for a in answers if isinstance(a, str) and a.strip().startswith("[")), None)
    if listed is not None:
        raise ConfigError(
            pairs.names[0], f"has the word list {listed[:40]!r} where a sentiment is needed", "give the -sentiment file"
        )
    given = _signs(answers)
    neutral = float(np.mean([str(a).strip().lower() not in ("positive", "negative") for a in answers]))
    left_out = pairs.left_out | ({"true score 0": zero} if (zero := int((scores == 0).sum())) else {})
    kept = scores != 0
    if not kept.any():
        raise ConfigError(context.predictions.source, "fits no item with a true score other than 0")
    truth = (scores[kept] > 0).astype(int)
    wrong = context.options.get("neutral", "negative") == "wrong"
    guess = np.where(given[kept] > 0, 1, np.where((given[kept] < 0) | (not wrong), 0, 2))
    metrics = {"weighted_f1": weighted_f1, "accuracy": accuracy, "uar": uar}
    found = {name: entry(metric, truth, guess) for name, metric in metrics.items()}
    always = np.full(len(truth), int(truth.mean() >= 0.5))
    return Scored(
        found,
        int(kept.sum()),
        baselines={"majority": {"weighted_f1": weighted_f1(truth, always), "accuracy": accuracy(truth, always)}},
        left_out=left_out,
        labels=["negative", "positive"],
        notes=[f"{neutral:.1%} of the answers are neither positive nor negative"],
    )


def _signs(answers: Sequence[Any]) -> np.ndarray:
    """Signed numbers of answers; text that is neither a sentiment nor a number is 0."""
    signs = sentiment_sign("" if a is None else a for a in answers)
    for i, answer in enumerate(answers):
        if isinstance(answer, (int, float)) and answer == answer:
            signs[i] = float(answer)
        elif isinstance(answer, str) and answer.strip().lower() not in _SIGNS:
            try:
                signs[i] = float(answer)
            except ValueError:
                signs[i] = 0.0
    return signs


def word_sets(pairs: Pairs, context: Context) -> Scored:
    """Precision, recall and their mean of word sets after synonyms, per subset and as their unweighted mean."""
    names = (*_WORDS, *_LABEL)
    alike = context.synonyms() or {}

    def lists(values: Sequence[Any]) -> np.ndarray:
        return _array([[alike.get(word, word) for word in words] for words in _lists(values)])

    truth, guess = lists(pairs.true(names)), lists(pairs.guessed(names))
    found = {name: entry(metric, truth, guess) for name, metric in _SET_METRICS.items()}
    parts: dict[str, Mapping[str, Any]] = {}
    subsets = np.array([str(subset) for subset in pairs.facts("subset", "meta:subset", "part", "group")])
    if len(np.unique(subsets)) > 1:
        for subset in np.unique(subsets):
            rows = subsets == subset
            scores = {name: metric(truth[rows], guess[rows]) for name, metric in _SET_METRICS.items()}
            parts[str(subset)] = scores | {"n": int(rows.sum())}
        for name in _SET_METRICS:
            found[f"{name}_mean"] = Entry(value=float(np.mean([part[name] for part in parts.values()])))
            if conflict := [part[name] for key, part in parts.items() if "aligned" in key]:
                found[f"{name}_conflict"] = Entry(value=float(np.mean(conflict)))
    return Scored(found, len(pairs), parts=parts, left_out=pairs.left_out)
