"""Voice activity: turns from probabilities, and real speech where the detector's file can be had."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus import assets
from affectus.errors import AssetError, ConfigError
from affectus.media import speech
from affectus.media.speech import FRAME, RATE, SpeechDetector, speech_windows

SECONDS = FRAME / RATE


class Scripted(SpeechDetector):
    """A detector whose probability is the loudest sample of the frame, so that audio can be written as a script."""

    def probability(self, frame: np.ndarray) -> float:
        return float(np.abs(frame).max())


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Unit tests need no foreign file."""
    if "assets" not in request.keywords:
        monkeypatch.setattr(speech, "_session", lambda path: type("Session", (), {"run": None}))
        monkeypatch.setattr(speech.assets, "resolve", lambda name: Path(name))


def script(*parts: tuple[float, float]) -> np.ndarray:
    """Audio from (level, seconds) pairs, whole frames each."""
    return np.concatenate([np.full(round(s / SECONDS) * FRAME, level, np.float32) for level, s in parts])


def spans(detector: SpeechDetector, audio: np.ndarray, block: int = 10**9) -> list[tuple[float, float]]:
    """(start, end) of every turn, pushed in blocks."""
    turns = [w for i in range(0, len(audio), block) for w in detector.push(audio[i : i + block])]
    return [(w.start, w.end) for w in (*turns, *detector.finish())]


def frames(seconds: float) -> float:
    """Seconds rounded to whole frames, as `script` does."""
    return round(seconds / SECONDS) * SECONDS


def test_one_turn_with_padding() -> None:
    (turn,) = spans(Scripted(), script((0, 1), (0.9, 2), (0, 1)))
    assert turn == pytest.approx((frames(1) - 0.1, frames(1) + frames(2) + 0.1))


def test_short_pauses_stay_inside_and_long_ones_split() -> None:
    assert len(spans(Scripted(), script((0.9, 1), (0, 0.3), (0.9, 1), (0, 1)))) == 1
    assert len(spans(Scripted(), script((0.9, 1), (0, 0.6), (0.9, 1), (0, 1)))) == 2


def test_hysteresis() -> None:
    assert spans(Scripted(), script((0.4, 3), (0, 1))) == []
    (turn,) = spans(Scripted(), script((0.9, 0.5), (0.4, 3), (0, 1)))
    assert turn[1] == pytest.approx(frames(0.5) + frames(3) + 0.1)


def test_clicks_are_dropped() -> None:
    assert spans(Scripted(), script((0, 1), (0.9, 0.1), (0, 1))) == []


def test_padding_stays_inside_the_recording() -> None:
    (turn,) = spans(Scripted(), script((0.9, 1)))
    assert turn == pytest.approx((0, frames(1)))


def test_long_turns_split_at_their_quietest_point() -> None:
    audio = script((0.9, 8), (0.6, 0.2), (0.9, 8), (0, 1))
    first, second = spans(Scripted(max_turn=10), audio)
    assert frames(8) <= first[1] <= frames(8) + frames(0.2)
    assert second[0] == first[1]
    assert second[1] == pytest.approx(len(audio) / RATE - frames(1) + 0.1)


def test_a_turn_cut_in_its_last_pause_leaves_nothing_behind() -> None:
    detector = Scripted(max_turn=5, min_silence=2)
    turns = spans(detector, script((0.9, 3.5), (0, 3)))
    assert len(turns) == 1
    assert all(start < end for start, end in turns)


@pytest.mark.parametrize("audio", [np.zeros(0, np.float32), np.zeros(3, np.float32), np.zeros(RATE * 3, np.float32)])
def test_nothing_said(audio: np.ndarray) -> None:
    assert spans(Scripted(), audio) == []


def test_a_detector_starts_fresh_after_finish() -> None:
    detector, audio = Scripted(), script((0.9, 1), (0, 0.2))
    assert spans(detector, audio) == spans(detector, audio)


levels = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.9]), st.floats(0.03, 3)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(parts=levels, block=st.integers(1, 40000), tail=st.integers(0, FRAME - 1))
def test_turns_are_ordered_bounded_and_independent_of_blocks(parts, block: int, tail: int) -> None:
    audio = np.concatenate([script(*parts), np.full(tail, 0.9, np.float32)])
    detector = Scripted(max_turn=4)
    whole = spans(detector, audio)
    assert spans(detector, audio, max(block, 200)) == whole
    for start, end in whole:
        assert 0 <= start < end <= len(audio) / RATE + 1e-9
        assert end - start <= 4 + 1e-9
    assert all(first[1] <= second[0] + 1e-9 for first, second in itertools.pairwise(whole))


