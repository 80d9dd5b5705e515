"""Descriptions of how a speaker looks and sounds, written by a multimodal language model: request, check, store.

The model is asked for facts of face and voice before it names an emotion. Of its answer only the description is used
for training, and only when it keeps to the rules. A store is JSON lines, one per clip, with the raw answer, the name of
the model and the digest of the prompt, so that every description can be traced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from affectus import labels
from affectus.errors import ConfigError
from affectus.lm.prompts import Message, load_prompt
from affectus.lm.tags import parse_json

PROMPT = "clips/affect_description"
#: What the model may be given.
Channel = Literal["face", "voice"]
HIDDEN = "[hidden]"

_KEYS = ("face", "voice", "agreement", "emotions", "intensity", "valence", "arousal", "confidence", "description")
_TEXTS = ("face", "voice", "agreement", "description")
_RANGES = {"intensity": (1.0, 5.0), "valence": (-1.0, 1.0), "arousal": (-1.0, 1.0), "confidence": (0.0, 1.0)}
_KINDS: dict[str, Any] = {**dict.fromkeys(_RANGES, (int, float)), **dict.fromkeys(_TEXTS, str), "emotions": list}
#: Words that give away speech content or identity.
_SAID = re.compile(r"[\"“”«»]|\b(?:says?|said|saying|tells?|told|mentions?|the words?|speaks? about)\b", re.IGNORECASE)
_IDENTITY = re.compile(
    r"\b(?:\d+[- ]year[- ]old|years old|aged|ethnic\w*|caucasian|asian|african|latin[oa]|celebrity|actor|actress"
    r"|named)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class AffectDescription:
    """A checked description of one clip and where it comes from. `channels` is what the model really received."""

    id: str
    description: str
    emotions: tuple[str, ...]
    intensity: float
    valence: float
    arousal: float
    confidence: float
    cues: dict[str, str]
    channels: tuple[str, ...] = ("face", "voice")
    model: str = ""
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Checked:
    """A description, or the reason why the answer gives none."""

    found: AffectDescription | None = None
    error: str = ""


def description_request(channels: Sequence[Channel] = ("face", "voice")) -> list[Message]:
    """Messages that ask for a description from these channels; media are attached by the caller."""
    if not channels or set(channels) - {"face", "voice"}:
        raise ConfigError(str(tuple(channels)), "are no channels", "face, voice or both")
    given = {"face": "the frames", "voice": "the sound"}
    received = " and ".join(given[channel] for channel in channels)
    sees, hears = ("yes" if name in channels else None for name in ("face", "voice"))
    return load_prompt(PROMPT).messages(received=received, sees=sees, hears=hears)


def check_answer(
    answer: str,
    clip: str,
    channels: Sequence[str] = ("face", "voice"),
    model: str = "",
    hide_labels: Sequence[str] | str = (),
    least_confidence: float = 0.5,
) -> Checked:
    """Read an answer and refuse what breaks the rules: invalid or incomplete JSON, values out of range, low confidence,
    a description that quotes speech or tells identity.

    `hide_labels`, a label space's name or words, are replaced by `[hidden]` in the description and left out of the
    emotions, with all their spellings where a space is named: no label of a benchmark can leak through the text.
    """
    parsed = parse_json(answer, _KEYS, _KINDS)
    if parsed.error:
        return Checked(error=parsed.error)
    fields = parsed.fields
    for name, (low, high) in _RANGES.items():
        if not low <= float(fields[name]) <= high:
            return Checked(error=f"{name} is {fields[name]}, not in {low:g} … {high:g}")
    if float(fields["confidence"]) < least_confidence:
        return Checked(error=f"confidence {float(fields['confidence']):g} is below {least_confidence:g}")
    text = " ".join(str(fields["description"]).split())
    for pattern, what in ((_SAID, "what was said"), (_IDENTITY, "who it is")):
        if match := pattern.search(text):
            return Checked(error=f"the description tells {what} ({match.group()!r})")
    words = label_words(hide_labels)
    text, emotions = hide(text, words), [str(emotion) for emotion in fields["emotions"]]
    if not text.replace(HIDDEN, "").strip(" .,;"):
        return Checked(error="the description is empty")
    kept = tuple(emotion for emotion in emotions if hide(emotion, words) == emotion)
    cues = {name: hide(str(fields[name]), words) for name in _TEXTS[:3]}
    numbers = {name: float(fields[name]) for name in _RANGES}
    digest = load_prompt(PROMPT).digest
    return Checked(AffectDescription(id=clip, description=text, emotions=kept, **numbers, cues=cues,
                                     channels=tuple(channels), model=model, prompt=digest, answer=answer))  # fmt: skip


def label_words(hidden: Sequence[str] | str) -> tuple[str, ...]:
    """Words that stand for labels: those given, or the labels of a space by name with all their spellings."""
    if not isinstance(hidden, str):
        return tuple(hidden)
    if not hidden:
        return ()
    space = labels.space(hidden)
    return tuple(dict.fromkeys([*space.labels, *space.synonyms]))


def hide(text: str, words: Sequence[str]) -> str:
    """The text with whole words (any case, also with common endings) replaced by `[hidden]`."""
    if not words:
        return text
    stems = sorted({re.escape(word.replace("_", " ")) for word in words}, key=len, reverse=True)
    return re.sub(rf"\b(?:{'|'.join(stems)})(?:s|ed|ly|ness|ful|fully|ing)?\b", HIDDEN, text, flags=re.IGNORECASE)


def write_descriptions(path: Path, found: Iterable[AffectDescription]) -> Path:
    """Append descriptions to a store."""
    with path.open("a", encoding="utf-8") as stream:
        for item in found:
            stream.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
    return path


def read_descriptions(path: Path) -> dict[str, AffectDescription]:
    """A store by clip id, the last one of each; raises ConfigError naming the first bad line."""
    found: dict[str, AffectDescription] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(path, "cannot be read", "give a store of descriptions (JSON lines)") from error
    for number, line in enumerate(lines, 1):
        try:
            record: dict[str, Any] = json.loads(line)
            record |= {name: tuple(record.get(name, ())) for name in ("emotions", "channels")}
            found[record["id"]] = AffectDescription(**record)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path} line {number}", f"is no description ({error})") from error
    return found
