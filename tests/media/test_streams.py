"""Pictures and sound from bytes in memory are those of the file; errors call them by the name given."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from affectus.errors import MediaError
from affectus.media import NoAudioError, audio_blocks, read_audio, read_image

Make = Callable[..., Path]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=orientation)
    stream = io.BytesIO(path.read_bytes())
    stream.seek(5)  # reading starts at the beginning all the same
    assert read_image(path).shape == (40, 30, 3)
    assert np.array_equal(read_image("archive.tar::a", stream=stream), read_image(path))
    small = read_image("archive.tar::a", 20, stream=io.BytesIO(path.read_bytes()))
    assert np.array_equal(small, read_image(path, 20))


@pytest.mark.parametrize("name", ["voice.wav", "voice.flac", "voice.mp3"])
def test_sound(make_sound: Make, name: str) -> None:
    path = make_sound(name, np.sin(np.arange(30000) / 9)[:, None].repeat(2, 1), 44100)
    stream = io.BytesIO(path.read_bytes())
    assert np.array_equal(read_audio("x", stream=stream), read_audio(path))
    blocks = [block for _, block in audio_blocks("x", seconds=0.1, stream=io.BytesIO(path.read_bytes()))]
    assert np.array_equal(np.concatenate(blocks), read_audio(path))


def test_sound_of_a_video_and_a_member_of_a_zip(make_video: Make, tmp_path: Path) -> None:
    path = make_video("clip.mp4", sound=np.sin(np.arange(16000) / 9) / 2)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.write(path, "clip.mp4")
    with zipfile.ZipFile(tmp_path / "clips.zip") as archive, archive.open("clip.mp4") as member:
        assert np.array_equal(read_audio("clip.mp4", stream=member), read_audio(path))  # type: ignore[arg-type]
    silent = make_video("silent.mp4")
    with pytest.raises(NoAudioError, match=r"^clips\.zip::silent\.mp4: no audio stream"):
        read_audio("clips.zip::silent.mp4", stream=io.BytesIO(silent.read_bytes()))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\nnothing", b"plain text, no picture and no sound at all"])
def test_errors_name_the_item(data: bytes) -> None:
    with pytest.raises(MediaError, match=r"^faces\.tar::a\.png: "):
        read_image("faces.tar::a.png", stream=io.BytesIO(data))
    with pytest.raises(MediaError, match=r"^clips\.tar::a\.wav: "):
        read_audio("clips.tar::a.wav", stream=io.BytesIO(data))


def test_a_play_list_in_a_stream_leads_nowhere(make_sound: Make) -> None:
    path = make_sound("voice.wav", np.sin(np.arange(8000) / 9), 16000)
    for text in (f"ffconcat version 1.0\nfile '{path}'\n", f"#EXTM3U\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n"):
        with pytest.raises(MediaError):
            read_audio("list", stream=io.BytesIO(text.encode()))
