"""How label spellings are compared: case, width, blanks, hyphens and underscores never matter."""

from __future__ import annotations

import re
import unicodedata

_SEPARATORS = re.compile(r"[\s_/\\|+&,-]+")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "´": "'", "`": "'"})


def normalise(text: str) -> str:
    """Comparable form of a label: NFKC, case-folded, apostrophes straightened, separators as single blanks.

    Quotes, brackets and end punctuation around it are dropped: `" Fearfully_Surprised."` → `fearfully surprised`.
    """
    folded = unicodedata.normalize("NFKC", str(text)).translate(_APOSTROPHES).casefold()
    return _SEPARATORS.sub(" ", folded).strip(" .:;!?\"'()[]{}<>")
