"""Keep the memory of long recordings flat: how large blocks are taken, and given back between stages."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any

from affectus.media import transcription

#: Blocks from this size on (bytes) are taken from the system and returned to it one by one.
LARGE = 1 << 20
_M_MMAP_THRESHOLD = -3


@cache
def _library() -> Any:
    """The C library where it has glibc's calls, else None."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


@cache
def steady() -> None:
    """Fix the size from which glibc maps blocks of their own; for the whole process, done once.

    Left alone, glibc raises that size to the largest block freed so far. Frames and network buffers of megabytes then
    share heaps with small lasting objects, which keep the heaps from shrinking: an hour of video ended at 1.8 GB in
    place of .5 GB.
    """
    library = _library()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)


def give_back(recogniser: bool = False) -> None:
    """Return freed memory to the system, with `recogniser` that of the speech recogniser too.

    The C library keeps freed blocks for later; after decoding and inference these are up to 100 MB that the next stage,
    which allocates otherwise, cannot use.
    """
    if recogniser:
        transcription.release()
    gc.collect()
    library = _library()
    if library is not None:
        library.malloc_trim(0)
