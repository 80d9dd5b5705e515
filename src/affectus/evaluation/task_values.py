"""Scoring of numbers, and of sets and rankings of labels: dimensions, quality, judged answers, hidden emotions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from affectus.errors import ConfigError
from affectus.evaluation import measures
from affectus.evaluation.measures import Entries, entry
from affectus.evaluation.pairing import Pairs, pick
from affectus.evaluation.record import Entry
from affectus.evaluation.scored import Context, Scored, read_label
from affectus.labels import normalise
from affectus.metrics import auc, average_precision, hit_rate, plcc, srcc

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _floats(values: Sequence[Any]) -> np.ndarray:
    """Numbers (n,); NaN where there is none."""
    found = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        try:
            found[i] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def values(pairs: Pairs, context: Context) -> Scored:
    """Ratings: PCC, CCC, MAE, Spearman and, with `logistic`, the correlation after a logistic fit, per dimension.

    `dimensions` names the fields; predictions in another unit still have their correlations. An item without a
    prediction takes the mean of the others, so that leaving hard items out gains nothing.
    """
    names: Sequence[str] = context.options["dimensions"]
    mark = str(context.options.get("perspective", ""))
    truth: dict[str, np.ndarray] = {}
    guess: dict[str, np.ndarray] = {}
    alone = len(names) == 1
    for name in names:
        spare = ("score", "mos", "mean", "value") if alone else ()
        marked = (f"dim:{name}@{mark}",) if mark else ()
        truth[name] = _floats(pairs.true((*marked, f"dim:{name}", f"raw:{name}", name, *spare)))
        fields = (f"{name}_prediction", f"predicted_{name}", *((name,) if not pairs.single_file else ()), *spare)
        guess[name] = _floats(
            [None if i is None else pick(i, (*fields, "prediction", "item")) for i in pairs.predicted]
        )
    kept = ~np.isnan(np.stack(list(truth.values()))).any(axis=0)
    if not kept.any():
        raise ConfigError(context.predictions.source, f"fits no item with {' and '.join(names)}")
    pairs = pairs.keep(kept, "no rating")
    notes: list[str] = []
    found: Entries = {}
    groups = pairs.groups()
    for name in names:
        x, y = truth[name][kept], guess[name][kept]
        if np.isnan(y).all():
            raise ConfigError(context.predictions.source, f"holds no numbers for {name}")
        if lost := int(np.isnan(y).sum()):
            notes.append(f"{name}: {lost} items without a number take the mean prediction")
            y = np.where(np.isnan(y), np.nanmean(y), y)
        truth[name], guess[name] = x, y
        found |= measures.dimensions({name: x}, {name: y}, groups)
        found[f"srcc_{name}"] = entry(srcc, x, y, groups)
        if context.options.get("logistic"):
            found[f"plcc_{name}"] = Entry(value=float(plcc(x, y)))
    baselines = measures.dimension_baselines(truth)
    return Scored(found, len(pairs), baselines=baselines, left_out=pairs.left_out, notes=notes)


def judged(pairs: Pairs, context: Context) -> Scored:
    """Scores a judge gave (EMER: clue and label overlap, 0 to 10), as numbers or as its replies.

    Items without a number are failures: `missing = "zero"` counts them as 0, otherwise they are left out and counted.
    """
    found: Entries = {}
    notes: list[str] = []
    scored = 0
    for name in context.options["judgements"]:
        replies = [None if i is None else pick(i, (name, f"{name}_score", f"{name}_overlap")) for i in pairs.predicted]
        if all(reply is None for reply in replies):
            continue
        numbers = np.array([_first_number(reply) for reply in replies])
        failures = int(np.isnan(numbers).sum())
        kept = np.nan_to_num(numbers) if context.options.get("missing") == "zero" else numbers[~np.isnan(numbers)]
        notes.append(f"{name}: {failures} of {len(numbers)} replies hold no number")
        found[f"{name}_overlap"] = entry(_mean, kept, kept)
        scored = max(scored, len(kept))
    if not found:
        raise ConfigError(
            context.predictions.source, f"has none of the columns {', '.join(context.options['judgements'])}"
        )
    judges = {str(pick(i, ("judge", "judge_id"))) for i in pairs.predicted if i and pick(i, ("judge", "judge_id"))}
    notes.append(f"judge: {', '.join(sorted(judges)) or 'not stated'}; scores of different judges are not comparable")
    return Scored(found, scored, left_out=pairs.left_out, notes=notes)


def _first_number(reply: Any) -> float:
    if isinstance(reply, (int, float)):
        return float(reply)
    hit = _NUMBER.search(str(reply or ""))
    return float(hit.group()) if hit else float("nan")


def _mean(truth: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.mean(prediction))


def several(pairs: Pairs, context: Context) -> Scored:
    """Several labels per item, from label lists or from a probability per label and a `threshold`."""
    known = context.space()
    names = (f"labels:{known.name}", "labels", "label", "emotions")
    truth = _hot(pairs.true(names), context, pairs.names)
    given = [None if item is None else _spelled(item, known.labels) for item in pairs.predicted]
    threshold = float(context.options.get("threshold", 0.5))
    if all(row is not None for row in given):
        shares = np.array(given, np.float64)
        found = measures.multilabel(truth, shares, (shares >= threshold).astype(int), pairs.groups())
        notes = [f"labels are given from a probability of {threshold:g}"]
    else:
        decided = _hot(pairs.guessed(names), context, pairs.names)
        found = measures.multilabel(truth, decided * 1.0, decided, pairs.groups())
        found.pop("ece"), found.pop("nll")
        notes = []
    return Scored(
        found,
        len(pairs),
        baselines=measures.multilabel_baselines(truth),
        left_out=pairs.left_out,
        labels=list(known.labels),
        notes=notes,
    )


def _spelled(item: Any, labels: Sequence[str]) -> list[float] | None:
    columns = {normalise(str(key)): value for key, value in item.items()}
    row = _floats([columns.get(normalise(label)) for label in labels])
    return None if np.isnan(row).any() else row.tolist()


def _hot(rows: Sequence[Any], context: Context, names: Sequence[str]) -> np.ndarray:
    """Zeros and ones (n, labels) of label lists; text is split at commas."""
    known = context.space()
    hot = np.zeros((len(rows), len(known)), np.int64)
    for i, row in enumerate(rows):
        held = str(row).strip("[]").split(",") if isinstance(row, (str, int)) else ([] if row is None else list(row))
        for value in held:
            label = read_label(
                value if not isinstance(value, str) else value.strip(" '\""), known, context.order, names[i]
            )
            if label is not None:
                hot[i, known.index(label)] = 1
    return hot


def top_labels(pairs: Pairs, context: Context) -> Scored:
    """VCE: is the answer the strongest label (`top1`), or among the three strongest (`top3`)?

    `parse = "substring"` finds a label anywhere in the answer, as published ("joy" in "enjoyment"); otherwise the
    answer must be the label.
    """
    truth = [
        [str(name) for name in value] for value in pairs.true(("topK", "labels:vce27", "labels", "gt", "emotions"))
    ]
    rule = context.options.get("parse", "name")
    answers = pairs.guessed(("response", "label", "topK"))

    def right(names: Sequence[str], answer: Any) -> bool:
        text = " ".join(answer) if isinstance(answer, (list, tuple)) else str(answer or "")
        if rule == "substring":
            return any(name.lower() in text.lower() for name in names)
        return normalise(text) in {normalise(name) for name in names}

    ones = [[1]] * len(pairs)
    found = {
        name: entry(
            hit_rate,
            _objects(ones),
            _objects([[int(right(names[:k], a))] for names, a in zip(truth, answers, strict=True)]),
        )
        for name, k in (("top1", 1), ("top3", 3))
    }
    first = [names[0] for names in truth]
    common = max(sorted(set(first)), key=first.count)
    share = {f"top{k}": float(np.mean([common in names[:k] for names in truth])) for k in (1, 3)}
    return Scored(found, len(pairs), baselines={"most_frequent_label": share}, left_out=pairs.left_out)


def _objects(rows: Sequence[Any]) -> np.ndarray:
    table = np.empty(len(rows), object)
    table[:] = rows
    return table


def hidden(pairs: Pairs, context: Context) -> Scored:
    """WRIME: posts whose writer felt an emotion that readers do not see, found by a score; AUC and average precision.

    Positive: writer at least `writer` and mean of the readers below `readers`. Truth is the table of the corpus, or a
    column `hidden` (or `label`) of zeros and ones.
    """
    emotion = str(context.options.get("emotion", "anger"))
    felt, seen = (_intensity(pairs, column, emotion) for column in ("scores:wrime8@felt", "scores:wrime8"))
    if np.isnan(felt).all():
        positive = _floats(pairs.true(("hidden", "label")))
    else:
        wanted = (felt >= float(context.options["writer"])) & (seen < float(context.options["readers"]))
        positive = np.where(np.isnan(felt) | np.isnan(seen), np.nan, wanted * 1.0)
    scores = _floats(pairs.guessed(("score", "probability", f"hidden_{emotion}", "label")))
    scores = np.where(np.isnan(scores), np.nanmin(scores) if not np.isnan(scores).all() else 0.0, scores)
    kept = ~np.isnan(positive)
    truth, given = positive[kept].astype(int), scores[kept]
    found = {"auc": entry(auc, truth, given), "average_precision": entry(average_precision, truth, given)}
    return Scored(
        found,
        int(kept.sum()),
        baselines={"chance": {"auc": 0.5, "average_precision": float(truth.mean())}},
        left_out=pairs.left_out,
        notes=[f"{int(truth.sum())} posts hide {emotion}"],
    )


def _intensity(pairs: Pairs, column: str, emotion: str) -> np.ndarray:
    from affectus.labels import space

    place = space("wrime8").index(emotion)
    rows = [pick(item, (column,)) for item in pairs.truth]
    return np.array([np.nan if row is None else float(row[place]) for row in rows])
