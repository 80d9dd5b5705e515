"""One read-only view of a corpus root: a folder, the archives in it, or an archive as root.

A file is named by its *reference*: the path below the root for a plain file, `ARCHIVE::MEMBER` for a file inside an
archive. References come from the listing alone, so nothing written in an annotation file can lead outside the root,
and archive members are never unpacked under their own names. Each file also has a *logical path*: root name and
archive names (without suffix) count as folders, so `FER2013Test/label.csv` is found whether the user points at the
folder, at its parent, at `FER2013Test.tar.gz`, or at the folder of archives.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

from affectus.corpora import tar
from affectus.errors import CorpusError

_SUFFIXES = (".tar.gz", ".tar.xz", ".tgz", ".tar", ".zip")
_MARK = "::"
#: Compressed tars are unpacked to a temporary file; bigger ones than this are left alone.
_LIMIT = 4 << 30


def _bare(name: str) -> str:
    """Name of an archive without its suffix, other names as they are."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_archive(name: str) -> bool:
    """Whether the name ends like an archive that can be read in place."""
    return name.lower().endswith(_SUFFIXES)


def _clean(member: str) -> str | None:
    """Member name without `./`; None for names that point outside, and for what file managers leave behind."""
    parts = [p for p in member.replace("\\", "/").split("/") if p not in ("", ".")]
    if member.startswith("/") or ".." in parts or not parts:
        return None
    if "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store":
        return None
    return "/".join(parts)


class Row(dict[str, str]):
    """A row of a csv file by column; asking for a column that is not there is an error that names the file."""

    def __init__(self, cells: dict[str, str], ref: str) -> None:
        super().__init__(cells)
        self._ref = ref

    def __missing__(self, name: str) -> str:
        held = ", ".join(repr(column) for column in list(self)[:12])
        raise CorpusError(f"{self._ref}:1", f"has no column {name!r}", f"its columns are {held or 'none'}")


class Archive:
    """A tar (plain or compressed) or zip archive read in place; `damage` is a clause, empty when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.damage, self.escapes = path, "", []  # type: Path, str, list[str]
        self._zip: zipfile.ZipFile | None = None
        self._file: IO[bytes] | None = None
        self.members: dict[str, Any] = {}
        try:
            self._open()
        except OSError as error:
            raise CorpusError(path, f"cannot be read ({error.strerror or error})") from None

    def _open(self) -> None:
        if self.path.name.lower().endswith(".zip"):
            try:
                self._zip = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                self.damage = f"not a whole zip archive ({error})"
                return
            found: dict[str, Any] = {i.filename: i for i in self._zip.infolist() if not i.is_dir()}
        else:
            self._file, self.damage = tar.open_plain(self.path)
            found, damage = tar.index(self._file)
            self.damage = self.damage or damage
        for name, place in found.items():
            if clean := _clean(name):
                self.members[clean] = place
            elif name.startswith("/") or ".." in name.split("/"):
                self.escapes.append(name)

    def read(self, member: str) -> bytes:
        """Bytes of one member."""
        place = self.members[member]
        if self._zip is not None:
            try:
                return self._zip.read(place)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
                raise CorpusError(f"{self.path}{_MARK}{member}", f"cannot be unpacked ({error})") from None
        assert self._file is not None
        offset, size = place
        parts = []
        while size > 0 and (part := os.pread(self._file.fileno(), size, offset)):  # at most 2 GiB arrive at once
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        if size:
            raise CorpusError(f"{self.path}{_MARK}{member}", "the archive was cut off while it was read")
        return b"".join(parts)

    def stream(self, member: str) -> IO[bytes]:
        """One member as a stream that is read little by little."""
        place = self.members[member]
        if self._zip is not None:
            return self._zip.open(place)
        assert self._file is not None
        return io.BufferedReader(tar.Slice(self._file, *place))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process opens the archive anew."""
        return open_archive, (self.path,)

    def order(self, member: str) -> int:
        """Position of the member in the archive (bytes), for reading in storage order."""
        place = self.members[member]
        return place.header_offset if self._zip is not None else place[0]

    def size(self, member: str) -> int:
        """Size of the member in bytes."""
        place = self.members[member]
        return place.file_size if self._zip is not None else place[1]


