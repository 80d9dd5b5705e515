"""How something is said: pitch, loudness, voice quality and tempo of one stretch of speech, and what is unusual in it.

The measures follow the usual minimal sets (Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set", 2016)
where a frame-based approximation serves; syllables are the loudness peaks of de Jong & Wempe, "Praat script to detect
syllable nuclei and measure speech rate automatically", 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from affectus.features.pitch import HOP, Contours, voice_contours

_SHORTEST_PAUSE = 0.15
_SILENT_DB = -65.0


@dataclass(frozen=True)
class Prosody:
    """Measures of one stretch of speech; NaN where the signal does not allow one (no voiced frame, silence).

    `seconds`: length. `pitch_hz`: median fundamental frequency; `pitch_range_st`: 10th to 90th percentile in
    semitones; `pitch_slope_st`: trend in semitones per second. `energy_db`: median level of speech (dB full scale);
    `energy_range_db`: its 10th to 90th percentile. `tilt_db`: level of 1–5 kHz over 50 Hz–1 kHz in voiced speech.
    `centroid_hz`: spectral centre of gravity. `hnr_db`: harmonics-to-noise ratio. `jitter` (share of the pitch) and
    `shimmer_db`: mean distance of a voiced frame from the mean of itself and its two neighbours, a 10 ms
    approximation of the cycle-to-cycle measures. `rate_syllables`: syllables per second between first and last
    speech. `pause_share`: share of that span in pauses of 150 ms and more. `voiced_share`: share of voiced frames in
    speech.
    """

    seconds: float
    pitch_hz: float
    pitch_range_st: float
    pitch_slope_st: float
    energy_db: float
    energy_range_db: float
    tilt_db: float
    centroid_hz: float
    hnr_db: float
    jitter: float
    shimmer_db: float
    rate_syllables: float
    pause_share: float
    voiced_share: float

    def vector(self) -> np.ndarray:
        """All measures as float32 in the order of `PROSODY_NAMES`."""
        return np.array([getattr(self, name) for name in PROSODY_NAMES], np.float32)


PROSODY_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Prosody))


@dataclass(frozen=True)
class Change:
    """One measure that departs from the speaker's own usual: `words` for people, `z` in units of the usual spread."""

    name: str
    words: str
    z: float
    amount: float


def prosody(audio: np.ndarray, rate: int = 16000) -> Prosody:
    """Measure a mono waveform (float32 in [-1, 1], any rate from 8 kHz). Raises `MediaError` for bad samples."""
    return summarise(voice_contours(audio, rate))


def summarise(contours: Contours) -> Prosody:
    """Measures of a stretch of speech from its curves; cut the curves to measure a part of a longer recording."""
    seconds = len(contours.times) * HOP
    active = _active(contours.energy_db)
    if not active.any():
        gaps = {name: float("nan") for name in PROSODY_NAMES[1:]}
        return Prosody(seconds=seconds, **{**gaps, "pause_share": 1.0, "voiced_share": 0.0})
    first, last = np.flatnonzero(active)[[0, -1]]
    span = slice(first, last + 1)
    voiced = contours.voiced & active
    nuclei = _syllables(contours.vowel_db[span], contours.voiced[span])
    levels = contours.energy_db[active]
    low, high = np.percentile(levels, (10, 90))
    return Prosody(
        seconds=seconds,
        **_pitch_measures(contours, voiced),
        energy_db=float(np.median(levels)),
        energy_range_db=float(high - low),
        centroid_hz=float(np.median(contours.centroid_hz[active])),
        rate_syllables=nuclei / max(float(last - first + 1) * HOP, 0.1),
        pause_share=_pauses(active[span]) / float(last - first + 1),
        voiced_share=float(voiced.sum() / active.sum()),
    )


def speaker_norm(measures: Sequence[Prosody]) -> tuple[Prosody, Prosody]:
    """A speaker's usual: median and robust spread (1.4826 · median absolute deviation) of each measure.

    Measures that are NaN are left out; one that is always NaN stays NaN.
    """
    table = np.array([m.vector() for m in measures], np.float64).reshape(-1, len(PROSODY_NAMES))
    with np.errstate(all="ignore"):
        median = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in table.T])
        gap = np.abs(table - median)
        spread = [1.4826 * np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in gap.T]
    return Prosody(*map(float, median)), Prosody(*map(float, spread))


#: Measure → words for more, words for less, unit, and the smallest spread that counts (a very even speaker must not
#: turn measuring noise into findings).
_WORDS: dict[str, tuple[str, str, str, float]] = {
    "pitch_hz": ("pitch higher", "pitch lower", "semitones", 0.7),
    "pitch_range_st": ("more melodic", "more monotonous", "semitones of range", 1.0),
    "energy_db": ("louder", "quieter", "dB", 1.5),
    "energy_range_db": ("loudness more varied", "loudness more even", "dB of range", 2.0),
    "tilt_db": ("voice brighter and more pressed", "voice softer and duller", "dB of tilt", 1.5),
    "hnr_db": ("voice clearer", "voice rougher or breathier", "dB harmonics to noise", 1.5),
    "jitter": ("pitch less steady", "pitch steadier", "% jitter", 0.3),
    "shimmer_db": ("loudness less steady", "loudness steadier", "dB shimmer", 0.3),
    "rate_syllables": ("speaking faster", "speaking slower", "syllables/s", 0.5),
    "pause_share": ("more pauses", "fewer pauses", "% pauses", 6.0),
}


