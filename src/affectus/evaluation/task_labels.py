"""Scoring of labels: one class per item, several, ranked ones, verdicts, and the benchmarks built of sub-tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affectus.errors import ConfigError, LabelError
from affectus.evaluation import measures
from affectus.evaluation.measures import Entries, entry
from affectus.evaluation.pairing import Pairs, pick
from affectus.evaluation.record import Entry
from affectus.evaluation.scored import Context, Scored, read_label
from affectus.labels import LabelSpace, normalise
from affectus.lm.matching import LabelMatcher
from affectus.metrics import accuracy, auc, brier, confusion, ece, macro_f1, nll, uar, weighted_f1
from affectus.metrics.classification import macro_f1_of, uar_of
from affectus.metrics.intervals import confusion_interval

_LABEL = (
    "label",
    "meta:verdict",
    "emo",
    "emotion",
    "discrete",
    "class",
    "expression",
    "label:",
    "labels",
    "ground_truth",
)
_GUESS = ("prediction", "predicted", "pred", "label", "emo", "emotion", "discrete", "class", "expression", "labels")
_VECTOR = ("probabilities", "probability", "probs", "scores", "softmax", "outputs")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)


def classes(pairs: Pairs, context: Context) -> Scored:
    """One label per item: accuracy, UAR, F1s; calibration where probabilities or confidences are given.

    Options: `parse` (how an answer becomes a label, see `parse_answer`), `drop` (classes that are not scored),
    `average` ("present": classes with true items, "all": every class of the space, absent ones count 0),
    `present_only` (the model chooses only among classes with true items), `threshold` (a score above it is the second
    of two labels), `last_bin` of the calibration error.
    """
    known = context.space()
    own = (f"label:{known.name}", *_LABEL)
    read = [read_label(v, known, context.order, n) for v, n in zip(pairs.true(own), pairs.names, strict=True)]
    dropped = set(context.options.get("drop", ()))
    pairs = pairs.keep([label is not None for label in read], "no label")
    truth = [label for label in read if label is not None]
    pairs = pairs.keep([label not in dropped for label in truth], f"classes that are not scored: {', '.join(dropped)}")
    truth = [label for label in truth if label not in dropped]
    if not truth:
        raise ConfigError(context.predictions.source, "fits no item that has a label")
    labels = [label for label in known.labels if label not in dropped]
    codes = np.array([labels.index(label) for label in truth])
    shares = _probabilities(pairs, known, context, labels)
    notes: list[str] = []
    if shares is not None:
        if context.options.get("present_only"):
            absent = np.setdiff1d(np.arange(len(labels)), codes)
            shares[:, absent] = 0
            shares = shares / np.where(shares.sum(axis=1, keepdims=True) > 0, shares.sum(axis=1, keepdims=True), 1)
        guess = shares.argmax(axis=1)
    else:
        guess = _decisions(pairs, truth, known, context, labels)
        if unusable := int((guess == len(labels)).sum()):
            notes.append(f"{unusable} answers name no label and count as wrong")
    groups = pairs.groups()
    found = class_metrics(codes, guess, len(labels), str(context.options.get("average", "present")), groups)
    if shares is not None and np.allclose(shares.sum(axis=1), 1, atol=0.01) and shares.min() >= 0:
        found["ece"], found["nll"] = entry(ece, codes, shares, groups), entry(nll, codes, shares, groups)
    else:
        found |= stated_confidence(pairs, codes == guess, context, notes)
    return Scored(
        found,
        len(codes),
        baselines=measures.class_baselines(codes, len(labels)),
        left_out=pairs.left_out,
        labels=labels,
        confusion=confusion(codes, guess, len(labels) + 1).astype(int).tolist(),
        notes=notes,
    )


def class_metrics(
    truth: np.ndarray, guess: np.ndarray, classes: int, average: str, groups: np.ndarray | None = None
) -> Entries:
    """Accuracy, UAR, macro- and weighted F1 of class numbers; a guess of `classes` is no class and always wrong."""
    found = {"accuracy": entry(accuracy, truth, guess, groups), "weighted_f1": entry(weighted_f1, truth, guess, groups)}
    if average == "present":
        found["uar"] = entry(uar, truth, guess, groups)
        found["macro_f1"] = entry(macro_f1, truth, guess, groups, present_only=True)
        return found
    table, scale = confusion(truth, guess, classes + 1), (classes + 1) / classes
    for name, metric in (("uar", lambda t: uar_of(t, False)), ("macro_f1", macro_f1_of)):
        value, low, high = confusion_interval(table, lambda t, of=metric: of(t) * scale)
        found[name] = Entry(value=value, low=low, high=high)
    return found


def stated_confidence(pairs: Pairs, correct: np.ndarray, context: Context, notes: list[str]) -> Entries:
    """Calibration of confidences that a system states beside its answers, over the items that have one."""
    stated = [None if item is None else pick(item, ("confidence", "conf")) for item in pairs.predicted]
    values = np.array([_number(value) for value in stated])
    known = ~np.isnan(values)
    if not known.any():
        return {}
    right, sure = correct[known].astype(int), np.clip(values[known], 0, 1)
    options = {"bins": int(context.options.get("bins", 10)), "last_bin": context.options.get("last_bin", "closed")}
    found = {"ece": entry(ece, right, sure, **options), "brier": entry(brier, right, sure)}
    if 0 < right.sum() < len(right):
        found["auc"] = entry(auc, right, sure)
    notes.append(f"{known.mean():.1%} of the items have a confidence; calibration is over these")
    return found


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _probabilities(pairs: Pairs, known: LabelSpace, context: Context, labels: list[str]) -> np.ndarray | None:
    """Scores (n, len(labels)) of predictions: a column per label, or one vector in the order of the benchmark."""
    first = next((item for item in pairs.predicted if item is not None), None)
    if first is None:
        return None
    columns = {normalise(str(key)): key for key in first}
    spelled = {label: columns.get(normalise(label)) for label in labels}
    table = np.zeros((len(pairs), len(labels)))
    if all(spelled.values()):
        for row, item in enumerate(pairs.predicted):
            if item is not None:
                table[row] = [_number(item.get(str(spelled[label]))) for label in labels]
    elif np.ndim(pick(first, _VECTOR)) == 1:
        order = list(known.variant(context.order).order)
        named = context.predictions.arrays.get("labels")
        if named is not None and np.ndim(named) == 1 and len(named) == len(order):
            order = [known.lookup(str(name)) for name in named]
        for row, item in enumerate(pairs.predicted):
            if item is not None:
                table[row] = _ordered(pick(item, _VECTOR), order, labels, pairs.names[row])
    else:
        return None
    if not np.isfinite(table).all():
        raise ConfigError(context.predictions.source, f"has no number for {pairs.names[_first_bad(table)]}")
    return table


def _first_bad(table: np.ndarray) -> int:
    return int(np.argwhere(~np.isfinite(table))[0][0])


def _ordered(vector: Any, order: list[str], labels: list[str], name: str) -> list[float]:
    values = np.asarray(vector, np.float64).ravel()
    if len(values) != len(order):
        raise ConfigError(name, f"has {len(values)} scores for {len(order)} labels", f"order: {', '.join(order)}")
    return [float(values[order.index(label)]) for label in labels]


def _decisions(
    pairs: Pairs, truth: Sequence[str], known: LabelSpace, context: Context, labels: list[str]
) -> np.ndarray:
    """Class numbers of answers; `len(labels)` for none of them."""
    rule = str(context.options.get("parse", "name"))
    threshold = context.options.get("threshold")
    guess = np.full(len(pairs), len(labels))
    for row, answer in enumerate(pairs.guessed(_GUESS)):
        if isinstance(answer, (list, np.ndarray)) and len(answer) == 1:
            answer = answer[0]
        if threshold is not None and not np.isnan(_number(answer)):
            guess[row] = int(_number(answer) >= float(threshold))
            continue
        item = pairs.predicted[row] or {}
        candidates = [str(c) for c in pick(item, ("candidates",)) or known.labels]
        label = parse_answer(answer, known, context.order, rule, candidates, truth[row])
        guess[row] = labels.index(label) if label in labels else len(labels)
    return guess


def parse_answer(
    answer: Any, known: LabelSpace, order: str | None, rule: str, candidates: Sequence[str], truth: str
) -> str | None:
    """The label that an answer gives, None for none.

    `name`: a number, or any known spelling, case and punctuation aside. `exact`: the very spelling of a label.
    `substring`: the first candidate that is part of the lower-cased answer. `word`: the one candidate that occurs as a
    whole word. `contains`: the true label, as the variant `order` spells it, if it occurs in the answer. `first`: the
    label that is named first, also by a synonym, and not negated. `last`: the alphabetically last label that is part of
    the answer, and where none is, the last of all (published for MER2024). All but the first two look inside an answer
    tag.
    """
    if answer is None or (answer == "" and rule != "last"):
        return None
    text = str(answer)
    if rule == "exact":
        return known.lookup(text.strip()) if text.strip() in candidates else None
    tagged = _ANSWER.search(text)
    inner = (tagged.group(1) if tagged else text).strip()
    if rule == "name":
        try:
            return read_label(inner, known, order, "")
        except LabelError:
            return None
    low = inner.lower()
    if rule == "contains":
        return truth if _spelling(known, order, truth).lower() in low else None
    if rule == "first":
        return LabelMatcher(known.labels, known.synonyms, "first").match(inner).label
    if rule == "last":
        return LabelMatcher(known.labels, mode="last").match(inner).label
    if rule == "substring":
        chosen = next((c for c in candidates if c.lower() in low), None)
    elif rule == "word":
        hits = {c for c in candidates if re.search(rf"(?<!\w){re.escape(c.lower())}(?!\w)", low)}
        chosen = hits.pop() if len(hits) == 1 else None
    else:
        raise ConfigError(rule, "is no rule for answers", "use name, exact, substring, word, contains, first or last")
    return None if chosen is None else known.lookup(chosen)


def _spelling(known: LabelSpace, order: str | None, label: str) -> str:
    variant = known.variants.get(order or "")
    return label if variant is None else variant.spellings[variant.order.index(label)]


def verdicts(pairs: Pairs, context: Context) -> Scored:
    """MVEI: is a statement called correct or incorrect? Answers that say neither count as wrong.

    `parse = "published"` takes any answer with the word part "correct" for correct; `"strict"` reads a negated one
    ("not correct", "isn't correct") as incorrect.
    """
    truth = np.array(
        [str(value).strip().lower() in ("correct", "true") for value in pairs.true(("meta:correct", "label"))]
    )
    strict = context.options.get("parse") == "strict"
    guess = np.array([_verdict(answer, strict) for answer in pairs.guessed(("predict",))])
    right = (guess == truth).astype(int)
    ones = np.ones(len(right), int)
    found = {
        "accuracy": entry(accuracy, ones, right),
        "positive_ratio": entry(accuracy, ones, (guess == 1).astype(int)),
        "give_up_ratio": entry(accuracy, ones, (guess == -1).astype(int)),
    }
    kinds = np.array([str(kind or "all") for kind in pairs.facts("class", "meta:kind")])
    parts = {
        str(kind): {"accuracy": float(right[kinds == kind].mean()), "n": int((kinds == kind).sum())}
        for kind in np.unique(kinds)
    }
    found["accuracy_mean_of_classes"] = Entry(value=float(np.mean([part["accuracy"] for part in parts.values()])))
    baselines = {"always_correct": {"accuracy": float(truth.mean())}}
    return Scored(found, len(right), baselines=baselines, left_out=pairs.left_out, parts=parts)


def _verdict(answer: Any, strict: bool) -> int:
    """1 correct, 0 incorrect, -1 neither."""
    text = str(answer or "").lower()
    if "incorrect" in text or (strict and re.search(r"(\bnot|n't|never)\s+(\w+\s+)?correct", text)):
        return 0
    return 1 if "correct" in text else -1


def subtasks(pairs: Pairs, context: Context) -> Scored:
    """VECBench: accuracy and weighted F1 per sub-task, calibration per group; groups and total as means of sub-tasks.

    `groups` maps group → sub-task names; every record names its `task`, `ground_truth` and `candidates`.
    """
    groups: Mapping[str, Sequence[str]] = context.options["groups"]
    same = {normalise(k): v for k, v in dict(context.options.get("aliases", {})).items()}
    tags = [same.get(normalise(str(tag)), str(tag)) for tag in pairs.facts("task", "dataset", "subtask")]
    known = {normalise(tag): (group, tag) for group, held in groups.items() for tag in held}
    for tag in set(tags):
        if normalise(tag) not in known:
            raise ConfigError(
                context.predictions.source,
                f"names the unknown sub-task {tag!r}",
                ", ".join(t for _, t in known.values()),
            )
    truth = [str(value) for value in pairs.true(("ground_truth", "label"))]
    rule = str(context.options.get("parse", "word"))
    right = np.zeros(len(pairs), int)
    answers: list[str] = []
    for row, answer in enumerate(pairs.guessed(("response", "label"))):
        candidates = [str(c) for c in pick(pairs.truth[row], ("candidates",)) or []]
        answers.append(_among(answer, candidates, rule))
        right[row] = answers[row].lower() == truth[row].lower()
    place = np.array([known[normalise(tag)][1] for tag in tags])
    group_of = np.array([known[normalise(tag)][0] for tag in tags])
    parts: dict[str, dict[str, Any]] = {}
    found: Entries = {}
    notes: list[str] = []
    means = {}
    for group, held in groups.items():
        inside = group_of == group
        if not inside.any():
            notes.append(f"nothing of the group {group}")
            continue
        for tag in held:
            if (rows := np.flatnonzero(place == tag)).size:
                score = weighted_f1([truth[i].lower() for i in rows], [answers[i].lower() for i in rows])
                parts[tag] = {"accuracy": float(right[rows].mean()), "weighted_f1": score, "n": len(rows)}
        means[group] = float(np.mean([parts[tag]["accuracy"] for tag in held if tag in parts]))
        key = normalise(group).replace(" ", "_")
        found[f"accuracy_{key}"] = Entry(value=means[group])
        found[f"accuracy_{key}_pooled"] = entry(accuracy, np.ones(inside.sum(), int), right[inside])
        calibrated = stated_confidence(pairs.keep(inside, ""), right[inside] == 1, context, [])
        found |= {f"{name}_{key}": value for name, value in calibrated.items()}
    found["accuracy"] = Entry(value=float(np.mean(list(means.values()))))
    found["accuracy_pooled"] = entry(accuracy, np.ones(len(right), int), right)
    return Scored(found, len(right), left_out=pairs.left_out, parts=parts, notes=notes)


def _among(answer: Any, candidates: Sequence[str], rule: str) -> str:
    """The candidate an answer names, "unknown" for none."""
    tagged = _ANSWER.search(str(answer or ""))
    low = (tagged.group(1) if tagged else str(answer or "")).lower()
    if rule == "substring":
        return next((c for c in candidates if c.lower() in low), "unknown")
    hits = {c for c in candidates if re.search(rf"(?<!\w){re.escape(c.lower())}(?!\w)", low)}
    return hits.pop() if len(hits) == 1 else "unknown"