_opened: dict[tuple[str, int, int], Archive] = {}


def open_archive(path: Path) -> Archive:
    """Open an archive; offsets of an unchanged archive are kept for the life of the process."""
    state = path.stat()
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    if key not in _opened:
        _opened[key] = Archive(path)
    return _opened[key]


class Files:
    """Listing of a root (see module text). `archives` are glob patterns of archive names to look into."""

    def __init__(self, root: str | Path, archives: Sequence[str] = ("*",)) -> None:
        path = Path(root)
        if not path.exists():
            raise CorpusError(path, "no such folder or archive")
        if path.is_file() and not is_archive(path.name):
            raise CorpusError(path, "neither a folder nor a tar or zip archive", "give the folder the corpus lies in")
        self.root = path.resolve()
        self.base = self.root.parent if self.root.is_file() else self.root
        self.archives: dict[str, Archive] = {}
        self.skipped: list[str] = []
        self._patterns = tuple(archives)
        self.logical: dict[str, str] = {}
        for ref, logical in self._list():
            self.logical[ref] = logical

    def _list(self) -> Iterator[tuple[str, str]]:
        if self.root.is_file():
            yield from self._members(self.root, "")
            return
        seen: set[str] = set()
        for folder, below, names in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            below.sort()
            relative = os.path.relpath(folder, self.root).replace(os.sep, "/")
            prefix = "" if relative == "." else relative + "/"
            for name in sorted(names):
                if is_archive(name):
                    if any(fnmatch.fnmatch(name.lower(), p.lower()) for p in self._patterns):
                        yield from self._members(Path(folder) / name, f"{self.root.name}/{prefix}")
                elif not name.startswith("._") and name != ".DS_Store":
                    yield prefix + name, f"{self.root.name}/{prefix}{name}"

    def _members(self, path: Path, logical: str) -> Iterator[tuple[str, str]]:
        name = path.relative_to(self.base).as_posix()
        if not path.name.lower().endswith((".tar", ".zip")) and path.stat().st_size > _LIMIT:
            self.skipped.append(name)
            return
        archive = self.archives[name] = open_archive(path)
        for member in archive.members:
            yield f"{name}{_MARK}{member}", f"{logical}{_bare(path.name)}/{member}"

    def __contains__(self, ref: str) -> bool:
        return ref in self.logical

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for ref, logical in self.logical.items():
            found.setdefault(logical.rpartition("/")[2].lower(), []).append(ref)
        return found

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, refs in self._by_name.items():
            found.setdefault(name.rpartition(".")[0] or name, []).extend(refs)
        return found

    def match(self, pattern: str) -> list[str]:
        """References whose logical path ends in the glob pattern (`FER2013*/label.csv`; `*` stays within one folder).

        Letter case does not matter; the order is that of the listing.
        """
        parts = pattern.lower().split("/")
        tests = [re.compile(fnmatch.translate(p)).match for p in parts]
        plain = not any(c in parts[-1] for c in "*?[")
        refs = self._by_name.get(parts[-1], []) if plain else list(self.logical)
        found = []
        for ref in refs:
            tail = self.logical[ref].lower().rsplit("/", len(parts))[-len(parts) :]
            if len(tail) == len(parts) and all(t(p) for t, p in zip(tests, tail, strict=True)):
                found.append(ref)
        return found

    def named(self, name: str, suffixes: Collection[str] = ()) -> list[str]:
        """References whose last part is `name`, or whose stem is `name` with one of the suffixes (`.mp4`, `.wav`)."""
        if not suffixes:
            return self._by_name.get(name.lower(), [])
        return [r for r in self._by_stem.get(name.lower(), ()) if self.suffix(r) in suffixes]

    def beside(self, ref: str, name: str) -> str | None:
        """Reference of a file by its path relative to the folder of another file, None where there is none."""
        archive, mark, member = ref.rpartition(_MARK)
        folder = member.rpartition("/")[0]
        other = f"{archive}{mark}{folder}/{name}" if folder else f"{archive}{mark}{name}"
        return other if other in self.logical else None

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for ref in self.logical:
            folder, slash, _ = ref.replace(_MARK, _MARK + "/").rpartition("/")
            found.setdefault((folder + slash).replace(_MARK + "/", _MARK), []).append(ref)
        return found

    def inside(self, folder: str) -> list[str]:
        """References of the files directly in a folder (its reference ends in `/`), sorted by name."""
        return sorted(self._by_folder.get(folder, ()))

    @cached_property
    def _folders_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for folder, refs in self._by_folder.items():
            if folder.endswith("/"):
                found.setdefault(self.folders(refs[0])[0].lower(), []).append(folder)
        return found

    def folders_named(self, name: str) -> list[str]:
        """References of folders of that name which hold files directly; each ends in `/`."""
        return self._folders_by_name.get(name.lower(), [])

    @staticmethod
    def suffix(ref: str) -> str:
        """Lower-case suffix of the file, with the dot."""
        return PurePosixPath(ref.rpartition(_MARK)[2]).suffix.lower()

    @staticmethod
    def stem(ref: str) -> str:
        """File name without folder and suffix."""
        return PurePosixPath(ref.rpartition(_MARK)[2]).stem

    def folders(self, ref: str) -> list[str]:
        """Folder names of the logical path, innermost first."""
        return self.logical[ref].split("/")[-2::-1]

    def path(self, ref: str) -> Path | None:
        """The real path of a plain file, None for a member of an archive."""
        return None if _MARK in ref else self.base / ref

    def size(self, ref: str) -> int:
        """Size in bytes."""
        archive, mark, member = ref.partition(_MARK)
        return self.archives[archive].size(member) if mark else (self.base / ref).stat().st_size

    def order(self, ref: str) -> tuple[str, int, str]:
        """Sort key that puts references into the order in which they lie on disk."""
        archive, mark, member = ref.partition(_MARK)
        return (archive, self.archives[archive].order(member), "") if mark else ("", 0, ref)

    def read(self, ref: str) -> bytes:
        """Content of a file. Raises `CorpusError` for a reference that is not part of the listing."""
        if ref not in self.logical:
            raise CorpusError(ref, f"not among the files of {self.root}")
        archive, mark, member = ref.partition(_MARK)
        if mark:
            return self.archives[archive].read(member)
        try:
            return (self.base / ref).read_bytes()
        except OSError as error:
            raise CorpusError(self.base / ref, f"cannot be read ({error.strerror})") from None

    def stream(self, ref: str) -> IO[bytes]:
        """A file as a stream, for what is too big to be held at once; the caller closes it."""
        if ref not in self.logical:
            raise CorpusError(ref, f"not among the files of {self.root}")
        archive, mark, member = ref.partition(_MARK)
        return self.archives[archive].stream(member) if mark else (self.base / ref).open("rb")

    def text(self, ref: str, encoding: str = "utf-8-sig") -> str:
        """Content as text. Raises `CorpusError` naming the byte that is not in the published encoding."""
        data = self.read(ref)
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            reason = f"byte {data[error.start]:#04x} is not {encoding.removesuffix('-sig')}"
            raise CorpusError(f"{ref}:{line}", reason, "fetch the file again without converting it") from None

    def cells(self, ref: str, encoding: str = "utf-8-sig") -> Iterator[tuple[int, list[str]]]:
        """Non-empty lines of a tab-separated file as (line number, cells); quotes are characters like any other."""
        for number, line in enumerate(self.text(ref, encoding).split("\n"), 1):
            if line.strip():
                yield number, line.rstrip("\r").split("\t")

    def records(self, ref: str, encoding: str = "utf-8-sig", delimiter: str = ",") -> Iterator[tuple[int, Row]]:
        """Rows of a csv file with a header as (line number, row with stripped column names)."""
        reader = csv.DictReader(io.StringIO(self.text(ref, encoding), newline=""), delimiter=delimiter)
        reader.fieldnames = [(name or "").strip() for name in reader.fieldnames or ()]
        for row in reader:
            yield reader.line_num, Row(row, ref)

    def header(self, ref: str, encoding: str = "utf-8-sig", delimiter: str = ",") -> list[str]:
        """Column names of a csv file."""
        first = next(csv.reader(io.StringIO(self.text(ref, encoding), newline=""), delimiter=delimiter), [])
        return [name.strip() for name in first]
