"""Scores of word lists without emotion wheels: words count as equal when a table or a list of groups says so.

Used where the words come from a short closed list (the nine classes of CA-MER) and by the older MER2024 metric, in
which a language model grouped the synonyms of every row beforehand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from affectus.labels.wheels import clean_word, parse_words
from affectus.metrics.inputs import Floats
from affectus.metrics.sums import sums_to

Alike = Sequence[Iterable[Collection[str]]]


def _row_sets(
    truth: Any, prediction: Any, synonyms: Mapping[str, str] | None, alike: Alike | None
) -> list[tuple[set[str], set[str]]]:
    true, predicted = list(truth), list(prediction)
    if not true:
        raise ValueError("truth is empty: there is nothing to score")
    if len(true) != len(predicted):
        raise ValueError(f"truth has {len(true)} rows but prediction has {len(predicted)}")
    if alike is not None and len(alike) != len(true):
        raise ValueError(f"alike has {len(alike)} rows but truth has {len(true)}")
    shared = {clean_word(word): clean_word(target) for word, target in (synonyms or {}).items()}
    rows = []
    for number, pair in enumerate(zip(true, predicted, strict=True)):
        first: dict[str, str] = {}
        for group in () if alike is None else alike[number]:
            words = [clean_word(word) for word in group]
            for word in words:
                first.setdefault(word, words[0])
        lists = [[shared.get(word, word) for word in parse_words(words)] for words in pair]
        rows.append((*({first.get(word, word) for word in words} for words in lists),))
    return rows  # type: ignore[return-value]


def _rows(truth: Any, prediction: Any, synonyms: Mapping[str, str] | None = None, alike: Alike | None = None) -> Floats:
    """Rows `(N, 3)`: whether there is a true word, |G & P| / |P|, |G & P| / |G|."""
    table = np.zeros((len(truth), 3))
    for number, (true, predicted) in enumerate(_row_sets(truth, prediction, synonyms, alike)):
        if true:
            hits = len(true & predicted)
            table[number] = 1, hits / len(predicted) if predicted else 0, hits / len(true)
    return table


def _finish(sums: Floats, score: Literal["precision", "recall", "average"], **_options: Any) -> Floats:
    scored = sums[..., 0]
    part = {"precision": sums[..., 1], "recall": sums[..., 2], "average": (sums[..., 1] + sums[..., 2]) / 2}[score]
    return np.divide(part, scored, out=np.full(np.shape(part), np.nan), where=scored > 0)


def _total(rows: Floats, score: Literal["precision", "recall", "average"]) -> float:
    if not rows[:, 0].any():
        raise ValueError("no row has a true word, so there is nothing to score")
    return float(_finish(rows.sum(axis=0), score))


@sums_to(_rows, partial(_finish, score="precision"))
def word_precision(
    truth: Any, prediction: Any, synonyms: Mapping[str, str] | None = None, alike: Alike | None = None
) -> float:
    """Mean over rows of |G & P| / |P| in [0, 1], 0 for an empty prediction; "Acc" of MER2024 and CA-MER.

    `truth` and `prediction` are N word lists (or their texts). `synonyms` renames words for all rows, `alike` gives
    per row the groups of equal words, each of which takes its first member. Rows without a true word are left out.
    """
    return _total(_rows(truth, prediction, synonyms, alike), "precision")


@sums_to(_rows, partial(_finish, score="recall"))
def word_recall(
    truth: Any, prediction: Any, synonyms: Mapping[str, str] | None = None, alike: Alike | None = None
) -> float:
    """Mean over rows of |G & P| / |G| in [0, 1]; see `word_precision`."""
    return _total(_rows(truth, prediction, synonyms, alike), "recall")


@sums_to(_rows, partial(_finish, score="average"))
def word_overlap(
    truth: Any, prediction: Any, synonyms: Mapping[str, str] | None = None, alike: Alike | None = None
) -> float:
    """(`word_precision` + `word_recall`) / 2: the score of MER2024 OV and "Avg" of CA-MER, in [0, 1]."""
    return _total(_rows(truth, prediction, synonyms, alike), "average")
