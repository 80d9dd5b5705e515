"""Turns of any file that holds text: plain, Markdown, subtitles, tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from affectus.errors import MediaError
from affectus.media.chat_log import chat_turns
from affectus.media.encodings import decode_text
from affectus.media.files import read_head
from affectus.media.office import paragraphs, sheet_rows
from affectus.media.probe import probe
from affectus.media.subtitles import parse_subtitles
from affectus.media.tables import is_tabbed, parse_rows, parse_table
from affectus.media.text import markdown_turns, plain_turns
from affectus.media.timed_text import timed_turns
from affectus.types import Conversation, Turn

#: Larger text files are refused (bytes).
MAX_BYTES = 1 << 28
_NO_TEXT = {"video": "a video", "audio": "a sound", "image": "a picture"}


def read_turns(
    path: str | Path, warnings: list[str] | None = None, columns: Mapping[str, str] | None = None
) -> list[Turn]:
    """Turns of a text (txt, md, docx), subtitle (srt, vtt) or table (csv, tsv, jsonl, json, xlsx) file, by content.

    Texts give one turn per sentence without times, chats exported as text one per message, transcripts with times in
    them one per time, subtitles one per cue and
    speaker, tables one per row; see `plain_turns`, `chat_turns`, `parse_subtitles` and `parse_table` for `Turn.row`.
    The encoding is found out (see `encodings`). What was guessed or left out is appended to `warnings`.
    `columns` says which column of a table is what. Raises `MediaError`.
    """
    return [turn for _, turn in _numbered(Path(path), warnings, columns)]


def read_conversations(
    path: str | Path, warnings: list[str] | None = None, columns: Mapping[str, str] | None = None
) -> list[Conversation]:
    """The turns of a file grouped by conversation, in order of first appearance.

    Only tables can hold several conversations; elsewhere, and without an id column, all turns form one whose id is the
    name of the file.
    """
    path = Path(path)
    grouped: dict[str, list[Turn]] = {}
    for name, turn in _numbered(path, warnings, columns):
        grouped.setdefault(name or path.stem, []).append(turn)
    return [Conversation(name, tuple(turns)) for name, turns in grouped.items()]


def _numbered(path: Path, warnings: list[str] | None, columns: Mapping[str, str] | None) -> list[tuple[str, Turn]]:
    kind = probe(path).kind
    if kind in _NO_TEXT:
        raise MediaError(path, f"is {_NO_TEXT[kind]}, not text", "give a text, subtitle or table file")
    if path.stat().st_size > MAX_BYTES:
        raise MediaError(path, f"is larger than {MAX_BYTES >> 20} MB of text", "split it")
    head = read_head(path, 4)
    if head == b"PK\x03\x04":
        if kind == "table":
            return parse_rows(sheet_rows(path), path, warnings, columns)
        text = paragraphs(path)
    else:
        text = decode_text(path.read_bytes(), path, warnings=warnings)
    if kind == "subtitles":
        turns = parse_subtitles(text, path, warnings)
    elif kind == "table" or (columns and is_tabbed(text, titled=False)):
        return parse_table(text, path, warnings, columns)
    else:
        plain = markdown_turns if path.suffix.lower() in (".md", ".markdown") else plain_turns
        turns = chat_turns(text) or timed_turns(text) or plain(text)
    if not turns:
        raise MediaError(path, "holds no text, only white space", "check the file")
    return [("", turn) for turn in turns]
