"""The cache folder: where it is, what is intact in it, and how files get in whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from affectus.assets.table import AssetFile, AssetSpec
from affectus.errors import AssetError

log = logging.getLogger("affectus.assets")

#: Seconds to wait for another process that fetches the same asset.
LOCK_SECONDS = 1800.0

_checked: dict[tuple[str, int, int, int], str] = {}


def cache_folder() -> Path:
    """Root of the cache: AFFECTUS_CACHE, else the platform's cache folder for this user."""
    if chosen := os.environ.get("AFFECTUS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "affectus" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "affectus"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affectus"


def offline() -> bool:
    """True when AFFECTUS_OFFLINE forbids fetching."""
    return os.environ.get("AFFECTUS_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def folder_of(asset: AssetSpec) -> Path:
    """Folder of one asset in the cache."""
    return cache_folder() / "assets" / asset.name


def cached_path(asset: AssetSpec) -> Path:
    """What `resolve` returns when the asset is in the cache: its file, or its folder when it has several."""
    return folder_of(asset) if asset.is_folder else folder_of(asset) / asset.files[0].path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as lower-case hex, remembered within this process while size and time stamp stay."""
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if key not in _checked:
        with path.open("rb") as stream:
            _checked[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _checked[key]


def damage(path: Path, file: AssetFile) -> str:
    """Why a file is not the pinned one: "" (it is), "missing", "has 3 of 10 bytes" or "has SHA-256 …, not …"."""
    try:
        if not path.is_file():
            return "missing"
        if (size := path.stat().st_size) != file.bytes:
            return f"has {size} of {file.bytes} bytes"
        found = sha256_of(path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if found == file.sha256 else f"has SHA-256 {found[:12]}…, not the pinned {file.sha256[:12]}…"


def folder_damage(asset: AssetSpec, folder: Path) -> dict[str, str]:
    """File name -> reason, for every file of the asset that is not intact below `folder`."""
    reasons = {file.path: damage(folder / file.path, file) for file in asset.files}
    return {name: reason for name, reason in reasons.items() if reason}


@contextlib.contextmanager
def locked(name: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the inter-process lock of one asset or archive.

    The lock belongs to the open file, so the system releases it when its holder dies. Where the file system knows no
    locks the body runs anyway: files are put in place atomically, so the worst case is fetching twice.
    """
    path = make_folder(cache_folder() / "locks") / f"{name}.lock"
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(path.open("a+b"))
        except OSError as error:
            raise AssetError(path, f"cannot be opened: {error.strerror or error}", _MOVE_CACHE) from error
        deadline, told = time.monotonic() + seconds, False
        while not try_lock(stream):
            if time.monotonic() > deadline:
                raise AssetError(name, f"another process has been fetching it for over {seconds:.0f} s", f"see {path}")
            if not told:
                log.info("waiting for another process that is fetching %s", name)
                told = True
            time.sleep(0.1)
        yield


_MOVE_CACHE = "set AFFECTUS_CACHE to a folder you can write"
NO_ROOM = "free space in the cache and the temporary folder, or set AFFECTUS_CACHE to a disk with more of it"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: OSError) -> bool:
    """Whether writing failed because the disk, or the share of it that this user has, is full."""
    return error.errno in _FULL


def unwritable(path: Path, error: OSError) -> AssetError:
    """The error of a place in the cache that cannot be written, with what helps."""
    remedy = NO_ROOM if is_full(error) else _MOVE_CACHE
    return AssetError(path, f"cannot be written: {error.strerror or error}", remedy)


def try_lock(stream: IO[bytes]) -> bool:
    """Take the lock of an open file without waiting; False while somebody else holds it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.debug("no file locks here: %s", error)
    return True


def make_folder(path: Path) -> Path:
    """Create a folder of the cache; AssetError with a remedy when it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(path, f"cannot create the cache folder: {error.strerror or error}", _MOVE_CACHE) from error
    return path


@contextlib.contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """A private folder on the cache's file system; to be used under `locked(name)`, which makes older ones leftovers of
    killed runs that can go."""
    parent = make_folder(cache_folder() / "partial")
    for leftover in parent.glob(f"{name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=parent))
    except OSError as error:
        raise unwritable(parent, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(asset: AssetSpec, folder: Path) -> Path:
    """Move checked files from `folder` into the cache, each by one atomic rename; returns `cached_path(asset)`."""
    target = make_folder(folder_of(asset))
    for file in asset.files:
        place = target / file.path
        make_folder(place.parent)
        (folder / file.path).replace(place)
    return cached_path(asset)


def forget(path: Path) -> None:
    """Delete a file that must not be used; one that cannot be deleted is an error, not a silent keep."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise AssetError(path, f"is damaged and cannot be deleted: {error.strerror or error}", _MOVE_CACHE) from error
