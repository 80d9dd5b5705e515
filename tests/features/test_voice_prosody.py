"""Pitch, loudness, voice quality and tempo on synthetic voices of known properties, and on acted speech."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import MediaError
from affectus.features.pitch import voice_contours
from affectus.features.voice_prosody import PROSODY_NAMES, Prosody, compare, prosody, speaker_norm, summarise


def voice(
    pitch: float | Callable[[np.ndarray], np.ndarray],
    seconds: float,
    *,
    gain: float = 0.1,
    syllables: float = 0.0,
    decay: float = 1.0,
    rate: int = 16000,
) -> np.ndarray:
    """Harmonic series with amplitude 1 / k**decay, optionally swelling `syllables` times per second."""
    t = np.arange(int(seconds * rate)) / rate
    hertz = pitch(t) if callable(pitch) else np.full(len(t), float(pitch))
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    tone = sum(np.sin(k * phase) / k**decay * (hertz * k < rate / 2) for k in range(1, 25))
    if syllables:
        tone = tone * (0.05 + 0.95 * np.sin(np.pi * syllables * t) ** 2)
    return (gain * tone).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("hertz", [75, 120, 220, 330, 500])
def test_pitch_of_steady_voices(hertz: int, rate: int) -> None:
    measured = prosody(voice(hertz, 1.0, rate=rate), rate)
    assert measured.pitch_hz == pytest.approx(hertz, rel=0.002)
    assert measured.pitch_range_st < 0.1
    assert measured.voiced_share == 1.0
    assert measured.seconds == pytest.approx(1.0, abs=0.011)


@given(start=st.floats(90, 250), octaves=st.floats(-0.25, 0.6))
@settings(max_examples=15, deadline=None)
def test_pitch_follows_glides(start: float, octaves: float) -> None:
    contours = voice_contours(voice(lambda t: start * 2 ** (octaves * t), 1.5))
    truth = start * 2 ** (octaves * contours.times)
    inner = slice(5, -5)
    assert contours.voiced[inner].all()
    np.testing.assert_allclose(contours.pitch[inner], truth[inner], rtol=0.01)
    assert summarise(contours).pitch_slope_st == pytest.approx(12 * octaves, abs=0.3)


@pytest.mark.parametrize("change_db", [-20.0, -6.0, 6.0])
def test_gain_moves_only_loudness(change_db: float) -> None:
    base = voice(160, 2.0, syllables=4)
    before, after = prosody(base), prosody(base * np.float32(10 ** (change_db / 20)))
    assert after.energy_db - before.energy_db == pytest.approx(change_db, abs=0.05)
    for name in PROSODY_NAMES:
        if name != "energy_db":
            assert getattr(after, name) == pytest.approx(getattr(before, name), rel=0.02, abs=1e-3), name


def test_energy_of_a_full_scale_sine() -> None:
    sine = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    assert prosody(sine).energy_db == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("rate_syllables", [2.0, 3.0, 4.5, 6.0])
def test_syllable_rate(rate_syllables: float) -> None:
    assert prosody(voice(150, 4.0, syllables=rate_syllables)).rate_syllables == pytest.approx(rate_syllables, rel=0.1)


def test_noise_has_no_pitch_and_no_syllables() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(48000)).astype(np.float32)
    measured = prosody(noise)
    assert measured.voiced_share < 0.05
    assert measured.rate_syllables < 1.0


def test_harmonics_to_noise_follows_the_noise() -> None:
    clean = voice(150, 2.0)
    noise = np.random.default_rng(1).standard_normal(len(clean)).astype(np.float32)
    noise *= np.sqrt((clean**2).mean() / (noise**2).mean())
    ratios = [prosody(clean + noise * np.float32(10 ** (-snr / 20))).hnr_db for snr in (0, 10, 20)]
    assert ratios[0] < ratios[1] - 5 < ratios[2] - 10
    # White noise up to 8 kHz at 10 dB leaves 13 dB below 4 kHz.
    assert ratios[1] == pytest.approx(13.0, abs=1.5)


def test_tilt_tells_soft_from_pressed() -> None:
    soft, pressed = prosody(voice(150, 1.0, decay=2.0)), prosody(voice(150, 1.0, decay=0.5))
    assert pressed.tilt_db > soft.tilt_db + 15
    assert pressed.centroid_hz > 2 * soft.centroid_hz


def test_jitter_and_shimmer_of_an_unsteady_voice() -> None:
    rng = np.random.default_rng(2)
    steps = lambda t, spread: np.interp(t, np.arange(0, 3, 0.03), spread * rng.standard_normal(100))
    steady = prosody(voice(150, 2.5))
    shaky = prosody(voice(lambda t: 150 * (1 + steps(t, 0.03)), 2.5))
    uneven = voice(150, 2.5)
    uneven *= np.exp(steps(np.arange(len(uneven)) / 16000, 0.4)).astype(np.float32)
    assert shaky.jitter > 0.002 > 0.0005 > steady.jitter
    assert prosody(uneven).shimmer_db > 0.2 > 0.05 > steady.shimmer_db


def test_pauses() -> None:
    speech, gap = voice(150, 1.0), np.zeros(8000, np.float32)
    measured = prosody(np.concatenate([gap, speech, gap, speech, gap]))
    assert measured.pause_share == pytest.approx(0.5 / 2.5, abs=0.04)
    short = np.zeros(1280, np.float32)  # 80 ms is a stop consonant, not a pause
    assert prosody(np.concatenate([speech, short, speech])).pause_share == 0.0


@pytest.mark.parametrize(("samples", "offset"), [(16000, 0.0), (16000, 0.3), (0, 0.0)])
def test_silence_is_not_a_voice(samples: int, offset: float) -> None:
    measured = prosody(np.full(samples, offset, np.float32))
    assert math.isnan(measured.pitch_hz)
    assert math.isnan(measured.energy_db)
    assert (measured.pause_share, measured.voiced_share) == (1.0, 0.0)


@given(samples=st.integers(0, 3000), seed=st.integers(0, 999), rate=st.sampled_from([8000, 16000, 48000]))
@settings(max_examples=40, deadline=None)
def test_short_snippets_never_fail(samples: int, seed: int, rate: int) -> None:
    audio = np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)
    measured = prosody(audio, rate)
    assert 0 <= measured.voiced_share <= 1
    assert 0 <= measured.pause_share <= 1
    assert not np.isinf(measured.vector()).any()


def test_bad_samples_are_refused() -> None:
    with pytest.raises(MediaError, match="NaN"):
        prosody(np.array([np.nan] * 1000, np.float32))
    with pytest.raises(MediaError, match="mono"):
        prosody(np.zeros((2, 1000), np.float32))


def usual() -> Prosody:
    return prosody(voice(150, 2.0, syllables=4))


def test_speaker_norm_is_median_and_robust_spread() -> None:
    base = usual()
    heard = [replace(base, pitch_hz=p, hnr_db=float("nan")) for p in (140.0, 150.0, 160.0, 170.0, 900.0)]
    median, spread = speaker_norm(heard)
    assert median.pitch_hz == 160.0
    assert spread.pitch_hz == pytest.approx(1.4826 * 10)
    assert math.isnan(median.hnr_db)
    nothing, _ = speaker_norm([])
    assert math.isnan(nothing.pitch_hz)


def test_changes_are_named_in_plain_words() -> None:
    median, spread = usual(), replace(usual(), **dict.fromkeys(PROSODY_NAMES, 0.0))
    assert compare(median, median, spread) == []
    changes = compare(
        replace(median, pitch_hz=median.pitch_hz * 2 ** (4 / 12), energy_db=median.energy_db - 3, pause_share=0.3),
        median,
        spread,
    )
    assert [c.name for c in changes] == ["pitch_hz", "pause_share", "energy_db"]
    assert changes[0].words == "pitch higher than this speaker's median (+4.0 semitones)"
    assert changes[0].z == pytest.approx(4 / 0.7)
    assert changes[2].words == "quieter than this speaker's median (-3.0 dB)"
    assert changes[2].z == pytest.approx(-2.0)


def test_wider_spread_makes_the_same_change_less_unusual() -> None:
    median = usual()
    louder = replace(median, energy_db=median.energy_db + 6)
    narrow, wide = (replace(median, **{**dict.fromkeys(PROSODY_NAMES, 0.0), "energy_db": w}) for w in (2.0, 12.0))
    assert compare(louder, median, narrow)[0].z == pytest.approx(3.0)
    assert compare(louder, median, wide) == []


def test_missing_measures_are_not_compared() -> None:
    silent, median = prosody(np.zeros(16000, np.float32)), usual()
    names = {c.name for c in compare(silent, median, replace(median, **dict.fromkeys(PROSODY_NAMES, 0.0)))}
    assert names == {"pause_share"}
    assert {c.name for c in compare(median, silent, silent)} == {"pause_share"}


@pytest.mark.corpus
def test_strong_anger_is_louder_higher_and_brighter_in_ravdess(shared_data: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="reads FLAC")
    archive = shared_data / "ravdess" / "Audio_Speech_Actors_01-18.tar"
    if not archive.is_file():
        pytest.skip("RAVDESS is not in the shared data folder")
    found: dict[tuple[str, str], dict[str, Prosody]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            code = Path(member.name).stem.split("-")
            # Angry (05) at normal (01) and strong (02) intensity, first repetition.
            if len(code) == 7 and code[2] == "05" and code[5] == "01":
                handle = tar.extractfile(member)
                assert handle is not None
                audio, rate = soundfile.read(io.BytesIO(handle.read()), dtype="float32")
                found.setdefault((code[6], code[4]), {})[code[3]] = prosody(audio, rate)
    pairs = [(v["01"], v["02"]) for v in found.values() if len(v) == 2]
    assert len(pairs) >= 30
    for name, least in (("energy_db", 8.0), ("pitch_hz", 50.0), ("tilt_db", 2.5)):
        gain = np.array([getattr(strong, name) - getattr(normal, name) for normal, strong in pairs])
        assert np.median(gain) > least, name
        assert (gain > 0).mean() > 0.85, name
