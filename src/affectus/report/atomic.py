"""Writing a file so that it is either the old one or the new one, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from affectus.errors import AffectusError


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for binary writing; it replaces `path` when the block ends without an error.

    The folder is created when missing. A folder that is full, read-only or no folder at all raises one
    `AffectusError` naming `path`; the temporary file is removed in every case.
    """
    # Its own short name: a long target name plus a suffix could exceed what the file system allows.
    temporary = path.parent / f".affectus-{secrets.token_hex(6)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise AffectusError(path, "is a folder, a file name is needed")
        # O_EXCL with mode 0o666 follows the user's umask, which a mkstemp file (0600) would not.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AffectusError(path, f"cannot be written: {reason}", "choose another folder or free space") from error
    finally:
        # Gone already after a successful replace, and never there when the folder could not be made.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, chunks: Iterable[str | bytes]) -> Path:
    """Write text (as UTF-8; characters that no encoding can hold become `?`) or bytes chunk by chunk, atomically."""
    with atomic(path) as file:
        for chunk in chunks:
            file.write(chunk if isinstance(chunk, bytes) else chunk.encode("utf-8", "replace"))
    return path
