"""Sequences of frame vectors brought to few steps and to one length, as the MER toolkits do it.

A sequence of L rows becomes T steps by averaging equal groups; where L is no multiple of T, zero rows stand before it
and count in the mean of the first group. Batches are padded with zero rows in front, because the networks that read
them take the last step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from affectus.errors import ConfigError, MediaError

#: Rows per step when modalities are brought to the length of the text, and when each keeps its own.
ALIGNED, UNALIGNED = 6, 12


def to_steps(rows: np.ndarray, steps: int) -> np.ndarray:
    """Rows (L, D) as (steps, D): means of equal groups, with zero rows in front; shorter ones get zero rows alone.

    Raises MediaError for an empty sequence.
    """
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or not len(rows):
        raise MediaError("frames", f"have shape {rows.shape}; at least one row of numbers is needed")
    if steps < 1:
        raise ConfigError("steps", f"{steps} is no number of steps")
    length = len(rows)
    missing = steps - length if length < steps else -length % steps
    whole = np.concatenate([np.zeros((missing, rows.shape[1]), np.float32), rows])
    return whole.reshape(steps, -1, rows.shape[1]).mean(1)


def shrunk(rows: np.ndarray, factor: int) -> np.ndarray:
    """Rows (L, D) as (ceil(L / factor), D)."""
    return to_steps(rows, -(-len(rows) // factor))


def front_padded(sequences: Sequence[np.ndarray | None], length: int, width: int) -> np.ndarray:
    """Sequences (L, D) as one array (n, length, D), zero rows in front; of longer ones the end is kept.

    A sequence that is missing (None) becomes NaN.
    """
    out = np.zeros((len(sequences), length, width), np.float32)
    for place, rows in enumerate(sequences):
        if rows is None:
            out[place] = np.nan
        else:
            kept = rows[-length:]
            out[place, length - len(kept) :] = kept
    return out


def frame_batches(
    modalities: Mapping[str, Sequence[np.ndarray | None]], widths: Mapping[str, int], lead: str = "", longest: int = 0
) -> dict[str, np.ndarray]:
    """Frame vectors of utterances, by modality, as front-padded arrays (n, L, D).

    With `lead` (the text) all modalities of an utterance get as many steps as it has after it was shrunk by 6; without,
    each is shrunk by 12. L is the longest of the corpus, at most `longest` where that is given.
    """
    factor = ALIGNED if lead else UNALIGNED
    small = {
        name: [None if rows is None else shrunk(rows, factor) for rows in given] for name, given in modalities.items()
    }
    if lead:
        leading = small[lead]
        small = {
            name: [
                rows if rows is None or first is None else to_steps(rows, len(first))
                for rows, first in zip(given, leading, strict=True)
            ]
            for name, given in small.items()
        }
    found = {}
    for name, given in small.items():
        length = max((len(rows) for rows in given if rows is not None), default=1)
        found[name] = front_padded(given, min(length, longest) if longest else length, widths[name])
    return found
