"""The transcript that goes with a recording: given or beside it, with every time within the recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from affectus import media
from affectus.analysis.settings import Settings
from affectus.types import Turn

if TYPE_CHECKING:
    from affectus.analysis.pipeline import Findings

#: A turn without an end lasts until the next one begins, at most this long (s).
LONGEST_OPEN = 10.0
#: Turns that begin this long (s) after the end are put down to the container's rounding of the duration.
LATE = 0.5


def read(path: Path, settings: Settings, found: Findings) -> list[Turn] | None:
    """Turns of the transcript given or found beside the recording; None when there is none.

    Turns that begin after the end of the recording are left out and counted in the warnings: they belong to another
    recording or to a longer cut. Where none is left, `found.missing["words"]` says so.
    """
    file = settings.transcript or media.sidecar(path)
    if file is None:
        return None
    turns = with_ends(media.read_turns(file, found.warnings, settings.columns), found.info.duration)
    end = found.info.duration
    kept = [turn for turn in turns if not (end > 0 and turn.start > end + LATE)]
    if late := len(turns) - len(kept):
        reason = f"{late} of {len(turns)} turns of {file.name} begin after the end of the recording ({end:.1f} s)"
        if not kept:
            found.missing["words"] = f"{reason}; give the transcript of this recording with --transcript FILE"
        else:
            found.warnings.append(f"{reason} and were left out; is it the transcript of this recording?")
    if untimed := sum(not _timed(turn) for turn in kept):
        found.warnings.append(f"{untimed} of {len(turns)} turns of {file.name} have no times and are not fused")
    return kept


def with_ends(turns: Sequence[Turn], duration: float) -> list[Turn]:
    """Turns with a beginning alone get an end: where the next one begins or the recording ends, at most ten seconds."""
    starts = sorted({turn.start for turn in turns if math.isfinite(turn.start)})
    following = dict(pairwise([*starts, math.inf]))
    whole = duration if duration > 0 else math.inf
    found = []
    for turn in turns:
        if math.isfinite(turn.start) and not math.isfinite(turn.end):
            latest = min(following[turn.start], whole, turn.start + LONGEST_OPEN)
            turn = replace(turn, end=max(latest, turn.start))
        found.append(turn)
    return found


def _timed(turn: Turn) -> bool:
    return math.isfinite(turn.start) and math.isfinite(turn.end)
