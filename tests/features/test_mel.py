"""Log-mel features against independent implementations and known facts."""

from __future__ import annotations

import numpy as np
import pytest

from affectus.errors import ConfigError, MediaError
from affectus.features.mel import (
    AUDIOSET_MEAN,
    AUDIOSET_STD,
    audioset_input,
    fbank,
    kaldi_filters,
    log_mel_whisper,
    slaney_filters,
)


def voice_like(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Gliding harmonics with noise and silent gaps: wide dynamic range."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 60 * np.sin(2 * np.pi * 0.7 * t)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    loud = (np.sin(2 * np.pi * 1.3 * t) > -0.4) * 0.2
    return (tone * loud + 1e-4 * rng.standard_normal(len(t))).astype(np.float32)


def test_whisper_equals_reference_extractor() -> None:
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    extractor = transformers.WhisperFeatureExtractor()
    audio = voice_like(4.3)
    reference = np.asarray(extractor(audio, sampling_rate=16000)["input_features"][0])
    padded = np.zeros(480000, np.float32)
    padded[: len(audio)] = audio
    np.testing.assert_allclose(log_mel_whisper(padded), reference, atol=2e-4)
    own = log_mel_whisper(audio)
    assert own.shape == (80, 430)
    np.testing.assert_allclose(own[:, :-2], reference[:, :428], atol=2e-4)


def test_whisper_floor_is_eight_below_the_reference() -> None:
    audio = voice_like(1.0)
    plain = log_mel_whisper(audio)
    assert plain.max() - plain.min() == pytest.approx(2.0, abs=1e-5)
    loudest = float(plain.max()) * 4 - 4
    same = log_mel_whisper(audio, floor_reference=loudest)
    np.testing.assert_allclose(same, plain, atol=1e-6)
    raised = log_mel_whisper(audio, floor_reference=loudest + 4)
    assert raised.min() == pytest.approx((loudest - 4 + 4) / 4, abs=1e-5)


def test_whisper_blocks_agree_with_one_piece() -> None:
    long = voice_like(30.0)  # 3000 columns, more than one block
    reference = float(log_mel_whisper(long).max()) * 4 - 4
    piece = log_mel_whisper(long[160 * 2000 : 160 * 2200], floor_reference=reference)
    np.testing.assert_allclose(piece[:, 3:-3], log_mel_whisper(long)[:, 2003:2197], atol=1e-5)


@pytest.mark.parametrize(("samples", "columns"), [(0, 0), (159, 0), (160, 1), (1600, 10)])
def test_whisper_short_audio(samples: int, columns: int) -> None:
    out = log_mel_whisper(np.full(samples, 0.1, np.float32))
    assert out.shape == (80, columns)
    assert np.isfinite(out).all()


def test_silence_is_flat() -> None:
    assert np.unique(log_mel_whisper(np.zeros(16000, np.float32))) == pytest.approx([(-10 + 4) / 4])
    assert np.unique(fbank(np.zeros(16000, np.float32))) == pytest.approx([np.log(np.finfo(np.float32).eps)])


def test_fbank_equals_kaldi_like_reference() -> None:
    reference = pytest.importorskip("transformers.audio_utils", reason="needs the train extra")
    audio = voice_like(2.0)
    filters = reference.mel_filter_bank(257, 128, 20, 8000, 16000, None, "kaldi", triangularize_in_mel_space=True)
    expected = reference.spectrogram(
        audio,
        reference.window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T
    np.testing.assert_allclose(fbank(audio), expected, atol=1e-3)


def test_fbank_frames_offset_gain_and_tone() -> None:
    audio = voice_like(1.0)
    base = fbank(audio)
    assert base.shape == (1 + (16000 - 400) // 160, 128)
    np.testing.assert_allclose(fbank(audio + np.float32(0.25)), base, atol=0.05)
    loud = base > np.log(1e-3)
    np.testing.assert_allclose((fbank(2 * audio) - base)[loud], np.log(4.0), atol=1e-3)
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32)
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)
    expected = (mel(1000) - mel(20)) / (mel(8000) - mel(20)) * 129 - 1
    assert abs(int(fbank(tone).mean(axis=0).argmax()) - expected) <= 1
    assert fbank(audio[:399]).shape == (0, 128)


@pytest.mark.parametrize(("rate", "size"), [(8000, 200), (22050, 551), (48000, 1200)])
def test_fbank_other_rates(rate: int, size: int) -> None:
    out = fbank(voice_like(0.5, rate), rate, bins=40)
    assert out.shape == (1 + (rate // 2 - size) // int(rate * 0.01), 40)
    assert np.isfinite(out).all()


def test_audioset_input_pads_then_scales() -> None:
    audio = voice_like(1.0)
    out = audioset_input(audio)
    assert out.shape == (256, 128)
    np.testing.assert_allclose(out[:98] * 2 * AUDIOSET_STD + AUDIOSET_MEAN, fbank(audio), atol=1e-4)
    np.testing.assert_allclose(out[98:], -AUDIOSET_MEAN / (2 * AUDIOSET_STD), atol=1e-6)
    long = voice_like(5.0)
    np.testing.assert_allclose(audioset_input(long) * 2 * AUDIOSET_STD + AUDIOSET_MEAN, fbank(long)[:256], atol=1e-4)


def test_filters_have_their_defining_properties() -> None:
    slaney = slaney_filters(80, 400, 16000)
    assert slaney.shape == (201, 80)
    assert (slaney.sum(axis=0) > 0).all()
    kaldi = kaldi_filters(128, 512, 16000, 20.0, 8000.0)
    # Neighbouring triangles of peak 1 add to 1 between the first and the last centre.
    np.testing.assert_allclose(kaldi.sum(axis=1)[5:250], 1.0, atol=1e-5)
    assert kaldi[0].sum() == 0
    assert kaldi[256].sum() == pytest.approx(0.0, abs=1e-5)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(MediaError, match="NaN"):
        log_mel_whisper(np.array([0.0, np.nan] * 200, np.float32))
    with pytest.raises(MediaError, match="mono"):
        fbank(np.zeros((2, 16000), np.float32))
    with pytest.raises(MediaError, match="rate"):
        fbank(np.zeros(100, np.float32), 0)
    with pytest.raises(MediaError, match="complex"):
        fbank(np.zeros(1000, complex))
    with pytest.raises(ConfigError, match="window"):
        fbank(np.zeros(1000, np.float32), window="kaiser")
    with pytest.raises(ConfigError, match="band"):
        fbank(np.zeros(1000, np.float32), 8000, high=6000)


def test_integer_samples_are_scaled() -> None:
    audio = voice_like(0.5)
    pcm = np.round(audio * 32768).astype(np.int16)
    np.testing.assert_allclose(fbank(pcm), fbank(pcm.astype(np.float32) / 32768), atol=1e-5)
