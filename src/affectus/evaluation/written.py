"""The record of a system that writes emotion words: F of the wheel clusters on corpus rows, and what it gained on its
start.

A gain is the difference of two systems on the same rows, with the interval of resampled rows. Rows whose true words no
wheel knows (only neutral) are no part of it, as in the metric.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.corpora import Corpus
from affectus.errors import CorpusError
from affectus.evaluation import measures
from affectus.evaluation.answers import write_answers
from affectus.evaluation.record import Entry, Record, environment
from affectus.labels import wheels
from affectus.metrics import paired_interval, wheel_f1, wheel_precision, wheel_recall

if TYPE_CHECKING:
    from affectus.systems.generative import GenerativeSystem


def scorable_rows(system: GenerativeSystem, corpus: Corpus, column: str) -> tuple[Corpus, np.ndarray]:
    """Rows with a true word that a wheel knows, and their word lists; CorpusError when there is none."""
    from affectus.lm.rewards import scorable
    from affectus.systems.generative import GenerativeSystem

    records = GenerativeSystem.targets(system, corpus, column)["record"]
    words = [None if r is None or "openset" not in r else wheels.parse_words(r["openset"]) for r in records]
    rows = [i for i, own in enumerate(words) if own and scorable(own)]
    if not rows:
        raise CorpusError(corpus.files.root, f"has no row whose {column} holds a word of a wheel", corpus.info.obtain)
    return corpus.take(np.array(rows)), _lists([words[i] for i in rows])


def word_record(
    system: GenerativeSystem,
    corpus: Corpus,
    column: str,
    folder: str | Path | None = None,
    start: GenerativeSystem | None = None,
) -> Record:
    """Precision, recall and F over the wheels of the answers to the question of the system about every scorable row.

    With `start`, the system it was trained from, also `f1_gain` and the scores of the start under `parts`. Answers lie
    in `folder` (answers.jsonl, answers-start.jsonl), where a run that was cut off finds them.
    """
    held, truth = scorable_rows(system, corpus, column)
    with tempfile.TemporaryDirectory() as fallback:
        place = Path(folder or fallback)
        guess, states = _answers(system, held, place / "answers.jsonl")
        before = None if start is None else _answers(start, held, place / "answers-start.jsonl")[0]
    tables = wheels.load()
    common = [word for word, _ in Counter(word for row in truth for word in row).most_common(3)]
    record = Record(
        model=system.card.name,
        corpus=corpus.name,
        split="",
        n=len(held),
        metrics=_scores(truth, guess),
        headline="f1",
        perspective=system.card.perspective,
        target=column,
        baselines={f"the {n} most frequent words": {"f1": wheel_f1(truth, _lists([common[:n]] * len(held)))}
                   for n in (1, 3)},
        left_out={"no true word in any wheel": len(corpus) - len(held)},
        version=str(system.card.year),
        tables={"wheels": tables.version, "wheels_sha256": tables.digest},
        notes=[_lengths(truth, guess), "answers: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items()))],
        environment=environment(),
        published=[{**p} for p in system.card.as_dict()["published"]],
    )  # fmt: skip
    if before is not None:
        gain = paired_interval(wheel_f1, truth, guess, before, level=measures.LEVEL, draws=measures.DRAWS)
        record.metrics["f1_gain"] = Entry(**gain._asdict())
        record.parts["start"] = {
            "metrics": {name: entry.model_dump() for name, entry in _scores(truth, before).items()},
            "lists": _lengths(truth, before),
        }
    return record


def _answers(system: GenerativeSystem, corpus: Corpus, file: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Word lists in the order of the rows, and how many answers were in which state."""
    system.eval()
    states = write_answers(system, corpus, file, system.kinds({"text": [""]})[0])
    said = {line["name"]: line["openset"] for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    return _lists([said[name] for name in corpus.column("id")]), states


def _scores(truth: np.ndarray, guess: np.ndarray) -> measures.Entries:
    metrics = {"f1": wheel_f1, "precision": wheel_precision, "recall": wheel_recall}
    return {name: measures.entry(metric, truth, guess) for name, metric in metrics.items()}


def _lists(rows: list[Any]) -> np.ndarray:
    found = np.empty(len(rows), object)
    found[:] = rows
    return found


def _lengths(truth: np.ndarray, guess: np.ndarray) -> str:
    true, said = (float(np.mean([len(row) for row in part])) for part in (truth, guess))
    return (
        f"mean list length: truth {true:.2f}, answers {said:.2f}; {sum(not row for row in guess)} answers hold no word"
    )
