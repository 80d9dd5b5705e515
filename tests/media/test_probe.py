"""Telling files apart by content, and one clear line for what is no media."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from affectus import media
from affectus.errors import MediaError

Make = Callable[..., Path]


def test_video(make_video: Make) -> None:
    info = media.probe(make_video("clip.mp4", 60, sound=np.zeros(32000)))
    assert (info.kind, info.width, info.height) == ("video", 64, 48)
    assert info.duration == pytest.approx(2.0, abs=0.1)
    assert info.fps == pytest.approx(30)
    assert info.has_video
    assert info.has_audio
    assert (info.rate, info.channels) == (16000, 1)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.webm", "clip.avi", "clip.ts", "clip.mov"])
def test_containers(make_video: Make, name: str) -> None:
    codec = {"clip.webm": "libvpx", "clip.avi": "mpeg4"}.get(name, "libx264")
    info = media.probe(make_video(name, 30, codec=codec))
    assert info.kind == "video"
    assert info.duration == pytest.approx(1.0, abs=0.1)
    assert not info.has_audio


@pytest.mark.parametrize("name", ["v.wav", "v.flac", "v.ogg", "v.mp3", "v.aiff", "v.au", "v.caf", "v.w64"])
def test_sound(make_sound: Make, name: str) -> None:
    info = media.probe(make_sound(name, np.random.default_rng(0).normal(0, 0.1, (44100, 2)), 44100))
    assert (info.kind, info.rate, info.channels) == ("audio", 44100, 2)
    assert info.duration == pytest.approx(1.0, abs=0.1)
    assert not info.has_video


def test_of_several_sound_tracks_the_one_that_is_heard_is_named(tmp_path: Path) -> None:
    import av
    from av.stream import Disposition

    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams: list[Any] = [out.add_stream("aac", rate=16000, layout="mono") for _ in range(2)]
        streams[1].metadata["language"] = "eng"
        streams[1].disposition = Disposition.default
        for stream in streams:
            for begin in range(0, 8192, 1024):
                block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                block.sample_rate, block.pts = 16000, begin
                out.mux(stream.encode(block))
            out.mux(stream.encode(None))
    info = media.probe(tmp_path / "a.mkv")
    assert info.warnings == ("of 2 sound tracks only number 2 (eng) is heard",)


def test_unstated_duration_is_found_by_reading(make_video: Make) -> None:
    info = media.probe(make_video("clip.mkv", 60, container={"live": "1"}))
    assert info.duration == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", "I am fine.", "text"),
        ("a.md", "# I am fine", "text"),
        ("no_suffix", "I am fine.", "text"),
        ("a.log", "I am fine.", "text"),
        ("a.csv", "text\nI am fine", "table"),
        ("a.tsv", "text\tid\nI am fine\t1", "table"),
        ("a.jsonl", '{"text": "fine"}', "table"),
        ("a.txt", '{"text": "fine"}', "table"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nHi", "subtitles"),
        ("a.txt", "1\n00:00:01,000 --> 00:00:02,000\nHi", "subtitles"),
        ("a.txt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHi", "subtitles"),
        ("a.srt", "nothing of the kind", "subtitles"),
    ],
)
def test_text_kinds(tmp_path: Path, name: str, content: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    info = media.probe(path)
    assert info.kind == kind
    assert (info.duration, info.has_audio, info.has_video) == (0, False, False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp932", "gb18030"])
def test_text_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    text = "hello world, how are you?" if encoding == "utf-16-le" else "今日はとても嬉しいです。ありがとう。"
    path.write_bytes(text.encode(encoding))
    assert media.probe(path).kind == "text"


def test_wrong_names_do_not_matter(make_video: Make, make_sound: Make, tmp_path: Path) -> None:
    assert media.probe(make_video("clip.mp4", 3).rename(tmp_path / "clip.txt")).kind == "video"
    assert media.probe(make_sound("voice.wav").rename(tmp_path / "voice.jpg")).kind == "audio"
    assert media.probe(make_sound("quiet.wav", np.zeros(16000)).rename(tmp_path / "quiet.csv")).kind == "audio"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert media.probe((tmp_path / "a.png").rename(tmp_path / "a.wav")).kind == "image"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"", "is empty"),
        ("a.txt", b"", "is empty"),
        ("a.pdf", b"%PDF-1.7 ...", "a PDF document"),
        ("a.docx", b"PK\x03\x04" + bytes(100), "a zip archive or office document"),
        ("a.mp4", b"\x7fELF" + bytes(100), "a program"),
        ("a.gz", b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:9,\nhttp://example.org/a.ts\n", "a play list"),
        ("a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "a play list"),
        ("a.html", b"<!DOCTYPE html><html></html>", "an HTML or XML document"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "an HTML or XML document"),
        ("a.svg", b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        ("a.rtf", b"{\\rtf1 hello}", "an RTF document"),
        ("a.ass", b"[Script Info]\nTitle: x\n", "an ASS subtitle file"),
        ("clip.mp4", b"just some words", "named .mp4 but holds plain text"),
        ("voice.wav", b"just some words", "named .wav but holds plain text"),
        ("a.txt", b"some words \0\0\1\2 more", "holds binary data"),
        ("a.csv", bytes(range(256)) * 4, "holds binary data"),
        ("a.xyz", bytes(range(256)) * 4, "of a known kind"),
        ("a.mp4", bytes(range(256)) * 40, "not a recording"),
        ("a.wav", b"RIFF\x24\0\0\0WAVE", "WAV recording is damaged"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(300), "MP4 recording is damaged"),
        ("a.mkv", b"\x1aE\xdf\xa3" + bytes(300), "Matroska/WebM recording is damaged"),
    ],
)
def test_refused_in_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=reason) as caught:
        media.probe(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_random_bytes_under_any_name_are_a_clean_error(tmp_path: Path) -> None:
    for seed, name in enumerate(["a.mp4", "a.mkv", "a.avi", "a.wav", "a.mp3", "a.aac", "a.ogg", "a.ts", "a.bin"]):
        path = tmp_path / name
        path.write_bytes(np.random.default_rng(seed).bytes(50_000))
        with pytest.raises(MediaError):
            media.probe(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts"])
def test_every_cut_either_reads_or_is_refused(tmp_path: Path, make_video: Make, name: str) -> None:
    codec = "mpeg4" if name == "clip.avi" else "libx264"
    whole = make_video(name, 20, codec=codec, sound=np.zeros(8000)).read_bytes()
    cut = tmp_path / f"cut{Path(name).suffix}"
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:length])
        try:
            outcome = media.probe(cut).kind
        except MediaError as error:
            outcome = str(error)
        assert outcome in ("video", "audio") or outcome.startswith(str(cut))


def test_folder_missing_and_odd_paths(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="is a folder"):
        media.probe(tmp_path)
    with pytest.raises(MediaError, match="no such file"):
        media.probe(tmp_path / "missing.mp4")
    with pytest.raises(MediaError, match="neither a file nor a folder"):
        media.probe("/dev/null")
    with pytest.raises(MediaError):
        media.probe("nul\0character.mp4")
    with pytest.raises(MediaError):
        media.probe(tmp_path / ("long" * 200))


def test_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    with pytest.raises(MediaError, match="no such file"):
        media.probe(tmp_path / "link.mp4")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match=r"secret\.mp4: may not be read"):
        media.probe(path)


def test_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"x")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(MediaError, match="Input/output error"):
        media.probe(path)


def test_package_is_cheap_to_import() -> None:
    script = (
        "import sys, affectus.media as m\n"
        "heavy = {'av', 'cv2', 'PIL', 'onnxruntime', 'torch', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert callable(m.probe) and all(hasattr(m, name) for name in m.__all__)\n"
        "import affectus.media.probe\n"
        "assert callable(m.probe)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = media.nothing
