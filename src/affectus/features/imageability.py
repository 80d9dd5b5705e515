"""How easily words and sentences call up a picture: word norms, their propagation, and pairing sentences with pictures.

The lexicon rules are the baselines of Verma et al., "Learning the Visualness of Text", EMNLP 2023. Norms (for example
MRC imageability) and word vectors come from the user.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectus.errors import ConfigError
from affectus.labels.lexicon import tokens


def mean_imageability(text: str, norms: Mapping[str, float], unknown: float = 0.0) -> float:
    """Mean norm of the different words of a text, lower case; words without a norm count as `unknown`. 0 without words.

    Norms are best scaled to [0, 1] first (`unit_norms`).
    """
    words = sorted(set(tokens(text)))
    return float(np.mean([norms.get(word, unknown) for word in words])) if words else 0.0


def object_share(text: str, objects: Collection[str]) -> float:
    """Share of the different words of a text that name an object, in [0, 1]; 0 without words."""
    words = set(tokens(text))
    return len(words & set(objects)) / len(words) if words else 0.0


def unit_norms(norms: Mapping[str, float]) -> dict[str, float]:
    """Norms scaled to [0, 1] by their range."""
    low, high = min(norms.values()), max(norms.values())
    if low == high:
        raise ConfigError("norms", "are all the same", "give norms that tell words apart")
    return {word.lower(): (value - low) / (high - low) for word, value in norms.items()}


def propagate(words: Sequence[str], norms: Mapping[str, float], vectors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Norms of further words: the cosine to the most similar word that has one, times its norm.

    Words with a norm keep it; words without a vector get 0. Raises ConfigError when no word of the norms has a vector.
    """
    known = [word for word in norms if word in vectors]
    if not known:
        raise ConfigError("vectors", "hold none of the words with a norm")
    table = np.stack([_unit(vectors[word]) for word in known])
    found = {}
    for word in words:
        if word in norms:
            found[word] = float(norms[word])
        elif word in vectors:
            cosines = table @ _unit(vectors[word])
            best = int(cosines.argmax())
            found[word] = float(cosines[best]) * float(norms[known[best]])
        else:
            found[word] = 0.0
    return found


@dataclass(frozen=True)
class PagePairs:
    """Sentences of a page: `label` 1 visual, 0 non-visual, -1 neither; `picture` of the visual ones, else -1; (S,)."""

    label: np.ndarray
    picture: np.ndarray


def pair_with_pictures(similarity: np.ndarray, above: float = 0.35, below: float = 0.18) -> PagePairs:
    """Labels of sentences from their similarity (S, I) to the pictures of their page.

    Visual above `above` for some picture (paired with the most similar), non-visual below `below` for all of them,
    dropped in between. The defaults are cosines of CLIP ViT-B/32 (top 1 % and bottom 5 % of the paper's pages).
    """
    scores = np.asarray(similarity, float)
    if scores.ndim != 2 or not scores.shape[1] or not np.isfinite(scores).all() or below > above:
        raise ConfigError("similarity", f"of shape {scores.shape} is not (sentences, pictures)")
    top = scores.max(1)
    label = np.where(top > above, 1, np.where(top < below, 0, -1))
    return PagePairs(label, np.where(label == 1, scores.argmax(1), -1))


def word_attention(weights: np.ndarray, words: Sequence[int]) -> np.ndarray:
    """Attention of words from that of their tokens: weights (L,) summed over the tokens of each word, (words,).

    `words` numbers the word of each token; -1 (special tokens, padding) is left out.
    """
    numbers = np.asarray(words)
    inside = numbers >= 0
    return np.bincount(numbers[inside], np.asarray(weights, float)[: len(numbers)][inside])


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector, float) / (length or 1.0)
