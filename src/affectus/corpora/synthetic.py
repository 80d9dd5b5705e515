"""Seeded stand-ins for corpora: drawn faces, tones, sentences and conversations that a model can learn from.

Nothing here imitates a real person or recording. Each emotion has its own mouth, brows, pitch contour and words, so a
learning test can tell whether a system picks up what it is shown. `Tiny` writes such material in published layouts.
"""

from __future__ import annotations

import csv
import json
import wave
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from affectus.corpora.bdf import bdf_bytes
from affectus.corpora.matlab import write_mat
from affectus.labels.label_space import concept_of_word
from affectus.types import Conversation, Turn

#: mouth curve, mouth opening, brow slope, brow height, eye opening (all -1…1) and pitch (Hz), wobble (Hz), loudness.
_LOOKS: dict[str, tuple[float, ...]] = {
    "neutral": (0.0, -1.0, 0.0, 0.0, 0.0, 140, 0.0, 0.3),
    "happiness": (1.0, 0.0, 0.1, 0.3, -0.2, 220, 6.0, 0.5),
    "surprise": (0.0, 1.0, 0.2, 1.0, 1.0, 300, 2.0, 0.5),
    "sadness": (-0.8, -0.8, -0.8, 0.2, -0.5, 110, 1.0, 0.15),
    "anger": (-0.5, 0.2, 1.0, -0.8, 0.3, 180, 12.0, 0.8),
    "disgust": (-0.6, -0.3, 0.5, -0.5, -0.8, 130, 9.0, 0.35),
    "fear": (-0.3, 0.6, -0.6, 0.9, 0.9, 260, 14.0, 0.3),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "neutral": ("table", "monday", "report", "number", "street"),
    "happiness": ("wonderful", "glad", "sunny", "laugh", "great"),
    "surprise": ("wow", "suddenly", "unexpected", "really", "whoa"),
    "sadness": ("lost", "alone", "miss", "tears", "gone"),
    "anger": ("hate", "furious", "stupid", "enough", "shut"),
    "disgust": ("gross", "rotten", "nasty", "yuck", "filthy"),
    "fear": ("afraid", "danger", "scared", "dark", "help"),
}
_FILLERS = ("the", "we", "then", "it", "was", "and", "there", "some", "today", "you")
_CHINESE = {
    "neutral": "会议报告", "happiness": "开心太好", "surprise": "居然突然", "sadness": "难过眼泪", "anger": "生气讨厌",
    "disgust": "恶心肮脏", "fear": "害怕危险",
}  # fmt: skip
_CHINESE_FILLERS = "我们今天去了那里然后他说这个就是"

#: Emotions that the generators know.
EMOTIONS: tuple[str, ...] = tuple(_LOOKS)


def _look(emotion: str) -> tuple[float, ...]:
    """Traits of an emotion; other labels borrow those of one chosen by their spelling, always the same."""
    if emotion in _LOOKS:
        return _LOOKS[emotion]
    return _LOOKS[EMOTIONS[sum(emotion.lower().encode()) % len(EMOTIONS)]]


def face_image(emotion: str, random: np.random.Generator, size: int = 48) -> np.ndarray:
    """A drawn face, RGB uint8 `(size, size, 3)`, with random place, skin and light."""
    curve, opening, slope, height, eyes = (v + 0.15 * random.normal() for v in _look(emotion)[:5])
    scale, canvas = 4, np.full((size * 4, size * 4, 3), random.integers(40, 200, 3), np.float32)
    unit = size * scale / 100
    x0, y0 = (50 + random.uniform(-4, 4)) * unit, (50 + random.uniform(-4, 4)) * unit

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x0 + x * unit), round(y0 + y * unit)

    skin = tuple(float(v) for v in random.integers(110, 240, 3))
    dark = tuple(0.2 * v for v in skin)
    pen = max(1, round(2.5 * unit))
    cv2.ellipse(canvas, at(0, 0), (round(34 * unit), round(42 * unit)), 0, 0, 360, skin, -1)
    for side in (-1, 1):
        cv2.ellipse(canvas, at(14 * side, -10), (round(6 * unit), max(1, round((3 + 2.5 * eyes) * unit))),
                    0, 0, 360, dark, -1)  # fmt: skip
        inner, outer = -22 - 4 * height + 4 * slope, -22 - 4 * height - 4 * slope
        cv2.line(canvas, at(7 * side, inner), at(21 * side, outer), dark, pen)
    across = np.linspace(-1, 1, 15)
    lip = np.array([at(15 * t, 20 + 7 * curve * (1 - 2 * t * t) * 0.6) for t in across], np.int32)
    low = np.array([at(15 * t, 20 + 7 * curve * (1 - 2 * t * t) * 0.6 + max(0, 6 + 6 * opening) * (1 - t * t))
                    for t in across[::-1]], np.int32)  # fmt: skip
    cv2.fillPoly(canvas, [np.concatenate([lip, low])], dark)
    cv2.polylines(canvas, [lip], False, dark, pen)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(small * random.uniform(0.8, 1.1) + random.normal(0, 4, small.shape), 0, 255).astype(np.uint8)


