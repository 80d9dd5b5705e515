"""Finding the inputs of a run and checking that a file can be read at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from affectus.errors import MediaError


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


VIDEO_SUFFIXES = _suffixes("mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts wmv asf flv 3gp 3g2 ogv vob mxf divx")
AUDIO_SUFFIXES = _suffixes("wav flac mp3 m4a aac ogg oga opus wma aif aiff aifc au amr ac3 caf mka w64")
IMAGE_SUFFIXES = _suffixes("jpg jpeg jpe jfif png gif webp bmp tif tiff avif jp2 ppm pgm heic heif tga")
SUBTITLE_SUFFIXES = frozenset({".srt", ".vtt"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx"})
TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".docx"})
#: What a folder is searched for; a file named explicitly is taken whatever it is called.
KNOWN_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES | IMAGE_SUFFIXES | SUBTITLE_SUFFIXES | TABLE_SUFFIXES | TEXT_SUFFIXES

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?")

#: Bytes from which is told what a file is.
HEAD = 16384
#: A folder that holds a file of this name was written by an analysis and is never searched for inputs.
OUTPUT_MARKER = ".affectus-output"


def read_head(path: Path, size: int = HEAD, stream: BinaryIO | None = None) -> bytes:
    """First `size` bytes of a file that must exist, be a regular file, be readable and not be empty.

    With `stream`, of that seekable stream, which is left at its start; `path` then only names it. Raises `MediaError`
    with the reason otherwise.
    """
    if stream is not None:
        stream.seek(0)
        head = stream.read(size)
        stream.seek(0)
    else:
        head = _file_head(path, size)
    if not head:
        raise MediaError(path, "is empty (0 bytes)", "copy or record it again")
    return head


def _file_head(path: Path, size: int) -> bytes:
    try:
        if path.is_dir():
            raise MediaError(path, "is a folder, not a file", "name the files in it")
        if not path.exists():
            raise MediaError(path, *_absent(path))
        if not path.is_file():
            raise MediaError(path, "is neither a file nor a folder", "give a regular file")
        with path.open("rb") as stream:
            return stream.read(size)
    except PermissionError:
        raise MediaError(path, "may not be read", "ask for read permission on the file") from None
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise MediaError(repr(str(path)), "is not a usable path", "remove the NUL character from the name") from None


def _absent(path: Path) -> tuple[str, str]:
    """Why a path leads nowhere, and what to do."""
    name = str(path)
    if re.match(r"[a-z][a-z0-9+.-]+:/", name):
        return "is an address on a network, from which nothing is fetched", "download the file and give its path"
    if any(sign in name for sign in "*?"):
        return "there is no such file, and patterns are not filled in here", "name files or the folder"
    return "there is no such file", "check the spelling of the path"


def sidecar(path: str | Path) -> Path | None:
    """Subtitle file that belongs to a recording: `clip.srt`, `clip.mp4.srt` or `clip.en.srt` beside `clip.mp4`.

    Exact names win over names with a language tag, `.srt` over `.vtt`; None when there is none.
    """
    path = Path(path)
    try:
        siblings = sorted(p for p in path.parent.iterdir() if p.suffix.lower() in SUBTITLE_SUFFIXES and p.is_file())
    except OSError:
        return None
    ranked = [(rank, p.suffix.lower(), p) for p in siblings if (rank := _sidecar_rank(path, p)) is not None]
    return min(ranked)[2] if ranked else None


def _sidecar_rank(media: Path, subtitle: Path) -> int | None:
    """0 for the same stem, 1 for the whole name, 2 for stem + language tag, None when they do not belong together."""
    name = subtitle.name[: -len(subtitle.suffix)]
    if name == media.stem:
        return 0
    if name == media.name:
        return 1
    tag = name[len(media.stem) + 1 :]
    return 2 if name.startswith(media.stem + ".") and _LANGUAGE.fullmatch(tag) else None


def find_media(paths: Iterable[str | Path] | str | Path) -> list[Path]:
    """Files to analyse, in a stable order and without repeats.

    A named file is kept as it is, even when missing or of unknown type: reading it gives the error that names it. A
    folder is searched recursively for known suffixes in sorted order; hidden entries and folders written by an
    analysis (see `OUTPUT_MARKER`) are left out. A subtitle file that belongs to a recording in the list
    (see `sidecar`) is not an input of its own.

    Raises `MediaError` when a folder may not be listed or nothing at all was found.
    """
    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(p) for p in paths]
    found: dict[Path, Path] = {}
    for path in given:
        for file in _walk(path) if path.is_dir() else [path]:
            found.setdefault(Path(os.path.realpath(file)), file)
    files = _without_sidecars(list(found.values()))
    if not files:
        where = ", ".join(str(p) for p in given) or "the list of inputs"
        raise MediaError(where, "holds no video, audio, picture, text, subtitle or table", "check the folder")
    return files


def _without_sidecars(files: list[Path]) -> list[Path]:
    recordings: dict[Path, list[Path]] = {}
    for file in files:
        if file.suffix.lower() in VIDEO_SUFFIXES | AUDIO_SUFFIXES:
            recordings.setdefault(file.parent, []).append(file)
    return [
        file
        for file in files
        if file.suffix.lower() not in SUBTITLE_SUFFIXES
        or all(_sidecar_rank(recording, file) is None for recording in recordings.get(file.parent, []))
    ]


def _walk(folder: Path) -> list[Path]:
    """Known files below a folder, depth first in sorted order."""

    def refuse(error: OSError) -> None:
        raise MediaError(error.filename or folder, "may not be listed", "ask for read permission on the folder")

    files: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        if OUTPUT_MARKER in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(root, name)
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in KNOWN_SUFFIXES
        ]
    return files
