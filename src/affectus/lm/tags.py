"""Answers with a form: tags, JSON, numbers, choices. What can be repaired without guessing is, and is named; the rest
is an error.

    grammar = Grammar.parse("think? answer")
    found = grammar.parse_text(text)
    found.fields["answer"], found.exact, found.repairs, found.error

`exact` is the published rule: the whole text matches the tags in their order, blanks between them allowed. A repair is
made only where one reading is possible (case of a tag, a closing tag lost before the next tag or the end of the text,
text around the blocks). Two different answers, a missing answer or an empty one are errors: no field is returned, and
whoever counts must count them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectus.errors import ConfigError


@dataclass(frozen=True)
class Block:
    """One tag of a grammar; `inner` are blocks its content must hold in this order."""

    name: str
    optional: bool = False
    inner: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """Outcome of parsing one text.

    `fields` by tag name (inner tags as `think.element`), trimmed; empty when there is an `error`. `repairs` names what
    was mended. `exact` says that the text followed the form to the letter, so `exact` implies no repairs.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False
    repairs: tuple[str, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is something to use."""
        return not self.error

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = "") -> Any:
        """A field, or the default when it is absent."""
        return self.fields.get(name, default)


@dataclass(frozen=True)
class Grammar:
    """The tags of an answer in their order."""

    blocks: tuple[Block, ...]

    @classmethod
    def parse(cls, form: str) -> Grammar:
        """A grammar from its short form: `think? answer`, or `think(element human context) answer confidence`."""
        blocks, rest = _blocks(form.replace("(", " ( ").replace(")", " ) ").split())
        if rest or not blocks:
            raise ConfigError(f"tag grammar {form!r}", "is malformed", "write names, '?' for optional, '( )' for inner")
        return cls(tuple(blocks))

    def matches(self, text: str) -> bool:
        """Whether the whole text follows the form to the letter, every tag exactly once (blanks between them
        allowed)."""
        found = _pattern(self.blocks).fullmatch(text.strip())
        if found is None:
            return False
        return all(text.count(f"<{n}>") <= 1 and text.count(f"</{n}>") <= 1 for n in _names(self.blocks))

    def parse_text(self, text: str) -> Parsed:
        """Fields of an answer; see the module text for what is repaired and what is refused."""
        if not isinstance(text, str) or not text.strip():
            return Parsed(error="the answer is empty")
        exact = self.matches(text)
        repairs: list[str] = []
        try:
            fields = _read(_spelled(text, self.blocks, repairs), self.blocks, repairs, "")
        except _Refused as reason:
            return Parsed(repairs=tuple(repairs), error=str(reason))
        return Parsed(fields, exact, () if exact else tuple(dict.fromkeys(repairs)))

    def describe(self) -> str:
        """The form as a line for a prompt: `<think>...</think><answer>...</answer>`."""
        return "".join(_described(block) for block in self.blocks)


class _Refused(Exception):
    """More than one reading, or none."""


def _blocks(words: list[str]) -> tuple[list[Block], list[str]]:
    found: list[Block] = []
    while words and words[0] != ")":
        name, words = words[0], words[1:]
        optional = name.endswith("?")
        if not re.fullmatch(r"[a-z][a-z0-9_]*\??", name):
            return [], [name]
        inner: list[Block] = []
        if words and words[0] == "(":
            inner, words = _blocks(words[1:])
            if not words or words[0] != ")":
                return [], [name]
            words = words[1:]
        found.append(Block(name.rstrip("?"), optional, tuple(inner)))
    return found, words


def _names(blocks: Sequence[Block]) -> list[str]:
    return [name for block in blocks for name in (block.name, *_names(block.inner))]


def _described(block: Block) -> str:
    inner = "".join(_described(b) for b in block.inner) or "..."
    return f"<{block.name}>{inner}</{block.name}>"


def _pattern(blocks: Sequence[Block]) -> re.Pattern[str]:
    def part(block: Block) -> str:
        inner = r"\s*".join(part(b) for b in block.inner)
        body = rf"\s*{inner}\s*" if inner else ".*?"
        text = rf"<{block.name}>{body}</{block.name}>"
        return rf"(?:{text})?" if block.optional else text

    return re.compile(r"\s*".join(part(block) for block in blocks), re.DOTALL)


def _spelled(text: str, blocks: Sequence[Block], repairs: list[str]) -> str:
    """Tags of the grammar in their plain spelling: no blanks or capitals, ASCII brackets, slash on the right side."""
    straight = text.replace("＜", "<").replace("＞", ">")
    names = "|".join(sorted(_names(blocks), key=len, reverse=True))
    tag = re.compile(rf"<\s*(/?)\s*({names})\s*>", re.IGNORECASE)

    def plain(found: re.Match[str]) -> str:
        spelled = f"<{found.group(1)}{found.group(2).lower()}>"
        if spelled != found.group(0):
            repairs.append(f"spelling of {found.group(0).strip()}")
        return spelled

    mended = tag.sub(plain, straight)
    if straight != text:
        repairs.append("full-width brackets")
    return mended


def _read(text: str, blocks: Sequence[Block], repairs: list[str], prefix: str) -> dict[str, str]:
    """Contents of the blocks in a text; whatever lies around them is dropped and told."""
    fields: dict[str, str] = {}
    spans: list[tuple[int, int]] = []
    for place, block in enumerate(blocks):
        found = _find(text, block, blocks[place + 1 :], place == 0, repairs)
        if found is None:
            if block.optional:
                continue
            raise _Refused(f"there is no <{block.name}>")
        start, end, content = found
        if not content.strip() and not block.optional:
            raise _Refused(f"<{block.name}> is empty")
        if any(start < other_end and other_start < end for other_start, other_end in spans):
            raise _Refused(f"<{block.name}> overlaps another block")
        if spans and start < spans[-1][0]:
            raise _Refused(f"<{block.name}> stands before <{blocks[place - 1].name}>")
        spans.append((start, end))
        if block.inner:
            fields |= _read(content, block.inner, repairs, f"{prefix}{block.name}.")
        fields[prefix + block.name] = content.strip()
    outside = "".join(text[a:b] for a, b in zip([0, *(e for _, e in spans)], [*(s for s, _ in spans), len(text)],
                                                strict=True))  # fmt: skip
    if outside.strip():
        repairs.append("text outside the blocks dropped")
    return fields


def _find(
    text: str, block: Block, later: Sequence[Block], first: bool, repairs: list[str]
) -> tuple[int, int, str] | None:
    """Start, end and content of a block, with a lost tag put back where only one place is possible."""
    opening, closing = f"<{block.name}>", f"</{block.name}>"
    starts = [m.start() for m in re.finditer(re.escape(opening), text)]
    ends = [m.start() for m in re.finditer(re.escape(closing), text)]
    if not starts and not ends:
        return None
    if len(starts) > 1 or len(ends) > 1:
        return _repeated(text, block, repairs)
    if not starts:
        if not first:
            raise _Refused(f"</{block.name}> has no opening tag")
        repairs.append(f"opening <{block.name}> put at the start")
        return 0, ends[0] + len(closing), text[: ends[0]]
    start = starts[0] + len(opening)
    if ends:
        if ends[0] < start:
            raise _Refused(f"</{block.name}> stands before <{block.name}>")
        return starts[0], ends[0] + len(closing), text[start : ends[0]]
    following = [place for other in later if (place := text.find(f"<{other.name}>", start)) >= 0]
    end = min(following, default=len(text))
    where = "before the next tag" if following else "at the end"
    repairs.append(f"closing </{block.name}> put {where}")
    return starts[0], end, text[start:end]


def _repeated(text: str, block: Block, repairs: list[str]) -> tuple[int, int, str]:
    """A block that occurs several times: fine only when all occurrences say the same."""
    whole = list(re.finditer(rf"<{block.name}>(.*?)</{block.name}>", text, re.DOTALL))
    said = {m.group(1).strip() for m in whole}
    loose = len(whole) != text.count(f"<{block.name}>") or len(whole) != text.count(f"</{block.name}>")
    if len(said) != 1 or loose or any(f"<{block.name}>" in m.group(1) for m in whole):
        raise _Refused(f"<{block.name}> occurs several times with different content")
    repairs.append(f"repeated <{block.name}> with the same content")
    return whole[0].start(), whole[0].end(), whole[0].group(1)


def parse_json(
    text: str, keys: Sequence[str] = (), kinds: Mapping[str, type | tuple[type, ...]] | None = None
) -> Parsed:
    """The one JSON object of an answer as fields.

    Repaired: a code fence, text around the object, trailing commas, Python spelling (single quotes, True, None).
    Refused: no object, several different ones, a missing key of `keys`, a value that is not of its kind in `kinds`.
    """
    if not isinstance(text, str) or not text.strip():
        return Parsed(error="the answer is empty")
    stripped = text.strip()
    try:
        whole = json.loads(stripped)
        exact, repairs = isinstance(whole, dict), []
        objects = [whole] if exact else []
    except ValueError:
        exact, objects, repairs = False, *_objects(stripped)
    distinct = {json.dumps(o, sort_keys=True, ensure_ascii=False): o for o in objects}
    if len(distinct) != 1:
        return Parsed(error="there is no JSON object" if not distinct else "there are several different JSON objects")
    found = next(iter(distinct.values()))
    if missing := [key for key in keys if key not in found]:
        return Parsed(repairs=tuple(repairs), error=f"the JSON object lacks {', '.join(missing)}")
    for key, kind in (kinds or {}).items():
        if key in found and (not isinstance(found[key], kind) or (isinstance(found[key], bool) and kind is not bool)):
            return Parsed(repairs=tuple(repairs), error=f"{key} is {found[key]!r}")
    return Parsed(found, exact, tuple(repairs))


def _objects(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """All top-level `{...}` of a text that can be read, and how."""
    repairs = ["code fence removed"] if "```" in text else ["text around the JSON dropped"]
    found: list[dict[str, Any]] = []
    place = 0
    decoder = json.JSONDecoder()
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            end = _matching(text, place)
            value = _loosely(text[place:end], repairs) if end else None
            end = end or place + 1
        if isinstance(value, dict):
            found.append(value)
        place = end
    return found, repairs


def _matching(text: str, start: int) -> int:
    """Position after the brace that closes the one at `start`, 0 when there is none; braces in quotes do not count."""
    depth, quote, escaped = 0, "", False
    for place in range(start, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quote = letter
        else:
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                return place + 1
    return 0


def _loosely(text: str, repairs: list[str]) -> Any:
    try:
        value = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
        repairs.append("trailing commas removed")
        return value
    except ValueError:
        pass
    try:
        value = ast.literal_eval(text)
        repairs.append("Python spelling read as JSON")
        return value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)?(?![\w])")


def parse_number(text: str, low: float | None = None, high: float | None = None, published: bool = False) -> Parsed:
    """A number of an answer as field `value`: "8", "score: 7; reason ...", "'score': 8.5".

    A number after the word score wins, then the only number there is; with several a "x/10" or "x out of 10" is read as
    x. Refused: no number, several different ones, one outside [low, high]. `published` takes the first digits with an
    optional decimal part, wherever they stand (EMER).
    """
    if published:
        first = re.search(r"\d+(?:\.\d+)?", text or "")
        if first is None:
            return Parsed(error="there is no number")
        return _in_range(float(first.group()), low, high, exact=text.strip() == first.group())
    stripped = (text or "").strip()
    if not stripped:
        return Parsed(error="the answer is empty")
    told = re.search(rf"score\W{{0,6}}(?:is|of|=|:)?\W{{0,3}}({_NUMBER.pattern})", stripped, re.IGNORECASE)
    cleaned = re.sub(r"(?<=\d)\s*(?:/|out of)\s*\d+", "", stripped)
    numbers = [told.group(1)] if told else list(dict.fromkeys(_NUMBER.findall(cleaned)))
    if len(numbers) != 1:
        return Parsed(error="there is no number" if not numbers else f"there are several numbers: {', '.join(numbers)}")
    return _in_range(float(numbers[0].replace(",", ".")), low, high, exact=numbers[0] == stripped)


def _in_range(value: float, low: float | None, high: float | None, exact: bool) -> Parsed:
    if (low is not None and value < low) or (high is not None and value > high):
        return Parsed(error=f"{value:g} is outside {low}…{high}")
    return Parsed({"value": value}, exact, () if exact else ("text around the number dropped",))


def parse_choice(text: str, choices: Sequence[str]) -> Parsed:
    """The one of a few fixed answers (a1, a2, same; yes, no) that an answer gives, as field `value`.

    Case and surrounding text are repaired; naming none or more than one is refused.
    """
    stripped = (text or "").strip()
    if not stripped:
        return Parsed(error="the answer is empty")
    bare = stripped.strip("\"'`.*()[] \n").lower()
    folded = {choice.lower(): choice for choice in choices}
    if bare in folded:
        exact = stripped == folded[bare]
        return Parsed({"value": folded[bare]}, exact, () if exact else ("spelling",))
    found = [own for low, own in folded.items() if re.search(rf"(?<!\w){re.escape(low)}(?!\w)", stripped.lower())]
    if len(found) != 1:
        return Parsed(error="no choice is named" if not found else f"several choices are named: {', '.join(found)}")
    return Parsed({"value": found[0]}, False, ("text around the choice dropped",))
