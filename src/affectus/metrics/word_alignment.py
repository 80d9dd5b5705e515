"""METEOR without WordNet: words are aligned by form, then by stem, then by synonyms that the caller supplies.

The score of Banerjee & Lavie 2005 with the weights of the first releases. There are no paraphrase tables and no weights
for function words, and without `stem` and `synonyms` only equal words align, so values lie below those of METEOR 1.5
and are not comparable with them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.captions import Stem, Synonyms, Tokenizer, Tokens, reference_rows, words_of
from affectus.metrics.inputs import Floats
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Bools = npt.NDArray[np.bool_]
Equal = Callable[[str, str], bool]


def align(reference: Tokens, sentence: Tokens, stages: list[Equal]) -> list[tuple[int, int]]:
    """Pairs (place in sentence, place in reference), every word used once, in the order of the sentence.

    Each stage aligns what the earlier ones left over. The pairs that make the longest run of neighbours together with
    those already fixed go first, of equals the ones that lie straightest; this keeps the number of chunks low.
    """
    shape = len(sentence), len(reference)
    free, fixed = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for equal in stages:
        same = np.array([[equal(a, b) for b in reference] for a in sentence], dtype=bool).reshape(shape)
        while (open_cells := same & free).any():
            (row, column), length = _longest_run(open_cells, fixed)
            steps = np.arange(length)
            fixed[row + steps, column + steps] = True
            free[row : row + length], free[:, column : column + length] = False, False
    return [(int(row), int(column)) for row, column in np.argwhere(fixed)]


def _longest_run(open_cells: Bools, fixed: Bools) -> tuple[tuple[int, int], int]:
    """First cell and length of the longest diagonal run of open and fixed cells that holds an open one."""
    best, place, shift = 0, (0, 0), 0
    lengths, fresh = (np.zeros(open_cells.shape[1] + 1, dtype=np.int64) for _ in range(2))
    for row in range(len(open_cells)):
        joined = open_cells[row] | fixed[row]
        lengths = np.r_[0, np.where(joined, lengths[:-1] + 1, 0)]
        fresh = np.r_[0, np.where(joined, fresh[:-1] + open_cells[row], 0)]
        for column in np.flatnonzero((fresh > 0) & (lengths >= best)).tolist():
            length, apart = int(lengths[column]), abs(row - column + 1)
            if length > best or apart < shift:
                best, shift = length, apart
                place = (row - length + 1, column - length)
    return place, best


def chunks(pairs: list[tuple[int, int]]) -> int:
    """Number of runs of pairs that are neighbours on both sides."""
    return sum(
        i == 0 or pair[0] != pairs[i - 1][0] + 1 or pair[1] != pairs[i - 1][1] + 1 for i, pair in enumerate(pairs)
    )


def _score(reference: Tokens, sentence: Tokens, stages: list[Equal], alpha: float, beta: float, gamma: float) -> float:
    pairs = align(reference, sentence, stages)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(sentence), len(pairs) / len(reference)
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    return mean * (1 - gamma * (chunks(pairs) / len(pairs)) ** beta)


def _meteor_rows(
    truth: Any,
    prediction: Any,
    stem: Stem | None = None,
    synonyms: Synonyms | None = None,
    alpha: float = 0.9,
    beta: float = 3.0,
    gamma: float = 0.5,
    tokenize: Tokenizer = words_of,
) -> Floats:
    stages: list[Equal] = [lambda a, b: a == b]
    if stem is not None:
        root = lru_cache(maxsize=None)(stem)
        stages.append(lambda a, b: root(a) == root(b))
    if synonyms is not None:
        like = lru_cache(maxsize=None)(lambda word: frozenset(synonyms(word)))
        stages.append(lambda a, b: b in like(a) or a in like(b))
    return mean_of_rows(
        np.array(
            [
                max(_score(reference, sentence, stages, alpha, beta, gamma) for reference in references)
                for references, sentence in reference_rows(truth, prediction, tokenize)
            ]
        )
    )


@sums_to(_meteor_rows, finish_mean)
def meteor(
    truth: Any,
    prediction: Any,
    stem: Stem | None = None,
    synonyms: Synonyms | None = None,
    alpha: float = 0.9,
    beta: float = 3.0,
    gamma: float = 0.5,
    tokenize: Tokenizer = words_of,
) -> float:
    """METEOR (see the module text), mean over rows of the best reference, in [0, 1].

    P R / (alpha P + (1 - alpha) R), times 1 - gamma · (chunks / matches)^beta. `stem` maps a word to its stem (for
    English `affectus.labels.lemmas.lemma`), `synonyms` a word to words of the same meaning.
    """
    return float(_meteor_rows(truth, prediction, stem, synonyms, alpha, beta, gamma, tokenize)[:, 1].mean())
