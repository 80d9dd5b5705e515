"""From bytes to text whose encoding nobody stated.

Order: byte-order mark, UTF-16 without one (told by its NUL bytes), UTF-8, then the legacy encodings people still meet:
Shift-JIS and EUC-JP (told by their kana), GB18030 (told by frequent Chinese characters), else Windows-1252. UTF-8 with
a few broken bytes stays UTF-8; where whole lines are UTF-8 and others are not, as in exports put together from several
sources, each line is read in its own encoding. Short legacy text without kana or accents in the usual places can be
taken wrongly; saving as UTF-8 always helps.
"""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

from affectus.errors import MediaError

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: In place of a codec: UTF-8 in some lines, another encoding in others.
MIXED = "mixed"
#: Bytes below 32 that occur in text: backspace, tab, line feed, vertical tab, form feed, return, escape.
_TEXT_CONTROLS = bytes((8, 9, 10, 11, 12, 13, 27))
_CONTROLS = bytes(set(range(32)) - set(_TEXT_CONTROLS)) + b"\x7f"


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text in some encoding."""
    if any(head.startswith(mark) for mark, _ in _MARKS) or _utf16(head):
        return True
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return b"\0" not in head and controls <= 0.002 * len(head)


def decode_text(data: bytes, path: str | Path, cut: bool = False, warnings: list[str] | None = None) -> str:
    """Decode with the encoding found (see the module); line ends become LF and a byte-order mark is dropped.

    `cut` allows an incomplete last character (`data` is the beginning of a file). A guess is noted in `warnings`.
    Raises `MediaError` for NUL bytes and broken UTF-16/32.
    """
    notes = warnings if warnings is not None else []
    encoding, errors = _encoding(data, path, cut, notes)
    if encoding == MIXED:
        return _plain_lines(_line_by_line(data, notes))
    try:
        text = codecs.getincrementaldecoder(encoding)(errors).decode(data, final=not cut)
    except UnicodeDecodeError as error:
        reason = f"the text is not valid {encoding.upper()} (byte {error.start})"
        raise MediaError(path, reason, "save it as UTF-8") from None
    if "\0" in text:
        raise MediaError(path, "holds NUL characters: binary data, not text", "save it as UTF-8 text")
    return _plain_lines(text)


def _plain_lines(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _strange_lines(data: bytes) -> list[bytes]:
    """Lines in another encoding than their UTF-8 neighbours; none where fewer lines are UTF-8 than not (lines in ASCII
    tell nothing), or where the others hold UTF-8 too and are but damaged."""
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    strange = [line for line in lines if not _decodes(line, "utf-8", cut=False)]
    if 2 * len(strange) > len(lines) or any(_is_damaged_utf8(line) for line in strange):
        return []
    return strange


def _line_by_line(data: bytes, notes: list[str]) -> str:
    """Text whose lines are UTF-8 or else in one legacy encoding."""
    strange = _strange_lines(data)
    name = _legacy(b"\n".join(strange), cut=False)
    lines = f"{len(strange)} lines are" if len(strange) > 1 else "one line is"
    notes.append(f"{lines} not valid UTF-8 like the others; read as {name}")
    other = set(strange)
    return "\n".join(line.decode(name if line in other else "utf-8", "replace") for line in data.split(b"\n"))


def _encoding(data: bytes, path: str | Path, cut: bool, notes: list[str]) -> tuple[str, str]:
    """Codec name and error mode."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name, "strict"
    if name := _utf16(data):
        return name, "strict"
    if b"\0" in data:
        raise MediaError(path, "holds NUL bytes: binary data, not text", "save it as UTF-8 text")
    if _decodes(data, "utf-8", cut):
        return "utf-8", "strict"
    if not cut and _strange_lines(data):
        return MIXED, "replace"
    if _is_damaged_utf8(data):
        notes.append("some bytes are not valid UTF-8 and show as U+FFFD")
        return "utf-8", "replace"
    name = _legacy(data, cut)
    notes.append(f"the text is not UTF-8; read as {name}")
    return name, "replace"


def _utf16(data: bytes) -> str:
    """UTF-16 without a mark: about every second byte is NUL and nothing decodes to a control character."""
    pairs = data[: len(data) // 2 * 2]
    if len(pairs) < 4:
        return ""
    for name, high, low in (("utf-16-le", pairs[1::2], pairs[::2]), ("utf-16-be", pairs[::2], pairs[1::2])):
        if high.count(0) >= 0.4 * len(high) and low.count(0) == 0:
            text = pairs.decode(name, "replace")
            if not any(unicodedata.category(c) in ("Cc", "Cn", "Co") and c not in "\t\n\r\f" for c in text[:4096]):
                return name
    return ""


def _decodes(data: bytes, encoding: str, cut: bool) -> str:
    """The text (or a space for no bytes) when the data is valid in an encoding, else an empty string."""
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(data, final=not cut) or " "
    except UnicodeDecodeError:
        return ""


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether valid multi-byte characters outnumber broken bytes ten to one."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    whole = sum(1 for c in text if c > "\x7f") - broken
    return whole >= 10 * broken


def _legacy(data: bytes, cut: bool) -> str:
    japanese = _decodes(data, "cp932", cut)
    if japanese and _share(japanese, "\u3041", "\u30ff") >= 0.15 and _share(japanese, "\uff61", "\uff9f") < 0.3:
        return "cp932"
    chinese = _decodes(data, "gb18030", cut)
    if chinese:
        if _share(chinese, "\u3041", "\u30ff") >= 0.2 and _decodes(data, "euc_jp", cut):
            return "euc_jp"
        if _frequent_chinese(chinese) >= 0.6:
            return "gb18030"
    return "cp1252"


def _share(text: str, first: str, last: str) -> float:
    """Share of a range of characters among all that are not ASCII."""
    foreign = [c for c in text if c > "\x7f"]
    return sum(1 for c in foreign if first <= c <= last) / max(1, len(foreign))


def _frequent_chinese(text: str) -> float:
    """Share of the 3,755 frequent characters of GB 2312 (rows 16-55) and Chinese punctuation among non-ASCII."""
    foreign = [c for c in text if c > "\x7f"]
    frequent = sum(
        1 for c in foreign if b"\xb0" <= c.encode("gb2312", "replace")[:1] <= b"\xd7" or c in "，。！？、：；“”…"
    )
    return frequent / max(1, len(foreign))
