"""Rewards of reinforcement learning as plain functions: `reward(completions, **columns) -> list[float]`.

Completions are texts or chat messages; columns are the other fields of the records, one value per completion. The
emotion-wheel reward is the very metric function. Functions that end in `_reward` have this signature or build one.

    rewards = {"ovlabel": {ew_reward: 1.0, format_reward: 0.1, linear_length_penalty(): 1.0}, "onehot": {...}}
    values = route(rewards)(completions, kind=kinds, openset=..., label=...)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from affectus.errors import ConfigError
from affectus.labels.wheels import WheelTables, parse_words
from affectus.lm.completions import texts_of
from affectus.lm.extraction import answer_words, think_words
from affectus.lm.judge import Judge
from affectus.lm.tags import Grammar
from affectus.metrics import wheel_reward

Reward = Callable[..., list[float]]

THINK = Grammar.parse("think answer")
ANSWER = Grammar.parse("answer")


def named(name: str) -> Callable[[Reward], Reward]:
    """Give a built reward the name under which logs show it."""

    def rename(reward: Reward) -> Reward:
        reward.__name__ = name
        return reward

    return rename


def scorable(openset: Any, tables: WheelTables | None = None) -> bool:
    """Whether any wheel knows a true word: a prompt without one (only neutral) teaches nothing and should be
    dropped."""
    value = wheel_reward([parse_words(openset)], [[]], tables)[0]
    return not math.isnan(float(value))


def format_reward(completions: Sequence[Any], think: Any = None, **_columns: Any) -> list[float]:
    """1 when a completion follows the tags to the letter, else 0 (AffectGPT-R1, R1-Omni).

    `think` (one value, or one per completion) says whether `<think>` must be there; by default it must.
    """
    texts = texts_of(completions)
    wanted = think if isinstance(think, (list, tuple)) else [True if think is None else think] * len(texts)
    return [float((THINK if w else ANSWER).matches(text)) for text, w in zip(texts, wanted, strict=True)]


def _ew(truth: Sequence[Any], predicted: Sequence[Any], tables: WheelTables | None) -> list[float]:
    values = wheel_reward([list(t) for t in truth], [list(p) for p in predicted], tables)
    return [0.0 if math.isnan(v) else float(v) for v in values.tolist()]


def ew_reward(
    completions: Sequence[Any], openset: Sequence[Any], tables: WheelTables | None = None, **_columns: Any
) -> list[float]:
    """EW-F1: mean over the wheels of the F1 of cluster sets, per completion, in [0, 1] (AffectGPT-R1 "accuracy").

    It is not the metric F of a table, which is an F of averages. A truth that no wheel knows gives 0; see `scorable`.
    """
    words = [answer_words(text, tables).words for text in texts_of(completions)]
    return _ew([parse_words(o) for o in openset], words, tables)


def alignment_reward(completions: Sequence[Any], tables: WheelTables | None = None, **_columns: Any) -> list[float]:
    """EW-F1 between the emotions named in the reasoning and those in the answer; 0 without reasoning."""
    texts = texts_of(completions)
    return _ew([answer_words(t, tables).words for t in texts], [think_words(t, tables) for t in texts], tables)


def dual_reward(
    completions: Sequence[Any], openset: Sequence[Any], tables: WheelTables | None = None, **_columns: Any
) -> list[float]:
    """EW-F1 between the emotions named in the reasoning and the true ones."""
    thought = [think_words(text, tables) for text in texts_of(completions)]
    return _ew([parse_words(o) for o in openset], thought, tables)


def recall_reward(
    completions: Sequence[Any], openset: Sequence[Any], tables: WheelTables | None = None, **_columns: Any
) -> list[float]:
    """Share of true clusters that are named: an ablation that long word lists exploit, to show why F1 is used."""
    from affectus.labels import wheels as wheel_tables

    own = tables or wheel_tables.load()
    found = []
    for text, truth in zip(texts_of(completions), openset, strict=True):
        words, shares = answer_words(text, own).words, []
        for wheel in range(1, own.n_wheels + 1):
            true = own.clusters(parse_words(truth), wheel=wheel)
            shares.append(len(true & own.clusters(words, wheel=wheel)) / len(true) if true else 0.0)
        found.append(sum(shares) / len(shares))
    return found


def _lengths(completions: Sequence[Any]) -> list[int]:
    return [len(answer_words(text).words) for text in texts_of(completions)]


def linear_length_penalty(strength: float = 0.1, most: int = 8) -> Reward:
    """-strength * max(0, n - most) for n answer words (AffectGPT-R1, variant a)."""

    @named("linear_length_penalty")
    def reward(completions: Sequence[Any], **_columns: Any) -> list[float]:
        return [-strength * max(0, n - most) for n in _lengths(completions)]

    return reward


def ratio_length_reward(spare: int = 2, tables: WheelTables | None = None) -> Reward:
    """EW-F1 times min(1, (m + spare) / n) for n answer and m true words (variant b)."""

    @named("ratio_length_reward")
    def reward(completions: Sequence[Any], openset: Sequence[Any], **_columns: Any) -> list[float]:
        scores = ew_reward(completions, openset, tables)
        true = [len(parse_words(o)) for o in openset]
        return [s * min(1.0, (m + spare) / n) if n else s
                for s, m, n in zip(scores, true, _lengths(completions), strict=True)]  # fmt: skip

    return reward


def soft_length_penalty(strength: float = 0.1) -> Reward:
    """-strength * clip((n - m) / m, 0, 1) for n answer and m true words (variant c)."""

    @named("soft_length_penalty")
    def reward(completions: Sequence[Any], openset: Sequence[Any], **_columns: Any) -> list[float]:
        true = [max(1, len(parse_words(o))) for o in openset]
        return [-strength * min(1.0, max(0.0, (n - m) / m))
                for m, n in zip(true, _lengths(completions), strict=True)]  # fmt: skip

    return reward


def label_reward(completions: Sequence[Any], label: Sequence[str], **_columns: Any) -> list[float]:
    """1 when the answer block (or the whole text without one) is the true label, letter case aside (R1-Omni)."""
    found = []
    for text, truth in zip(texts_of(completions), label, strict=True):
        parsed = Grammar.parse("think? answer").parse_text(text)
        answer = parsed["answer"] if parsed.ok else text if "<" not in text else ""
        found.append(float(answer.strip().strip(".").lower() == truth.strip().lower()))
    return found


def units_reward(published: bool = False) -> Reward:
    """F1 of the action units named in the reasoning against the column `units` (Facial-R1).

    `published` is the released code's scale: 2 F1 - 1, -1 when none is named, 0 when none is true; otherwise F1 with 0
    in both cases.
    """

    @named("units_reward")
    def reward(completions: Sequence[Any], units: Sequence[Sequence[str]], **_columns: Any) -> list[float]:
        found = []
        for text, truth in zip(texts_of(completions), units, strict=True):
            block = re.search(r"<think>(.*?)</think>", text, re.DOTALL)
            named_units = {int(n) for n in re.findall(r"au\s*0*(\d+)", (block.group(1) if block else "").lower())}
            true = {int(re.sub(r"\D", "", str(unit))) for unit in truth}
            score = 2 * len(named_units & true) / (len(named_units) + len(true)) if true else 0.0
            found.append(score if not published else 2 * score - 1 if true else 0.0)
        return found

    return reward


CONFIDENT = Grammar.parse("think(element human context interaction analysis) answer confidence")


def log_score_reward(limits: tuple[float, float] | None = None, malformed: float = -5.0) -> Reward:
    """1 + i + 2 (i ln c + (1 - i) ln(1 - c)) for a right (i = 1) or wrong answer with stated confidence c (EmoCaliber).

    A strictly proper score: it is best to state the true probability of being right. Without the form, or with c
    outside (0, 1), `malformed`. `limits` clips c in the logarithms, since a wrong answer with c > .95 else scores below
    a malformed one.
    """

    @named("log_score_reward")
    def reward(completions: Sequence[Any], label: Sequence[str], **_columns: Any) -> list[float]:
        return [_log_score(t, truth, limits, malformed) for t, truth in zip(texts_of(completions), label, strict=True)]

    return reward


def _log_score(text: str, truth: str, limits: tuple[float, float] | None, malformed: float) -> float:
    parsed = CONFIDENT.parse_text(text)
    try:
        confidence = float(parsed["confidence"]) if parsed.exact else math.nan
    except ValueError:
        return malformed
    if not 0 < confidence < 1:
        return malformed
    words = re.sub(r"[^\w\s]", "", parsed["answer"]).lower().split()
    right = words == [truth.strip().lower()]
    stated = confidence if limits is None else min(max(confidence, limits[0]), limits[1])
    return 1 + right + 2 * math.log(stated if right else 1 - stated)


def perception_reward(judge: Judge) -> Reward:
    """Share of comparisons won against the column `reference` in the eyes of a judge, both orders averaged, in [0, 1].

    Comparisons that the judge could not decide give .5 and are counted by the judge.
    """

    @named("perception_reward")
    def reward(completions: Sequence[Any], reference: Sequence[str], **columns: Any) -> list[float]:
        evidence = columns.get("evidence", [None] * len(reference))
        found = []
        for text, other, known in zip(texts_of(completions), reference, evidence, strict=True):
            score = judge.compare(text, other, evidence=known).score
            found.append(0.5 if math.isnan(score) else score)
        return found

    return reward


def total(rewards: Mapping[Reward, float]) -> Reward:
    """Weighted sum of rewards."""

    @named("total")
    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        sums = [0.0] * len(completions)
        for one, weight in rewards.items():
            for i, value in enumerate(one(completions, **columns)):
                sums[i] += weight * value
        return sums

    return reward


def route(table: Mapping[str, Mapping[Reward, float]], column: str = "kind") -> Reward:
    """A reward that treats every completion by the kind of its record.

    `table` has weighted rewards per kind; the column names the kind of each completion. ConfigError for a kind without
    rewards, rather than a silent zero.
    """
    sums = {kind: total(rewards) for kind, rewards in table.items()}

    @named("routed")
    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        if column not in columns:
            raise ConfigError("reward router", f"the column {column} is missing")
        kinds = list(columns[column])
        if unknown := sorted(set(kinds) - set(sums)):
            raise ConfigError(
                "reward router", f"has no rewards for {', '.join(unknown)}", f"it knows {', '.join(sums)}"
            )
        values = [0.0] * len(completions)
        for kind in dict.fromkeys(kinds):
            rows = [i for i, own in enumerate(kinds) if own == kind]
            given = {name: _taken(value, rows, len(completions)) for name, value in columns.items()}
            for i, value in zip(rows, sums[kind]([completions[i] for i in rows], **given), strict=True):
                values[i] = value
        return values

    return reward


def _taken(value: Any, rows: Sequence[int], count: int) -> Any:
    """The rows of a column; anything that is no column goes through as it is."""
    is_column = isinstance(value, (list, tuple)) and len(value) == count
    return [value[i] for i in rows] if is_column else value


#: Rewards by the name that recipes give them; those that need a judge or other settings are added by a system.
NAMED: dict[str, Reward] = {
    "ew": ew_reward,
    "format": format_reward,
    "alignment": alignment_reward,
    "dual": dual_reward,
    "recall": recall_reward,
    "label": label_reward,
    "units": units_reward(),
    "log_score": log_score_reward(),
    "length_linear": linear_length_penalty(),
    "length_ratio": ratio_length_reward(),
    "length_soft": soft_length_penalty(),
}


def weighted(wanted: Mapping[str, Any], known: Mapping[str, Reward] | None = None) -> Reward:
    """A reward from a table as recipes hold it: name → weight, or kind of record → (name → weight), see `route`.

    ConfigError names rewards that are not among the known ones (`NAMED` by default).
    """
    rewards = NAMED if known is None else known
    routed = bool(wanted) and all(isinstance(value, Mapping) for value in wanted.values())
    tables = wanted if routed else {"": wanted}
    if unknown := sorted({name for table in tables.values() for name in table} - set(rewards)):
        raise ConfigError("rewards", f"unknown: {', '.join(unknown)}", f"there are {', '.join(rewards)}")
    made = {kind: {rewards[name]: float(weight) for name, weight in table.items()} for kind, table in tables.items()}
    return route(made) if routed else total(made[""])
