"""Frame-by-frame pitch, loudness and spectral balance of a voice.

Pitch is the autocorrelation method of Boersma, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound", 1993: the autocorrelation of a Hann-windowed frame divided by that of
the window, several candidates per frame, and the cheapest path through them. One FFT per frame serves pitch, loudness
and spectrum alike, and all frames of a block go through it together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affectus.features.signal import frames, mono

HOP = 0.010
PITCH_FLOOR, PITCH_CEILING = 65.0, 600.0
_CANDIDATES = 5
_BLOCK = 1024
# Boersma's path costs, the jump costs for a step of 10 ms.
_VOICING, _SILENCE, _OCTAVE, _OCTAVE_JUMP, _SWITCH = 0.45, 0.03, 0.01, 0.35, 0.14


@dataclass(frozen=True)
class Contours:
    """Curves of a voice, one value per 10 ms, all float32 `(n,)`.

    `times` (s, centre of the frame), `pitch` (Hz, NaN where unvoiced), `periodicity` (height of the autocorrelation
    peak below 4 kHz in [0, 1], 0 where unvoiced), `energy_db` (dB relative to full scale, at least -100), `tilt_db`
    (energy of 1–5 kHz over that of 50 Hz–1 kHz: higher is brighter, pressed or louder speech), `centroid_hz` and
    `vowel_db` (dB of 300–3000 Hz, where syllables stand out).
    """

    times: np.ndarray
    pitch: np.ndarray
    periodicity: np.ndarray
    energy_db: np.ndarray
    tilt_db: np.ndarray
    centroid_hz: np.ndarray
    vowel_db: np.ndarray

    @property
    def voiced(self) -> np.ndarray:
        """Which frames have a pitch."""
        return np.isfinite(self.pitch)


def voice_contours(audio: np.ndarray, rate: int = 16000) -> Contours:
    """Curves of a mono waveform, `len(audio) // (rate / 100)` values each.

    Rates above 22 kHz are reduced first, since nothing above 5 kHz is measured; at 8 kHz the upper band of `tilt_db`
    ends at 4 kHz. Pitch is sought between 65 and 600 Hz. Raises `MediaError` for bad samples.
    """
    audio, rate = _decimated(mono(audio, rate), rate)
    audio = audio - audio.mean() if len(audio) else audio  # an offset would click at both ends
    size, hop = int(3 / PITCH_FLOOR * rate), max(1, round(HOP * rate))
    count = len(audio) // hop
    view = frames(np.pad(audio, (size // 2, size)), size, hop)[:count]
    n_fft = 1 << (size + int(rate / PITCH_FLOOR)).bit_length()
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    hertz = np.fft.rfftfreq(n_fft, 1 / rate).astype(np.float32)
    bands = np.stack(
        [np.ones_like(hertz), hertz, _band(hertz, 50, 1000), _band(hertz, 1000, 5000), _band(hertz, 300, 3000)], axis=1
    )
    # Pitch looks at the band below 4 kHz with lags at 16 kHz or finer: peaks are then broad enough to interpolate.
    keep, lag_rate = int(4000 / rate * n_fft) + 1, rate * (2 if rate < 16000 else 1)
    lag_fft = n_fft * lag_rate // rate
    correction = _correlation(np.abs(np.fft.rfft(window, n_fft)) ** 2, lag_fft)
    sums = np.empty((count, bands.shape[1]), np.float32)
    lags = np.empty((count, _CANDIDATES), np.float32)
    heights = np.empty((count, _CANDIDATES), np.float32)
    for at in range(0, count, _BLOCK):
        part = slice(at, at + _BLOCK)
        block = view[part] - view[part].mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(block * window, n_fft, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        sums[part] = power @ bands
        lags[part], heights[part] = _candidates(_correlation(power[:, :keep], lag_fft) / correction, lag_rate)
    # One-sided spectrum: twice its sum is n_fft times the windowed energy.
    scale = np.float32(2 / n_fft / float((window**2).sum()))
    energy = sums * scale
    decibel = lambda values: np.maximum(-100.0, 10 * np.log10(np.maximum(values, 1e-10)))
    pitch, periodicity = _best_path(lag_rate / lags, heights, np.sqrt(energy[:, 0]))
    return Contours(
        times=(np.arange(count) * hop / rate).astype(np.float32),
        pitch=pitch,
        periodicity=periodicity,
        energy_db=decibel(energy[:, 0]),
        tilt_db=10 * np.log10((energy[:, 3] + 1e-10) / (energy[:, 2] + 1e-10)),
        centroid_hz=sums[:, 1] / np.maximum(sums[:, 0], 1e-20),
        vowel_db=decibel(energy[:, 4]),
    )


def _decimated(audio: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Keep every k-th sample after a windowed-sinc low-pass, so that the rate lies in [11, 22) kHz where possible."""
    factor = rate // 11000
    if factor < 2:
        return audio, rate
    taps = np.arange(-8 * factor, 8 * factor + 1)
    kernel = np.sinc(taps / factor) * np.hanning(len(taps) + 2)[1:-1]
    kernel = (kernel / kernel.sum()).astype(np.float32)
    if len(audio) == 0:
        return audio, rate // factor
    padded = np.pad(audio, 8 * factor)
    return np.convolve(padded, kernel, mode="valid")[::factor], round(rate / factor)


