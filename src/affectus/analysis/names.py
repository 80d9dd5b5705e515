"""Names of result folders: readable, safe on every file system, and one for each input."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]')
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))})
#: The table over all inputs of a run, beside their folders.
SUMMARY = "summary.csv"
#: Longest name (bytes of UTF-8) that leaves room for a suffix on common file systems.
LONGEST = 150


def safe_name(text: str) -> str:
    """A file name as the name of a folder: separators, control and direction marks, dots at the ends and reserved
    names replaced, at most `LONGEST` bytes."""
    name = _UNSAFE.sub("_", text.encode("utf-8", "replace").decode()).strip(" .") or "input"
    if name.split(".")[0].casefold() in _RESERVED or name.casefold() == SUMMARY:
        name = f"_{name}"
    if len(name.encode()) > LONGEST:
        name = name.encode()[:LONGEST].decode("utf-8", "ignore").rstrip(" .")
        name += f"-{digest(text)}"
    return name


def digest(text: str) -> str:
    """Six hexadecimal digits that go with a text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=3).hexdigest()


def marked(name: str, path: Path) -> str:
    """A name with a mark of the absolute path, for inputs that would share a folder."""
    return f"{name}-{digest(os.path.realpath(path))}"


def folder_names(files: Sequence[Path], given: Iterable[Path]) -> dict[Path, str]:
    """Folder name for each input: its path below the given folder it was found in (parts joined by `__`), else its own
    name; inputs whose names would coincide (letter case aside) get a mark of their path."""
    roots = sorted((p for p in given if p.is_dir()), key=lambda p: -len(p.parts))
    plain: dict[Path, str] = {}
    for file in files:
        root = next((r for r in roots if file.is_relative_to(r)), None)
        parts = file.relative_to(root).parts if root else (file.name,)
        plain[file] = safe_name("__".join(parts))
    taken: dict[str, int] = {}
    for name in plain.values():
        taken[name.casefold()] = taken.get(name.casefold(), 0) + 1
    return {file: name if taken[name.casefold()] == 1 else marked(name, file) for file, name in plain.items()}
