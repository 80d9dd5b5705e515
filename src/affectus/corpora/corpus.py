"""A loaded corpus: the table, and its media decoded on demand."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Problem
from affectus.corpora.files import Files
from affectus.errors import CorpusError
from affectus.media import read_audio, read_image
from affectus.media.files import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Corpus:
    """One corpus folder as one table (columns: see `affectus.corpora.base`) with lazily decoded media.

    `problems` lists what was wrong with the folder without spoiling the table, such as items without their file.
    """

    info: CorpusInfo
    files: Files
    table: pa.Table
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def name(self) -> str:
        """Registered name."""
        return self.info.name

    def row(self, index: int) -> dict[str, Any]:
        """One row as a dictionary."""
        return self.table.slice(index, 1).to_pylist()[0]

    def column(self, name: str) -> list[Any]:
        """A column as a Python list."""
        return self.table[self._known(name)].to_pylist()

    def array(self, name: str) -> np.ndarray:
        """A numeric column as numpy; null becomes NaN. List columns of equal length give `(rows, length)`."""
        column = self.table[self._known(name)].combine_chunks()
        if pa.types.is_list(column.type):
            width = next((len(v) for v in column.to_pylist() if v is not None), 0)
            filled = [v if v is not None else [np.nan] * width for v in column.to_pylist()]
            return np.asarray(filled, np.float32).reshape(len(filled), width)
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)

    def labels(self, name: str) -> tuple[str, ...]:
        """Label order of a column, from its metadata."""
        metadata = self.table.schema.field(self._known(name)).metadata or {}
        return tuple(json.loads(metadata.get(b"labels", b"[]")))

    def targets(self, name: str) -> np.ndarray:
        """A `label:` column as int64 positions in its label order, -1 where null."""
        order = {label: i for i, label in enumerate(self.labels(name))}
        return np.asarray([-1 if v is None else order[v] for v in self.column(name)], np.int64)

    def multi_hot(self, name: str) -> np.ndarray:
        """A `labels:` column as float32 `(rows, labels)` of zeros and ones."""
        order = {label: i for i, label in enumerate(self.labels(name))}
        hot = np.zeros((len(self), len(order)), np.float32)
        for i, labels in enumerate(self.column(name)):
            for label in labels or ():
                hot[i, order[label]] = 1.0
        return hot

    def _known(self, name: str) -> str:
        if name not in self.table.column_names:
            raise CorpusError(self.name, f"no column {name!r}", f"columns are {', '.join(self.table.column_names)}")
        return name

    def filter(self, mask: Any) -> Corpus:
        """Rows selected by a boolean mask (numpy, list or Arrow)."""
        mask = mask if isinstance(mask, (pa.Array, pa.ChunkedArray)) else pa.array(np.asarray(mask, bool))
        return replace(self, table=self.table.filter(mask))

    def take(self, indices: Sequence[int] | np.ndarray) -> Corpus:
        """Rows by position, in the given order."""
        return replace(self, table=self.table.take(pa.array(np.asarray(indices, np.int64))))

    def split(self, name: str) -> Corpus:
        """Rows of one official split: `train`, `valid` (or `dev`), `test`. Raises `CorpusError` when there are none."""
        wanted = SPLIT_NAMES.get(name.lower())
        present = [s for s in pc.unique(self.table["split"]).to_pylist() if s]
        if wanted is None or wanted not in present:
            held = f"it holds {', '.join(present)}" if present else "its items belong to no named split"
            raise CorpusError(self.files.root, f"has no split {name!r}", held)
        return self.filter(pc.fill_null(pc.equal(self.table["split"], wanted), False))

    def dialogues(self) -> dict[str, np.ndarray]:
        """Row numbers of each conversation (`group:dialogue`) in the published order of its turns."""
        found: dict[str, list[int]] = {}
        for row, name in enumerate(self.column("group:dialogue")):
            found.setdefault(name, []).append(row)
        return {name: np.asarray(rows, np.int64) for name, rows in found.items()}

    def media(self, index: int) -> str:
        """Media reference of a row; raises `CorpusError` where the item has no file."""
        ref = self.table["media"][index].as_py()
        if ref is None:
            raise CorpusError(f"{self.name} {self.table['id'][index].as_py()}", "its file is not in the folder")
        return ref

    def image(self, index: int) -> np.ndarray:
        """The row's picture as RGB uint8 `(height, width, 3)`."""
        return self._picture(self.media(index))

    def _picture(self, ref: str) -> np.ndarray:
        return read_image(ref, stream=io.BytesIO(self.files.read(ref)))

    def audio(self, index: int, rate: int = 16000) -> np.ndarray:
        """The row's sound as float32 mono at `rate`, cut to `start`…`end` where the table has them."""
        ref = self.media(index)
        samples = read_audio(ref, rate, stream=io.BytesIO(self.files.read(ref)))
        start, end = (self.table[c][index].as_py() for c in ("start", "end"))
        if start is None and end is None:
            return samples
        return samples[round((start or 0.0) * rate) : None if end is None else round(end * rate)]

    def iter_images(self, rows: Sequence[int] | np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """`(row, picture)` in the order in which the files lie on disk: one sequential pass."""
        refs = self.table["media"].to_pylist()
        wanted = range(len(refs)) if rows is None else [int(r) for r in rows]
        for index in sorted((i for i in wanted if refs[i] is not None), key=lambda i: self.files.order(refs[i])):
            yield index, self._picture(refs[index])

    def frames(self, index: int) -> list[np.ndarray]:
        """The pictures of an item published as a folder of frames, in order of their names.

        The folder is the row's `meta:sequence`, or its `media` where that ends in `/`.
        """
        columns = self.table.column_names
        folder = self.table["meta:sequence"][index].as_py() if "meta:sequence" in columns else self.media(index)
        refs = [r for r in self.files.inside(folder or "") if self.files.suffix(r) in IMAGE_SUFFIXES]
        return [self._picture(ref) for ref in refs]

    @contextmanager
    def local(self, index: int) -> Iterator[Path]:
        """Path of the row's file for readers that need one; a member of an archive becomes a temporary file."""
        ref = self.media(index)
        if (path := self.files.path(ref)) is not None:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="affectus-") as folder:
            path = Path(folder) / f"item{self.files.suffix(ref)}"
            path.write_bytes(self.files.read(ref))
            yield path
