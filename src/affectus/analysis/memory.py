"""Give memory back to the system between the stages of a long recording."""

from __future__ import annotations

import ctypes
import gc
import sys

from affectus.media import transcription


def give_back(recogniser: bool = False) -> None:
    """Return freed memory to the system, with `recogniser` that of the speech recogniser too.

    The C library keeps freed blocks for later; after decoding and inference these are over 100 MB that the next stage,
    which allocates otherwise, cannot use. Only glibc has a call for it; elsewhere this is left to the allocator.
    """
    if recogniser:
        transcription.release()
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