def tone(emotion: str, random: np.random.Generator, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """A voice-like tone, float32 `(seconds * rate,)`: pitch, wobble and loudness depend on the emotion."""
    pitch, wobble, loudness = _look(emotion)[5:]
    time = np.arange(round(seconds * rate)) / rate
    base = pitch * random.uniform(0.9, 1.1)
    phase = 2 * np.pi * np.cumsum(base * (1 + 0.04 * np.sin(2 * np.pi * wobble * time + random.uniform(0, 6)))) / rate
    sound = sum(np.sin(k * phase) / k for k in range(1, 6))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * random.uniform(2, 4) * time) ** 2
    noisy = loudness * 0.4 * envelope * sound + 0.01 * random.normal(size=len(time))
    return np.clip(noisy, -1, 1).astype(np.float32)


def talking_face(
    emotion: str, random: np.random.Generator, frames: int = 16, size: int = 48, seconds: float = 1.0
) -> dict[str, Any]:
    """Decoded content of a clip with a face and a voice of one emotion: `faces`, a list of pictures, and `audio`."""
    return {
        "faces": [face_image(emotion, random, size) for _ in range(frames)],
        "audio": tone(emotion, random, seconds),
    }


def sentence(emotion: str, random: np.random.Generator, words: int = 8) -> str:
    """A string of filler words with about a third of the emotion's own."""
    own = _WORDS.get(emotion) or _WORDS[EMOTIONS[sum(emotion.lower().encode()) % len(EMOTIONS)]]
    picked = [str(random.choice(own if i % 3 == 1 else _FILLERS)) for i in range(words)]
    return " ".join(picked).capitalize() + "."


def chinese_sentence(emotion: str, random: np.random.Generator, characters: int = 12) -> str:
    """A row of filler characters with two of the emotion's own words of two characters, by its English name."""
    own = (
        _CHINESE.get(concept_of_word().get(emotion, emotion))
        or _CHINESE[EMOTIONS[sum(emotion.lower().encode()) % len(EMOTIONS)]]
    )
    filler = "".join(str(c) for c in random.choice(list(_CHINESE_FILLERS), characters))
    cut = sorted(random.integers(0, characters + 1, 2))
    return f"{filler[: cut[0]]}{own[:2]}{filler[cut[0] : cut[1]]}{own[2:]}{filler[cut[1] :]}。"


def conversation(
    name: str, random: np.random.Generator, turns: int = 6, speakers: Sequence[str] = ("Ann", "Ben")
) -> tuple[Conversation, list[str]]:
    """A conversation with one emotion per turn; speakers alternate and mostly keep the emotion they had."""
    mood = {s: str(random.choice(EMOTIONS)) for s in speakers}
    spoken, emotions = [], []
    for i in range(turns):
        speaker = speakers[i % len(speakers)]
        if random.random() < 0.3:
            mood[speaker] = str(random.choice(EMOTIONS))
        emotions.append(mood[speaker])
        spoken.append(Turn(sentence(mood[speaker], random), 2.0 * i, 2.0 * i + 1.8, speaker, "en", i))
    return Conversation(name, tuple(spoken)), emotions


