"""Augmentation of speech: what microphones, rooms, codecs and recording habits do to a voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SpeechAugment:
    """Probabilities per clip and ranges. Input and output: float32 mono at 16 kHz."""

    tempo: float = 0.5
    tempo_range: tuple[float, float] = (0.88, 1.14)
    gain: float = 0.8
    gain_db: float = 8.0
    noise: float = 0.4
    snr_db: tuple[float, float] = (8.0, 35.0)
    room: float = 0.3
    codec: float = 0.2
    tilt: float = 0.4
    tilt_db: float = 6.0

    def __call__(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A changed copy; the length changes with the tempo."""
        if rng.random() < self.tempo:
            audio = change_speed(audio, float(rng.uniform(*self.tempo_range)))
        if rng.random() < self.room:
            audio = add_room(audio, float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.05, 0.5)), rng)
        if rng.random() < self.tilt:
            audio = tilt_spectrum(audio, float(rng.uniform(-self.tilt_db, self.tilt_db)))
        if rng.random() < self.noise:
            audio = add_noise(audio, float(rng.uniform(*self.snr_db)), float(rng.uniform(0, 1)), rng)
        if rng.random() < self.codec:
            audio = telephone(audio, float(rng.uniform(3200, 6000)))
        if rng.random() < self.gain:
            audio = audio * 10 ** (float(rng.uniform(-self.gain_db, self.gain_db)) / 20)
        return np.clip(audio, -1, 1).astype(np.float32)


def change_speed(audio: np.ndarray, factor: float) -> np.ndarray:
    """Resample so that it plays `factor` times faster; pitch and formants move along (Ko et al., Interspeech 2015)."""
    length = max(2, round(len(audio) / factor))
    return np.interp(np.linspace(0, len(audio) - 1, length), np.arange(len(audio)), audio).astype(np.float32)


def add_room(audio: np.ndarray, decay: float, wet: float, rng: np.random.Generator) -> np.ndarray:
    """Convolve with exponentially decaying noise: `decay` is the time to fall by 60 dB (s)."""
    length = max(1, int(decay * 16000))
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= wet / np.sqrt((tail**2).sum())
    tail[0] += 1 - wet
    size = 1 << (len(audio) + length - 1).bit_length()
    wet_audio = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(tail, size), size)[: len(audio)]
    return wet_audio.astype(np.float32)


def tilt_spectrum(audio: np.ndarray, decibels: float) -> np.ndarray:
    """Raise or lower high against low frequencies: `decibels` from 100 Hz to 8 kHz, linear in octaves."""
    spectrum = np.fft.rfft(audio)
    hertz = np.fft.rfftfreq(len(audio), 1 / 16000)
    octaves = np.log2(np.maximum(hertz, 100) / 900)
    return np.fft.irfft(spectrum * 10 ** (decibels * octaves / 6.3 / 20), len(audio)).astype(np.float32)


def add_noise(audio: np.ndarray, snr_db: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Add stationary noise whose power falls with 1/f^colour, at the given signal-to-noise ratio."""
    spectrum = np.fft.rfft(rng.standard_normal(len(audio)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (colour / 2)
    noise = np.fft.irfft(spectrum, len(audio))
    level = np.sqrt(np.mean(audio**2) / max(np.mean(noise**2), 1e-12)) * 10 ** (-snr_db / 20)
    return (audio + level * noise).astype(np.float32)


def telephone(audio: np.ndarray, cutoff: float) -> np.ndarray:
    """Band-limit at `cutoff` Hz and quantise with the 8-bit μ-law of telephone codecs (G.711)."""
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / 16000) > cutoff] = 0
    audio = np.clip(np.fft.irfft(spectrum, len(audio)), -1, 1)
    squeezed = np.sign(audio) * np.log1p(255 * np.abs(audio)) / np.log(256)
    squeezed = np.round(squeezed * 127) / 127
    return (np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log(256)) / 255).astype(np.float32)
