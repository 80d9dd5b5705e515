"""A synthetic timeline as an analysis of a two-person video would give it, with every kind of row."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from affectus.types import Timeline

FERPLUS8 = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
RAVDESS8 = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EKMAN7 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
GOEMOTIONS = ("admiration", "amusement", "anger", "annoyance", "approval", "confusion", "curiosity", "disappointment",
              "excitement", "fear", "gratitude", "joy", "love", "nervousness", "optimism", "relief", "remorse",
              "sadness", "surprise", "neutral")  # fmt: skip
TO_VA = {"anger": (-0.6, 0.7), "disgust": (-0.6, 0.3), "fear": (-0.6, 0.7), "happiness": (0.8, 0.5), "neutral": (0, 0),
         "sadness": (-0.7, -0.4), "surprise": (0.2, 0.8), "contempt": (-0.5, 0.2)}  # fmt: skip
TURNS = (
    (1.2, 4.9, "Anna", "I am so glad you could make it today.", "happiness", "joy"),
    (5.4, 9.8, "Ben", "Thanks, the train was late again, but never mind.", "neutral", "annoyance"),
    (10.5, 15.2, "Anna", "So, did you hear back about the flat?", "neutral", "curiosity"),
    (16.0, 22.4, "Ben", "They gave it to somebody else. After all those weeks.", "sadness", "disappointment"),
    (23.1, 27.0, "Anna", "What? They promised it to you!", "anger", "anger"),
    (27.5, 33.6, "Ben", "It is fine. Really, it is fine.", "sadness", "approval"),
    (34.5, 40.3, "Anna", "That is not fine, that is <b>rude</b> & unfair.", "anger", "annoyance"),
    (41.2, 47.8, "Ben", "Well, there is one more viewing on Friday, near the park.", "neutral", "optimism"),
    (48.5, 53.0, "Anna", "Oh! The one with the balcony?", "surprise", "surprise"),
    (53.4, 59.2, "Ben", "That very one. I can already see us having breakfast there.", "happiness", "excitement"),
)


def thumbnail(hue: int) -> str:
    """A round, face-like picture as a data URI."""
    picture = np.full((96, 96, 3), (60 + hue, 70, 110 - hue // 2), np.uint8)
    cv2.circle(picture, (48, 50), 30, (150, 180, 225), -1)
    for x in (37, 59):
        cv2.circle(picture, (x, 44), 4, (40, 40, 50), -1)
    cv2.ellipse(picture, (48, 60), (12, 6 + hue // 20), 0, 0, 180, (60, 60, 160), 3)
    ok, data = cv2.imencode(".jpg", picture)
    assert ok
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def card(modality: str, space: str, labels: tuple[str, ...]) -> dict[str, Any]:
    """A model card with every field a report shows."""
    return {
        "name": f"{modality}-small", "title": f"Perceived emotion from {modality}", "version": "1.0",
        "modality": modality, "task": "classification", "perspective": "expressed", "space": space,
        "labels": list(labels), "dimensions": ["valence", "arousal"], "n": 3137,
        "data": [{"name": "FER+", "licence": "research", "n": 28709, "url": "https://example.org/ferplus"}],
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0", "data": "research use"},
        "split": "official test part, majority label", "selection": "validation loss",
        "metrics": {"accuracy": {"value": 0.861, "low": 0.849, "high": 0.873},
                    "ece": {"value": 0.012, "low": 0.008, "high": 0.019}},
        "calibration": {"temperature": 1.31, "ece_before": 0.061, "ece_after": 0.012},
        "baselines": {"always neutral": 0.36}, "speed": {"faces_per_second": 410.0},
        "confusion": (np.eye(len(labels), dtype=int) * 90 + 4).tolist(),
        "limits": ["Posed and web pictures of mostly adult faces", "Contempt and disgust are rare in training"],
    }  # fmt: skip


def emotion_at(time: float, speaker: str) -> str:
    """The expression this person is made to show at that time."""
    last = "neutral"
    for start, _, who, _, label, _ in TURNS:
        if time >= start and who == speaker:
            last = label
        elif time >= start:
            last = "neutral" if last in ("happiness", "surprise") else last
    return last


def softmax_around(labels: tuple[str, ...], target: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities with a lead for one label."""
    logits = rng.normal(0, 0.55, len(labels))
    logits[labels.index(target)] += strength
    return np.exp(logits) / np.exp(logits).sum()


def scored(base: dict[str, Any], labels: tuple[str, ...], p: np.ndarray, spread: float = 0.0) -> list[dict[str, Any]]:
    """A row per label."""
    bounds = {} if not spread else {"low": 1, "high": 1}
    return [
        base | {"label": label, "score": float(v)}
        | ({"low": max(0.0, float(v) - spread), "high": min(1.0, float(v) + spread)} if bounds else {})
        for label, v in zip(labels, p, strict=True)
    ]  # fmt: skip