@settings(max_examples=60, deadline=None)
@given(parts=levels)
def test_every_clear_stretch_of_speech_is_covered(parts) -> None:
    audio = script(*parts)
    turns = spans(Scripted(max_turn=4, min_speech=0.0), audio)
    loud = np.abs(audio[FRAME // 2 :: FRAME]) >= 0.5
    for time in (np.flatnonzero(loud) + 0.5) * SECONDS:
        assert any(start <= time <= end for start, end in turns), time


def test_memory_is_bounded_by_the_turn() -> None:
    detector = Scripted(max_turn=5)
    for _ in range(50):
        detector.push(script((0.9, 4)))
        assert len(detector._levels) <= detector.max_frames
        assert len(detector._rest) < FRAME


def test_broken_samples_are_silence_or_clipped() -> None:
    audio = script((0.9, 1), (0, 1))
    audio[5000:5100] = np.nan
    audio[6000], audio[6001], audio[6002] = np.inf, -np.inf, 1e30
    seen = []

    class Spy(Scripted):
        def probability(self, frame: np.ndarray) -> float:
            seen.append(frame)
            return super().probability(frame)

    assert len(spans(Spy(), audio)) == 1
    heard = np.concatenate(seen)
    assert np.isfinite(heard).all()
    assert np.abs(heard).max() <= 1


@pytest.mark.parametrize("block", [np.zeros((2, 100), np.float32), np.zeros(100, np.int16), np.float32(0)])
def test_refuses_other_arrays(block) -> None:
    with pytest.raises(ValueError, match="one-dimensional float array"):
        Scripted().push(block)


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"rate": 8000}, "needs audio at 16000 Hz"),
        ({"threshold": 0.3}, "release <= threshold"),
        ({"release": 0.0}, "release <= threshold"),
        ({"padding": 0.3}, "half of min_silence"),
        ({"min_speech": -1.0}, "durations >= 0"),
        ({"max_turn": 0.5}, "leaves no room"),
    ],
)
def test_refuses_impossible_settings(settings_: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SpeechDetector(**settings_)


@pytest.fixture
def sample() -> np.ndarray:
    """Ten seconds of six short read sentences; skips where the files cannot be had."""
    import wave

    try:
        path = assets.resolve("speech-sample")
        assets.resolve("silero-vad")
    except AssetError as error:
        pytest.skip(f"needs the speech sample and the voice activity detector: {error}")
    with wave.open(str(path)) as recording:
        assert recording.getframerate() == RATE
        return np.frombuffer(recording.readframes(recording.getnframes()), np.int16).astype(np.float32) / 32768


@pytest.mark.assets
class TestReal:
    def test_six_sentences(self, sample: np.ndarray) -> None:
        turns = speech_windows(sample)
        assert len(turns) == 6
        # Between the sentences the reader pauses: the turns hold nearly all of the energy.
        inside = sum(float(np.sum(sample[int(w.start * RATE) : int(w.end * RATE)] ** 2)) for w in turns)
        assert inside / float(np.sum(sample**2)) > 0.97

    def test_blocks_do_not_matter(self, sample: np.ndarray) -> None:
        assert spans(SpeechDetector(), sample, 777) == spans(SpeechDetector(), sample)

    def test_noise_tone_and_silence_are_no_speech(self, sample: np.ndarray) -> None:
        noise = np.random.default_rng(0).normal(0, 0.1, RATE * 5).astype(np.float32)
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE * 5) / RATE).astype(np.float32)
        for audio in (noise, tone, np.zeros(RATE * 5, np.float32)):
            assert speech_windows(audio) == []

    def test_speech_is_found_again_after_broken_samples(self, sample: np.ndarray) -> None:
        broken = np.concatenate([np.full(RATE, np.nan, np.float32), np.full(RATE, np.inf, np.float32), sample])
        shifted = [(w.start - 2, w.end - 2) for w in speech_windows(broken)]
        expected = [(w.start, w.end) for w in speech_windows(sample)]
        assert len(shifted) == len(expected)
        assert np.allclose(shifted, expected, atol=0.1)

    def test_context_of_64_samples_matters(self, sample: np.ndarray) -> None:
        detector, blind = SpeechDetector(), SpeechDetector()
        heard, unheard = [], []
        for begin in range(0, len(sample) - FRAME, FRAME):
            heard.append(detector.probability(sample[begin : begin + FRAME]))
            blind._context = np.zeros(speech.CONTEXT, np.float32)
            unheard.append(blind.probability(sample[begin : begin + FRAME]))
        assert max(heard) > 0.99
        assert np.mean(heard) > np.mean(unheard)
