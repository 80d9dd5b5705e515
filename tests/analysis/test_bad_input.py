"""Input that is broken, odd or extreme: one clear reason naming the file, or a result with a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectus import analyze
from affectus.errors import AffectusError
from affectus.types import Timeline

pytestmark = pytest.mark.assets


def facts(timeline: Timeline) -> dict:
    return next(iter(timeline.meta["files"].values()))


def tracks(timeline: Timeline) -> set[int]:
    return {row["track"] for row in timeline.filter(space="decision").to_rows() if row["track"] >= 0}


def refused(path: Path, reason: str, **options: object) -> None:
    """Analysing fails with one line that names the file and the reason."""
    with pytest.raises(AffectusError, match=reason) as caught:
        analyze(path, **options)  # type: ignore[arg-type]
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["clip.mp4", "voice.wav", "photo.jpg", "diary.txt", "film.srt", "table.csv"])
def test_zero_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty")


@pytest.mark.parametrize("name", ["diary.txt", "film.srt", "table.csv", "notes.md"])
def test_nothing_but_white_space(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n  \n\t\n")
    refused(tmp_path / name, "no text|white space|no subtitle|no row")


def test_missing_and_folder_like_paths(tmp_path: Path) -> None:
    refused(tmp_path / "gone.mp4", "no such file")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"PK\x03\x04" + bytes(3000), "zip"),
        ("a.wav", b"just a plain sentence, nothing else", "plain text"),
        ("a.txt", bytes(range(256)) * 20, "binary|control"),
        ("a.bin", bytes(range(7, 250)) * 20, "no video, sound, picture or text"),
        ("a.jpg", b"\xff\xd8\xff\xe0" + bytes(2000), "damaged"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(5000), "damaged or cut off"),
        ("a.pdf", b"%PDF-1.7\n" + bytes(3000), "PDF"),
    ],
)
def test_what_is_no_medium(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, reason)


def test_wrong_extension_is_told_by_content(tmp_path: Path, samples: Path) -> None:
    path = tmp_path / "picture.mp4"
    path.write_bytes((samples / "single_face.jpg").read_bytes())
    timeline = analyze(path)
    assert facts(timeline)["kind"] == "image"
    assert tracks(timeline) == {0}


def test_a_video_cut_off_in_the_middle_gives_what_it_has(
    make_video: Callable[..., Path], face: np.ndarray, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    small = cv2.resize(face, (160, 160))
    pictures = [np.clip(small + rng.integers(-8, 8, small.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    whole = make_video("whole.mkv", pictures)
    half = tmp_path / "half.mkv"
    content = whole.read_bytes()
    half.write_bytes(content[: len(content) // 2])
    timeline = analyze(half, modalities="face")
    assert 5 < timeline.filter(space="decision").table.num_rows < 12
    assert any("cut off" in warning for warning in facts(timeline)["warnings"])
    headless = tmp_path / "half.mp4"
    headless.write_bytes(make_video("whole.mp4", pictures).read_bytes()[:4000])
    refused(headless, "damaged or cut off")


def test_sound_without_speech(make_sound: Callable[..., Path]) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(48000) / 16000)
    timeline = analyze(make_sound("tone.wav", tone))
    assert len(timeline) == 0
    assert any("no speech" in warning for warning in facts(timeline)["warnings"])
    silent = analyze(make_sound("silence.wav", np.zeros(32000)))
    assert any("silence" in warning for warning in facts(silent)["warnings"])


def test_video_without_sound_and_without_faces(make_video: Callable[..., Path]) -> None:
    timeline = analyze(make_video("grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 10))
    assert any("no face" in warning for warning in facts(timeline)["warnings"])
    assert "no sound" in facts(timeline)["missing"]["voice"]
    assert {row["source"] for row in timeline.to_rows()} == {"scene"}
    refused(Path(timeline.files[0]), "no sound", modalities="voice")


def test_thirty_faces(make_video: Callable[..., Path], face: np.ndarray) -> None:
    tile = cv2.resize(face, (160, 160))
    crowd = np.tile(tile, (5, 6, 1))
    rng = np.random.default_rng(1)
    frames = [np.clip(crowd + rng.integers(-3, 4, crowd.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    timeline = analyze(make_video("crowd.mp4", frames), modalities="face")
    assert len(tracks(timeline)) == 30
    assert len(facts(timeline)["thumbnails"]) == 30


def test_one_frame(make_video: Callable[..., Path], face: np.ndarray) -> None:
    timeline = analyze(make_video("one.mp4", [cv2.resize(face, (320, 320))]))
    assert tracks(timeline) == {0}
    assert timeline.filter(space="decision").table.num_rows == 1


def test_a_face_seen_once_in_a_long_recording_is_left_out(make_video: Callable[..., Path], face: np.ndarray) -> None:
    blank = np.full((320, 320, 3), 120, np.uint8)
    timeline = analyze(make_video("blink.mp4", [blank] * 10 + [cv2.resize(face, (320, 320))] + [blank] * 10))
    assert tracks(timeline) == set()
    assert any("only for a moment" in warning for warning in facts(timeline)["warnings"])


def test_nan_and_infinite_samples(make_sound: Callable[..., Path], speech: np.ndarray) -> None:
    broken = speech.copy()
    broken[20000:24000] = np.nan
    broken[60000] = np.inf
    timeline = analyze(make_sound("nan.wav", broken, subtype="FLOAT"), modalities="voice")
    assert timeline.filter(space="decision").table.num_rows > 3
    assert any("NaN" in warning for warning in facts(timeline)["warnings"])
    scores = timeline.filter(source="voice", space="ravdess8").table["score"].to_numpy()
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("rate", [8000, 96000])
def test_sampling_rates(make_sound: Callable[..., Path], speech: np.ndarray, rate: int) -> None:
    at = np.arange(0, len(speech) - 1, 16000 / rate)
    timeline = analyze(make_sound("voice.wav", np.interp(at, np.arange(len(speech)), speech), rate), modalities="voice")
    assert timeline.filter(space="decision").table.num_rows > 4


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels(make_sound: Callable[..., Path], speech: np.ndarray, channels: int) -> None:
    many = np.zeros((len(speech), channels))
    many[:, 2 if channels == 6 else 0] = speech
    timeline = analyze(make_sound("voice.wav", many), modalities="voice")
    assert timeline.filter(space="decision").table.num_rows > 4


def test_4k_and_16_pixels(make_video: Callable[..., Path], face: np.ndarray) -> None:
    large = cv2.resize(face, (2160, 2160))
    wide = np.pad(large, ((0, 0), (840, 840), (0, 0)))
    timeline = analyze(make_video("large.mp4", [wide] * 3), modalities="face")
    assert tracks(timeline) == {0}
    assert facts(timeline)["width"] == 3840
    tiny = analyze(make_video("tiny.mp4", [np.full((16, 16, 3), 100, np.uint8)] * 5))
    assert any("no face" in warning for warning in facts(tiny)["warnings"])


@pytest.mark.parametrize("kind", ["grey", "cmyk", "sixteen", "animated", "transparent", "tiny"])
def test_odd_pictures(tmp_path: Path, face: np.ndarray, kind: str) -> None:
    from PIL import Image

    photo = Image.fromarray(cv2.resize(face, (300, 300)))
    path = tmp_path / "photo.png"
    if kind == "grey":
        photo.convert("L").save(path)
    elif kind == "cmyk":
        path = tmp_path / "photo.jpg"
        photo.convert("CMYK").save(path)
    elif kind == "sixteen":
        deep = np.asarray(photo.convert("L"), np.uint16) * 257
        Image.fromarray(deep).save(path)
    elif kind == "animated":
        path = tmp_path / "photo.gif"
        photo.save(path, save_all=True, append_images=[photo.rotate(5), photo.rotate(10)])
    elif kind == "transparent":
        photo.putalpha(200)
        photo.save(path)
    else:
        photo.resize((16, 16)).save(path)
    timeline = analyze(path)
    assert facts(timeline)["kind"] == "image"
    if kind != "tiny":
        assert tracks(timeline) == {0}
    if kind == "animated":
        assert any("first frame" in warning for warning in facts(timeline)["warnings"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_text_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes("I am so glad about the café and the naïve Zoë.".encode(encoding))
    timeline = analyze(path)
    assert "café" in timeline.filter(space="transcript").to_rows()[0]["text"]
    assert timeline.filter(space="decision").to_rows()[0]["label"] == "happiness"


def test_empty_lines_emoji_and_right_to_left(tmp_path: Path) -> None:
    path = tmp_path / "diary.txt"
    path.write_text("\n\nI am glad 😀👩‍👩‍👧\n\n\nأنا سعيد جدا اليوم\n\n😢\n", encoding="utf-8")
    timeline = analyze(path)
    texts = [row["text"] for row in timeline.filter(space="transcript").to_rows()]
    assert texts == ["I am glad 😀👩‍👩‍👧", "أنا سعيد جدا اليوم", "😢"]
    assert [row["frame"] for row in timeline.filter(space="decision").to_rows()] == [0]
    assert any("not in Latin script" in warning for warning in facts(timeline)["warnings"])
    assert any("1 of 3 turns hold no word" in warning for warning in facts(timeline)["warnings"])


def test_text_in_another_language_is_not_scored(tmp_path: Path) -> None:
    path = tmp_path / "gesetz.txt"
    path.write_text(
        "Die Würde des Menschen ist unantastbar. Sie zu achten ist Verpflichtung aller staatlichen Gewalt.\n" * 20
    )
    refused(path, "does not look English")
    assert len(analyze(path, language="en").filter(space="decision")) == 40
    refused(path, "knows English only", language="de")


def test_one_line_of_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("glad and sad " * 80000)
    timeline = analyze(path)
    assert path.stat().st_size > 1_000_000
    turns = timeline.filter(space="transcript").table["text"].to_pylist()
    assert max(map(len, turns)) <= 400
    assert sum(text.count("glad") for text in turns) == 80000
    assert timeline.filter(space="explanation").table.num_rows <= 200
    assert timeline.filter(space="decision").table.num_rows == len(turns)


def test_a_broken_transcript_names_itself(make_sound: Callable[..., Path], speech: np.ndarray, tmp_path: Path) -> None:
    path = make_sound("voice.wav", speech)
    (tmp_path / "said.srt").touch()
    with pytest.raises(AffectusError, match=r"said\.srt: is empty"):
        analyze(path, transcript=tmp_path / "said.srt")
