"""Parquet, CSV and JSON: the whole table, nothing rounded."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.errors import AffectusError
from affectus.report.atomic import atomic
from affectus.types import TIMELINE_COLUMNS, Timeline, timeline_schema

if TYPE_CHECKING:
    import pyarrow

#: Key of the JSON text in the Parquet schema metadata.
META_KEY = b"affectus"
#: First field of the JSON form, so that other JSON is refused by name.
JSON_FORMAT = "affectus-timeline"
_FLOATS = tuple(name for name, kind in TIMELINE_COLUMNS.items() if kind == "float64")
_BATCH = 8192


def plain(value: Any) -> Any:
    """Turn meta data into what JSON can hold: NaN and infinities become None, arrays lists, cards mappings."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if value is None or isinstance(value, str | int | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)


def meta_text(timeline: Timeline) -> str:
    """The meta data as one JSON text."""
    return json.dumps(plain(timeline.meta), ensure_ascii=False, allow_nan=False)


def write_parquet(timeline: Timeline, path: Path) -> None:
    """Parquet with the meta data as JSON in the schema metadata under `affectus`."""
    import pyarrow.parquet as pq

    table = timeline.table.replace_schema_metadata({META_KEY: meta_text(timeline).encode("utf-8", "replace")})
    with atomic(path) as file:
        pq.write_table(table, file, compression="zstd", row_group_size=1 << 16)


def write_csv(timeline: Timeline, path: Path) -> None:
    """CSV in UTF-8 with a header; unknown numbers are empty fields, `refs` are row numbers separated by blanks."""
    import pyarrow as pa
    import pyarrow.csv as csv

    schema = timeline_schema()
    place = schema.get_field_index("refs")
    schema = schema.set(place, pa.field("refs", pa.string()))
    with atomic(path) as file, csv.CSVWriter(file, schema) as writer:
        for batch in timeline.table.to_batches(max_chunksize=_BATCH):
            writer.write_batch(pa.record_batch([_csv_column(batch, name) for name in schema.names], schema=schema))


def _csv_column(batch: pyarrow.RecordBatch, name: str) -> pyarrow.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.column(name)
    if name in _FLOATS:
        return pc.if_else(pc.fill_null(pc.is_finite(column), False), column, pa.scalar(None, pa.float64()))
    if name == "refs":
        return pa.array([" ".join(map(str, refs or ())) for refs in column.to_pylist()], pa.string())
    return column


def json_chunks(timeline: Timeline) -> Iterator[str]:
    """The JSON form piece by piece: `{"format", "version", "meta", "rows": [{column: value}]}`, one row per line.

    NaN and infinities are null. Joined, the pieces are one valid JSON text; memory stays flat in the number of rows.
    """
    yield f'{{"format": "{JSON_FORMAT}", "version": 1,\n"meta": {meta_text(timeline)},\n"rows": ['
    before = "\n"
    for batch in timeline.table.to_batches(max_chunksize=_BATCH):
        lines = []
        for row in batch.to_pylist():
            for name in _FLOATS:
                if row[name] is not None and not math.isfinite(row[name]):
                    row[name] = None
            lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False))
        if lines:
            yield before + ",\n".join(lines)
            before = ",\n"
    yield "\n]}\n"


def read_parquet(path: Path) -> Timeline:
    """Read what `write_parquet` wrote; extra columns are dropped, missing ones are an error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        meta = json.loads((table.schema.metadata or {}).get(META_KEY, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise AffectusError(path, f"is no readable Parquet timeline: {_first_line(error)}") from error
    return Timeline(_checked(table, path), meta)


def read_json(path: Path) -> Timeline:
    """Read what `json_chunks` wrote; null numbers become NaN."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AffectusError(path, f"is no readable JSON timeline: {_first_line(error)}") from error
    if not isinstance(record, dict) or record.get("format") != JSON_FORMAT:
        raise AffectusError(path, "is JSON, but no timeline", f'its first field must be "format": "{JSON_FORMAT}"')
    rows = [{k: v for k, v in row.items() if v is not None} for row in record.get("rows", [])]
    try:
        return Timeline.from_rows(rows, record.get("meta") or {})
    except (ValueError, TypeError) as error:
        raise AffectusError(path, f"holds a row that does not fit: {_first_line(error)}") from error


def _checked(table: pyarrow.Table, path: Path) -> pyarrow.Table:
    if missing := [name for name in TIMELINE_COLUMNS if name not in table.column_names]:
        raise AffectusError(path, f"is no timeline, columns are missing: {', '.join(missing)}")
    import pyarrow as pa

    try:
        return table.select(list(TIMELINE_COLUMNS)).replace_schema_metadata(None).cast(timeline_schema())
    except (pa.ArrowException, ValueError) as error:
        raise AffectusError(path, f"has a column of the wrong kind: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
