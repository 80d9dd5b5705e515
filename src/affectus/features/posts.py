"""Texts of social media as tweet encoders expect them, and the emotion words in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from functools import lru_cache
from pathlib import Path

from affectus.errors import LabelError
from affectus.labels import lexicon, wheels

_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_PLAIN = str.maketrans({"’": "'", "…": "..."})
#: Planes and blocks that hold pictographs; variation selectors and joiners among them are dropped.
_PICTURE = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff]")
_JOINERS = re.compile("[\ufe0e\ufe0f\u200d]")


def normalise_post(text: str) -> str:
    """A post as BERTweet's encoders saw it: mentions → @USER, links → HTTPURL, emoji → their names between colons.

    Names are those of the Unicode standard, which differ in places from the short names used in that training.
    """
    plain = _MENTION.sub("@USER", _LINK.sub("HTTPURL", text.translate(_PLAIN)))
    named = _PICTURE.sub(lambda found: f" {_name(found.group())} ", _JOINERS.sub("", plain))
    return " ".join(named.split())


def _name(picture: str) -> str:
    return f":{unicodedata.name(picture, 'emoji').lower().replace(' ', '_')}:"


class WordList:
    """Words compared in lower case, without the mark of a hashtag; `lemmas` may know others by base form."""

    def __init__(self, words: frozenset[str], lemmas: Container[str] = ()) -> None:
        self.words, self.lemmas = words, lemmas

    def __contains__(self, word: object) -> bool:
        plain = word.lower().strip("#") if isinstance(word, str) else ""
        return plain in self.words or plain in self.lemmas

    def __len__(self) -> int:
        return len(self.words)


@lru_cache(maxsize=4)
def emotion_words(path: str = "") -> Container[str]:
    """Emotion words of a file, or without one about a thousand of the library's own (concepts and emotion wheels).

    The file holds a word per line, or a word, a category and 0 or 1 separated by tabs, as emotion lexicons are
    published; a word with a 1 in any category counts. Raises LabelError.
    """
    if not path:
        return WordList(frozenset(wheels.load().forms), lexicon.builtin())
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(path, "the word list cannot be read as text", "give one word per line") from error
    found = set()
    for line in lines:
        cells = [cell.strip() for cell in line.split("\t")]
        if cells[0] and (len(cells) < 3 or cells[2] == "1"):
            found.add(cells[0].lower())
    if not found:
        raise LabelError(path, "the word list has no words", "give one word per line")
    return WordList(frozenset(found))
