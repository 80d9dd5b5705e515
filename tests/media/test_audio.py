"""Sound of all kinds as mono blocks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from affectus import media
from affectus.errors import MediaError
from affectus.media.audio import audio_blocks, read_audio

Make = Callable[..., Path]


def tone(rate: int, seconds: float = 1.0, pitch: float = 440.0, loud: float = 0.5) -> np.ndarray:
    return loud * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)


def pitch_of(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * rate / samples.size)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_any_rate_becomes_16_khz(make_sound: Make, rate: int) -> None:
    samples = read_audio(make_sound("voice.wav", tone(rate), rate))
    assert samples.dtype == np.float32
    assert samples.size == pytest.approx(16000, abs=40)
    assert pitch_of(samples, 16000) == pytest.approx(440, abs=2)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


def test_resampling_keeps_the_clock(make_sound: Make) -> None:
    samples = np.zeros(48000 * 3)
    for second in (0.5, 1.5, 2.5):
        samples[round(second * 48000)] = 1.0
    got = read_audio(make_sound("clicks.wav", samples, 48000))
    for second in (0.5, 1.5, 2.5):
        window = got[round(second * 16000) - 200 : round(second * 16000) + 200]
        assert abs(int(np.abs(window).argmax()) - 200) <= 2


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats(make_sound: Make, subtype: str) -> None:
    wanted = tone(16000)
    got = read_audio(make_sound("voice.wav", wanted, 16000, subtype=subtype))
    assert np.abs(got - wanted).max() < (0.02 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("name", ["voice.flac", "voice.ogg", "voice.mp3"])
def test_compressed_and_planar_formats(make_sound: Make, name: str) -> None:
    got = read_audio(make_sound(name, tone(16000), 16000))
    assert got.size == pytest.approx(16000, abs=1700)
    assert pitch_of(got, 16000) == pytest.approx(440, abs=3)


def test_stereo_is_the_mean(make_sound: Make) -> None:
    left, right = tone(16000), np.zeros(16000)
    got = read_audio(make_sound("voice.wav", np.stack([left, right], 1), 16000))
    assert np.abs(got - left / 2).max() < 1e-3
    both = read_audio(make_sound("both.wav", np.stack([left, left], 1) * 1.99, 16000))
    assert np.abs(both).max() <= 1.0
    assert np.abs(both - left * 1.99).max() < 1e-3


def test_surround_keeps_the_centre_and_drops_the_bass(make_sound: Make) -> None:
    channels = np.zeros((16000, 6))
    channels[:, 2] = tone(16000)
    centre = read_audio(make_sound("centre.wav", channels, 16000, format="WAVEX"))
    assert np.abs(centre).max() > 0.12  # a plain mean over six channels leaves 0.083
    channels = np.zeros((16000, 6))
    channels[:, 3] = tone(16000)
    assert np.abs(read_audio(make_sound("bass.wav", channels, 16000, format="WAVEX"))).max() == 0


def test_not_finite_samples_become_silence(make_sound: Make) -> None:
    samples = tone(48000)
    samples[1000:1100] = np.nan
    samples[2000], samples[2001] = np.inf, -np.inf
    warnings: list[str] = []
    got = read_audio(make_sound("voice.wav", samples, 48000, subtype="FLOAT"), warnings=warnings)
    assert np.isfinite(got).all()
    assert np.abs(got).max() < 0.7
    assert any("102 samples were NaN or infinite" in w for w in warnings)


def test_all_nan_is_silence(make_sound: Make) -> None:
    warnings: list[str] = []
    got = read_audio(make_sound("voice.wav", np.full(16000, np.nan), 16000, subtype="FLOAT"), warnings=warnings)
    assert not got.any()
    assert any("silence" in w for w in warnings)


def test_unscaled_float_samples_are_clipped_and_noted(make_sound: Make) -> None:
    warnings: list[str] = []
    got = read_audio(make_sound("voice.wav", tone(16000) * 32768, 16000, subtype="FLOAT"), warnings=warnings)
    assert np.abs(got).max() == 1.0
    assert any("full scale" in w for w in warnings)


def test_silence_is_no_error_but_noted(make_sound: Make) -> None:
    blocks = audio_blocks(make_sound("quiet.wav", np.zeros(16000)))
    assert [(start, block.size) for start, block in blocks] == [(0.0, 16000)]
    assert any("digital silence" in w for w in blocks.warnings)


def test_blocks_have_the_asked_length_and_join_to_the_whole(make_sound: Make) -> None:
    path = make_sound("voice.wav", tone(44100, 3.3), 44100)
    blocks = list(audio_blocks(path, rate=8000, seconds=0.5))
    assert [start for start, _ in blocks] == [0.5 * i for i in range(7)]
    assert [block.size for _, block in blocks[:-1]] == [4000] * 6
    assert 0 < blocks[-1][1].size < 4000
    assert np.array_equal(np.concatenate([block for _, block in blocks]), read_audio(path, rate=8000))


def test_block_of_exact_length_has_no_empty_rest(make_sound: Make) -> None:
    assert len(list(audio_blocks(make_sound("voice.wav", tone(16000, 2.0)), seconds=1.0))) == 2


def test_no_samples_is_an_error(make_sound: Make) -> None:
    with pytest.raises(MediaError, match=r"empty\.wav: .*no audio samples"):
        read_audio(make_sound("empty.wav", np.zeros(0)))
    with pytest.raises(MediaError, match="no audio samples"):
        media.probe(make_sound("empty.wav", np.zeros(0)))


def test_one_sample(make_sound: Make) -> None:
    assert read_audio(make_sound("short.wav", np.array([0.5]))).tolist() == [0.5]


def test_video_without_sound_is_told_apart(make_video: Make) -> None:
    path = make_video("clip.mp4", 3)
    with pytest.raises(media.NoAudioError, match="no audio stream"):
        audio_blocks(path)
    assert not media.probe(path).has_audio


def test_sound_of_a_video(make_video: Make) -> None:
    path = make_video("clip.mp4", 60, sound=tone(16000, 2.0))
    got = read_audio(path)
    assert got.size == pytest.approx(32000, abs=1100)
    assert pitch_of(got, 16000) == pytest.approx(440, abs=3)


def test_late_sound_is_preceded_by_silence(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as out:
        picture = out.add_stream("mjpeg", rate=10)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
        voice = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = number
            out.mux(picture.encode(frame))
        for begin in (*range(16000, 24000, 800), *range(32000, 40000, 800)):  # 1.0-1.5 s and 2.0-2.5 s
            block = av.AudioFrame.from_ndarray(np.full((1, 800), 8000, np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = 16000, begin
            out.mux(voice.encode(block))
        out.mux(picture.encode(None))
        out.mux(voice.encode(None))
    loud = read_audio(path) > 0.1
    assert loud.size == pytest.approx(40000, abs=100)
    assert not loud[:15900].any()
    assert loud[16100:23900].all()
    assert not loud[24100:31900].any()
    assert loud[32100:39900].all()


def test_damaged_packets_are_passed_over(tmp_path: Path, make_sound: Make) -> None:
    data = bytearray(make_sound("voice.flac", np.random.default_rng(0).normal(0, 0.1, 160000)).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = np.random.default_rng(1).bytes(9000)
    broken = tmp_path / "broken.flac"
    broken.write_bytes(data)
    blocks = audio_blocks(broken)
    got = np.concatenate([block for _, block in blocks])
    assert got.size == pytest.approx(160000, rel=0.02)
    assert np.abs(got[-16000:]).max() > 0.1
    assert blocks.warnings


def test_cut_off_sound_gives_what_it_has(tmp_path: Path, make_video: Make) -> None:
    whole = make_video("whole.mp4", 300, sound=tone(16000, 10.0), container={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    warnings: list[str] = []
    got = read_audio(cut, warnings=warnings)
    assert 16000 < got.size < 144000
    assert any("cut off" in w for w in warnings)


def test_rate_change_in_the_middle(tmp_path: Path, make_sound: Make) -> None:
    path = tmp_path / "both.mp3"
    parts = [make_sound(f"{rate}.mp3", tone(rate, 2.0), rate).read_bytes() for rate in (44100, 22050)]
    path.write_bytes(b"".join(parts))
    got = read_audio(path)
    assert got.size == pytest.approx(64000, rel=0.1)
    assert pitch_of(got[-16000:], 16000) == pytest.approx(440, abs=5)


def test_bad_arguments(make_sound: Make) -> None:
    path = make_sound()
    for options in ({"rate": 0}, {"seconds": 0}, {"seconds": float("inf")}):
        with pytest.raises(MediaError):
            audio_blocks(path, **options)


def test_close_half_way(make_sound: Make) -> None:
    with audio_blocks(make_sound("voice.wav", tone(16000, 3.0)), seconds=1) as blocks:
        assert next(blocks)[0] == 0
    assert list(blocks) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory figures of Linux")
def test_memory_does_not_grow_with_length(make_sound: Make) -> None:
    script = (
        "import pathlib, re, sys\n"
        "from affectus.media import audio_blocks\n"
        "for start, block in audio_blocks(sys.argv[1], seconds=5): pass\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    peaks = []
    for seconds in (20, 1200):
        path = make_sound(f"{seconds}.wav", tone(16000, seconds), 16000, subtype="PCM_16")
        run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] < peaks[0] * 1.2  # all 1200 s as float32 would be 77 MB more
