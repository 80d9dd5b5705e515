"""Log-mel spectrograms: the one of Whisper and the filter bank of Kaldi.

Both exist in many programs with small differences that change what a pre-trained encoder sees. These two follow the
published definitions exactly and need nothing but numpy:

- `log_mel_whisper`: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022.
- `fbank`: the `compute-fbank-feats` definition of Kaldi with the settings of AudioMAE and HiCMAE (Hann window, no
  dither, no energy term).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from affectus.errors import ConfigError
from affectus.features.signal import frames, mono

#: Mean and standard deviation of the filter bank over AudioSet, the scale of AudioMAE and its descendants.
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974

_WHISPER_RATE, _WHISPER_FFT, _WHISPER_HOP, _WHISPER_BINS = 16000, 400, 160, 80
_BLOCK = 2048  # frames per transform: the block stays in the processor's cache and memory stays flat


def log_mel_whisper(
    audio: np.ndarray, floor_reference: float | None = None, bins: int = _WHISPER_BINS
) -> np.ndarray:  # fmt: skip
    """Log-mel spectrogram of the Whisper tiny … medium models (large-v3 and Qwen's: 128 `bins`), not padded to 30 s.

    `audio` is mono at 16 kHz; the result is float32 `(bins, samples // 160)`, 100 columns per second, roughly in
    [-1.5, 2]. Cells more than 8 (log10 power) below a reference are raised to that floor. The reference is the loudest
    cell of this clip; for a piece of a longer recording pass the loudest log10 cell of the whole as `floor_reference`.
    Whisper itself measures it on 30 s padded with silence, which gives the same reference; only the last two columns
    differ, because the end is mirrored here instead of followed by silence. Raises `MediaError` for bad samples.
    """
    audio = mono(audio, _WHISPER_RATE)
    columns = len(audio) // _WHISPER_HOP
    if columns == 0:
        return np.empty((bins, 0), np.float32)
    padded = np.pad(audio, _WHISPER_FFT // 2, mode="reflect")
    view = frames(padded, _WHISPER_FFT, _WHISPER_HOP)[:columns]
    window = np.hanning(_WHISPER_FFT + 1)[:-1].astype(np.float32)
    filters = slaney_filters(bins, _WHISPER_FFT, _WHISPER_RATE)
    out = np.empty((columns, bins), np.float32)
    for at in range(0, columns, _BLOCK):
        out[at : at + _BLOCK] = _power(view[at : at + _BLOCK] * window, _WHISPER_FFT) @ filters
    np.log10(np.maximum(out, 1e-10, out=out), out=out)
    reference = float(out.max()) if floor_reference is None else floor_reference
    np.maximum(out, np.float32(reference - 8.0), out=out)
    out += 4.0
    out *= 0.25
    return np.ascontiguousarray(out.T)


def fbank(
    audio: np.ndarray,
    rate: int = 16000,
    bins: int = 128,
    *,
    window: str = "hann",
    low: float = 20.0,
    high: float | None = None,
    length: float = 0.025,
    shift: float = 0.010,
    preemphasis: float = 0.97,
) -> np.ndarray:
    """Kaldi log mel filter bank (natural logarithm of the power), float32 `(frames, bins)`.

    Frames of `length` seconds every `shift` seconds lie wholly inside the signal (`1 + (n - 400) // 160` at 16 kHz,
    none when it is shorter than one frame). Per frame: mean removed, pre-emphasis, `window` ("hann", "hamming" or
    "povey"), FFT of the next power of two, triangular filters on the 1127·ln(1 + f/700) scale between `low` and
    `high` Hz (half the rate by default), logarithm floored at the float32 epsilon. No dither, no energy coefficient.
    Removing the mean of the whole signal first, as some published front ends do, changes nothing because every frame
    is centred here.
    Raises `MediaError` for bad samples and `ConfigError` for impossible settings.
    """
    audio = mono(audio, rate)
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise ConfigError("fbank", f"band {low:g}–{high:g} Hz does not fit a rate of {rate} Hz")
    size, hop = int(rate * length), int(rate * shift)
    if size < 2 or hop < 1:
        raise ConfigError("fbank", f"frames of {length:g} s every {shift:g} s are too short at {rate} Hz")
    view = frames(audio, size, hop)
    n_fft = 1 << (size - 1).bit_length()
    taper, filters = _taper(window, size), kaldi_filters(bins, n_fft, rate, low, high)
    out = np.empty((len(view), bins), np.float32)
    for at in range(0, len(view), _BLOCK):
        block = view[at : at + _BLOCK] - view[at : at + _BLOCK].mean(axis=1, keepdims=True)
        block[:, 1:] -= np.float32(preemphasis) * block[:, :-1]
        block[:, 0] *= np.float32(1.0 - preemphasis)
        block *= taper
        out[at : at + _BLOCK] = _power(block, n_fft) @ filters
    return np.log(np.maximum(out, np.finfo(np.float32).eps, out=out), out=out)


def audioset_input(audio: np.ndarray, rate: int = 16000, length: int = 256) -> np.ndarray:
    """Input of AudioMAE-style encoders: `fbank` with 128 bins, cut or zero-padded to `length` frames, then scaled.

    Float32 `(length, 128)`; the scale is `(x - AUDIOSET_MEAN) / (2 · AUDIOSET_STD)`, applied after the padding as in
    the published front ends, so padded frames hold 0.467, not 0.
    """
    features = fbank(audio[: int(rate * (0.01 * length + 0.025))], rate)[:length]
    out = np.zeros((length, features.shape[1]), np.float32)
    out[: len(features)] = features
    return (out - np.float32(AUDIOSET_MEAN)) / np.float32(2 * AUDIOSET_STD)


@lru_cache(maxsize=8)
def slaney_filters(bins: int, n_fft: int, rate: int) -> np.ndarray:
    """Triangular filters of equal area on Slaney's scale, 0 Hz to half the rate: float32 `(n_fft // 2 + 1, bins)`.

    The scale is linear (200/3 Hz per mel) up to 1 kHz and logarithmic (6.4 to the power 1/27 per mel) above
    (Slaney, Auditory Toolbox, 1998).
    """
    step = np.log(6.4) / 27.0
    top = 15.0 + np.log(rate / 2 / 1000.0) / step if rate > 2000 else rate / 2 * 3 / 200
    mels = np.linspace(0.0, top, bins + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(step * (mels - 15.0)))
    filters = _triangles(np.linspace(0.0, rate / 2, n_fft // 2 + 1), edges)
    filters *= 2.0 / (edges[2:] - edges[:-2])
    return _frozen(filters)


@lru_cache(maxsize=8)
def kaldi_filters(bins: int, n_fft: int, rate: int, low: float, high: float) -> np.ndarray:
    """Kaldi's filters, triangular in mel and of peak 1: float32 `(n_fft // 2 + 1, bins)`."""
    to_mel = lambda hertz: 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
    edges = np.linspace(to_mel(low), to_mel(high), bins + 2)
    return _frozen(_triangles(to_mel(np.linspace(0.0, rate / 2, n_fft // 2 + 1)), edges))


def _triangles(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Heights at `points` of the triangles that three neighbouring `edges` span: `(points, edges - 2)`."""
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (points[:, None] - left) / (centre - left)
    falling = (right - points[:, None]) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _frozen(filters: np.ndarray) -> np.ndarray:
    filters = filters.astype(np.float32)
    filters.setflags(write=False)
    return filters


def _taper(name: str, size: int) -> np.ndarray:
    """Symmetric analysis window of Kaldi; "povey" is a Hann window raised to 0.85."""
    if name in ("hann", "povey"):
        window = np.hanning(size)
        return (window if name == "hann" else window**0.85).astype(np.float32)
    if name == "hamming":
        return np.hamming(size).astype(np.float32)
    raise ConfigError("fbank", f"unknown window {name!r}", "use hann, hamming or povey")


def _power(block: np.ndarray, n_fft: int) -> np.ndarray:
    spectrum = np.fft.rfft(block, n_fft, axis=1)
    return spectrum.real**2 + spectrum.imag**2
