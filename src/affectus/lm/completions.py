"""Whether a generated text is worth reading at all: empty, looping, cut short."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "empty", "looping"]

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Completion:
    """A generated text, its state, and what it repeats when it loops."""

    text: str
    state: State
    repeats: str = ""


def inspect(text: Any, minimum: int = 4, span: int = 24) -> Completion:
    """State of a generated text.

    It loops when it ends in at least `minimum` copies of one stretch of up to `span` words (a stretch of one word must
    come `2 * minimum` times, because lists repeat words).
    """
    if not isinstance(text, str) or not text.strip():
        return Completion("" if not isinstance(text, str) else text, "empty")
    words = _WORD.findall(text.lower())
    for length in range(1, min(span, len(words) // minimum) + 1):
        needed = 2 * minimum if length == 1 else minimum
        if len(words) < needed * length:
            continue
        stretch = words[-length:]
        copies = 1
        while words[-(copies + 1) * length : -copies * length] == stretch:
            copies += 1
        if copies >= needed:
            return Completion(text, "looping", " ".join(stretch))
    return Completion(text, "ok")


def states(texts: Iterable[Any]) -> dict[str, int]:
    """How many texts are ok, empty, looping."""
    return dict(Counter(inspect(text).state for text in texts))


def texts_of(completions: Iterable[Any]) -> list[str]:
    """Plain texts of completions: texts as they are, chat completions by the content of their last message."""
    found = []
    for item in completions:
        if isinstance(item, str):
            found.append(item)
        else:
            found.append(str(item[-1]["content"]) if len(item) else "")
    return found
