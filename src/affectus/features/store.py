"""A cache of features on disk: what was computed once for a medium is read, not computed, the next time.

A store is a folder that belongs to one extractor at one version with one set of parameters, written down in
`extractor.json`; opening it with anything else is refused, so stale features cannot slip into an experiment. Rows are
keyed by the content of the medium, not by its name. They lie in Arrow files that appear by renaming, one per flush: a
killed run leaves complete files and at most an unfinished `.tmp`, and the next run goes on where it stopped. Several
processes may write into one store. Reading maps the files into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from affectus.errors import ConfigError, MediaError

_MANIFEST = "extractor.json"


def media_id(path: str | Path) -> str:
    """Identity of a file by content: 32 hexadecimal digits (BLAKE2b, 16 bytes) of its bytes, whatever its name.

    Raises `MediaError` when the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(path).open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


class FeatureStore:
    """Arrays of one extractor, by medium.

    `extractor`, `version` and `params` (anything JSON can hold) say how the arrays came about; `dtype` is the type
    they are kept in. Use it as a context manager, or call `flush` after the last `add`:

    >>> with FeatureStore(folder, "fbank", "1", {"bins": 128}) as store:      # doctest: +SKIP
    ...     features = store.get_or_compute(media_id(path), lambda: fbank(read_audio(path)))

    Raises `ConfigError` when the folder holds features of another extractor, version or setting.
    """

    def __init__(
        self,
        folder: str | Path,
        extractor: str,
        version: str,
        params: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        flush_bytes: int = 32 << 20,
    ) -> None:
        self.folder = Path(folder)
        self.identity = {"extractor": extractor, "version": version, "params": dict(params or {}), "dtype": dtype}
        self.dtype = np.dtype(dtype)
        self.flush_bytes = flush_bytes
        self._waiting: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._tables: dict[Path, tuple[np.ndarray, np.ndarray, list[list[int]]]] = {}
        self._rows: dict[str, tuple[Path, int]] = {}
        self._claim()
        self.refresh()

    def key(self, medium: str) -> str:
        """Row key: hash of the medium's id, the extractor, its version and its parameters."""
        record = json.dumps([medium, self.identity], sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(record.encode(), digest_size=16).hexdigest()

    def __contains__(self, medium: str) -> bool:
        key = self.key(medium)
        return key in self._waiting or key in self._rows

    def __len__(self) -> int:
        return len(self._rows.keys() | self._waiting.keys())

    def get(self, medium: str) -> np.ndarray:
        """The array of a medium, read-only and mapped from disk; raises `KeyError` when it is not there."""
        key = self.key(medium)
        if key in self._waiting:
            return self._waiting[key]
        part, row = self._rows[key]
        values, offsets, shapes = self._tables[part]
        return values[offsets[row] : offsets[row + 1]].reshape(shapes[row])

    def add(self, medium: str, array: np.ndarray) -> None:
        """Keep an array; it reaches the disk with the next flush, which comes by itself every `flush_bytes`.

        A medium that is already there is left as it is: the key covers everything the array depends on.
        """
        if medium in self:
            return
        kept = np.array(array, self.dtype, order="C")
        kept.setflags(write=False)
        self._waiting[self.key(medium)] = kept
        self._bytes += kept.nbytes
        if self._bytes >= self.flush_bytes:
            self.flush()

    def get_or_compute(self, medium: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of a medium, computed and added if it is not there yet."""
        if medium not in self:
            self.add(medium, compute())
        return self.get(medium)

    def missing(self, media: Iterable[str]) -> Iterator[str]:
        """Those of the media that have no array yet, in order: the work left after an interrupted run."""
        return (medium for medium in media if medium not in self)

    def stack(self, media: Sequence[str]) -> np.ndarray:
        """Arrays of equal shape as one `(len(media), …)` array; raises `MediaError` when shapes differ."""
        arrays = [self.get(medium) for medium in media]
        if len({a.shape for a in arrays}) > 1:
            shapes = sorted({str(a.shape) for a in arrays})
            raise MediaError(self.folder, f"features of different shapes cannot be stacked: {', '.join(shapes[:4])}")
        return np.stack(arrays) if arrays else np.empty((0,), self.dtype)

    def flush(self) -> None:
        """Write what is waiting as one more file. On failure nothing is lost from memory and no half file is left."""
        if not self._waiting:
            return
        table = self._table(self._waiting)
        part = self._write(table)
        self._waiting, self._bytes = {}, 0
        self._index(part)

    def refresh(self) -> None:
        """Take in files that other processes have finished since."""
        for part in sorted(self.folder.glob("part-*.arrow")):
            if part not in self._tables:
                self._index(part)

    def compact(self) -> None:
        """Merge all files into one. Only for a store that no other process is writing to."""
        self.flush()
        old = list(self._tables)
        if len(old) < 2:
            return
        batches = [self._open(part) for part in old]
        merged = self._write(pa.concat_tables(batches))
        self._tables, self._rows = {}, {}
        self._index(merged)
        for part in old:
            part.unlink(missing_ok=True)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.flush()

    def _claim(self) -> None:
        """Write the manifest of a new store, or check that of an old one."""
        manifest = self.folder / _MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not manifest.exists():
                draft = manifest.with_name(f"{_MANIFEST}.{uuid.uuid4().hex}.tmp")
                draft.write_text(json.dumps(self.identity, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                draft.replace(manifest)
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(self.folder, f"cannot be used as a feature store: {error}") from error
        # Compared as JSON, in which a tuple and a list are the same.
        wanted = json.loads(json.dumps(self.identity))
        different = [name for name in wanted if not isinstance(found, dict) or found.get(name) != wanted[name]]
        if different:
            name = different[0]
            held = found.get(name) if isinstance(found, dict) else found
            reason = f"holds features with {name} {held!r}, not {wanted[name]!r}"
            raise ConfigError(self.folder, reason, "use another folder, or delete this one to compute them again")

    def _table(self, arrays: Mapping[str, np.ndarray]) -> pa.Table:
        ends = np.cumsum([0, *(a.size for a in arrays.values())], dtype=np.int64)
        flat = np.concatenate([a.ravel() for a in arrays.values()])
        values = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(flat))
        shapes = pa.array([list(a.shape) for a in arrays.values()], pa.list_(pa.int64()))
        return pa.table({"key": pa.array(list(arrays), pa.string()), "shape": shapes, "values": values})

    def _write(self, table: pa.Table) -> Path:
        part = self.folder / f"part-{uuid.uuid4().hex}.arrow"
        draft = part.with_suffix(".tmp")
        try:
            with draft.open("wb") as handle:
                with pa.ipc.new_file(handle, table.schema) as writer:
                    writer.write_table(table.combine_chunks())
                handle.flush()
                os.fsync(handle.fileno())
            draft.replace(part)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ConfigError(self.folder, f"features cannot be written: {error.strerror or error}") from error
        return part

    def _open(self, part: Path) -> pa.Table:
        try:
            return pa.ipc.open_file(pa.memory_map(str(part))).read_all().combine_chunks()
        except (OSError, pa.ArrowInvalid) as error:
            raise MediaError(
                part, f"damaged feature file: {error}", "delete it; its features are computed again"
            ) from error

    def _index(self, part: Path) -> None:
        table = self._open(part)
        column = table["values"].chunk(0)
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy(zero_copy_only=True)
        self._tables[part] = values, offsets, table["shape"].to_pylist()
        for row, key in enumerate(table["key"].to_pylist()):
            self._rows[key] = part, row