def _faces(file: str, duration: float, fps: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for frame in range(int(duration * fps)):
        time = frame / fps
        for track, speaker in ((1, "Anna"), (2, "Ben")):
            if track == 2 and 37.0 < time < 40.0:
                continue  # out of the picture
            label = emotion_at(time % 60, speaker)
            base = {"file": file, "start": time, "end": time, "frame": frame, "track": track, "source": "face"}
            base |= {"method": "face-small", "perspective": "expressed"}
            # Ben smiles over bad news between 28 and 33 s: the conflict of the story.
            shown = "happiness" if track == 2 and 27.5 <= time % 60 <= 33.6 else label
            rows += scored(base | {"space": "ferplus8"}, FERPLUS8, softmax_around(FERPLUS8, shown, 2.6, rng))
            for name, value in zip(("valence", "arousal"), TO_VA[shown], strict=True):
                rows.append(base | {"space": "va", "label": name, "score": value * 0.8 + rng.normal(0, 0.05)})
            rows.append(base | {"space": "quality", "label": "quality", "score": 0.8})
    return rows


def _speech(file: str, offset: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    voice = dict(zip(EKMAN7, ("angry", "disgust", "fearful", "happy", "sad", "surprised", "neutral"), strict=True))
    for start, end, who, text, label, tone in TURNS:
        base = {"file": file, "start": start + offset, "end": end + offset, "speaker": who, "perspective": "expressed"}
        rows.append(base | {"source": "words", "space": "transcript", "text": text})
        p = rng.uniform(0, 0.08, len(GOEMOTIONS))
        p[GOEMOTIONS.index(tone)] = 0.7
        words = base | {"source": "words", "method": "words-small"}
        rows += scored(words | {"space": "goemotions28"}, GOEMOTIONS, p)
        rows.append(words | {"space": "evidence", "label": "word", "score": 1.4, "text": text.split()[-1].strip("!?.")})
        for time in np.arange(start, end, 1.0):
            window = base | {"start": time + offset, "end": min(time + 1.0, end) + offset, "source": "voice"}
            window |= {"method": "voice-small"}
            rows += scored(window | {"space": "ravdess8"}, RAVDESS8, softmax_around(RAVDESS8, voice[label], 2.2, rng))
        cue = {"space": "evidence", "source": "voice", "method": "prosody", "label": "pitch", "score": 1.8}
        rows.append(base | cue | {"text": "pitch 34 % above the speaker's median"})
    return rows


def _fused(file: str, duration: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for time in np.arange(0, duration, 1.0):
        for track, speaker in ((1, "Anna"), (2, "Ben")):
            if track == 2 and 37 < time % 60 < 40:
                continue
            label = emotion_at(time % 60, speaker)
            split = track == 2 and 28 <= time % 60 <= 33
            p = softmax_around(EKMAN7, label, 1.2 if split else 2.6, rng)
            base = {"file": file, "start": time, "end": time + 1, "track": track, "speaker": speaker}
            base |= {"source": "fusion", "method": "log-linear", "perspective": "expressed"}
            rows += scored(base | {"space": "ekman7"}, EKMAN7, p, spread=0.12 if split else 0.06)
            for name, value in zip(("valence", "arousal"), TO_VA[label], strict=True):
                v = value * 0.7 + rng.normal(0, 0.04)
                rows.append(base | {"space": "va", "label": name, "score": v, "low": v - 0.15, "high": v + 0.15})
            top = EKMAN7[int(p.argmax())] if p.max() >= 0.45 else "uncertain"
            rows.append(base | {"space": "decision", "label": top, "score": float(p.max())})
            if split:
                rows.append(base | {"space": "conflict", "label": "face-voice", "score": 0.58})
    return rows


def build(
    file: str = "kitchen talk.mp4", duration: float = 60.0, fps: float = 5.0, seed: int = 3, turns: bool = True
) -> Timeline:
    """The two-person conversation; longer ones repeat the story."""
    rng = np.random.default_rng(seed)
    rows = _faces(file, duration, fps, rng)
    for offset in np.arange(0, duration - 59 if turns else 0, 60.0):
        rows += _speech(file, float(offset), rng)
    rows += _fused(file, duration, rng)
    smile = {"file": file, "start": 28.0, "end": 33.0, "track": 2, "source": "face", "method": "landmarks"}
    rows.append(smile | {"space": "evidence", "label": "mouth corners raised", "score": 2.1, "text": "AU12"})
    refs = [len(rows) - 1, len(rows) - 2]
    text = "From 0:28 to 0:33 the face of Ben shows raised mouth corners while the voice sounds sad."
    fusion = {"file": file, "start": 28.0, "end": 33.0, "track": 2, "speaker": "Ben", "source": "fusion"}
    rows.append(fusion | {"space": "explanation", "text": text, "refs": refs})
    second = "From 0:34 to 0:40 Anna's words (rude, unfair) and voice both point to anger."
    late = fusion | {"start": 34.5, "end": 40.3, "track": 1, "speaker": "Anna", "space": "explanation"}
    rows.append(late | {"text": second, "refs": [3, 4]})
    info = {
        "kind": "video", "duration": duration, "width": 1280, "height": 720,
        "warnings": ["3 s of the picture are too dark to trust the faces"],
        "missing": {"scene": "the scene model was switched off (--modalities)"},
        "thumbnails": {"1": thumbnail(0), "2": thumbnail(90)},
    }  # fmt: skip
    meta = {"version": "0.1.0", "settings": {"fps": fps, "window": 1.0}, "files": {file: info},
            "models": [card("face", "ferplus8", FERPLUS8), card("voice", "ravdess8", RAVDESS8)]}  # fmt: skip
    return Timeline.from_rows(rows, meta)


def join(*timelines: Timeline) -> Timeline:
    """Several files in one timeline, rows numbered anew."""
    rows: list[dict[str, Any]] = []
    files: dict[str, Any] = {}
    shift = 0
    for timeline in timelines:
        rows += [
            row | {"row": row["row"] + shift, "refs": [r + shift for r in row["refs"] or ()]}
            for row in timeline.to_rows()
        ]
        shift += len(timeline)
        files.update(timeline.meta["files"])
    return Timeline.from_rows(rows, dict(timelines[0].meta) | {"files": files})


@pytest.fixture(scope="session")
def conversation() -> Timeline:
    """60 s, two people, all sources."""
    return build()


@pytest.fixture(scope="session")
def make() -> Callable[..., Timeline]:
    """The builder itself."""
    return build


@pytest.fixture(scope="session")
def several() -> Callable[..., Timeline]:
    """Joins timelines of different files."""
    return join
