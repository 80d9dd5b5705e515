"""Statistics of sound over short windows in the layout of the INTERSPEECH 2010 paralinguistic set: 1,582 numbers.

Schuller et al., "The INTERSPEECH 2010 paralinguistic challenge", 2010, Table 1: 34 low-level descriptors and their
slopes × 21 functionals, 4 pitch descriptors and their slopes × 19, number of pitch onsets and voiced duration. The
count and the order are those of openSMILE's `emobase2010`; the numbers are this library's own measurements (pitch by
autocorrelation paths, jitter and shimmer between neighbouring frames instead of cycles), so weights trained on
openSMILE's output want openSMILE's output.
"""

from __future__ import annotations

import numpy as np

from affectus.features.mel import kaldi_filters
from affectus.features.pitch import voice_contours
from affectus.features.signal import frames, mono

#: Descriptors with 21 functionals, then those with 19.
DESCRIPTORS: tuple[str, ...] = (
    *("loudness", *(f"mfcc{i}" for i in range(15)), *(f"log_mel{i}" for i in range(8))),
    *(*(f"lsp{i}" for i in range(8)), "pitch_envelope", "voicing"),
)
PITCH_DESCRIPTORS: tuple[str, ...] = ("pitch", "jitter", "jitter_ddp", "shimmer")
FUNCTIONALS: tuple[str, ...] = (
    *("max_at", "min_at", "mean", "slope", "offset", "linear_error", "quadratic_error", "std", "skewness", "kurtosis"),
    *("quartile1", "quartile2", "quartile3", "iqr12", "iqr23", "iqr13", "percentile1", "percentile99", "range"),
    *("above75", "above90"),
)
_NOT_OF_PITCH = ("percentile1", "range")

#: Names of the columns of `functionals`.
FUNCTIONAL_NAMES: tuple[str, ...] = (
    *(f"{d}{s}_{f}" for s in ("", "_delta") for d in DESCRIPTORS for f in FUNCTIONALS),
    *(f"{d}{s}_{f}" for s in ("", "_delta") for d in PITCH_DESCRIPTORS for f in FUNCTIONALS if f not in _NOT_OF_PITCH),
    *("pitch_onsets", "voiced_seconds"),
)

_FRAME, _HOP, _ORDER = 0.025, 0.010, 8
_BLOCK = 1024


def functionals(audio: np.ndarray, rate: int = 16000, window: float = 0.4, hop: float = 0.04) -> np.ndarray:
    """Functionals of windows of `window` seconds every `hop` seconds: float32 (windows, 1582), all finite.

    A sound shorter than one window gives one window, padded with silence. Raises `MediaError` for bad samples.
    """
    audio = mono(audio, rate)
    short = round((window + _FRAME) * rate) - len(audio)
    if short > 0:
        audio = np.pad(audio, (0, short))
    main, pitch = low_level(audio, rate)
    width, step = max(2, round(window / _HOP)), max(1, round(hop / _HOP))
    width = min(width, len(main))
    parts = [np.concatenate([x, _delta(x)], 1) for x in (main, pitch)]
    voiced = pitch[:, 0] > 0
    starts = np.arange(0, len(main) - width + 1, step)
    kept = [i for i, name in enumerate(FUNCTIONALS) if name not in _NOT_OF_PITCH]
    out = np.empty((len(starts), len(FUNCTIONAL_NAMES)), np.float32)
    for at in range(0, len(starts), _BLOCK):
        rows = starts[at : at + _BLOCK, None] + np.arange(width)
        stretches = [_statistics(part[rows]) for part in parts]
        heard = voiced[rows]
        onsets = (heard[:, 1:] & ~heard[:, :-1]).sum(1) + heard[:, 0]
        extra = np.stack([onsets, heard.sum(1) * _HOP], 1)
        flat = [stretches[0].reshape(len(rows), -1), stretches[1][..., kept].reshape(len(rows), -1), extra]
        out[at : at + _BLOCK] = np.concatenate(flat, 1)
    return out


def low_level(audio: np.ndarray, rate: int = 16000) -> tuple[np.ndarray, np.ndarray]:
    """`DESCRIPTORS` (frames, 34) and `PITCH_DESCRIPTORS` (frames, 4) every 10 ms, smoothed over three frames."""
    size, hop = round(_FRAME * rate), round(_HOP * rate)
    view = frames(audio, size, hop)
    n_fft = 1 << (size - 1).bit_length()
    taper = np.hamming(size).astype(np.float32)
    mel26 = kaldi_filters(26, n_fft, rate, 20.0, min(8000.0, rate / 2))
    mel8 = kaldi_filters(8, n_fft, rate, 20.0, min(6500.0, rate / 2))
    columns = []
    for at in range(0, len(view), _BLOCK):
        block = view[at : at + _BLOCK]
        lead = np.concatenate([block[:, :1] * 0.03, block[:, 1:] - 0.97 * block[:, :-1]], 1) * taper
        power = np.abs(np.fft.rfft(lead, n_fft)) ** 2
        plain = np.abs(np.fft.rfft(block * taper, n_fft)) ** 2
        loudness = ((block**2 * taper).sum(1, keepdims=True) / taper.sum() / 1e-6) ** 0.3
        bands = np.log(np.maximum(plain @ mel8, 1e-8))
        columns.append(np.concatenate([loudness, _cepstra(power @ mel26), bands, _line_spectrum(power, n_fft)], 1))
    spectral = np.concatenate(columns) if columns else np.zeros((0, 32))
    contours = voice_contours(audio, rate)
    count = min(len(spectral), len(contours.pitch))
    pitch = np.nan_to_num(contours.pitch[:count])
    main = np.concatenate([spectral[:count], _held(pitch)[:, None], contours.periodicity[:count, None]], 1)
    return _smoothed(main), _smoothed(_perturbation(pitch, contours.energy_db[:count]))


