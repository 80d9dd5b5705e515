"""Emotion words of Chinese text."""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.labels import wheels
from affectus.lm import extraction_zh as zh
from affectus.lm.extraction import answer_words, extract_many, extract_words, tally
from affectus.metrics import wheel_f1

TABLE = tomllib.loads(files("affectus.lm").joinpath("data", "extraction_zh.toml").read_text(encoding="utf-8"))["words"]


def test_every_word_leads_to_one_word_of_the_wheels() -> None:
    forms = wheels.load().forms
    assert not [word for word in TABLE if word not in forms and word != "neutral"]
    written = Counter(entry for listed in TABLE.values() for entry in listed.split())
    assert not [entry for entry, count in written.items() if count > 1]
    assert all(zh.is_chinese(entry) for entry in written)
    assert len(zh.rules_digest()) == 64


@pytest.mark.parametrize(
    ("text", "words", "negated"),
    [
        ("他很生气，也有些委屈。", ("angry", "aggrieved"), ()),
        ("她并不高兴，反而很失望。", ("displeased", "disappointed"), ()),
        ("她没有高兴，只是惊讶。", ("surprised",), ("happy",)),
        ("他不高兴。", ("displeased",), ()),
        ("没有愤怒、悲伤或恐惧，只有平静。", ("calm",), ("angry", "sad", "fearful")),
        ("他不仅高兴，而且自豪。", ("happy", "proud"), ()),
        ("毫无疑问，她非常紧张。", ("nervous",), ()),
        ("她不再害怕，显得轻松和愉快。", ("relaxed", "happy"), ("afraid",)),
        ("他高兴不起来。", (), ("happy",)),
        ("不是生气而是难过", ("sad",), ("angry",)),
        ("他在一开始表达出不满与不耐，之后边笑边说，带着一份调侃。", ("dissatisfied", "impatient", "teasing"), ()),
        ("今天开会。", (), ()),
    ],
)
def test_words_and_negation(text: str, words: tuple[str, ...], negated: tuple[str, ...]) -> None:
    found = extract_words(text)
    assert (found.words, found.negated) == (words, negated)


def test_lists_and_tagged_answers() -> None:
    assert answer_words("高兴，惊讶、期待").words == ("happy", "surprised", "expectant")
    assert answer_words("高兴，惊讶、期待").source == "list"
    assert answer_words("开心，奇怪词").unknown == ("奇怪词",)
    tagged = answer_words("<think>他皱眉。</think><answer>愤怒，不满</answer>")
    assert (tagged.words, tagged.source) == (("angry", "dissatisfied"), "answer")
    assert extract_many(["他很高兴。", "She is happy."]) == [["happy"], ["happy"]]
    assert tally([extract_words("他不悲伤。")])["negated"] == 1


def test_english_with_a_few_characters_is_english() -> None:
    assert extract_words("The sign 开心 is shown, and she is sad.").words == ("sad",)
    assert not zh.is_chinese("")
    assert not zh.is_chinese("123 !?")


@given(text=st.text(alphabet="不没有高兴生气、，。和很愤怒他abc <answer>/", max_size=60))
def test_any_text_is_read(text: str) -> None:
    found = answer_words(text)
    assert not set(found.words) & set(found.negated)
    assert len(set(found.words)) == len(found.words)


@pytest.mark.corpus
def test_parallel_reasons_give_alike_words(shared_data: Path) -> None:
    """Reasons of EMER v2 in Chinese and English: the words of one text agree with those of its translation far more
    than with those of another clip, and nearly every text has some."""
    with (shared_data / "emer" / "final-EMER-reason.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chinese, english = (extract_many([row[name] for row in rows]) for name in ("chinese", "english"))
    assert sum(not words for words in chinese) <= 0.02 * len(rows)
    own, other = wheel_f1(english, chinese), wheel_f1(english, [*chinese[1:], chinese[0]])
    assert own > 0.85
    assert other < 0.5
