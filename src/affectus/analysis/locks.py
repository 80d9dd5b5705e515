"""A lock between processes that dies with its holder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO

from affectus.assets.cache import try_lock
from affectus.errors import AffectusError


class FileLock:
    """Lock on a file; released by `release`, by leaving the `with` block or by the end of the process, however it
    ends. Where the file system knows no locks every request is granted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock; without `wait` False while somebody else holds it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stream = self.path.open("a+b")
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}"
            raise AffectusError(self.path.parent, reason, "choose another folder") from None
        while not try_lock(stream):
            if not wait:
                stream.close()
                return False
            time.sleep(0.25)
        self._stream = stream
        return True

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