def _cepstra(bands: np.ndarray) -> np.ndarray:
    """MFCC 0 … 14 of mel bands (n, 26), liftered by 22."""
    count = bands.shape[1]
    order = np.arange(15)
    basis = np.cos(np.pi * order[:, None] * (np.arange(count) + 0.5) / count) * np.sqrt(2 / count)
    lifter = 1 + 11 * np.sin(np.pi * order / 22)
    return np.log(np.maximum(bands, 1e-8)) @ basis.T * lifter


def _line_spectrum(power: np.ndarray, n_fft: int) -> np.ndarray:
    """Line spectral frequencies (n, 8) in (0, π), from linear prediction of order 8 by Levinson's recursion."""
    lags = np.fft.irfft(power, n_fft)[:, : _ORDER + 1]
    lags[:, 0] = lags[:, 0] * (1 + 1e-6) + 1e-9
    filters = np.zeros((len(lags), _ORDER + 1))
    filters[:, 0] = 1
    error = lags[:, 0].copy()
    for i in range(1, _ORDER + 1):
        reflection = -(filters[:, :i] * lags[:, i:0:-1]).sum(1) / error
        filters[:, 1 : i + 1] = filters[:, 1 : i + 1] + reflection[:, None] * filters[:, i - 1 :: -1][:, :i]
        error = np.maximum(error * (1 - reflection**2), 1e-12)
    longer = np.pad(filters, ((0, 0), (0, 1)))
    angles = []
    for sign in (1, -1):  # the symmetric polynomial has a root at -1, the antisymmetric one at 1: divide them out
        whole = longer + sign * longer[:, ::-1]
        reduced = np.empty((len(whole), _ORDER + 1))
        reduced[:, 0] = whole[:, 0]
        for k in range(1, _ORDER + 1):
            reduced[:, k] = whole[:, k] - sign * reduced[:, k - 1]
        companion = np.zeros((len(whole), _ORDER, _ORDER))
        companion[:, np.arange(1, _ORDER), np.arange(_ORDER - 1)] = 1
        companion[:, 0] = -reduced[:, 1:] / reduced[:, :1]
        angles.append(np.sort(np.abs(np.angle(np.linalg.eigvals(companion))), 1)[:, ::2])
    return np.sort(np.concatenate(angles, 1), 1)


def _held(pitch: np.ndarray) -> np.ndarray:
    """Pitch with the last voiced value held through unvoiced stretches; 0 before the first."""
    last = np.maximum.accumulate(np.where(pitch > 0, np.arange(len(pitch)), -1))
    return np.where(last >= 0, pitch[np.maximum(last, 0)], 0.0)


def _perturbation(pitch: np.ndarray, energy_db: np.ndarray) -> np.ndarray:
    """Pitch (Hz), relative change of the period, change of that change, relative change of the amplitude: (n, 4)."""
    period = np.where(pitch > 0, 1 / np.maximum(pitch, 1), np.nan)
    change = np.diff(period, prepend=period[:1]) / period
    second = np.diff(change, prepend=change[:1])
    amplitude = 10 ** (energy_db / 20)
    shimmer = np.abs(np.diff(amplitude, prepend=amplitude[:1])) / np.maximum(amplitude, 1e-6)
    return np.nan_to_num(np.stack([pitch, np.abs(change), np.abs(second), np.where(pitch > 0, shimmer, 0)], 1))


def _smoothed(x: np.ndarray) -> np.ndarray:
    if not len(x):
        return x
    padded = np.pad(x, ((1, 1), (0, 0)), mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _delta(x: np.ndarray) -> np.ndarray:
    """Regression slope over two frames on each side."""
    padded = np.pad(x, ((2, 2), (0, 0)), mode="edge")
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10


def _statistics(x: np.ndarray) -> np.ndarray:
    """`FUNCTIONALS` over axis 1: (n, width, c) → (n, c, 21)."""
    width = x.shape[1]
    time = np.arange(width) - (width - 1) / 2
    mean = x.mean(1)
    centred = x - mean[:, None]
    slope = np.einsum("nwc,w->nc", centred, time) / max(float(time @ time), 1e-9)
    residual = centred - slope[:, None] * time[:, None]
    variance = (centred**2).mean(1)
    spread = np.sqrt(variance)
    safe = np.maximum(spread, 1e-9)
    skewness = np.where(spread > 1e-9, (centred**3).mean(1) / safe**3, 0)
    kurtosis = np.where(spread > 1e-9, (centred**4).mean(1) / safe**4, 0)
    q1, q2, q3, p1, p99 = np.percentile(x, [25, 50, 75, 1, 99], axis=1)
    low = x.min(1)
    reach = x.max(1) - low
    level = [(x > (low + share * reach)[:, None]).mean(1) for share in (0.75, 0.9)]
    found = [x.argmax(1) / width, x.argmin(1) / width, mean, slope, mean + slope * time[0]]
    found += [np.abs(residual).mean(1), (residual**2).mean(1), spread, skewness, kurtosis]
    return np.stack([*found, q1, q2, q3, q2 - q1, q3 - q2, q3 - q1, p1, p99, p99 - p1, *level], 2)
