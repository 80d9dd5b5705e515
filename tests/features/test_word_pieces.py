"""Words from sub-word pieces in every marking style."""

from __future__ import annotations

import pytest

from affectus.features.word_pieces import style_of, word_numbers, word_texts

CASES = {
    "wordpiece": (["[CLS]", "un", "##happ", "##y", "me", "[SEP]"], [-1, 0, 0, 0, 1, -1], ["unhappy", "me"]),
    "bertweet": (["<s>", "un@@", "happ@@", "y", "me", "</s>"], [-1, 0, 0, 0, 1, -1], ["unhappy", "me"]),
    "blank": (["<s>", "un", "happy", "Ġme", "▁you", "</s>"], [-1, 0, 0, 1, 2, -1], ["unhappy", "me", "you"]),
    "whole": (["un", "happy"], [0, 1], ["un", "happy"]),
}  # fmt: skip
SPECIAL = {"[CLS]", "[SEP]", "<s>", "</s>"}


@pytest.mark.parametrize("style", CASES)
def test_words_of_each_style(style: str) -> None:
    pieces, numbers, words = CASES[style]
    found = word_numbers(pieces, SPECIAL, style)  # type: ignore[arg-type]
    assert found.tolist() == numbers
    assert word_texts(pieces, found, style) == words  # type: ignore[arg-type]


def test_a_special_token_ends_a_word() -> None:
    assert word_numbers(["a@@", "</s>", "b"], SPECIAL, "bertweet").tolist() == [0, -1, 1]
    assert word_numbers(["a", "</s>", "##b"], SPECIAL, "wordpiece").tolist() == [0, -1, 1]


def test_style_of_a_vocabulary() -> None:
    assert style_of(["[PAD]", "a", "##b"]) == "wordpiece"
    assert style_of(["a@@", "b", "@@"]) == "bertweet"
    assert style_of(["Ġa", "b"]) == "blank"
    assert style_of(["a", "b", "##", "@@"]) == "whole"
