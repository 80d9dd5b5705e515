"""Stretches of time with one answer: consecutive windows with the same leading label, merged."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from affectus.report.view import SOURCES, Curve, Mark, Person, View

#: Label of a decision the analyzer declined to make.
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Run:
    """`label` leads from `start` to `end` with mean `score` (and bounds, NaN where unknown).

    For an uncertain stretch `label` is the label that came closest.
    """

    start: float
    end: float
    label: str
    score: float
    low: float = float("nan")
    high: float = float("nan")
    uncertain: bool = False


def thin(curve: Curve, limit: int) -> Curve:
    """At most `limit` points: neighbours are averaged in equal bins of time (scores and bounds alike).

    Bounds are averaged, not widened, so a band shows the usual uncertainty within its bin. Source: plain binning.
    """
    count = len(curve.start)
    if count <= limit:
        return curve
    edges = np.linspace(curve.start[0], curve.end[-1], limit + 1)
    slot = np.clip(np.searchsorted(edges, curve.start, side="right") - 1, 0, limit - 1)
    first, grids = _averaged(curve, slot)
    begin = curve.start[first]
    stop = curve.end[np.append(first[1:], count) - 1]
    return Curve(curve.source, curve.method, curve.perspective, curve.space, curve.labels, begin, stop, *grids)


def in_steps(curve: Curve, length: float, steps: int) -> Curve:
    """The means of a curve in `steps` equal bins of an axis of `length`, each over its whole bin; empty bins are left
    out."""
    edges = np.linspace(0, length, steps + 1)
    slot = np.clip(np.searchsorted(edges, curve.start, side="right") - 1, 0, steps - 1)
    first, grids = _averaged(curve, slot)
    begin, stop = edges[slot[first]], edges[slot[first] + 1]
    return Curve(curve.source, curve.method, curve.perspective, curve.space, curve.labels, begin, stop, *grids)


def _averaged(curve: Curve, slot: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first point of every bin, `slot` (T,) being the bin of each point in order, and the means of the grids."""
    _, first = np.unique(slot, return_index=True)
    groups = np.split(np.arange(len(slot)), first[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bin without any known value stays NaN
        grids = [
            np.stack([np.nanmean(grid[group], axis=0) for group in groups])
            for grid in (curve.scores, curve.low, curve.high)
        ]
    return first, grids


def curve_runs(curve: Curve, limit: int = 0) -> list[Run]:
    """Runs of the leading label of a curve; with `limit`, from at most that many points."""
    if limit:
        curve = thin(curve, limit)
    known = np.isfinite(curve.scores).any(axis=1)
    filled = np.where(np.isfinite(curve.scores), curve.scores, -np.inf)
    best = filled.argmax(axis=1)
    index = np.arange(len(best))
    return merge(
        [
            Run(*values)
            for values in zip(
                curve.start[known].tolist(),
                curve.end[known].tolist(),
                [curve.labels[b] for b in best[known]],
                filled[index, best][known].tolist(),
                curve.low[index, best][known].tolist(),
                curve.high[index, best][known].tolist(),
                strict=True,
            )
        ]
    )


def decision_runs(person: Person, limit: int = 0) -> list[Run]:
    """Runs of the decisions about a person, uncertain ones named after the label that came closest.

    Without decisions, the runs of the main curve. With `limit`, at most about that many runs: neighbours are joined
    to the longer one.
    """
    curve = person.main
    if not person.decisions:
        return curve_runs(curve, limit) if curve else []
    runs = []
    for mark in person.decisions:
        doubtful = mark.label == UNCERTAIN
        label = (_closest(curve, mark) or UNCERTAIN) if doubtful else mark.label
        runs.append(Run(mark.start, mark.end, label, mark.score, mark.low, mark.high, doubtful))
    merged = merge(runs)
    if limit and len(merged) > limit:
        merged = merge(_coarse(merged, limit))
    return merged


def _closest(curve: Curve | None, mark: Mark) -> str:
    if curve is None or not len(curve.start):
        return ""
    middle = (mark.start + mark.end) / 2
    at = int(np.clip(np.searchsorted(curve.start, middle, side="right") - 1, 0, len(curve.start) - 1))
    row = curve.scores[at]
    return curve.labels[int(np.nanargmax(row))] if np.isfinite(row).any() else ""


def merge(runs: Sequence[Run]) -> list[Run]:
    """Join neighbours with the same label; a pause longer than half a window keeps them apart, overlaps are cut."""
    joined: list[list[Run]] = []
    for run in runs:
        if joined:
            last = joined[-1][-1]
            near = run.start <= last.end + 0.5 * max(last.end - last.start, run.end - run.start) + 1e-9
            if near and (last.label, last.uncertain) == (run.label, run.uncertain):
                joined[-1].append(run)
                continue
        joined.append([run])
    merged = [_mean(group) for group in joined]
    for i, (run, after) in enumerate(itertools.pairwise(merged)):
        if run.end > after.start:
            merged[i] = Run(run.start, after.start, *_tail(run))
    return [run for run in merged if run.end > run.start or len(merged) == 1]


def _tail(run: Run) -> tuple[str, float, float, float, bool]:
    return run.label, run.score, run.low, run.high, run.uncertain


def _mean(group: Sequence[Run]) -> Run:
    """One run for several, scores weighted by length."""
    if len(group) == 1:
        return group[0]
    weight = np.array([max(run.end - run.start, 1e-9) for run in group])
    values = np.array([[run.score, run.low, run.high] for run in group])
    score, low, high = ((values * weight[:, None]).sum(axis=0) / weight.sum()).tolist()
    end = max(run.end for run in group)
    return Run(group[0].start, end, group[0].label, score, low, high, group[0].uncertain)


def _coarse(runs: Sequence[Run], limit: int) -> list[Run]:
    """The longest run of each of `limit` equal stretches stands for the whole stretch."""
    first, last = runs[0].start, max(run.end for run in runs)
    width = (last - first) / limit
    bins: dict[int, list[Run]] = {}
    for run in runs:
        bins.setdefault(min(int((run.start - first) / width), limit - 1), []).append(run)
    coarse = []
    for group in bins.values():
        longest = max(group, key=lambda run: run.end - run.start)
        coarse.append(Run(group[0].start, group[-1].end, *_tail(longest)))
    return coarse


def shares(runs: Sequence[Run]) -> dict[str, float]:
    """Share of the covered time per label, uncertain stretches under `uncertain`; largest first."""
    total: dict[str, float] = {}
    for run in runs:
        key = UNCERTAIN if run.uncertain else run.label
        total[key] = total.get(key, 0.0) + max(run.end - run.start, 1e-9)
    whole = sum(total.values())
    return {label: part / whole for label, part in sorted(total.items(), key=lambda item: -item[1])}


def turn_runs(view: View) -> list[dict[str, Run]]:
    """For every turn of the transcript, per source that covers it, the leading label of the time-weighted mean score.

    Only curves of the turn's speaker count; a turn without a speaker, or one whose name no person bears, takes all.
    """
    named = {person.speaker for person in view.people if person.speaker}
    found = []
    for turn in view.turns:
        own = turn.speaker in named
        best: dict[str, Run] = {}
        for person in view.people:
            if own and person.speaker != turn.speaker:
                continue
            for curve in person.curves:
                run = _within(curve, turn)
                if run and curve.source not in best:
                    best[curve.source] = run
        order = sorted(best, key=lambda s: SOURCES.index(s) if s in SOURCES else 9)
        found.append({source: best[source] for source in order})
    return found


def unsure_turns(view: View) -> list[bool]:
    """For every turn of the transcript whether at least half of the decided time in it was left open as uncertain.

    Whose decisions count is as in `turn_runs`.
    """
    named = {person.speaker for person in view.people if person.speaker}
    decided = [
        (
            person.speaker,
            np.array([mark.start for mark in person.decisions]),
            np.array([mark.end for mark in person.decisions]),
            np.array([mark.label == UNCERTAIN for mark in person.decisions]),
        )
        for person in view.people
        if person.decisions
    ]
    found = []
    for turn in view.turns:
        known = doubtful = 0.0
        for speaker, start, end, open_ in decided:
            if turn.speaker not in named or speaker == turn.speaker:
                shared = np.minimum(end, turn.end) - np.maximum(start, turn.start)
                # A turn without a length meets the decision that begins with it.
                shared = np.where((shared > 0) | (start == turn.start), np.maximum(shared, 1e-6), 0.0)
                known, doubtful = known + float(shared.sum()), doubtful + float(shared[open_].sum())
        found.append(known > 0 and doubtful >= known / 2)
    return found


def _within(curve: Curve, turn: Mark) -> Run | None:
    first = int(np.searchsorted(curve.end, turn.start, side="right"))
    last = int(np.searchsorted(curve.start, turn.end, side="left"))
    rows = np.arange(max(first, 0), max(last, first))
    if not len(rows):
        return None
    overlap = np.minimum(curve.end[rows], turn.end) - np.maximum(curve.start[rows], turn.start)
    weight = np.where(np.isfinite(curve.scores[rows]), np.maximum(overlap, 1e-6)[:, None], 0.0)
    total = weight.sum(axis=0)
    if not total.any():
        return None
    mean = (np.nan_to_num(curve.scores[rows]) * weight).sum(axis=0) / np.where(total > 0, total, 1)
    best = int(mean.argmax())
    return Run(turn.start, turn.end, curve.labels[best], float(mean[best]))
