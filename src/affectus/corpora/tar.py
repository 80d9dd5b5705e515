"""Member offsets of tar archives, so that files are read in place.

`tarfile` builds a rich object per member (some 50 µs each); a corpus of 30,000 pictures needs a name, an offset and a
size. This parser reads ustar headers with GNU long names and pax paths, checks their checksums and never extracts
anything. Compressed archives are unpacked once into an anonymous temporary file, because gzip has no random access.
"""

from __future__ import annotations

import gzip
import io
import lzma
import mmap
import os
import tempfile
import zlib
from pathlib import Path
from typing import IO, Any

_BLOCK = 512
_CHUNK = 1 << 20
_REGULAR = frozenset(b"\x000" + b"7")


class DamagedArchive(ValueError):
    """The archive ends too early or a header is wrong; `members` are those read before the damage."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_plain(path: Path) -> tuple[IO[bytes], str]:
    """A seekable uncompressed view of a tar archive, and a clause on the damage met while unpacking (or "").

    Plain tars are opened as they are. A damaged compressed stream yields what could be unpacked before the damage.
    """
    raw = path.open("rb")
    magic = raw.read(6)
    raw.seek(0)
    if not (magic[:2] == b"\x1f\x8b" or magic == b"\xfd7zXZ\x00"):
        return raw, ""
    unpacked = tempfile.TemporaryFile(prefix="affectus-")  # noqa: SIM115 - stays open for reading in place
    damage = ""
    with raw, gzip.GzipFile(fileobj=raw) if magic[:2] == b"\x1f\x8b" else lzma.LZMAFile(raw) as stream:
        try:
            while chunk := stream.read(_CHUNK):
                unpacked.write(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
            damage = f"compressed data is damaged or cut off ({str(error).rstrip('.').lower()})"
    unpacked.flush()
    return unpacked, damage


class Slice(io.RawIOBase):
    """One member of a plain tar as a readable stream, without a position shared with others."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        super().__init__()
        self._file, self._at, self._left = file, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = os.pread(self._file.fileno(), min(len(buffer), self._left), self._at)
        buffer[: len(part)] = part
        self._at += len(part)
        self._left -= len(part)
        return len(part)


def _octal(digits: bytes) -> int:
    if digits[0] & 0x80:  # base-256, for sizes of 8 GiB and more
        return int.from_bytes(digits[1:], "big")
    return int(digits.strip(b"\x00 ") or b"0", 8)


def _text(raw: bytes) -> str:
    return raw.split(b"\x00", 1)[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    found, at = {}, 0
    while at < len(data):
        length, _, _ = data[at:].partition(b" ")
        if not length.isdigit() or int(length) < 5:
            break
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        found[key.decode()] = value.decode("utf-8", "surrogateescape")
        at += int(length)
    return found


def index(file: IO[bytes]) -> tuple[dict[str, tuple[int, int]], str]:
    """Map of member name → (offset, size) of the regular files, and a clause on the damage found (or "")."""
    members: dict[str, tuple[int, int]] = {}
    size = file.seek(0, 2)
    if size == 0:
        return members, "archive is empty (0 bytes)"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _walk(data, size, members)
        except DamagedArchive as damage:
            return members, damage.reason
    return members, ""


def _walk(data: mmap.mmap, size: int, members: dict[str, tuple[int, int]]) -> None:
    at, longname = 0, ""
    pax: dict[str, str] = {}
    while at + _BLOCK <= size:
        header = data[at : at + _BLOCK]
        if header[0] == 0 and header.count(0) == _BLOCK:
            return
        try:
            stated, length = _octal(header[148:156]), _octal(header[124:136])
        except ValueError:
            raise DamagedArchive(f"no tar header at byte {at}") from None
        if stated != sum(header) - sum(header[148:156]) + 256:
            raise DamagedArchive(f"wrong header checksum at byte {at}")
        length = int(pax.get("size", length))
        start, kind = at + _BLOCK, header[156]
        at = start + -(-length // _BLOCK) * _BLOCK
        if start + length > size:
            raise DamagedArchive(f"archive is cut off within {longname or pax.get('path') or _text(header[:100])!r}")
        if kind == ord("L"):
            longname = _text(data[start : start + length])
        elif kind == ord("x"):
            pax = _pax(data[start : start + length])
        else:
            if kind in _REGULAR:
                name = pax.get("path") or longname or _text(header[:100])
                if not pax.get("path") and not longname and header[257:262] == b"ustar" and header[263:265] == b"00":
                    prefix = _text(header[345:500])
                    name = f"{prefix}/{name}" if prefix else name
                members[name] = (start, length)
            longname, pax = "", {}
    raise DamagedArchive("archive ends without its end mark, so it is probably cut off")
