"""Checks and framing shared by the audio features."""

from __future__ import annotations

import numpy as np

from affectus.errors import MediaError


def mono(audio: np.ndarray, rate: int) -> np.ndarray:
    """Check a mono waveform and return it as contiguous float32 `(samples,)`.

    Integer samples are scaled to [-1, 1). Raises `MediaError` for more than one channel, NaN or infinite samples and a
    sampling rate that is not positive.
    """
    audio = np.asarray(audio)
    if rate <= 0:
        raise MediaError("audio", f"sampling rate {rate} is not positive")
    if audio.ndim != 1:
        raise MediaError("audio", f"expected mono samples (n,), got shape {audio.shape}", "average the channels first")
    if audio.dtype.kind == "i":
        return np.ascontiguousarray(audio, dtype=np.float32) / np.float32(-float(np.iinfo(audio.dtype).min))
    if audio.dtype.kind != "f":
        raise MediaError("audio", f"samples of type {audio.dtype} are not supported", "pass float32 in [-1, 1]")
    audio = np.ascontiguousarray(audio, dtype=np.float32)
    if not np.isfinite(audio).all():
        raise MediaError("audio", "samples contain NaN or infinite values")
    return audio


def frames(audio: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Overlapping frames of a waveform as a read-only view `(n, length)`; no padding, `n` is 0 for a short signal."""
    if len(audio) < length:
        return np.empty((0, length), audio.dtype)
    return np.lib.stride_tricks.sliding_window_view(audio, length)[::hop]
