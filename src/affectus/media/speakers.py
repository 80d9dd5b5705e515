"""Speaker names written in front of what they say: `NAME: text`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_PREFIX = re.compile(
    r"^(?:[-–—]\s*|>>+\s*)?(?P<name>[^\s:：.!?,;][^:：!?,;]{0,29}?)\s?(?::\s+|：\s*)(?P<words>\S.*)$", re.S
)
#: Share of lines that begin with a name, from which all such beginnings are names.
MOST = 0.75
# Written in capitals before a colon, yet no speaker.
_NO_NAMES = frozenset({"NOTE", "WARNING", "TIP", "PS", "TODO", "FAQ", "URL", "EDIT", "UPDATE", "TLDR", "RT"})


def _candidate(line: str) -> tuple[str, str] | None:
    match = _PREFIX.match(line)
    if match is None:
        return None
    name = match["name"].strip()
    return (name, match["words"]) if is_name(name) else None


def is_name(text: str) -> bool:
    """Whether a text may be the name of a speaker: at most four words, none of which begins small."""
    words = text.split()
    if not 1 <= len(words) <= 4 or any(word[0].islower() for word in words) or not any(c.isalpha() for c in text):
        return False
    return not re.search(r"[.!?,;:]$", words[-1]) and text.strip().upper() not in _NO_NAMES


def usual_speakers(lines: Iterable[str]) -> frozenset[str]:
    """Names to believe in: at least two capital letters and nothing small, or in front of at least two lines.

    Where such names are found and most lines begin with a name, those that speak once are believed too.
    """
    written = [line for line in lines if line.strip()]
    counts = Counter(found[0] for line in written if (found := _candidate(line)))
    believed = {
        name
        for name, count in counts.items()
        if count >= 2 or (name.upper() == name and name.lower() != name and sum(c.isalpha() for c in name) >= 2)
    }
    spoken = believed and counts.total() >= MOST * len(written)
    return frozenset(counts if spoken else believed)


def split_speaker(line: str, names: frozenset[str]) -> tuple[str, str]:
    """`("NAME", "text")` of a line that begins with one of the names, else `("", line)`."""
    found = _candidate(line)
    return found if found and found[0] in names else ("", line)