def compare(measured: Prosody, median: Prosody, spread: Prosody, least: float = 1.0) -> list[Change]:
    """What is unusual about a stretch of speech against the speaker's own usual, strongest first.

    `median` and `spread` come from `speaker_norm`. A change is named when it is at least `least` spreads large; pitch
    is compared in semitones, jitter and pauses in per cent. `amount` carries the sign and unit of the words, `z` the
    sign.
    """
    changes = []
    for name, (more, less, unit, smallest) in _WORDS.items():
        value, usual, width = (getattr(p, name) for p in (measured, median, spread))
        if name == "pitch_hz":
            amount = 12 * np.log2(value / usual)
            width = 12 * np.log2(1 + width / usual)
        else:
            percent = 100.0 if name in ("jitter", "pause_share") else 1.0
            amount, width = percent * (value - usual), percent * width
        if not np.isfinite(amount):
            continue
        z = float(amount / max(width if np.isfinite(width) else 0.0, smallest))
        if abs(z) >= least:
            words = f"{more if z > 0 else less} than this speaker's median ({amount:+.1f} {unit})"
            changes.append(Change(name, words, z, float(amount)))
    return sorted(changes, key=lambda change: -abs(change.z))


def _active(energy_db: np.ndarray) -> np.ndarray:
    """Frames with speech: within 25 dB of the loud parts, above the noise floor where there is one."""
    if len(energy_db) == 0:
        return np.zeros(0, bool)
    floor, top = np.percentile(energy_db, (5, 95))
    threshold = max(top - 25.0, _SILENT_DB)
    if top - floor > 10.0:
        threshold = max(threshold, floor + 0.3 * (top - floor))
    return energy_db >= threshold


def _pitch_measures(contours: Contours, voiced: np.ndarray) -> dict[str, float]:
    names = ("pitch_hz", "pitch_range_st", "pitch_slope_st", "tilt_db", "hnr_db", "jitter", "shimmer_db")
    if voiced.sum() < 3:
        return dict.fromkeys(names, float("nan"))
    pitch, times = contours.pitch[voiced].astype(np.float64), contours.times[voiced].astype(np.float64)
    semitones = 12 * np.log2(pitch)
    low, high = np.percentile(semitones, (10, 90))
    offset = times - times.mean()
    noise = np.clip(1 - contours.periodicity[voiced], 1e-4, 1.0)
    inner = voiced[:-2] & voiced[1:-1] & voiced[2:]
    return {
        "pitch_hz": float(np.median(pitch)),
        "pitch_range_st": float(high - low),
        "pitch_slope_st": float(offset @ semitones / max(float(offset @ offset), 1e-9)),
        "tilt_db": float(np.median(contours.tilt_db[voiced])),
        "hnr_db": float(np.median(10 * np.log10((1 - noise + 1e-4) / noise))),
        "jitter": _unsteadiness(contours.pitch, inner) / float(pitch.mean()),
        "shimmer_db": _unsteadiness(contours.energy_db, inner),
    }


def _unsteadiness(curve: np.ndarray, inner: np.ndarray) -> float:
    """Mean distance of a value from the mean of itself and its neighbours, over the middles marked in `inner`."""
    if not inner.any():
        return float("nan")
    gap = np.abs(curve[1:-1] - (curve[:-2] + curve[1:-1] + curve[2:]) / 3)
    return float(gap[inner].mean())


def _syllables(level: np.ndarray, voiced: np.ndarray, dip: float = 2.0) -> int:
    """Voiced loudness peaks at least `dip` dB above the valleys on both sides and within 25 dB of the top."""
    smooth = np.convolve(np.pad(level, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    threshold = np.percentile(smooth, 95) - 25.0
    turns = np.flatnonzero(np.diff(np.sign(np.diff(smooth, prepend=-200.0, append=-200.0))) < 0)
    count, previous = 0, -1
    for at in turns.tolist():
        low = smooth[previous : at + 1].min() if previous >= 0 else -np.inf
        if previous >= 0 and min(smooth[at], smooth[previous]) - low < dip:
            # Not separated from the peak before: the higher of the two goes on as one.
            if smooth[at] > smooth[previous]:
                previous = at
            continue
        count += int(previous >= 0 and smooth[previous] > threshold and bool(voiced[previous]))
        previous = at
    return count + int(previous >= 0 and smooth[previous] > threshold and bool(voiced[previous]))


def _pauses(active: np.ndarray) -> int:
    """Frames in silent runs of at least `_SHORTEST_PAUSE`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[1], active.astype(np.int8), [1]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths * HOP >= _SHORTEST_PAUSE].sum())
