"""Vectors of single words: read from published tables, or drawn from the spelling where there is none.

Tables are text files with one word and its numbers per line, as GloVe (Pennington et al., 2014) and word2vec's text
format are published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from affectus.errors import ConfigError, MediaError


def read_word_vectors(path: str | Path, words: Sequence[str]) -> np.ndarray:
    """Vectors of `words` from a table, float32 (words, width), in the order asked for; reads until all are found.

    Raises MediaError for a file that is no such table and ConfigError naming words that it lacks.
    """
    wanted = {word.lower() for word in words}
    found: dict[str, np.ndarray] = {}
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                word, _, numbers = line.partition(" ")
                if word.lower() in wanted and word.lower() not in found:
                    found[word.lower()] = np.array(numbers.split(), np.float32)
                    if len(found) == len(wanted):
                        break
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise MediaError(
            path, "is no readable table of word vectors", "give lines of a word and its numbers"
        ) from error
    if missing := sorted(wanted - set(found)):
        raise ConfigError(path, f"has no vectors of {', '.join(missing)}")
    if len({len(vector) for vector in found.values()}) > 1:
        raise MediaError(path, "has vectors of different lengths", "fetch the file again")
    return np.stack([found[word.lower()] for word in words])


def spelled_vectors(words: Sequence[str], width: int = 300, spread: float = 0.4) -> np.ndarray:
    """A fixed Gaussian vector per word, drawn from its spelling: float32 (words, width), standard deviation `spread`.

    They tell words apart and say nothing about their meaning.
    """
    seeds = [int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "little") for word in words]
    return np.stack([np.random.default_rng(seed).normal(0, spread, width) for seed in seeds]).astype(np.float32)
