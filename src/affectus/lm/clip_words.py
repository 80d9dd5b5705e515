"""A clip told in words: transcript, action units, seen emotions, prosody and affect of the voice in one line of text.

Order, labels and thresholds are those of Richet et al., "Textualized and feature-based models for compound multimodal
emotion recognition in the wild", 2024; the text itself is the prompt `compound_er/clip`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from affectus.corpora import Corpus
from affectus.corpora.synthetic import sentence
from affectus.errors import ConfigError
from affectus.labels import action_unit_set, prototype
from affectus.labels import space as label_space
from affectus.lm.prompts import load_prompt

PROMPT = "compound_er/clip"
NO_FACE, NO_SPEECH = "No face detected", "No speech detected"
#: Action units of py-feat in their order, with the spelling of the published prompts.
UNITS: dict[int, str] = {unit.number: unit.name for unit in action_unit_set("pyfeat20")} | {25: "Lip Part"}
#: A unit is named above this, a prosodic term is "High" above that, and so is affect with `levels`.
ACTIVE, HIGH_TERM, HIGH_AFFECT = 0.5, 0.3, 0.5
_AFFECT = ("arousal", "valence", "dominance")


@dataclass(frozen=True)
class ClipReading:
    """What is known of a clip or window. `units` (number → 0…1) and `emotions` (name → 0…1) are None without a face,
    `prosody` (term → 0…1) is None without speech; `affect` has arousal, valence and dominance on 0…1, some may lack."""

    transcript: str = ""
    units: Mapping[int, float] | None = None
    emotions: Mapping[str, float] | None = None
    prosody: Mapping[str, float] | None = None
    affect: Mapping[str, float] = field(default_factory=dict)


def clip_text(
    reading: ClipReading,
    modalities: str = "TVA",
    levels: bool = False,
    parity: Literal["correct", "published"] = "correct",
) -> str:
    """The text of a reading: `modalities` are letters of T (transcript), V (face) and A (voice); none give "".

    `levels` says High and Low in place of numbers for affect. `parity="published"` prints `No face detected` also where
    a face is there and no unit is above .5; otherwise that list is empty. Raises ConfigError for other letters.
    """
    if set(modalities) - set("TVA"):
        raise ConfigError(modalities, "names modalities by other letters than T, V and A")
    active = [name for number, name in UNITS.items() if (reading.units or {}).get(number, 0.0) > ACTIVE]
    unseen = reading.units is None or (parity == "published" and not active)
    ranked = sorted((reading.emotions or {}).items(), key=lambda pair: -pair[1])[:3]
    terms = sorted((reading.prosody or {}).items(), key=lambda pair: -pair[1])[:10]
    affect = [f"{name.capitalize()} {_affect(reading.affect[name], levels)}" for name in _AFFECT
              if name in reading.affect]  # fmt: skip
    return load_prompt(PROMPT).text(
        **{letter.lower(): "yes" for letter in modalities},
        speech=reading.transcript.strip() or NO_SPEECH,
        units=NO_FACE if unseen else ", ".join(active),
        emotions=", ".join(name for name, _ in ranked) if ranked else NO_FACE,
        prosody=", ".join(f"{'High' if value > HIGH_TERM else 'Low'} {name}" for name, value in terms) or NO_SPEECH,
        affect=", ".join(affect) or NO_SPEECH,
    )


def _affect(value: float, levels: bool) -> str:
    if levels:
        return "High" if value > HIGH_AFFECT else "Low"
    return f"{value:.2f}"


def window_maxima(values: np.ndarray, length: int = 10) -> np.ndarray:
    """Largest value of every column over consecutive windows: (T, D) → (ceil(T / length), D). NaN counts as 0."""
    values = np.nan_to_num(np.asarray(values, np.float32))
    return np.stack([values[start : start + length].max(0) for start in range(0, len(values), length)])


def centred_maxima(values: np.ndarray, length: int = 20) -> np.ndarray:
    """Largest value of every column in a window around each frame, cut at the ends: (T, D) → (T, D)."""
    values, half = np.nan_to_num(np.asarray(values, np.float32)), length // 2
    padded = np.pad(values, ((half, half), (0, 0)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)[: len(values)].max(-1)


def frame_readings(
    units: np.ndarray, emotions: np.ndarray, names: Sequence[str], whole: ClipReading, length: int = 10,
    centred: bool = False,
) -> list[ClipReading]:  # fmt: skip
    """Readings of the windows of a clip: units (T, 20) in the order of `UNITS` and emotions (T, len(names)) by window,
    words and voice of the whole clip."""
    pool = centred_maxima if centred else window_maxima
    rows = zip(pool(units, length), pool(emotions, length), strict=True)
    return [
        ClipReading(whole.transcript, dict(zip(UNITS, map(float, u), strict=True)),
                    dict(zip(names, map(float, e), strict=True)), whole.prosody, whole.affect)
        for u, e in rows
    ]  # fmt: skip


def write_readings(path: Path, readings: Iterable[tuple[str, ClipReading]]) -> Path:
    """Append readings by clip id as JSON lines; a clip may have several, one per window."""
    with path.open("a", encoding="utf-8") as stream:
        for name, reading in readings:
            stream.write(json.dumps({"id": name, **asdict(reading)}, ensure_ascii=False) + "\n")
    return path


def read_readings(lines: Iterable[str], origin: str = "readings") -> dict[str, list[ClipReading]]:
    """Readings by clip id; raises ConfigError naming the first bad line."""
    found: dict[str, list[ClipReading]] = {}
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            name = record.pop("id")
            if record.get("units") is not None:
                record["units"] = {int(unit): float(value) for unit, value in record["units"].items()}
            found.setdefault(str(name), []).append(ClipReading(**record))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{origin}, line {number}", f"is no reading of a clip ({error})") from error
    return found


def corpus_readings(corpus: Corpus, file: str, modalities: str) -> dict[str, list[ClipReading]]:
    """Readings of a corpus by id: of a file of that name in its folder, else its transcripts where nothing but these is
    asked for. Raises ConfigError."""
    if refs := corpus.files.match(file):
        return read_readings(corpus.files.text(refs[0]).splitlines(), refs[0])
    if set(modalities) != {"T"}:
        raise ConfigError(file, "is not in the folder of the corpus", "write it, or set modalities to T")
    texts = zip(corpus.column("id"), corpus.column("text"), strict=True)
    return {name: [ClipReading(text)] for name, text in texts if text}


def drawn_reading(label: str, space: str, random: np.random.Generator) -> ClipReading:
    """A synthetic reading that shows a label: units of the typical displays of its parts, plain words."""
    parts = [part for part in label_space(space).concepts[label] if part != "neutral"]
    units = {unit.number: float(random.uniform(0.6, 0.9)) for part in parts for unit in prototype(part)}
    emotions = {part: float(random.uniform(0.4, 0.6)) for part in parts}
    return ClipReading(sentence("neutral", random), units, emotions, {"calm": 0.4}, {"arousal": float(random.random())})
