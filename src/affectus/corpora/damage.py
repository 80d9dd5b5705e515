"""Files that look whole to a decoder but are not."""

from __future__ import annotations


def cut_off(data: bytes, suffix: str) -> str:
    """Why a picture or sound file is not whole, judged by its container alone ("" when nothing is wrong).

    Decoders may fill the missing half of a file with grey or silence without a word, so the end marks are checked.
    """
    if not data:
        return "empty file (0 bytes)"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "" if b"IEND" in data[-16:] else "PNG is cut off"
    if data[:2] == b"\xff\xd8":
        return "" if b"\xff\xd9" in data[-4096:] else "JPEG is cut off"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        stated = int.from_bytes(data[4:8], "little")
        # recorders that stream to disk leave 0 or 2^32-1 as length
        return "WAV is cut off" if 0 < stated < 0xFFFFFF00 and len(data) + 1 < stated + 8 else ""
    known = {
        ".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".wav": b"RIFF", ".flac": b"fLaC",
    }  # fmt: skip
    if suffix in known and not data.startswith(known[suffix]):
        return f"content is not {suffix[1:].upper()}"
    return ""
