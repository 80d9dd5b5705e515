"""Plain text and Markdown: lines, sentences and pieces of bounded length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from affectus.media.speakers import split_speaker, usual_speakers
from affectus.types import Turn

#: Longest piece of text (characters) that is handed on as one turn.
MAX_CHARACTERS = 400

# Ends of sentences: Latin marks need a space after them; CJK marks do not; then Arabic, Urdu, Devanagari, Armenian,
# Ethiopic, Burmese and Khmer marks. Closing quotes and brackets belong to the sentence.
# The looks behind and the possessive repeats keep the search linear in a megabyte of full stops.
_END = re.compile(
    r"(?<![.!?…‽])(?P<latin>[.!?…‽]++)(?P<quote>[\"'”’»)\]}]*+)(?=\s)"
    r"|(?<![؟۔।॥։።။។])[؟۔।॥։።။។]++[\"'”’»)\]]*+(?=\s)"
    r"|[。！？｡]++[」』”’）】》]*+"
)
_ABBREVIATION_LIST = (
    "mr mrs ms dr prof st sr sra srta dra jr vs no nr vol fig figs eq ca approx dept est inc ltd co corp gen col capt "
    "lt sgt rev hon gov sen rep pres jan feb mar apr jun jul aug sep sept oct nov dec bzw usw ggf evtl inkl zzgl str "
    "bspw mme mlle mgr av pp cf ibid al art op"
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
_WORD_BEFORE = re.compile(r"(\S+)$")
_SPACES = re.compile(r"\s+")


def split_sentences(text: str, limit: int = MAX_CHARACTERS) -> list[str]:
    """Sentences of a text, in order, none longer than `limit` characters, none empty.

    Splits at the marks of Latin, CJK, Arabic, Indic and some other scripts and at line ends, but not after common
    abbreviations, initials and numbers of list items. What is longer than `limit` is split at a clause, else at a
    space, else between characters (never inside an emoji or before a combining mark where that can be helped).
    Apart from white space nothing is lost, added or changed.
    """
    if limit < 8:
        raise ValueError(f"limit must be at least 8 characters, not {limit}")
    pieces: list[str] = []
    for line in text.splitlines():
        for sentence in _sentences(line):
            pieces.extend(_bounded(sentence, limit))
    return pieces


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(line):
        if match["latin"] and not _ends_sentence(line, start, match):
            continue
        if piece := line[start : match.end()].strip():
            yield piece
        start = match.end()
    if piece := line[start:].strip():
        yield piece


def _ends_sentence(line: str, start: int, match: re.Match[str]) -> bool:
    mark = match["latin"]
    following = line[match.end() : match.end() + 8].lstrip()[:1]
    if following.islower() and (match["quote"] or mark in ("…", "...")):
        return False  # "Stop!" he said. / well... maybe
    if mark != "." or match["quote"]:
        return True
    before = _WORD_BEFORE.search(line[max(start, match.start() - 40) : match.start()])
    word = before[1].lstrip("\"'“‘«(¿¡[").lower() if before else ""
    if word.isdigit():  # "1. First item" at the beginning only
        return line[start : match.start()].strip() != word or len(word) > 2
    return not (word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i") or "." in word.strip("."))


def _bounded(text: str, limit: int) -> Iterator[str]:
    start = 0
    while len(text) - start > limit:
        end = _cut(text, start, start + limit)
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].strip():
        yield piece


def _cut(text: str, start: int, end: int) -> int:
    """Best place to cut `text[start:end]`, in its second half if possible."""
    middle = (start + end) // 2
    for marks in (";:—–", ",", "，、；：،", " \t\u00a0\u3000"):
        if (best := max(text.rfind(mark, middle, end) for mark in marks)) >= 0:
            return best + 1
    for position in range(end, max(middle, end - 24), -1):
        if not _joined(text, position):
            return position
    return end


def _joined(text: str, position: int) -> bool:
    """Whether the characters on both sides of a position form one visible sign."""
    before, after = text[position - 1], text[position]
    return (
        unicodedata.combining(after) != 0
        or after in "\u200d\ufe0f"
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")
    )


def plain_turns(text: str) -> list[Turn]:
    """One turn per sentence; `Turn.row` is the number of the line (from 0) in which its paragraph begins.

    Empty lines are dropped; a long line that plainly runs on in the next one (hard-wrapped prose) is joined with it.
    When at least half of the lines, and two, begin with `NAME: `, names become speakers.
    """
    lines = _paragraphs(text)
    names = usual_speakers([line for _, line in lines])
    spoken = [split_speaker(line, names) for _, line in lines]
    if sum(1 for speaker, _ in spoken if speaker) < max(2, len(lines) / 2):
        spoken = [("", line) for _, line in lines]
    return [
        Turn(sentence, speaker=speaker, row=row)
        for (row, _), (speaker, words) in zip(lines, spoken, strict=True)
        for sentence in split_sentences(words)
    ]


def _paragraphs(text: str) -> list[tuple[int, str]]:
    joined: list[tuple[int, list[str]]] = []
    running = False
    for row, raw in enumerate(text.split("\n")):
        line = raw.strip()
        if line and running and line[0].islower():
            joined[-1][1].append(line)
        elif line:
            joined.append((row, [line]))
        running = (40 <= len(line) <= 120 and line[-1].isalnum()) or (40 <= len(line) <= 120 and line[-1] in ",;-–")
    return [(row, " ".join(parts)) for row, parts in joined]


_MARKDOWN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.S), ""),  # front matter
    (re.compile(r"^(```|~~~).*?(?:^\1[^\n]*$|\Z)", re.S | re.M), ""),  # code
    (re.compile(r"<!--.*?-->", re.S), ""),
    (re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)"), ""),  # pictures
    (re.compile(r"\[([^\]\n]+)\](?:\([^)\n]*\)|\[[^\]\n]*\])"), r"\1"),  # links
    (re.compile(r"^\s*\|?\s*:?-{3,}:?\s*(?:\|\s*:?-{3,}:?\s*)*\|?\s*$", re.M), ""),  # table rules
    (re.compile(r"^\s{0,3}(?:[-*_]\s*){3,}$|^\s{0,3}=+\s*$", re.M), ""),  # rules, underlined headings
    (re.compile(r"^[ \t]*(?:>[ \t]?)+", re.M), ""),  # quotations
    (re.compile(r"^[ \t]*(?:#{1,6}|[-*+]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?", re.M), ""),  # headings, lists
    (re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|~~)(?=\S)([^\n]+?)(?<=\S)\1(?![\w*])"), r"\2"),  # emphasis
    (re.compile(r"`([^`\n]+)`"), r"\1"),
)


def markdown_turns(text: str) -> list[Turn]:
    """As `plain_turns`, without the marks of Markdown; code blocks, pictures, comments and front matter are dropped.

    `Turn.row` counts the lines of the text that is left.
    """
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    return plain_turns(text)
