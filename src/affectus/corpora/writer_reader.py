"""Corpora rated from both sides: what the writer put into a text, and what readers found in it."""

from __future__ import annotations

import numpy as np

from affectus.corpora.corpus import Corpus
from affectus.errors import CorpusError


def two_sides(corpus: Corpus, emotion: str) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of the writer (N,) and of the readers (N, R), on the corpus's own scale; NaN where a side is missing.

    WRIME has intensities 0–3 of eight emotions from the writer and three readers; EmoBank has valence, arousal and
    dominance 1–5 as mean ratings of both sides, so there is one "reader". Raises CorpusError for another corpus or an
    emotion it does not have.
    """
    names = set(corpus.table.column_names)
    if "scores:wrime8@felt" in names:
        order = corpus.labels("scores:wrime8")
        place = _place(corpus, emotion, order)
        readers = [corpus.array(f"meta:reader{k}")[:, place] for k in (1, 2, 3)]
        return corpus.array("scores:wrime8@felt")[:, place].astype(float), np.stack(readers, 1).astype(float)
    if f"raw:{emotion}@expressed" in names:
        return corpus.array(f"raw:{emotion}@expressed"), corpus.array(f"raw:{emotion}@evoked")[:, None]
    if "raw:valence@expressed" in names:
        _place(corpus, emotion, ("valence", "arousal", "dominance"))
    raise CorpusError(corpus.name, "is not rated by writers and readers", "use wrime or emobank")


def _place(corpus: Corpus, emotion: str, order: tuple[str, ...]) -> int:
    if emotion.lower() not in order:
        raise CorpusError(corpus.name, f"has no ratings of {emotion!r}", f"it has {', '.join(order)}")
    return order.index(emotion.lower())
