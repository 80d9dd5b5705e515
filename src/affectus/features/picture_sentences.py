"""What a picture shows, in words: sentences from the attributes that EmoSet annotates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Attribute → its sentence, in the order in which they are told; brightness and colour follow the objects.
_SENTENCES = {
    "scene": "A photo taken at this kind of place: {}.",
    "object": "It mainly shows {}.",
    "light": "It has {}.",
    "facial_expression": "The face looks {}.",
    "human_action": "What is being done: {}.",
}
_LIGHT = {"brightness": "a brightness of {:g}", "colorfulness": "a colour saturation of {:g}"}
_POSITIVE = {"amusement", "awe", "contentment", "excitement"}


def describe(attributes: Mapping[str, Any], emotion: str, sentiment: bool = False) -> str:
    """One sentence per attribute that is known, and a last one for the emotion (or, with `sentiment`, its polarity).

    Keys are EmoSet's: scene, object (one or several), brightness and colorfulness (0…1, told in one sentence),
    facial_expression, human_action. None, "", "-1" and an empty list count as unknown.
    """
    known = {name: value for name, value in attributes.items() if value not in (None, "", "-1", [])}
    light = [text.format(float(known[name])) for name, text in _LIGHT.items() if name in known]
    told = {**known, "light": light} if light else known
    parts = [text.format(listed(told[name])) for name, text in _SENTENCES.items() if name in told]
    last = ("something positive" if emotion in _POSITIVE else "something negative") if sentiment else emotion
    return " ".join([*parts, f"Overall it evokes {last}."])


def listed(value: str | Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    names = [value] if isinstance(value, str) else [str(v) for v in value]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
