"""Speech augmentation: lengths, levels and spectra are what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.training.speech_augment import (
    SpeechAugment,
    add_noise,
    add_room,
    change_speed,
    telephone,
    tilt_spectrum,
)

RATE = 16000
OFF = {"tempo": 0.0, "gain": 0.0, "noise": 0.0, "room": 0.0, "codec": 0.0, "tilt": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sine(hertz: float, seconds: float = 0.5, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def energy(audio: np.ndarray, low: float, high: float) -> float:
    """Energy between two frequencies (Hz)."""
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    spectrum = np.abs(np.fft.rfft(audio.astype(float))) ** 2
    return float(spectrum[(hertz >= low) & (hertz < high)].sum())


def level_of(audio: np.ndarray, hertz: float) -> float:
    """Level (dB) of one tone."""
    return 10 * np.log10(energy(audio, hertz - 20, hertz + 20))


@settings(max_examples=30, deadline=None)
@given(length=st.integers(200, 4000), factor=st.floats(0.5, 2.0))
def test_speed_changes_the_length(length: int, factor: float) -> None:
    assert len(change_speed(np.ones(length, np.float32), factor)) == round(length / factor)


def test_speed_moves_the_pitch() -> None:
    fast = change_speed(sine(400), 1.25)
    peak = np.abs(np.fft.rfft(fast)).argmax() * RATE / len(fast)
    assert peak == pytest.approx(500, abs=3)


@settings(max_examples=30, deadline=None)
@given(snr=st.floats(-5, 40), colour=st.floats(0, 2), seed=st.integers(0, 99))
def test_noise_has_the_requested_ratio(snr: float, colour: float, seed: int) -> None:
    clean = sine(300)
    noise = add_noise(clean, snr, colour, rng(seed)).astype(float) - clean
    measured = 10 * np.log10((clean.astype(float) ** 2).mean() / (noise**2).mean())
    assert measured == pytest.approx(snr, abs=0.5)


def test_noise_colour_tilts_it_towards_low_frequencies() -> None:
    clean = sine(300)
    white, pink = (add_noise(clean, 0, colour, rng()) - clean for colour in (0.0, 1.0))
    ratio_white, ratio_pink = (energy(n, 100, 1000) / energy(n, 4000, 8000) for n in (white, pink))
    assert ratio_white == pytest.approx(900 / 4000, rel=0.2)
    # Power falls with 1/f: ln(1000 / 100) against ln(8000 / 4000).
    assert ratio_pink == pytest.approx(np.log(10) / np.log(2), rel=0.25)


def test_silence_stays_silent_under_noise() -> None:
    assert not add_noise(np.zeros(800, np.float32), 10, 0.5, rng()).any()


@pytest.mark.parametrize("cutoff", [3200.0, 4000.0, 6000.0])
def test_telephone_kills_what_lies_above_its_band(cutoff: float) -> None:
    wide = (0.1 * rng().standard_normal(RATE)).astype(np.float32)
    out = telephone(wide, cutoff)
    assert out.dtype == np.float32
    assert energy(out, cutoff + 50, 8000) < 0.01 * energy(wide, cutoff + 50, 8000)
    assert energy(out, 0, cutoff) == pytest.approx(energy(wide, 0, cutoff), rel=0.05)


def test_telephone_has_eight_bits() -> None:
    # A full-scale tone in a wide band passes the filter unchanged, so only the quantisation is left.
    out = telephone(sine(443, level=1.0), 8000)
    assert 100 < len(np.unique(out)) <= 255
    assert np.abs(out - sine(443, level=1.0)).max() < 0.025


@pytest.mark.parametrize("decibels", [-6.0, 3.0, 6.0])
def test_tilt_raises_the_treble_by_its_decibels_per_range(decibels: float) -> None:
    audio = sine(200) + sine(3200)
    out = tilt_spectrum(audio, decibels)
    change = {hertz: level_of(out, hertz) - level_of(audio, hertz) for hertz in (200.0, 3200.0)}
    assert np.sign(change[3200.0]) == np.sign(decibels)
    assert np.sign(change[200.0]) == -np.sign(decibels)
    # Four of the 6.3 octaves between 100 Hz and 8 kHz lie between the two tones.
    assert change[3200.0] - change[200.0] == pytest.approx(decibels * 4 / 6.3, abs=0.1)
    assert len(out) == len(audio)


def test_room_rings_and_fades_by_sixty_decibels() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    out = add_room(click, 0.4, 0.5, rng())
    assert len(out) == len(click)
    tail = out[1 : int(0.4 * RATE)].astype(float) ** 2
    first, last = tail[:640].mean(), tail[-640:].mean()
    # 60 dB over 6400 samples; the middles of the two ends are nine tenths of it apart.
    assert 10 * np.log10(first / last) == pytest.approx(54, abs=2)
    assert np.abs(out[int(0.4 * RATE) + 1 :]).max() < 1e-6


def test_a_dry_room_changes_nothing() -> None:
    np.testing.assert_allclose(add_room(sine(300), 0.3, 0.0, rng()), sine(300), atol=1e-5)


def test_all_off_is_the_identity() -> None:
    np.testing.assert_allclose(SpeechAugment(**OFF)(sine(300), rng()), sine(300))


def test_gain_alone_scales_within_its_range() -> None:
    augment = SpeechAugment(**{**OFF, "gain": 1.0})
    random = rng()
    gains = [20 * np.log10(np.abs(augment(sine(300), random)).max() / 0.3) for _ in range(60)]
    assert max(np.abs(gains)) <= 8.05
    assert max(gains) > 4
    assert min(gains) < -4


def test_same_generator_same_clip_and_everything_stays_in_range() -> None:
    augment = SpeechAugment(tempo=1.0, gain=1.0, noise=1.0, room=1.0, codec=1.0, tilt=1.0)
    clean = sine(300, level=0.9)
    assert np.array_equal(augment(clean, rng(3)), augment(clean, rng(3)))
    random = rng(4)
    for _ in range(10):
        out = augment(clean, random)
        assert out.dtype == np.float32
        assert np.abs(out).max() <= 1
        assert len(clean) / 1.14 - 1 <= len(out) <= len(clean) / 0.88 + 1
