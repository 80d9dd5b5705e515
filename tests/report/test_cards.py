"""Model cards at the end of a report: corpora in words, long tables closed until asked for."""

from __future__ import annotations

import re

from affectus.report.cards import cards_section

CARD = {
    "name": "words", "title": "Words <b>", "version": "1", "n": 1200,
    "data": [{"name": "a", "title": "Corpus A", "part": "train", "licence": "CC BY 4.0", "citation": "Someone, 2020"},
             {"name": "b"}, "a sentence"],
    "calibration": {"temperature": 1.25, "folds": {"first": {"nll": 0.5}, "second": {"nll": 0.25}}},
    "baselines": {"by_chance": 0.5},
    "limits": ["English only."],
}  # fmt: skip


def fact(text: str, name: str) -> str:
    (found,) = re.findall(rf"<dt>{name}</dt><dd>(.*?)</dd>", text, re.S)
    return str(found)


def test_corpora_are_told_in_words() -> None:
    text = cards_section({"models": [CARD]})
    assert fact(text, "data") == "Corpus A (train) · CC BY 4.0 · Someone, 2020; b; a sentence"
    assert "Words &lt;b&gt;" in text


def test_plain_numbers_are_shown_and_tables_are_closed() -> None:
    text = cards_section({"models": {"words": CARD}})
    assert fact(text, "compared with") == "by chance: 0.5"
    assert fact(text, "calibration") == (
        "temperature: 1.25<details><summary>folds</summary>first: nll: 0.5 · second: nll: 0.25</details>"
    )
    assert "<dt>speed</dt>" not in text
    assert cards_section({}) == ""
