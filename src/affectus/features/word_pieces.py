"""Which sub-word tokens make one word, for the marking styles of common tokenizers.

WordPiece marks continuations ("##ly"), BERTweet's BPE marks pieces that go on ("lone@@"), byte-level BPE and
SentencePiece mark pieces that follow a blank ("Ġlonely", "▁lonely").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import numpy as np

Style = Literal["wordpiece", "bertweet", "blank", "whole"]
_BLANKS = ("Ġ", "▁")


def style_of(vocabulary: Iterable[str]) -> Style:
    """Marking style of a vocabulary, by the marks that more than one in a hundred of its entries carry; "whole" where
    every token is a word."""
    entries = list(vocabulary)
    least = max(1, len(entries) // 100)
    if sum(e.startswith("##") and len(e) > 2 for e in entries) >= least:
        return "wordpiece"
    if sum(e.endswith("@@") and len(e) > 2 for e in entries) >= least:
        return "bertweet"
    if sum(e.startswith(_BLANKS) for e in entries) >= least:
        return "blank"
    return "whole"


def word_numbers(pieces: Sequence[str], special: Collection[str], style: Style) -> np.ndarray:
    """Word number of each piece, (pieces,) int64 from 0 on; -1 for special tokens, which also end a word."""
    found = np.full(len(pieces), -1, np.int64)
    word, goes_on = -1, False
    for place, piece in enumerate(pieces):
        if piece in special:
            goes_on = False
            continue
        if not (goes_on and _continues(piece, style)):
            word += 1
        found[place] = word
        goes_on = piece.endswith("@@") if style == "bertweet" else True
    return found


def word_texts(pieces: Sequence[str], numbers: np.ndarray, style: Style) -> list[str]:
    """The words behind `word_numbers`, marks taken off."""
    count = int(numbers.max(initial=-1)) + 1
    words = [""] * count
    for piece, number in zip(pieces, numbers.tolist(), strict=True):
        if number >= 0:
            words[number] += _bare(piece, style)
    return words


def _continues(piece: str, style: Style) -> bool:
    """Whether a piece that follows a word of this style may belong to it."""
    if style == "wordpiece":
        return piece.startswith("##") and len(piece) > 2
    if style == "bertweet":
        return True  # the piece before it said that the word goes on
    return style == "blank" and not piece.startswith(_BLANKS)


def _bare(piece: str, style: Style) -> str:
    if style == "wordpiece":
        return piece.removeprefix("##") if len(piece) > 2 else piece
    if style == "bertweet":
        return piece.removesuffix("@@") if len(piece) > 2 else piece
    return piece.lstrip("".join(_BLANKS)) if style == "blank" else piece