def brain_waves(
    valence: float, arousal: float, random: np.random.Generator, shape: tuple[int, int], rate: float = 128.0
) -> np.ndarray:
    """EEG-like noise in µV, float64 `(samples, channels)`: calm has more alpha, pleasure more of it on the right.

    `valence` and `arousal` are on [-1, 1]; the first half of the channels counts as left.
    """
    samples, channels = shape
    time = np.arange(samples)[:, None] / rate
    side = np.where(np.arange(channels) < channels / 2, -1.0, 1.0)
    phase = random.uniform(0, 2 * np.pi, (2, channels))
    alpha = (1.5 - arousal) * (1 + 0.4 * valence * side) * np.sin(2 * np.pi * 10 * time + phase[0])
    beta = (1.5 + arousal) * np.sin(2 * np.pi * 20 * time + phase[1])
    return 8 * alpha + 5 * beta + random.normal(0, 2, shape)


class Tiny:
    """Writes small seeded media and annotation files below a root; every method makes the folders it needs."""

    def __init__(self, root: str | Path, seed: int = 0) -> None:
        self.root, self.random = Path(root), np.random.default_rng(seed)

    def _new(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name: str, emotion: str = "neutral", size: int = 48, grey: bool = False) -> None:
        """A drawn face as png, jpg or bmp, by suffix."""
        pixels = cv2.cvtColor(face_image(emotion, self.random, size), cv2.COLOR_RGB2BGR)
        if grey:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        self._new(name).write_bytes(cv2.imencode(Path(name).suffix, pixels)[1].tobytes())

    def audio(self, name: str, emotion: str = "neutral", seconds: float = 0.5, rate: int = 16000) -> None:
        """A tone as 16-bit mono wav."""
        samples = (tone(emotion, self.random, seconds, rate) * 32767).astype("<i2")
        with wave.open(str(self._new(name)), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.tobytes())

    def video(self, name: str, emotion: str = "neutral", seconds: float = 0.5, size: int = 64) -> None:
        """Drawn faces with a tone, 10 frames per second."""
        rate = 16000
        with av.open(str(self._new(name)), "w") as out:
            pictures = out.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = size
            pictures.pix_fmt = "yuv420p"
            sound = out.add_stream("aac" if name.endswith(".mp4") else "pcm_s16le", rate=rate)
            sound.layout = "mono"
            for _ in range(max(1, round(seconds * 10))):
                frame = av.VideoFrame.from_ndarray(face_image(emotion, self.random, size), format="rgb24")
                out.mux(pictures.encode(frame))
            samples = (tone(emotion, self.random, seconds, rate) * 32767).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
            out.mux(sound.encode(block))
            out.mux(pictures.encode())
            out.mux(sound.encode())

    def text(self, emotion: str = "neutral") -> str:
        """A sentence."""
        return sentence(emotion, self.random)

    def lines(self, name: str, lines: Iterable[str], encoding: str = "utf-8", end: str = "\n") -> None:
        """A text file."""
        self._new(name).write_bytes("".join(line + end for line in lines).encode(encoding))

    def table(
        self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",",
        encoding: str = "utf-8",
    ) -> None:  # fmt: skip
        """A delimited file; without header when `header` is empty."""
        with self._new(name).open("w", newline="", encoding=encoding) as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            if header:
                writer.writerow(header)
            writer.writerows(rows)

    def json(self, name: str, content: Any) -> None:
        """A JSON file."""
        self._new(name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def npz(self, name: str, arrays: Mapping[str, Any]) -> None:
        """A numpy archive; dictionaries become pickled 0-d object arrays, as published."""
        content: dict[str, Any] = {k: np.array(v, object if isinstance(v, dict) else None) for k, v in arrays.items()}
        np.savez_compressed(self._new(name), **content)

    def mat(self, name: str, variables: Mapping[str, Any]) -> None:
        """A MATLAB 5 file (needs SciPy)."""
        write_mat(self._new(name), variables)

    def bdf(self, name: str, names: Sequence[str], signals: np.ndarray, rate: int) -> None:
        """A BioSemi recording of `signals` `(channels, samples)` in µV."""
        self._new(name).write_bytes(bdf_bytes(names, signals, rate))
