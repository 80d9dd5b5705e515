"""What a face visibly does, in plain words with FACS aliases, from the blendshapes of a dense landmarker.

A cue is a movement, not an emotion: raised mouth corners are raised mouth corners. Of the 52 blendshapes those are used
that move on real faces. On 400 portraits of FER+ nose sneer, cheek squint, cheek puff and jaw thrust never pass .02, so
there is no wrinkled nose (AU9) and no raised cheek (AU6) here, and their absence says nothing. How the others go with
the votes there (correlation): mouth corners raised with happiness .8; upper lids, jaw and brows with surprise .6, .6,
.5; brows lowered with anger and disgust .2; mouth corners lowered with sadness and contempt .2. The last two are weak
evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectus.media.landmarks import BLENDSHAPES

_PLACE = {name: i for i, name in enumerate(BLENDSHAPES)}
_SMILE = ("mouthSmileLeft", "mouthSmileRight")


@dataclass(frozen=True)
class CueSpec:
    """How one cue is read: the mean of `blendshapes`, less that of `beyond` (what another movement explains), counted
    from `low` (strength 0; one neutral face in ten passes it) to `high` (strength 1; one face in fifty passes it)."""

    name: str
    unit: str
    blendshapes: tuple[str, ...]
    low: float
    high: float
    beyond: tuple[str, ...] = ()


def _pair(name: str) -> tuple[str, str]:
    return f"{name}Left", f"{name}Right"


#: All cues. `low` and `high` are percentiles of the FER+ portraits, rounded; left and right are the subject's.
CUES: tuple[CueSpec, ...] = (
    CueSpec("inner brows raised", "AU1", ("browInnerUp",), 0.40, 0.90),
    CueSpec("outer brows raised", "AU2", _pair("browOuterUp"), 0.40, 0.85),
    CueSpec("brows lowered", "AU4", _pair("browDown"), 0.25, 0.70),
    CueSpec("upper eyelids raised", "AU5", _pair("eyeWide"), 0.06, 0.28),
    CueSpec("eyes narrowed", "AU7", _pair("eyeSquint"), 0.45, 0.66),
    CueSpec("upper lip raised", "AU10", _pair("mouthUpperUp"), 0.10, 0.60, _SMILE),
    CueSpec("mouth corners raised", "AU12", _SMILE, 0.10, 0.90),
    CueSpec("mouth corners lowered", "AU15", _pair("mouthFrown"), 0.07, 0.25),
    CueSpec("lower lip drawn down", "AU16", _pair("mouthLowerDown"), 0.10, 0.60, _SMILE),
    CueSpec("chin raised", "AU17", ("mouthShrugLower",), 0.20, 0.55),
    CueSpec("lips puckered", "AU18", ("mouthPucker",), 0.80, 0.97),
    CueSpec("lips stretched", "AU20", _pair("mouthStretch"), 0.10, 0.50, _SMILE),
    CueSpec("lips pressed together", "AU24", _pair("mouthPress"), 0.13, 0.30),
    CueSpec("jaw dropped", "AU26", ("jawOpen",), 0.12, 0.65),
    CueSpec("lips drawn in", "AU28", ("mouthRollLower", "mouthRollUpper"), 0.11, 0.30),
    CueSpec("eyes closed", "AU43", _pair("eyeBlink"), 0.40, 0.75),
    CueSpec("eyes turned left", "AU61", ("eyeLookOutLeft", "eyeLookInRight"), 0.50, 0.83),
    CueSpec("eyes turned right", "AU62", ("eyeLookInLeft", "eyeLookOutRight"), 0.50, 0.83),
    CueSpec("eyes turned up", "AU63", _pair("eyeLookUp"), 0.38, 0.65),
    CueSpec("eyes turned down", "AU64", _pair("eyeLookDown"), 0.55, 0.85),
)


@dataclass(frozen=True)
class FacialCue:
    """One visible movement: its name in plain words, its FACS unit, how strong it is (0…1), the blendshapes it was read
    from, and its change (-1…1) against what is usual for this person, NaN where that is unknown."""

    name: str
    unit: str
    strength: float
    change: float
    blendshapes: tuple[str, ...]


def facial_cues(
    values: Mapping[str, float] | np.ndarray,
    baseline: Mapping[str, float] | np.ndarray | None = None,
    least: float = 0.2,
) -> list[FacialCue]:
    """Cues of one face, the most telling first.

    `values` are its blendshapes by name or in the order of `BLENDSHAPES` (52,), 0…1. Without a `baseline` the cues are
    those of strength `least` or more. With one, the usual face of the person (see `usual_face`), they are those that
    change by `least` or more: stronger than usual, and visible, or weaker than usual, and usually visible.
    Raises `ValueError` for missing or non-finite values.
    """
    now = _vector(values)
    usual = None if baseline is None else _vector(baseline)
    found = []
    for spec in CUES:
        here = _level(spec, now)
        strength = float(np.clip(here, 0, 1))
        change = float("nan")
        telling = strength
        if usual is not None:
            before = _level(spec, usual)
            change = float(np.clip(here - before, -1, 1))
            telling = abs(change) if max(strength, before) >= least else 0.0
        if telling >= least:
            found.append((telling, FacialCue(spec.name, spec.unit, strength, change, spec.blendshapes)))
    return [cue for _, cue in sorted(found, key=lambda pair: -pair[0])]


def usual_face(rows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """A person's baseline (52,): the median of each blendshape over the faces (n, 52) of a recording.

    The median keeps a lasting expression out of the changes only as long as it lasts for more than half of the time.
    Raises `ValueError` without faces.
    """
    table = np.asarray(rows, np.float64)
    if table.ndim != 2 or table.shape[1] != len(BLENDSHAPES) or not len(table):
        raise ValueError(f"blendshapes of shape {table.shape}, expected (n > 0, {len(BLENDSHAPES)})")
    return np.median(table, axis=0)


def _level(spec: CueSpec, values: np.ndarray) -> float:
    """Where the cue stands between `low` (0) and `high` (1), unbounded."""
    level = values[[_PLACE[name] for name in spec.blendshapes]].mean()
    if spec.beyond:
        level = max(0.0, level - values[[_PLACE[name] for name in spec.beyond]].mean())
    return float((level - spec.low) / (spec.high - spec.low))


def _vector(values: Mapping[str, float] | np.ndarray) -> np.ndarray:
    if isinstance(values, Mapping):
        if missing := [name for name in BLENDSHAPES if name not in values]:
            raise ValueError(f"blendshapes missing: {', '.join(missing)}")
        values = np.array([values[name] for name in BLENDSHAPES], np.float64)
    values = np.asarray(values, np.float64)
    if values.shape != (len(BLENDSHAPES),) or not np.isfinite(values).all():
        raise ValueError(f"blendshapes of shape {values.shape} or not finite, expected ({len(BLENDSHAPES)},)")
    return values
