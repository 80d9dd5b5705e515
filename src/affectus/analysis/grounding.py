"""No claim without a row: sentences are kept only where everything they say stands in the facts of a turn.

A sentence is dropped, with the reason, when it names an emotion no row of the modality it speaks of shows, a cue nobody
measured, a modality that is missing, another person or anything about identity, a time outside the turn, a number or a
quotation that stands nowhere, or anything else (a content word) that no row holds. `check` is a pure function of the
sentences and the account. The patterns are `grounding.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from affectus.analysis.accounts import Account
from affectus.analysis.facts import Fact
from affectus.labels import wheels
from affectus.labels.lemmas import candidates

Reason = Literal["emotion", "cue", "modality", "person", "time", "number", "quotation", "claim", "empty"]

#: Tolerance (s) of times.
NEAR = 0.6
#: Sentences longer than this (characters) are no sentences of an explanation.
LONGEST = 400
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_QUOTE = re.compile(r"[“\"«„]([^“”\"«»„]+)[”\"»“]")
_CLAUSE = re.compile(r"\b(?:while|whereas|but|although|though|however)\b|;", re.IGNORECASE)
_CLOCK = re.compile(r"\b(?:(\d+):)?(\d{1,2}):(\d\d(?:\.\d+)?)\b")
_SECONDS = re.compile(r"\b(\d+(?:\.\d+)?) ?(?:s|secs?|seconds?)\b", re.IGNORECASE)
_MINUTES = re.compile(r"\b(\d+(?:\.\d+)?) ?(?:min|minutes?)\b", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?(?:%|per ?cent\b)")
_NUMBER = re.compile(r"[+\-−]?\d+(?:\.\d+)?")
_CAPITAL = re.compile(r"(?<=[^\s.!?:] )[A-Z][a-zà-ÿ]+")
_END = re.compile(r"(?<=[.!?])[”\"»]?\s+(?=[A-Z“\"«„(])|\n+")


@dataclass(frozen=True)
class Kept:
    """A sentence and the rows it rests on."""

    text: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Dropped:
    """A sentence that was taken out: why, and which part of it."""

    text: str
    reason: Reason
    what: str


@dataclass(frozen=True)
class Checked:
    """Outcome of a check: sentences or words kept, and what was dropped."""

    kept: tuple[Kept, ...] = ()
    dropped: tuple[Dropped, ...] = field(default=())

    def reasons(self) -> dict[str, int]:
        """How many were dropped for which reason."""
        return dict(Counter(item.reason for item in self.dropped))


@dataclass(frozen=True)
class _Cue:
    said: re.Pattern[str]
    shown: re.Pattern[str] | None
    source: str


@dataclass(frozen=True)
class _Rules:
    modalities: Mapping[str, re.Pattern[str]]
    cues: tuple[_Cue, ...]
    identity: re.Pattern[str]
    signs: Mapping[str, re.Pattern[str]]
    glue: frozenset[str]


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    record = tomllib.loads(files(__package__).joinpath("grounding.toml").read_text(encoding="utf-8"))

    def whole(pattern: str) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{pattern.replace(chr(10), '')})\b", re.IGNORECASE)

    cues = tuple(_Cue(whole(c["said"]), _part(c.get("shown")), c["source"]) for c in record["cue"])
    names = {name: whole(pattern) for name, pattern in record["modalities"].items()}
    signs = {name: whole(pattern) for name, pattern in record["signs"].items()}
    glue = frozenset(record["glue"]["words"].split())
    return _Rules(names, cues, whole(record["identity"]["pattern"]), signs, glue)


def _part(pattern: str | None) -> re.Pattern[str] | None:
    return None if pattern is None else re.compile(rf"\b(?:{pattern})", re.IGNORECASE)


class _Refused(Exception):
    def __init__(self, reason: Reason, what: str) -> None:
        self.reason, self.what = reason, what


def sentences(text: str) -> list[str]:
    """Sentences of a generated text, marks of lists taken off."""
    pieces = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", piece).strip() for piece in _END.split(text))
    return [piece for piece in pieces if piece]


def check(text: str, account: Account) -> Checked:
    """Sort the sentences of a text into those whose every claim has a row and the others."""
    kept: list[Kept] = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for sentence in sentences(text):
        if sentence.casefold() in seen:
            continue
        seen.add(sentence.casefold())
        try:
            kept.append(Kept(sentence, _rows(sentence, account)))
        except _Refused as refused:
            dropped.append(Dropped(sentence, refused.reason, refused.what))
    return Checked(tuple(kept), tuple(dropped))


def check_words(words: Iterable[str], account: Account) -> Checked:
    """Sort open-vocabulary words: one is kept when a fact shows that emotion, or one that all wheels call the same."""
    kept: dict[str, Kept] = {}
    dropped: dict[str, Dropped] = {}
    for word in dict.fromkeys(wheels.clean_word(str(w)) for w in words):
        facts = [f for f in account.facts if _shows(f, word)]
        if facts:
            kept[word] = Kept(word, _united(facts))
        elif word:
            dropped[word] = Dropped(word, "emotion", word)
    return Checked(tuple(kept.values()), tuple(dropped.values()))


@lru_cache(maxsize=4096)
def families(word: str) -> frozenset[str]:
    """Base words an emotion word may stand for, with those that every wheel places beside them."""
    tables = wheels.load()
    bases = tables.forms.get(wheels.clean_word(word).replace("_", " "), (wheels.clean_word(word),))
    return frozenset(bases) | {other for base in bases for other in tables.synonyms.get(base, ())}


def _shows(fact: Fact, word: str) -> bool:
    return any(families(word) & families(own) for own in fact.words)


def _united(facts: Iterable[Fact]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(row for fact in facts for row in fact.rows))


def _rows(sentence: str, account: Account) -> tuple[int, ...]:
    """Rows a sentence rests on; `_Refused` with the first claim that has none."""
    if len(sentence) > LONGEST:
        raise _Refused("claim", "it is endless")
    plain = sentence.replace(account.who, " ") if account.who else sentence
    if account.speaker:
        plain = re.sub(rf"\b{re.escape(account.speaker)}\b", " ", plain)
    _no_one_else(plain, account)
    quoted = [_quoted(found.group(1), account) for found in _QUOTE.finditer(plain)]
    plain = _QUOTE.sub(" ", plain)
    plain = _numbers(plain, account)
    found = [fact for facts in quoted for fact in facts]
    named: set[str] = set()
    for clause in _CLAUSE.split(plain):
        facts, covered = _clause(clause, account)
        found += facts
        named |= covered
    _rest(plain, account, named, found)
    if not found:
        found = [fact for fact in account.facts if _overlap(plain, fact)]
    if not found:
        raise _Refused("empty", "nothing in it rests on a row")
    return _united(found)


def _no_one_else(text: str, account: Account) -> None:
    for name in account.others:
        if re.search(rf"\b{re.escape(name)}\b", text):
            raise _Refused("person", name)
    if found := _rules().identity.search(_QUOTE.sub(" ", text)):
        raise _Refused("person", found.group())
    known = {word.lower() for fact in account.facts for way in fact.ways for word in _WORD.findall(way)}
    for name in _CAPITAL.findall(_QUOTE.sub(" ", text)):
        if name.lower() not in known | _rules().glue and not _is_emotion(name):
            raise _Refused("person", name)


def _is_emotion(word: str) -> bool:
    return wheels.clean_word(word) in wheels.load().forms


def _quoted(text: str, account: Account) -> list[Fact]:
    wanted = _squeezed(text)
    facts = [f for f in account.facts if f.source == "words" and any(wanted in _squeezed(way) for way in f.ways)]
    if not facts:
        raise _Refused("quotation", text)
    return facts


def _squeezed(text: str) -> str:
    return " ".join(_WORD.findall(text.lower().replace("’", "'")))


def _numbers(text: str, account: Account) -> str:
    """Check times, percentages and other numbers; the text without them."""

    def time(seconds: float, shown: str) -> str:
        inside = account.timed and account.start - NEAR <= seconds <= account.end + NEAR
        lasting = account.timed and abs(seconds - (account.end - account.start)) <= NEAR
        if not (inside or lasting):
            raise _Refused("time", shown)
        return " "

    def clock(found: re.Match[str]) -> str:
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        return time(3600 * hours + 60 * minutes + rest, found.group())

    text = _CLOCK.sub(clock, text)
    known = [way for fact in account.facts for way in fact.ways]
    numbers = {float(n.replace("−", "-")) for way in known for n in _NUMBER.findall(way)}
    shares = {float(n) for way in known for n in _PERCENT.findall(way)}

    def share(found: re.Match[str]) -> str:
        if not any(abs(float(found.group(1)) - value) < 0.51 for value in shares):
            raise _Refused("number", found.group())
        return " "

    text = _PERCENT.sub(share, text)
    text = _SECONDS.sub(lambda m: time(float(m.group(1)), m.group()), text)
    text = _MINUTES.sub(lambda m: time(60 * float(m.group(1)), m.group()), text)
    for found in _NUMBER.finditer(re.sub(r"\bAU ?\d+", " ", text)):
        if float(found.group().replace("−", "-")) not in numbers:
            raise _Refused("number", found.group())
    return text


def _clause(clause: str, account: Account) -> tuple[list[Fact], set[str]]:
    """Facts behind the cues, modalities and emotions of a clause, and the words that these take."""
    facts, covered, sources = _cues(clause, account)
    named = {name for name, pattern in _rules().modalities.items() if pattern.search(clause)}
    for name in sorted(named):
        covered |= {m.group().lower() for m in _rules().modalities[name].finditer(clause)}
        about = [fact for fact in account.facts if fact.source == name or _joint(fact, name)]
        if not about:
            raise _Refused("modality", name)
    for sign, pattern in _rules().signs.items():
        if hit := pattern.search(clause):
            facts.append(_signed(sign, hit.group(), account))
            covered |= set(_WORD.findall(hit.group().lower()))
    spoken = named | sources
    said, shown = _emotions(clause, account, spoken)
    return [*facts, *shown], covered | said


def _joint(fact: Fact, name: str) -> bool:
    """Whether a fact of fusion speaks of a modality (a disagreement)."""
    return fact.source == "fusion" and any(re.search(rf"\bthe {name}\b", way, re.IGNORECASE) for way in fact.ways)


def _cues(clause: str, account: Account) -> tuple[list[Fact], set[str], set[str]]:
    facts: list[Fact] = []
    covered: set[str] = set()
    sources: set[str] = set()
    rest = clause
    for cue in _rules().cues:
        for hit in cue.said.finditer(rest):
            shown = cue.shown or re.compile(rf"\b{re.escape(hit.group())}\b", re.IGNORECASE)
            same = [f for f in account.facts if f.source == cue.source and any(shown.search(w) for w in f.ways)]
            if not same:
                raise _Refused("cue", hit.group())
            facts += same
            sources.add(cue.source)
            covered |= set(_WORD.findall(hit.group().lower()))
        rest = cue.said.sub(" ", rest)
    return facts, covered, sources


def _signed(sign: str, said: str, account: Account) -> Fact:
    way = 1 if sign[0] == "+" else -1
    for fact in account.facts:
        found = re.fullmatch(rf"Perceived {sign[1:]} is ([+-]\d+\.\d+)\.", fact.ways[0])
        if found and float(found.group(1)) * way >= 0.05:
            return fact
    raise _Refused("emotion", said)


def _emotions(clause: str, account: Account, sources: set[str]) -> tuple[set[str], list[Fact]]:
    """Emotion words of a clause and the facts that show them, each in the modality that the clause speaks of."""
    from affectus.lm.extraction import extract_words

    found = extract_words(clause)
    facts: list[Fact] = []
    sources = sources & {"face", "voice", "words"}
    for word in found.words:
        showing = [f for f in account.facts if _shows(f, word)]
        # An emotion that is only spoken of is shown by nobody: it may be told of the words alone.
        showing = [f for f in showing if (f.source in sources if sources else not f.named)]
        if not showing:
            raise _Refused("emotion", word)
        facts += showing
    for source in sorted(sources) if found.words and len(sources) > 1 else ():
        if not any(f.source == source for f in facts):
            raise _Refused("emotion", f"{', '.join(found.words)} of the {source}")
    for word in found.negated:
        denied = [row for name, row in account.low.items() if families(name) & families(word)]
        if any(_shows(f, word) for f in account.facts) or not denied:
            raise _Refused("emotion", f"not {word}")
        facts.append(Fact("fusion", (), tuple(denied), told=False))
    return {part for word in (*found.words, *found.negated) for part in _WORD.findall(word)}, facts


def _rest(text: str, account: Account, named: set[str], found: list[Fact]) -> None:
    """Every other content word must stand in a fact or claim nothing."""
    glue = _rules().glue
    known = {w for fact in account.facts if fact.told for way in fact.ways for w in _WORD.findall(way.lower())}
    known |= {"valence", "arousal"} if any("valence" in way for f in account.facts for way in f.ways) else set()
    if _rules().modalities["words"].search(text):
        known |= {w for fact in account.facts if fact.source == "words" for w in _WORD.findall(fact.ways[0].lower())}
    for word in _WORD.findall(text.lower().replace("’", "'")):
        if len(word) <= 2 or word in glue or word in named or word in known:
            continue
        if any(base in glue or base in known for base in candidates(word)):
            continue
        raise _Refused("claim", word)


def _overlap(text: str, fact: Fact) -> bool:
    """Whether a sentence without emotion and cue repeats a fact, such as that two sources disagree."""
    words = {w for w in _WORD.findall(text.lower()) if len(w) > 3 and w not in ("this", "that", "with", "from")}
    own = {w for way in fact.ways for w in _WORD.findall(way.lower())} if fact.told else set()
    return len(words & own) >= max(2, len(words) // 2)
