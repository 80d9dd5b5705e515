"""Conflict sets: rows of a corpus in which what is seen and what is heard tell different things (after CA-MER, Han et
al. 2025), built from any corpus whose clips were also judged from picture and sound alone.

    sets = conflict_sets(corpora.load("emotiontalk", DIR))
    sets.column("meta:subset")                       # video-aligned, audio-aligned, consistent

A row is video-aligned when the judgement of the picture alone equals the joint one and that of the sound alone does
not, audio-aligned the other way round, consistent when all three agree. Labels are compared as they are, lists of
labels by whether they share one, scores by their sign, where values up to `margin` count as zero. Rows that belong to
no subset (both alone differ from the joint judgement) or lack a judgement are left out and counted by
`conflict_counts`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from affectus.corpora.corpus import Corpus
from affectus.errors import CorpusError

#: Names of the subsets, conflicts first.
SUBSETS = ("video-aligned", "audio-aligned", "consistent")

#: Columns (joint, picture alone, sound alone) that are looked for, in this order.
_KNOWN = (
    ("labels:merr9", "meta:video_labels", "meta:audio_labels"),
    ("label:emotiontalk7", "meta:video_label", "meta:audio_label"),
    ("dim:sentiment", "meta:video_score", "meta:audio_score"),
)


def alignment(joint: Any, video: Any, audio: Any, margin: float = 0.0) -> str | None:
    """The subset of one clip from its three judgements; None when it belongs to none or a judgement is missing."""
    values = [_value(v, margin) for v in (joint, video, audio)]
    if any(v is None for v in values):
        return None
    whole, seen, heard = (v or frozenset() for v in values)
    agrees = bool(whole & seen), bool(whole & heard)
    return {(True, False): SUBSETS[0], (False, True): SUBSETS[1], (True, True): SUBSETS[2]}.get(agrees)


def _value(value: Any, margin: float) -> frozenset[Any] | None:
    """A judgement as a set: labels, or the sign of a score."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return frozenset([value])
    if isinstance(value, (int, float)):
        return frozenset([0 if abs(value) <= margin else math.copysign(1, value)])
    return frozenset(value) or None


def judgements(corpus: Corpus, columns: Sequence[str] = ()) -> tuple[str, str, str]:
    """Names of the joint, video and audio columns of a corpus; CorpusError when it has no such judgements."""
    if columns:
        if len(columns) != 3:
            raise CorpusError(corpus.name, f"{len(columns)} columns were given", "name joint, video and audio")
        if unknown := [name for name in columns if name not in corpus.table.column_names]:
            raise CorpusError(corpus.name, f"no column {unknown[0]!r}")
        return columns[0], columns[1], columns[2]
    for known in _KNOWN:
        if set(known) <= set(corpus.table.column_names):
            return known
    raise CorpusError(
        corpus.name,
        "holds no judgement of picture and sound alone",
        "name the joint, video and audio columns; ch_sims, ch_sims_v2, emotiontalk and ca_mer have them",
    )


def subsets_of(corpus: Corpus, columns: Sequence[str] = (), margin: float = 0.0) -> list[str | None]:
    """The subset of every row."""
    parts = [corpus.column(name) for name in judgements(corpus, columns)]
    return [alignment(joint, seen, heard, margin) for joint, seen, heard in zip(*parts, strict=True)]


def conflict_sets(
    corpus: Corpus, columns: Sequence[str] = (), margin: float = 0.0, per_subset: int = 0, seed: int = 0
) -> Corpus:
    """The rows that belong to a subset, with the column `meta:subset`; `per_subset` > 0 draws that many of each.

    CorpusError when the corpus lacks such judgements, when no row is in conflict, or when a subset has too few rows.
    """
    found = np.array(subsets_of(corpus, columns, margin), object)
    if not any(name in SUBSETS[:2] for name in found):
        raise CorpusError(corpus.name, "holds no clip whose picture and sound disagree")
    rows = np.flatnonzero(found != np.array(None))
    if per_subset:
        random = np.random.default_rng(seed)
        picked = []
        for name in SUBSETS:
            own = np.flatnonzero(found == name)
            if len(own) < per_subset:
                raise CorpusError(corpus.name, f"has only {len(own)} rows for {name}", f"ask for {len(own)} or fewer")
            picked.append(random.permutation(own)[:per_subset])
        rows = np.sort(np.concatenate(picked))
    kept = corpus.take(rows)
    table = kept.table
    if "meta:subset" in table.column_names:
        table = table.drop_columns(["meta:subset"])
    return replace(kept, table=table.append_column("meta:subset", pa.array([str(found[row]) for row in rows])))


def conflict_counts(corpus: Corpus, columns: Sequence[str] = (), margin: float = 0.0) -> dict[str, int]:
    """Rows per subset, and how many belong to none."""
    counts = Counter(subsets_of(corpus, columns, margin))
    return {**{name: counts[name] for name in SUBSETS}, "none": counts[None]}
