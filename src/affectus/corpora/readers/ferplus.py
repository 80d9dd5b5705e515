"""FER+: FER2013 faces with ten votes each (Barsoum et al. 2016).

The label of an image is the strict majority: the one column of all ten that got the most votes. Images whose majority
is `unknown` or `NF` (no face), and images with a tie at the top, have no label (null); `vote:` columns keep the votes,
and `dist:ferplus8` is the share of each emotion among the votes that went to emotions. `published_targets` gives the
targets of the publisher's own loader.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pyarrow as pa

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*EMOTIONS, "unknown", "NF")

INFO = CorpusInfo(
    name="ferplus",
    title="FER+ (FER2013 faces, ten raters)",
    modalities=("image",),
    perspective="expressed",
    licence="labels MIT; images: FER2013 challenge, research use",
    obtain="labels: repository microsoft/FERPlus; images: FER2013 of the ICML 2013 representation learning challenge; "
    "the repository's generator writes the folders read here",
    size="35,887 faces, 48×48 grey, 60 MB",
    layout="FER2013Train, FER2013Valid, FER2013Test (folders or .tar.gz), each with label.csv and fer*.png",
    citation="Barsoum, Zhang, Canton Ferrer, Zhang: Training deep networks for facial expression recognition with "
    "crowd-sourced label distribution, ICMI 2016",
    labels={"ferplus8": EMOTIONS, "ferplus": VOTES},
    units={"ferplus": "votes of ten raters"},
    archives=("FER2013*",),
    needs_media=True,
    leaks={
        "media": "FER2013 holds copies of pictures across its parts",
    },
)

_SPLITS = {"train": "train", "valid": "valid", "test": "test"}


def read(files: Files, notes: Notes) -> dict[str, Any]:
    """Columns `label:ferplus8`, `dist:ferplus8`, `votes:ferplus` (ten columns)."""
    lists = [r for r in files.match("label.csv") if _split(files, r) or len(files.match("label.csv")) == 1]
    if not lists:
        raise CorpusError(files.root, "no FER2013Train, FER2013Valid or FER2013Test with a label.csv", INFO.obtain)
    names: list[str] = []
    splits: list[str | None] = []
    media: list[str | None] = []
    votes: list[list[int]] = []
    for ref in lists:
        split = _split(files, ref)
        for line, row in enumerate(csv.reader(io.StringIO(files.text(ref), newline="")), 1):
            counts = _counts(row, ref, line, notes)
            if counts is None:
                continue
            names.append(row[0].removesuffix(".png"))
            splits.append(split)
            media.append(files.beside(ref, row[0]))
            votes.append(counts)
    table = np.asarray(votes, np.float32).reshape(-1, len(VOTES))
    return {
        "id": names,
        "split": splits,
        "media": media,
        "label:ferplus8": majority(table),
        "dist:ferplus8": distribution(table),
        "votes:ferplus": _lists(table, np.ones(len(table), bool)),
    }


def _split(files: Files, ref: str) -> str | None:
    for folder in files.folders(ref):
        name = folder.lower()
        if name.startswith("fer2013"):
            return _SPLITS.get(name.removeprefix("fer2013").strip("_- "))
    return None


def _counts(row: list[str], ref: str, line: int, notes: Notes) -> list[int] | None:
    if not row or not row[0].lower().endswith(".png"):
        if row and line > 1:  # some copies carry a header
            notes.error(ref, line, f"{row[0]!r} is no picture name")
        return None
    try:
        counts = [int(cell) for cell in row[-len(VOTES) :]]
    except ValueError:
        counts = [-1]
    if len(row) < len(VOTES) + 2 or min(counts) < 0:
        notes.error(ref, line, "expected a name, a box and ten vote counts", "fetch label.csv again")
        return None
    return counts


def majority(votes: np.ndarray) -> pa.Array:
    """Label of each row of votes `(n, 10)`: the strict maximum when it is one of the 8 emotions, otherwise null."""
    top = votes.argmax(1)
    clear = ((votes == votes.max(1, keepdims=True)).sum(1) == 1) & (top < len(EMOTIONS))
    return pa.array([EMOTIONS[t] if ok else None for t, ok in zip(top, clear, strict=True)], pa.string())


def distribution(votes: np.ndarray) -> pa.Array:
    """Share of each of the 8 emotions among the votes for emotions; null for rows without such a vote."""
    counts = votes[:, : len(EMOTIONS)]
    total = counts.sum(1, keepdims=True)
    return _lists(counts / np.maximum(total, 1), total[:, 0] > 0)


def _lists(values: np.ndarray, valid: np.ndarray) -> pa.Array:
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~valid))


def published_targets(votes: np.ndarray, mode: str = "majority") -> np.ndarray:
    """Targets `(n, 8)` as the publisher's training code makes them; all-zero rows are left out there.

    Votes of one single rater are dropped first. `majority`: the top column when it has more than half of the remaining
    votes. `probability`: top columns in turn until they hold 75 % of the votes, at most three, stopping at `unknown` or
    `NF`, void unless they hold more than half. `multi_target`: every column with at least 30 % of the votes, void
    unless they hold more than half. Rows whose top is `unknown` or `NF` are void; others are renormalised over the 8.
    """
    targets = np.zeros((len(votes), len(EMOTIONS)), np.float32)
    for row, given in enumerate(np.asarray(votes, np.float64)):
        counts = np.where(given <= 1, 0.0, given)
        kept = _KEEP[mode](counts)
        if kept.sum() > 0.5 * counts.sum() and kept.argmax() < len(EMOTIONS) and kept[: len(EMOTIONS)].sum() > 0:
            targets[row] = kept[: len(EMOTIONS)] / kept[: len(EMOTIONS)].sum()
    return targets


def _keep_majority(counts: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(counts)) == counts.argmax(), counts, 0.0)


def _keep_probability(counts: np.ndarray) -> np.ndarray:
    left, kept, total, taken = counts.copy(), np.zeros_like(counts), counts.sum(), 0
    share, going = 0.0, True
    while share < 0.75 * total and taken < 3 and going:
        best = left.max()
        for i in np.flatnonzero(left == best):
            kept[i], left[i] = best, 0.0
            share += best
            taken += 1
            if i >= len(EMOTIONS):
                going = False
                if kept.sum() > best:
                    kept[i] = 0.0
                    taken -= 1
                break
    return kept if taken <= 3 else np.zeros_like(kept)


def _keep_several(counts: np.ndarray) -> np.ndarray:
    return np.where(counts >= 0.3 * counts.sum(), counts, 0.0)


_KEEP = {"majority": _keep_majority, "probability": _keep_probability, "multi_target": _keep_several}


def write_tiny(tiny: Tiny) -> None:
    """Eight faces per split; in each, one tie and one majority for `unknown`."""
    for number, part in enumerate(("Train", "Valid", "Test")):
        rows = []
        for k in range(8):
            votes = [0] * len(VOTES)
            votes[k], votes[(k + 1) % 8] = (5, 5) if k == 6 else (8, 2)
            if k == 7:
                votes = [0, 1, 0, 0, 0, 0, 0, 0, 9, 0]
            name = f"fer{number:03d}{k:04d}.png"
            tiny.image(f"FER2013{part}/{name}", EMOTIONS[k], grey=True)
            rows.append((name, "(0, 0, 48, 48)", *votes))
        tiny.table(f"FER2013{part}/label.csv", (), rows)
