"""How hard a conversation is to read, from the shifts of emotion in it (PRC-Emo, AAAI 2026)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from affectus import labels
from affectus.corpora.corpus import Corpus
from affectus.errors import CorpusError


def dialogue_difficulty(
    emotions: Sequence[str], speakers: Sequence[str], space: str, slope: float = 1.0, shift: float = 0.4
) -> float:
    """Difficulty of one conversation from the labels and speakers of its utterances in order; above 0.

    (same + different + speakers) / (utterances + speakers): `same` adds `slope` · s + `shift` for every change in the
    sequence of one speaker, `different` for every pair of neighbouring utterances by two speakers with two labels. s is
    the similarity of the two emotions on the circle, so a change to a similar emotion counts more than one to its
    opposite, as published. Constants 1 and 0.4 are those of the public code. CorpusError for an empty conversation.
    """
    if not emotions or len(emotions) != len(speakers):
        raise CorpusError("conversation", f"has {len(emotions)} labels and {len(speakers)} speakers")
    known = labels.space(space)
    similar = labels.circle_similarity(known)
    places = [known.index(emotion) for emotion in emotions]
    total = 0.0
    latest: dict[str, int] = {}
    for i, (speaker, place) in enumerate(zip(speakers, places, strict=True)):
        before = latest.get(speaker, place)
        pairs = [before] + ([places[i - 1]] if i and speakers[i - 1] != speaker else [])
        total += sum(slope * similar[other, place] + shift for other in pairs if other != place)
        latest[speaker] = place
    return float((total + len(latest)) / (len(emotions) + len(latest)))


def corpus_difficulty(corpus: Corpus, column: str) -> np.ndarray:
    """Difficulty of the conversation that each row belongs to (rows,), from all labelled rows of it.

    `column` is a `label:` column; NaN where a conversation has no label at all. Raises CorpusError.
    """
    known, space = corpus.column(column), column.partition(":")[2]
    speakers = [speaker or "" for speaker in corpus.column("speaker")]
    found = np.full(len(corpus), np.nan)
    for rows in corpus.dialogues().values():
        if kept := [row for row in rows if known[row] is not None]:
            found[rows] = dialogue_difficulty([known[r] for r in kept], [speakers[r] for r in kept], space)
    return found
