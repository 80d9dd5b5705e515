"""English lemmas by rule, without any download: irregular forms from a table, regular ones from spelling rules.

Only inflection is undone (plural, third person, past, -ing, comparative, superlative) and the adverb ending -ly when a
vocabulary confirms the result. With a vocabulary the first candidate it holds is taken, without one the most likely.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import lru_cache

from affectus.labels.label_space import read_table

_VOWELS = "aeiou"
_DOUBLED = re.compile(r"(.*[aeiouy])([bcdfgklmnprtvz])\2$")
_SILENT_E = re.compile(
    r".*(?:[^aeiou]l(?<![lrw]l)|[vzu]|[^s]c|dg|[lr]g|[aiou]g|[aeiourn]s|[^aeo]at|(?:[^aeiou]|qu)[iua]r|[iy]z)$"
)


def lemma(word: str, vocabulary: Container[str] | None = None) -> str:
    """Base form of an English word, lower case.

    `lemma("worries")` is worry, `lemma("stopped")` stop. With a vocabulary, a word it holds stays as it is and a word
    none of whose candidates it holds is returned in its most likely base form.
    """
    text = word.strip().lower().replace("’", "'")
    text = text[:-2] if text.endswith("'s") else text.rstrip("'")
    if vocabulary is not None:
        if text in vocabulary:
            return text
        for candidate in candidates(text):
            if candidate in vocabulary:
                return candidate
    return next((c for c in candidates(text, adverbs=False)), text)


def candidates(word: str, adverbs: bool = True) -> Iterator[str]:
    """Possible base forms of a lower-case word, most likely first, without the word itself."""
    irregular, uninflected = _tables()
    if word in irregular:
        yield irregular[word]
        return
    if word in uninflected or len(word) < 4:
        return
    seen = {word}
    for base in _regular(word, adverbs):
        if len(base) > 1 and base not in seen and any(c in "aeiouy" for c in base):
            seen.add(base)
            yield base


def _regular(word: str, adverbs: bool) -> Iterator[str]:
    if word.endswith("s"):
        yield from _without_s(word)
    elif word.endswith("ied"):
        yield word[:-3] + "y"
    elif word.endswith("ed"):
        yield from _stems(word[:-2])
    elif word.endswith("ing") and any(c in "aeiouy" for c in word[:-3]):
        yield from _stems(word[:-3])
    elif word.endswith(("ier", "iest")):
        yield word[: word.rindex("i")] + "y"
    elif word.endswith(("er", "est")) and adverbs:
        yield from _stems(word[:-2] if word.endswith("er") else word[:-3])
    elif word.endswith("ly") and adverbs:
        yield from _adverb(word)


def _without_s(word: str) -> Iterator[str]:
    if word.endswith(("ss", "us", "is")):
        return
    if word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"
        yield word[:-1]
    elif word.endswith("ves"):
        yield word[:-1]
        yield word[:-3] + "f"
        yield word[:-3] + "fe"
    elif word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        yield word[:-2]
        yield word[:-1]
    else:
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]


def _stems(stem: str) -> Iterator[str]:
    """Base forms of a stem that lost -ed, -ing, -er or -est: undoubled, with a silent e, or as it is."""
    if match := _DOUBLED.match(stem):
        single = match.group(1) + match.group(2)
        keep_double = stem.endswith(("ll", "ff", "zz")) and _syllables(stem) == 1
        yield from (stem, single) if keep_double else (single, stem)
        return
    if _wants_e(stem):
        yield stem + "e"
        yield stem
    else:
        yield stem
        yield stem + "e"


def _wants_e(stem: str) -> bool:
    """Whether the spelling shows that the base ends in a silent e."""
    if stem.endswith(("w", "x", "y", "ss", "ng", "er", "en", "on")):
        return False
    if _SILENT_E.match(stem):
        return True
    short = re.fullmatch(r"[^aeiou]*(?:qu)?[aeiouy][bdfgklmnprt]", stem)
    return bool(short) and stem[-2] in _VOWELS


def _adverb(word: str) -> Iterator[str]:
    if word.endswith("ically"):
        yield word[:-4]
    if word.endswith("ily"):
        yield word[:-3] + "y"
    yield word[:-2]
    if word.endswith(("bly", "ply", "tly", "dly", "gly")):
        yield word[:-1] + "e"
    yield word[:-2] + "e"
    yield from _stems(word[:-4]) if word.endswith(("edly",)) else ()
    yield from _stems(word[:-5]) if word.endswith("ingly") else ()


def _syllables(text: str) -> int:
    return len(re.findall(r"[aeiouy]+", text))


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, str], frozenset[str]]:
    record = read_table("lemmas.toml")
    irregular = {form: base for base, forms in record["irregular"].items() for form in forms.split() if form != base}
    return irregular, frozenset(record["uninflected"]["words"].split())
