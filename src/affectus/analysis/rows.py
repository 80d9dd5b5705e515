"""Rows of a timeline, written column by column to an Arrow file while the analysis runs, so that memory stays flat."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectus.errors import AffectusError
from affectus.types import TIMELINE_COLUMNS, timeline_schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Rows gathered before they are written.
BATCH = 4096
_NEUTRAL: dict[str, Any] = {"int64": -1, "float64": float("nan"), "string": "", "list<int64>": ()}


class RowSink:
    """Takes the rows of one file in order and gives each its number.

    `file` fills the column of that name. Rows go to a temporary Arrow file in batches; `finish` returns the table,
    mapped from that file, and `close` (also called by `with`) removes what is left after an error.
    """

    def __init__(self, file: str, folder: Path | None = None) -> None:
        import pyarrow as pa

        self.count = 0
        self._file = file
        self._schema = timeline_schema()
        self._columns: dict[str, list[Any]] = {name: [] for name in TIMELINE_COLUMNS}
        self._path = Path(folder or tempfile.gettempdir()) / f"affectus-{secrets.token_hex(8)}.arrow"
        try:
            self._stream: Any = pa.OSFile(str(self._path), "wb")
        except OSError as error:
            raise AffectusError(
                self._path.parent, f"cannot be written: {error}", "set TMPDIR to another folder"
            ) from None
        self._writer: Any = pa.ipc.new_file(self._stream, self._schema)

    def __enter__(self) -> RowSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, **values: Any) -> int:
        """Append one row, columns left out take their neutral value; returns its number."""
        number = self.count
        values["row"], values["file"] = number, self._file
        for name, kind in TIMELINE_COLUMNS.items():
            self._columns[name].append(values.get(name, _NEUTRAL[kind]))
        self.count += 1
        if self.count % BATCH == 0:
            self._flush()
        return number

    def add_scores(
        self,
        labels: Sequence[str],
        scores: Sequence[float] | np.ndarray,
        low: Sequence[float] | np.ndarray | None = None,
        high: Sequence[float] | np.ndarray | None = None,
        **shared: Any,
    ) -> int:
        """Append one row per label with the same other columns; returns the number of the first."""
        first = self.count
        for i, (label, score) in enumerate(zip(labels, scores, strict=True)):
            bounds = {} if low is None or high is None else {"low": float(low[i]), "high": float(high[i])}
            self.add(label=label, score=float(score), **bounds, **shared)
        return first

    def finish(self) -> pa.Table:
        """All rows as a table; the sink takes no more."""
        import pyarrow as pa

        self._flush()
        self._writer.close()
        self._stream.close()
        self._writer = None
        with pa.memory_map(str(self._path)) as source:
            table = pa.ipc.open_file(source).read_all()
        self._remove()
        return table

    def close(self) -> None:
        """Drop the rows unless `finish` was called before."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
                self._stream.close()
            self._writer = None
        self._remove()

    def _remove(self) -> None:
        # On POSIX the mapped pages outlive the name; Windows keeps the file until the process ends.
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._columns["row"]:
            return
        arrays = [pa.array(self._columns[field.name], field.type) for field in self._schema]
        try:
            self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        except OSError as error:
            raise AffectusError(self._path, f"cannot be written: {error}", "free space or set TMPDIR") from None
        for column in self._columns.values():
            column.clear()
