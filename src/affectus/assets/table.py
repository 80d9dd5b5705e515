"""The table of foreign files: what there is, what it must hash to and where it can be had."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal

from affectus.errors import AssetError

Kind = Literal["index", "npm", "parts", "hub"]
Need = Literal["analysis", "optional", "training", "samples"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AssetFile:
    """One file of an asset: its name in the cache (POSIX, relative), size in bytes and SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class AssetSource:
    """One place an asset can come from.

    `kind` "index" and "npm" name a package, version and archive (with size and SHA-256); "parts" an archive that is cut
    into byte pieces over several packages; "hub" a repository and revision. `inside` maps the asset's file names to
    paths inside the archive or repository. `parts`, in the order they are joined, are assets of one file (the piece)
    and one source (its package) each; size and SHA-256 of a source in parts are those of the joined archive.
    """

    kind: Kind
    inside: Mapping[str, str]
    package: str = ""
    version: str = ""
    archive: str = ""
    bytes: int = 0
    sha256: str = ""
    repo: str = ""
    revision: str = ""
    parts: tuple[AssetSpec, ...] = ()

    @property
    def download_bytes(self) -> int:
        """Bytes to download, 0 where the table does not say."""
        return sum(part.sources[0].bytes for part in self.parts) or self.bytes

    @property
    def title(self) -> str:
        """How messages call this source."""
        if self.kind == "hub":
            return f"model hub repository {self.repo}"
        if self.kind == "parts":
            return f"{self.archive} in {len(self.parts)} packages"
        return f"{'npm' if self.kind == 'npm' else 'package'} {self.package} {self.version}"


@dataclass(frozen=True)
class AssetSpec:
    """One named asset: a single file, or a folder when it has several files."""

    name: str
    purpose: str
    licence: str
    needed: Need
    files: tuple[AssetFile, ...]
    sources: tuple[AssetSource, ...] = field(default=())

    @property
    def is_folder(self) -> bool:
        """True when the asset resolves to a folder."""
        return len(self.files) > 1

    @property
    def megabytes(self) -> float:
        """Megabytes (10^6 bytes) to download from the first source."""
        sizes = [source.download_bytes for source in self.sources if source.download_bytes]
        return (sizes[0] if sizes else sum(f.bytes for f in self.files)) / 1e6


def safe_relative(path: str) -> bool:
    """True for a relative POSIX path that stays below its folder: no drive, root, backslash, NUL or `..`."""
    parts = PurePosixPath(path).parts
    bad = not path or "\\" in path or "\0" in path or path.startswith("/") or re.match(r"[A-Za-z]:", path)
    return not bad and ".." not in parts and bool(parts)


def _read_source(name: str, record: Mapping[str, Any], files: tuple[AssetFile, ...]) -> AssetSource:
    plain = {key: value for key, value in record.items() if key != "parts"}
    source = AssetSource(**plain, parts=_read_parts(name, record.get("archive", ""), record.get("parts", ())))
    wanted = {f.path for f in files}
    if set(source.inside) != wanted:
        raise AssetError(name, f"{source.title} does not list exactly the files {sorted(wanted)}")
    if not all(map(safe_relative, source.inside.values())):
        raise AssetError(name, f"{source.title} names a path outside its archive")
    if source.kind in ("index", "npm", "parts") and not (_SHA256.fullmatch(source.sha256) and source.bytes > 0):
        raise AssetError(name, f"{source.title} lacks the size or SHA-256 of its archive")
    if source.kind not in ("index", "npm", "parts", "hub"):
        raise AssetError(name, f"unknown kind of source {source.kind!r}")
    if (source.kind == "parts") != bool(source.parts):
        raise AssetError(name, f"{source.title}: a source of kind 'parts' lists its parts, and no other kind does")
    if source.parts and (total := sum(part.files[0].bytes for part in source.parts)) != source.bytes:
        raise AssetError(name, f"{source.title} have {total} bytes together, not the {source.bytes} of the archive")
    return source


def _read_parts(name: str, archive: str, records: Sequence[Mapping[str, Any]]) -> tuple[AssetSpec, ...]:
    """Each part as an asset of its own: its file is the piece, its source the package that holds it."""
    if records and not _NAME.fullmatch(archive):
        raise AssetError(name, f"malformed name {archive!r} of an archive in parts")
    parts = []
    for number, record in enumerate(records, start=1):
        piece = record["piece"]
        files = (AssetFile(f"{number:03}", piece["bytes"], piece["sha256"]),)
        _check_files(name, files)
        package = {key: value for key, value in record.items() if key != "piece"}
        place = {"kind": "index", **package, "inside": {files[0].path: piece["path"]}}
        purpose = f"part {number} of {len(records)} of {archive}"
        parts.append(AssetSpec(f"{archive}.parts", purpose, "", "optional", files, (_read_source(name, place, files),)))
    return tuple(parts)


def _check_files(name: str, files: Sequence[AssetFile]) -> None:
    for file in files:
        if not safe_relative(file.path) or not _SHA256.fullmatch(file.sha256) or file.bytes <= 0:
            raise AssetError(name, f"malformed entry for {file.path!r}")


def parse_table(text: str) -> dict[str, AssetSpec]:
    """Read a table in TOML. Raises AssetError where a name, hash or path is malformed."""
    table: dict[str, AssetSpec] = {}
    for name, record in tomllib.loads(text).items():
        if not _NAME.fullmatch(name):
            raise AssetError(name, "malformed asset name")
        files = tuple(AssetFile(**entry) for entry in record["files"])
        _check_files(name, files)
        sources = tuple(_read_source(name, entry, files) for entry in record.get("sources", ()))
        table[name] = AssetSpec(name, record["purpose"], record["licence"], record["needed"], files, sources)
    return table


@cache
def asset_table() -> dict[str, AssetSpec]:
    """The packaged table, name -> AssetSpec."""
    return parse_table(resources.files("affectus.assets").joinpath("table.toml").read_text(encoding="utf-8"))


def spec(name: str) -> AssetSpec:
    """The table's entry for a name. Raises AssetError for an unknown name and says which there are."""
    table = asset_table()
    if name not in table:
        raise AssetError(name, "no such asset", f"known assets: {', '.join(sorted(table))}")
    return table[name]
