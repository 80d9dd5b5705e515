"""Sampled frames of all kinds of video."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from affectus import media
from affectus.errors import MediaError
from affectus.media.video import video_frames
from affectus.types import Frame

Make = Callable[..., Path]
QUARTER_TURN_CLOCKWISE = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
MIRRORED = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


def corner_picture(width: int = 96, height: int = 64) -> np.ndarray:
    """Dark picture with a bright red block in its top left corner and a green one in its top right."""
    picture = np.full((height, width, 3), 30, np.uint8)
    picture[: height // 3, : width // 3] = (255, 0, 0)
    picture[: height // 3, -width // 3 :] = (0, 255, 0)
    return picture


def level(frame: Frame) -> float:
    return float(frame.image.mean())


def threads() -> int:
    return sum(thread.name == "affectus-video" for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("clip.mp4", "libx264", "yuv420p"),
        ("clip.mkv", "libx264", "yuv420p"),
        ("clip.ts", "libx264", "yuv420p"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.avi", "mpeg4", "yuv420p"),
        ("clip.mov", "mjpeg", "yuvj420p"),
    ],
)
def test_samples_by_time_in_many_formats(make_video: Make, name: str, codec: str, pixels: str) -> None:
    frames = list(video_frames(make_video(name, 90, codec=codec, pixels=pixels), fps=5))
    assert [f.index for f in frames] == list(range(15))
    # Non-reference pictures may be passed over, so a frame may come up to two source frames late.
    assert np.abs(np.array([f.time for f in frames]) - np.arange(15) / 5).max() <= 2.1 / 30
    expected = [20 + 215 * round(f.time * 30) / 89 for f in frames]
    assert np.abs(np.array([level(f) for f in frames]) - expected).max() < 6
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.shape == (48, 64, 3)


def test_every_frame_with_infinite_rate(make_video: Make) -> None:
    frames = list(video_frames(make_video("clip.mp4", 47), fps=math.inf))
    assert len(frames) == 47
    assert np.allclose([f.time for f in frames], np.arange(47) / 30, atol=1e-3)


def test_never_more_frames_than_the_source_has(make_video: Make) -> None:
    assert len(list(video_frames(make_video("slow.mp4", 8, rate=2), fps=25))) == 8


def test_sparse_sampling_equals_dense_sampling_at_the_same_times(make_video: Make) -> None:
    path = make_video("clip.mp4", 300, options={"g": "12", "bf": "2"})
    dense = {round(f.time, 3): level(f) for f in video_frames(path, fps=math.inf)}
    sparse = list(video_frames(path, fps=0.5))
    assert len(sparse) == 5
    assert np.allclose([f.time for f in sparse], np.arange(0, 10, 2), atol=2.1 / 30)
    assert all(abs(dense[round(f.time, 3)] - level(f)) < 0.5 for f in sparse)


def test_stream_with_a_single_key_frame(make_video: Make) -> None:
    frames = list(video_frames(make_video("clip.mp4", 240, options={"g": "10000", "sc_threshold": "0"}), fps=1))
    assert np.allclose([f.time for f in frames], np.arange(8), atol=2.1 / 30)


def test_few_reference_frames_do_not_thin_out_the_grid(make_video: Make) -> None:
    path = make_video("clip.mp4", 120, options={"bf": "16", "b_strategy": "0", "x264-params": "b-pyramid=none:g=250"})
    assert len(list(video_frames(path, fps=5))) >= 18


def test_variable_frame_rate_keeps_real_times(make_video: Make) -> None:
    times = [0, 0.04, 0.1, 0.5, 0.54, 2.0, 2.04, 2.3]
    frames = list(video_frames(make_video("clip.mkv", 8, times=times), fps=10))
    assert np.allclose([f.time for f in frames], [0, 0.1, 0.5, 2.0, 2.3], atol=0.002)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.mkv"])
def test_span(make_video: Make, name: str) -> None:
    path = make_video(name, 300, options={"g": "30"})
    frames = list(video_frames(path, fps=5, start=7.0, end=8.0))
    assert len(frames) == 5
    assert np.allclose([f.time for f in frames], np.arange(7, 8, 0.2), atol=2.1 / 30)
    assert frames[0].index == 0
    assert np.abs(level(frames[0]) - (20 + 215 * round(frames[0].time * 30) / 299)) < 6


def test_span_after_the_end_is_empty(make_video: Make) -> None:
    assert list(video_frames(make_video("clip.mp4", 30), start=100)) == []


def test_raw_stream_without_time_stamps_counts_frames(make_video: Make) -> None:
    frames = list(video_frames(make_video("clip.h264", 50, rate=25), fps=5))
    assert len(frames) == 10
    assert np.allclose(np.diff([f.time for f in frames]), 0.2, atol=0.01)


def test_late_and_negative_time_stamps_start_at_zero(make_video: Make) -> None:
    for shift in (1000.0, -0.4):
        times = [shift + i / 10 for i in range(10)]
        frames = list(video_frames(make_video("clip.ts", 10, times=times), fps=10))
        assert frames[0].time == pytest.approx(0, abs=0.01)
        assert frames[-1].time == pytest.approx(0.9, abs=0.02)


def test_restarting_clock_goes_on_and_is_noted(tmp_path: Path, make_video: Make) -> None:
    one = make_video("one.ts", 90).read_bytes()
    glued = tmp_path / "glued.ts"
    glued.write_bytes(one + one)
    iterator = video_frames(glued, fps=5)
    times = [f.time for f in iterator]
    assert len(times) >= 28
    assert np.all(np.diff(times) > 0)
    assert times[-1] == pytest.approx(6.0, abs=0.4)
    assert any("jump back" in w for w in iterator.warnings)


def test_one_frame_video_gives_one_frame(make_video: Make) -> None:
    for name in ("clip.mp4", "clip.mkv", "clip.ts"):
        frames = list(video_frames(make_video(name, 1)))
        assert [(f.index, f.time) for f in frames] == [(0, 0.0)]


def test_rotation_is_applied(make_video: Make) -> None:
    picture = corner_picture()
    path = make_video("clip.mp4", [picture] * 5, size=(96, 64), matrix=QUARTER_TURN_CLOCKWISE)
    image = next(video_frames(path)).image
    assert image.shape == (96, 64, 3)
    expected = np.rot90(picture, -1)
    assert np.abs(image.astype(int) - expected).mean() < 12
    info = media.probe(path)
    assert (info.width, info.height) == (64, 96)


def test_mirror_flag_is_applied(make_video: Make) -> None:
    picture = corner_picture()
    path = make_video("clip.mp4", [picture] * 5, size=(96, 64), matrix=MIRRORED)
    assert np.abs(next(video_frames(path)).image.astype(int) - picture[:, ::-1]).mean() < 12


def test_odd_sizes(make_video: Make) -> None:
    pictures = [corner_picture(101, 67)] * 3
    path = make_video("clip.mkv", pictures, size=(101, 67), codec="ffv1", pixels="yuv444p")
    image = next(video_frames(path)).image
    assert image.shape == (67, 101, 3)
    assert np.abs(image.astype(int) - pictures[0]).mean() < 3
    assert next(video_frames(path, max_side=51)).image.shape == (34, 51, 3)


def test_tiny_video(make_video: Make) -> None:
    assert next(video_frames(make_video("clip.mp4", 3, size=(16, 16)))).image.shape == (16, 16, 3)


def test_scaled_down_but_never_up(make_video: Make) -> None:
    path = make_video("clip.mp4", 2, size=(640, 360))
    assert next(video_frames(path, max_side=320)).image.shape == (180, 320, 3)
    assert next(video_frames(path, max_side=4000)).image.shape == (360, 640, 3)


def test_pixel_aspect_gives_square_pixels(make_video: Make) -> None:
    path = make_video("clip.mp4", 2, size=(72, 58), aspect=Fraction(16, 11))
    assert next(video_frames(path)).image.shape == (58, 105, 3)
    assert media.probe(path).width == 105


def test_colours_survive(make_video: Make) -> None:
    colour = np.array((200, 60, 30), np.uint8)
    path = make_video("clip.mp4", [np.broadcast_to(colour, (48, 64, 3)).copy()] * 3)
    assert np.abs(next(video_frames(path)).image.reshape(-1, 3).mean(0) - colour).max() < 6


def test_ten_bit_video(make_video: Make) -> None:
    path = make_video("clip.mp4", 30, codec="libx265", pixels="yuv420p10le", options={"x265-params": "log-level=0"})
    frames = list(video_frames(path, fps=30))
    assert len(frames) == 30
    assert level(frames[-1]) == pytest.approx(235, abs=4)


def test_cut_off_file_gives_its_frames_and_a_warning(tmp_path: Path, make_video: Make) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 48, 64, 3), dtype=np.uint8)
    whole = make_video("whole.mp4", list(noise), container={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    iterator = video_frames(cut, fps=10)
    frames = list(iterator)
    assert 8 <= len(frames) <= 22
    assert any("cut off" in w for w in iterator.warnings)


def test_damaged_middle_is_passed_over(tmp_path: Path, make_video: Make) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 48, 64, 3), dtype=np.uint8)
    data = bytearray(make_video("whole.avi", list(noise), codec="mjpeg", pixels="yuvj420p").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(data)
    times = [f.time for f in video_frames(broken, fps=math.inf)]
    assert len(times) > 60
    assert max(times) > 2.5


def test_nothing_decodable_is_an_error(tmp_path: Path, make_video: Make) -> None:
    data = bytearray(make_video("whole.mp4", 30).read_bytes())
    begin = data.index(b"mdat") + 4
    size = int.from_bytes(data[begin - 8 : begin - 4], "big")
    data[begin : begin + size - 8] = b"\xa5" * (size - 8)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with pytest.raises(MediaError, match=r"broken\.mp4: not one picture"):
        list(video_frames(broken))


def test_sound_without_pictures(make_sound: Callable[..., Path]) -> None:
    with pytest.raises(media.NoVideoError, match="no video stream"):
        video_frames(make_sound("voice.wav"))


def test_cover_art_is_no_video(make_cover: Callable[..., Path]) -> None:
    path = make_cover("song.mp3")
    assert media.probe(path).kind == "audio"
    with pytest.raises(media.NoVideoError):
        video_frames(path)


def test_bad_arguments(make_video: Make) -> None:
    path = make_video("clip.mp4", 3)
    for options in ({"fps": 0}, {"fps": math.nan}, {"max_side": 1}, {"start": -1}, {"start": 2, "end": 1}):
        with pytest.raises(MediaError):
            video_frames(path, **options)


def test_name_with_protocol_or_pattern_is_just_a_name(tmp_path: Path, make_video: Make) -> None:
    for name in ("http:clip%03d.mp4", "a b'\"é.mp4"):
        path = make_video("clip.mp4", 3).rename(tmp_path / name)
        assert len(list(video_frames(path, fps=30))) == 3


def test_leaving_early_ends_the_thread(make_video: Make) -> None:
    path = make_video("clip.mp4", 300)
    before = threads()
    with video_frames(path, fps=math.inf) as iterator:
        assert next(iterator).index == 0
        assert threads() == before + 1
    assert threads() == before
    assert list(iterator) == []


def test_dropped_iterator_ends_the_thread(make_video: Make) -> None:
    path = make_video("clip.mp4", 300)
    before = threads()
    for frame in video_frames(path, fps=math.inf):
        assert frame.index == 0
        break
    gc.collect()
    assert wait_until(lambda: threads() == before)


def test_unused_iterator_starts_no_thread(make_video: Make) -> None:
    before = threads()
    iterator = video_frames(make_video("clip.mp4", 3))
    assert threads() == before
    iterator.close()
    iterator.close()


def test_thread_waits_for_a_slow_reader(make_video: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    produced: list[int] = []
    from affectus.media import video

    original = video._Decoder._pixels
    monkeypatch.setattr(video._Decoder, "_pixels", lambda self, p: produced.append(1) or original(self, p))
    with video_frames(make_video("clip.mp4", 300), fps=math.inf) as iterator:
        next(iterator)
        assert wait_until(lambda: len(produced) >= video.QUEUE_LENGTH)
        time.sleep(0.1)
        assert len(produced) <= video.QUEUE_LENGTH + 3
        assert len(list(iterator)) == 299


def test_two_readers_of_one_file(make_video: Make) -> None:
    path = make_video("clip.mp4", 60)
    pairs = list(zip(video_frames(path, fps=10), video_frames(path, fps=10), strict=True))
    assert len(pairs) == 20
    assert all(np.array_equal(a.image, b.image) for a, b in pairs)


def test_error_in_the_thread_reaches_the_reader(make_video: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectus.media import video

    def fail(*_: object) -> np.ndarray:
        raise MemoryError("no room")

    monkeypatch.setattr(video._Decoder, "_pixels", fail)
    with pytest.raises(MemoryError):
        next(video_frames(make_video("clip.mp4", 3)))


def test_resolution_change_in_the_middle(tmp_path: Path, make_video: Make) -> None:
    small = make_video("one.ts", 30, size=(64, 48)).read_bytes()
    large = make_video("two.ts", 30, size=(128, 96)).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(small + large)
    shapes = {f.image.shape for f in video_frames(path, fps=10)}
    assert shapes == {(48, 64, 3), (96, 128, 3)}


def test_gray_video(make_video: Make) -> None:
    path = make_video("clip.mkv", 3, codec="ffv1", pixels="gray")
    assert next(video_frames(path)).image.shape == (48, 64, 3)


def test_reads_what_pyav_decodes(make_video: Make) -> None:
    path = make_video("clip.mp4", 20)
    with av.open(str(path)) as container:
        reference = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    ours = [frame.image for frame in video_frames(path, fps=math.inf)]
    assert all(np.abs(a.astype(int) - b).max() <= 2 for a, b in zip(reference, ours, strict=True))
