"""Posts as token ids, and which of the tokens belong to emotion words: the reading side of text systems' inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from affectus.features.posts import emotion_words, normalise_post
from affectus.nn.text import Tokens


@dataclass(frozen=True)
class PostReader:
    """Post → ids, after normalisation."""

    tokens: Tokens
    length: int
    normalise: bool = True

    def __call__(self, text: str) -> list[int]:
        return self.tokens.encode(self.plain(text), self.length)

    def plain(self, text: str) -> str:
        """The text as tokenised."""
        return normalise_post(text) if self.normalise else text


@dataclass(frozen=True)
class WordReader:
    """Post → word number of each token (-1: special), or whether it belongs to an emotion word; float32 (length,)."""

    reader: PostReader
    kind: Literal["words", "cues"]
    lexicon: str

    def __call__(self, text: str) -> np.ndarray:
        numbers, words = self.reader.tokens.words(self.reader.plain(text), self.reader.length)
        out = np.full(self.reader.length, -1.0 if self.kind == "words" else 0.0, np.float32)
        if self.kind == "words":
            out[: len(numbers)] = numbers
        else:
            known = emotion_words(self.lexicon)
            flags = [word in known for word in words]
            out[: len(numbers)] = [n >= 0 and flags[n] for n in numbers]
        return out