def _band(hertz: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((hertz >= low) & (hertz < high)).astype(np.float32)


def _correlation(power: np.ndarray, n_fft: int) -> np.ndarray:
    """Autocorrelation from the lower part of a power spectrum, 1 at lag 0 (0 everywhere for a silent frame)."""
    raw = np.fft.irfft(power, n_fft)
    return raw / np.maximum(raw[..., :1], 1e-12)


def _candidates(correlation: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The best peaks of each frame: lags (samples, interpolated) and heights, `(frames, _CANDIDATES)`.

    Missing candidates have height -1. Small lags are favoured slightly, so that of equally high peaks at a period and
    its multiples the period wins.
    """
    first, last = int(np.ceil(rate / PITCH_CEILING)), int(rate / PITCH_FLOOR)
    span = correlation[:, first - 1 : last + 2]
    middle = span[:, 1:-1]
    peak = (middle > span[:, :-2]) & (middle >= span[:, 2:]) & (middle > 0.2)
    bonus = _OCTAVE * np.log2(np.arange(first, last + 1) / last).astype(np.float32)
    score = np.where(peak, middle - bonus, np.float32(-1))
    best = np.argpartition(-score, _CANDIDATES, axis=1)[:, :_CANDIDATES]
    left, centre, right = (np.take_along_axis(span, best + shift, axis=1) for shift in (0, 1, 2))
    found = np.take_along_axis(peak, best, axis=1)
    bend = left - 2 * centre + right
    shift = np.where(found, 0.5 * (left - right) / np.where(bend < -1e-9, bend, -1e-9), 0)
    shift = np.clip(shift, -0.5, 0.5)
    heights = np.where(found, np.minimum(centre - 0.25 * (left - right) * shift, 1.0), -1.0)
    return (best + first + shift).astype(np.float32), heights.astype(np.float32)


def _best_path(pitches: np.ndarray, heights: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Viterbi path through the candidates and the state "unvoiced": pitch (NaN = unvoiced) and height per frame."""
    count = len(level)
    if count == 0:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    loud = max(float(np.percentile(level, 99)), 1e-5)
    quiet = np.maximum(0.0, 2.0 - (level / loud) / (_SILENCE / (1 + _VOICING)))
    favour = heights - _OCTAVE * np.log2(PITCH_FLOOR / pitches)
    strength = np.column_stack([np.where(heights > 0, favour, -9.0), _VOICING + quiet]).astype(np.float32)
    octave = np.log2(pitches)
    jump = np.zeros((count, _CANDIDATES + 1, _CANDIDATES + 1), np.float32)
    jump[1:, :-1, :-1] = _OCTAVE_JUMP * np.abs(octave[1:, :, None] - octave[:-1, None, :])
    jump[:, -1, :-1] = jump[:, :-1, -1] = _SWITCH
    back = np.empty((count, _CANDIDATES + 1), np.int64)
    total, states = strength[0], np.arange(_CANDIDATES + 1)
    for t in range(1, count):
        reach = total - jump[t]
        back[t] = reach.argmax(axis=1)
        total = reach[states, back[t]] + strength[t]
    path = np.empty(count, np.int64)
    path[-1] = int(total.argmax())
    for t in range(count - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    voiced = path < _CANDIDATES
    chosen = np.minimum(path, _CANDIDATES - 1)
    row = np.arange(count)
    pitch = np.where(voiced, pitches[row, chosen], np.nan).astype(np.float32)
    return pitch, np.where(voiced, heights[row, chosen], 0.0).astype(np.float32)
