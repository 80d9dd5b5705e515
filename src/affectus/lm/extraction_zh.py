"""Emotion words of free Chinese text by rules on characters, given as English words of the wheel tables.

The longest word of the table that starts at a place counts (`不高兴` is displeased, not happy). A negator a few
characters before it in the same clause takes it back, and everything listed with it: `没有愤怒、悲伤或恐惧`. The words
and rules are `data/extraction_zh.toml`; results name its digest.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LETTER = re.compile(r"[^\W\d_]")
_CLAUSE = re.compile(r"[，。；！？：,.;!?:\n（）()]")
#: What joins the members of a list.
_JOINED = re.compile(r"^(?:[、和与及或跟]|以及|或者|还是|而且)+$")


@dataclass(frozen=True)
class Found:
    """One emotion word: as written, as a word of the tables, its place (characters), and whether it is taken back."""

    written: str
    word: str
    place: int
    negated: bool


@dataclass(frozen=True)
class _Rules:
    pattern: re.Pattern[str]
    words: dict[str, str]
    negators: re.Pattern[str]
    harmless: re.Pattern[str]
    after: tuple[str, ...]
    reach: int
    digest: str


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    content = files("affectus.lm").joinpath("data", "extraction_zh.toml").read_bytes()
    record = tomllib.loads(content.decode("utf-8"))
    words = {written: word for word, listed in record["words"].items() for written in listed.split()}
    negation = record["negation"]

    def any_of(entries: list[str]) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(e) for e in sorted(entries, key=len, reverse=True)))

    return _Rules(
        any_of(list(words)),
        words,
        any_of(negation["negators"]),
        any_of(negation["harmless"]),
        tuple(negation["after"]),
        int(negation["reach"]),
        hashlib.sha256(content).hexdigest(),
    )


def rules_digest() -> str:
    """SHA-256 (hex) of the Chinese words and rules; belongs into results."""
    return _rules().digest


def is_chinese(text: str) -> bool:
    """Whether most letters of a text are Chinese characters."""
    if not _HAN.search(text):
        return False
    letters = len(_LETTER.findall(text))
    return letters > 0 and len(_HAN.findall(text)) > letters / 2


def find(text: str) -> list[Found]:
    """All emotion words of a text in order of appearance."""
    rules = _rules()
    found: list[Found] = []
    for hit in rules.pattern.finditer(text):
        back = _negated(text, hit.start()) or text.startswith(rules.after, hit.end())
        if not back and found and found[-1].negated:
            # What is listed with a word that is taken back is taken back with it.
            between = text[found[-1].place + len(found[-1].written) : hit.start()]
            back = bool(_JOINED.match(between))
        found.append(Found(hit.group(), rules.words[hit.group()], hit.start(), back))
    return found


def _negated(text: str, place: int) -> bool:
    rules = _rules()
    before = _CLAUSE.split(text[max(0, place - rules.reach) : place])[-1]
    # Another emotion word in between has taken the negator for itself.
    taken = [hit.end() for hit in rules.pattern.finditer(before)]
    before = before[taken[-1] :] if taken else before
    return rules.negators.search(rules.harmless.sub("", before)) is not None
