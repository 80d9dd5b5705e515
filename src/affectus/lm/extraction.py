"""Emotion words of free English text by rules, so that scoring never needs a language model. Chinese text is read by
rules of its own (`extraction_zh`), with English words as result.

Words are those of the emotion wheel tables (any form of them) and "neutral". Negation takes a word back: "not angry but
sad" gives sad, with angry listed under `negated`; nothing is inferred from a negated word. Words that name an emotion
only in some uses ("content", "interest") count where the text says that they do. The rules and word lists are
`data/extraction.toml`; the result names their digest.

An answer that is a list ("happy, slightly nervous") is read as a list: its words count as they stand, in or out of the
tables.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from affectus.labels import wheels
from affectus.labels.wheels import WheelTables
from affectus.lm.extraction_zh import find, is_chinese

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_CLAUSE_END = re.compile(r"[.!?;:\n]")
_AFTER = re.compile(
    r"\s+(?:is|are|was|were|seems?|can be|could be|may be)\s+(?:not\b|absent|ruled out|missing|lacking|excluded)"
    r"|\s+(?:isn't|aren't|wasn't|weren't)\b"
)
#: How many words a negator reaches.
REACH = 6


@dataclass(frozen=True)
class Words:
    """Emotion words of one text in order of appearance, each once.

    `negated` were named but taken back; `unknown` are list entries in no table; `source` says how they were read: the
    tagged `answer`, a bare `list`, free `text`, or `none` when there was nothing.
    """

    words: tuple[str, ...]
    negated: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    source: Literal["answer", "list", "text", "none"] = "text"


@dataclass(frozen=True)
class _Rules:
    negators: frozenset[str]
    pairs: frozenset[str]
    harmless: frozenset[str]
    breakers: frozenset[str]
    ambiguous: frozenset[str]
    frames: frozenset[str]
    not_after: frozenset[str]
    sentence: frozenset[str]
    starters: frozenset[str]
    lead_in: re.Pattern[str]
    digest: str


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    content = files("affectus.lm").joinpath("data", "extraction.toml").read_bytes()
    record = tomllib.loads(content.decode("utf-8"))
    lead = "|".join(record["lead_ins"])
    names = ("negators", "negating_pairs", "not_negating", "breakers", "ambiguous", "frames", "not_after")
    sets = [frozenset(record[name]) for name in names]
    negators, pairs, harmless, breakers, ambiguous, frames, not_after = sets
    return _Rules(
        negators,
        pairs,
        harmless,
        breakers,
        ambiguous,
        frames,
        not_after,
        negators | breakers | frozenset(record["verbs"]),
        negators | {pair.split()[0] for pair in pairs} | {"absent", "ruled", "missing", "excluded"},
        re.compile(rf"^[^,;:\[\]]*?(?:{lead})(?:\s+(?:is|are))?\s*:?\s+", re.IGNORECASE),
        hashlib.sha256(content).hexdigest(),
    )


def rules_digest() -> str:
    """SHA-256 (hex) of the rules; belongs into results."""
    return _rules().digest


class _Vocabulary:
    """Word forms by their first word; the rest of a form of several words is tried longest first."""

    def __init__(self, forms: Iterable[str]) -> None:
        self.singles: set[str] = set()
        self.longer: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for form in forms:
            parts = tuple(_WORD.findall(form.lower()))
            if len(parts) == 1 and parts[0] == form:
                self.singles.add(form)
            elif parts:
                self.longer.setdefault(parts[0], []).append((parts, form))
        for entries in self.longer.values():
            entries.sort(key=lambda entry: -len(entry[0]))
        self.firsts = self.singles | set(self.longer)

    def at(self, words: Sequence[str], place: int) -> tuple[str, int]:
        """The longest form that starts at a word and how many words it takes; ("", 1) when none does."""
        for parts, form in self.longer.get(words[place], ()):
            if tuple(words[place : place + len(parts)]) == parts:
                return form, len(parts)
        return (words[place], 1) if words[place] in self.singles else ("", 1)


@lru_cache(maxsize=8)
def _vocabulary(tables: WheelTables) -> _Vocabulary:
    return _Vocabulary([*tables.forms, "neutral"])


def extract_words(text: str, tables: WheelTables | None = None) -> Words:
    """Emotion words of one free text; see the module text. An empty text gives no words and source `none`."""
    if not isinstance(text, str) or not text.strip():
        return Words((), source="none")
    if is_chinese(text):
        return _chinese(text)
    own = tables or wheels.load()
    low = text.lower().replace("’", "'")
    words = _WORD.findall(low)
    vocabulary = _vocabulary(own)
    if vocabulary.firsts.isdisjoint(words):
        return Words(())
    kept: dict[Any, str] = {}
    taken_back: dict[Any, str] = {}
    cursor = taken = 0
    rules = _rules()
    may_negate = not rules.starters.isdisjoint(words) or "n't" in low
    for place, word in enumerate(words):
        if word not in vocabulary.firsts or place < taken:
            continue
        form, length = vocabulary.at(words, place)
        if not form or (form in rules.ambiguous and not _framed(words, place, vocabulary, rules)):
            continue
        taken = place + length
        start = cursor = _position(low, word, cursor)
        key = own.forms.get(form, form)
        if may_negate and (negated_before(low, start) or _AFTER.match(low, start + len(form))):
            taken_back.setdefault(key, form)
        else:
            kept.setdefault(key, form)
    return Words(tuple(kept.values()), tuple(w for k, w in taken_back.items() if k not in kept))


def _chinese(text: str) -> Words:
    """Words of a Chinese text in English; of a list also the entries that are in no table, as they stand."""
    body = (_answer_blocks(text) or {text}).pop()
    found = find(body)
    kept = tuple(dict.fromkeys(item.word for item in found if not item.negated))
    back = tuple(dict.fromkeys(item.word for item in found if item.negated and item.word not in kept))
    entries = parse_list(body.strip("。"))
    listed = len(entries) > 1 and all(len(entry) <= 6 for entry in entries)
    unknown = tuple(entry for entry in entries if not find(entry)) if listed else ()
    return Words(kept, back, unknown, "list" if listed else "text")


def extract_many(texts: Iterable[str], tables: WheelTables | None = None) -> list[list[str]]:
    """Emotion words of many answers, as lists for `metrics.wheel_f1` and its like; tags and lists are read as such."""
    own = tables or wheels.load()
    return [list(answer_words(text, own).words) for text in texts]


def answer_words(text: str, tables: WheelTables | None = None, strict_commas: bool = False) -> Words:
    """Words of a model's answer: of its `<answer>` block if it has one, else of the list it is, else of its free text.

    `strict_commas` splits lists at commas only, as published code does; otherwise " and ", semicolons, line breaks and
    a final dot are understood too. Answer blocks that contradict each other give no words.
    """
    if not isinstance(text, str) or not text.strip():
        return Words((), source="none")
    own = tables or wheels.load()
    blocks = _answer_blocks(text)
    if len(blocks) > 1:
        return Words((), source="none")
    if not strict_commas and is_chinese(next(iter(blocks), text)):
        return replace(_chinese(text), source="answer") if blocks else _chinese(text)
    answer = blocks.pop() if blocks else None
    body = text if answer is None else answer
    entries = parse_list(body, strict_commas)
    if answer is not None or _listed(body, entries):
        if answer is not None and not _listed(body, entries) and not strict_commas:
            return Words(*_free(body, own), source="answer")
        known = _vocabulary(own)
        unknown = tuple(e for e in entries if known.at(_WORD.findall(e) or [""], 0)[0] != e)
        return Words(tuple(entries), (), unknown, "list" if answer is None else "answer")
    return extract_words(body, own)


def parse_list(text: str, strict_commas: bool = False) -> list[str]:
    """Entries of a word list: lower case, trimmed, each once, in order."""
    body = text.strip()
    if not strict_commas:
        body = _rules().lead_in.sub("", body, count=1)
        body = re.sub(r"\s*(?:;|\n|\band\b|&|\u3001|\uff0c)\s*", ",", body.strip().strip("[](){}").rstrip(". \n"))
        body = re.sub(r"(?:^|(?<=,))\s*(?:[-*\u2022]|\d+[.)])\s*", "", body)
    pieces = (piece.strip().strip("\"'`*.").strip().lower().replace("’", "'") for piece in body.split(","))
    if strict_commas:
        pieces = (piece.strip().lower() for piece in body.split(","))
    return list(dict.fromkeys(piece for piece in pieces if piece))


def negated_before(text: str, place: int) -> bool:
    """Whether the word at a character position is taken back by a negator before it in the same clause."""
    rules = _rules()
    window = text[max(0, place - 90) : place].lower().replace("’", "'")
    if len(window) == 90:
        window = window.partition(" ")[2]
    clause = _CLAUSE_END.split(window)[-1]
    if "n't" not in clause and rules.starters.isdisjoint(_WORD.findall(clause)):
        return False
    segments = clause.split(",")
    words = _WORD.findall(segments[-1])
    for segment in reversed(segments[:-1]):
        # A comma inside a list ("no anger, fear or disgust") carries the negation on; between clauses it ends it.
        if len(words) > 3 or any(word in rules.breakers for word in words):
            break
        words = _WORD.findall(segment) + words
    return _reached(words[-REACH - 2 :], rules)


def _reached(words: Sequence[str], rules: _Rules) -> bool:
    """Whether a negator among the words before reaches the end of them."""
    for place in range(len(words) - 1, -1, -1):
        word = words[place]
        if word in rules.breakers:
            return False
        following = words[place + 1] if place + 1 < len(words) else ""
        if f"{word} {following}" in rules.pairs:
            return True
        if (word in rules.negators or word.endswith("n't")) and len(words) - place <= REACH:
            return following not in rules.harmless
    return False


def _framed(words: Sequence[str], place: int, vocabulary: _Vocabulary, rules: _Rules) -> bool:
    """Whether the words around an ambiguous one show that an emotion is meant."""
    following = words[place + 1] if place + 1 < len(words) else ""
    if following in rules.not_after:
        return False
    before = words[max(0, place - 2) : place]
    return any(word in rules.frames or (word in vocabulary.singles and word not in rules.ambiguous) for word in before)


def _position(text: str, word: str, start: int) -> int:
    """Where a word stands in a text from `start` on, as a whole word."""
    place = text.find(word, start)
    while place >= 0:
        end = place + len(word)
        if not (place and text[place - 1].isalpha()) and not (end < len(text) and text[end].isalpha()):
            return place
        place = text.find(word, place + 1)
    return start


_ANSWER = re.compile(r"<\s*answer\s*>(.*?)(?:<\s*/\s*answer\s*>|$)", re.DOTALL | re.IGNORECASE)


def _answer_blocks(text: str) -> set[str]:
    """Distinct contents of the answer blocks of a text."""
    return {match.strip() for match in _ANSWER.findall(text)} if "<" in text else set()


def _listed(text: str, entries: Sequence[str]) -> bool:
    """Whether a text is a list of words and not sentences; a lead-in of the list does not count."""
    text = _rules().lead_in.sub("", text, count=1)
    if not entries or len(entries) > 40:
        return False
    if re.search(r"[.!?]\s+\S", text.strip()):
        return False
    rules = _rules()
    if any(word in rules.sentence or word.endswith("n't") for word in _WORD.findall(text.lower().replace("’", "'"))):
        return False
    return all(len(entry.split()) <= 3 for entry in entries) and (len(entries) > 1 or len(entries[0].split()) <= 2)


def _free(text: str, tables: WheelTables) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = extract_words(text, tables)
    return found.words, found.negated


def think_words(text: str, tables: WheelTables | None = None) -> tuple[str, ...]:
    """Emotion words of the `<think>` block of an answer, () when there is none."""
    found = re.search(r"<\s*think\s*>(.*?)<\s*/\s*think\s*>", text or "", re.DOTALL | re.IGNORECASE)
    return extract_words(found.group(1), tables).words if found else ()


def tally(found: Iterable[Words]) -> Mapping[str, int]:
    """What a report must say about extraction: texts by source, negated and unknown words."""
    counts = {"answer": 0, "list": 0, "text": 0, "none": 0, "without words": 0, "negated": 0, "unknown": 0}
    for item in found:
        counts[item.source] += 1
        counts["without words"] += not item.words
        counts["negated"] += len(item.negated)
        counts["unknown"] += len(item.unknown)
    return counts
