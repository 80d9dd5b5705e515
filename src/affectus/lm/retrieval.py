"""Exact nearest neighbours by cosine among stored embeddings, mapped from disk.

An index is a folder: `vectors.npy` (float32, rows of length one, mapped and never copied), `ids.json`, `index.json`
(the model that made the embeddings, their width, number and digest of ids). Opening it for another model is refused,
because the numbers would be meaningless without any sign of it. No approximation: below some 10^5 rows a matrix product
is as fast as any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectus.errors import ConfigError, ModelError

Floats = npt.NDArray[np.float32]
#: Rows of one block of maxima in the search for the k best.
_GROUP = 64


@dataclass(frozen=True, eq=False)
class EmbeddingIndex:
    """Opened index: unit rows (n, width), their ids, and the model they belong to."""

    vectors: Floats
    ids: tuple[str, ...]
    model: str

    @classmethod
    def build(
        cls,
        folder: str | Path,
        blocks: Iterable[npt.ArrayLike],
        ids: Sequence[str],
        model: str,
    ) -> EmbeddingIndex:
        """Write an index from blocks of embeddings (rows, width) in the order of `ids`, and open it.

        Rows are scaled to length one. ConfigError for a zero or non-finite row, for a block of another width and when
        the numbers of rows and ids differ. Memory does not grow with the number of blocks.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        partial = place / "vectors.tmp"
        width = rows = 0
        with partial.open("wb") as stream:
            for block in blocks:
                array = np.atleast_2d(np.asarray(block, dtype=np.float32))
                width = width or array.shape[1]
                if array.ndim != 2 or array.shape[1] != width:
                    raise ConfigError(place, f"rows of width {array.shape[-1]} do not fit those of width {width}")
                _unit(array, place, rows).tofile(stream)
                rows += len(array)
        if rows != len(ids) or not rows:
            raise ConfigError(place, f"{rows} embeddings do not fit {len(ids)} ids")
        raw = np.memmap(partial, np.float32, "r", shape=(rows, width))
        target = np.lib.format.open_memmap(place / "vectors.npy", "w+", np.float32, (rows, width))
        for start in range(0, rows, 65536):
            target[start : start + 65536] = raw[start : start + 65536]
        target.flush()
        del raw, target
        partial.unlink()
        (place / "ids.json").write_text(json.dumps(list(ids), ensure_ascii=False), encoding="utf-8")
        record = {"model": model, "width": width, "rows": rows, "ids_sha256": _digest(ids)}
        (place / "index.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return cls.open(place, model)

    @classmethod
    def open(cls, folder: str | Path, model: str) -> EmbeddingIndex:
        """Map an index into memory; ModelError when it belongs to another model, ConfigError when it is damaged."""
        place = Path(folder)
        try:
            record = json.loads((place / "index.json").read_text(encoding="utf-8"))
            ids = tuple(json.loads((place / "ids.json").read_text(encoding="utf-8")))
            vectors = np.load(place / "vectors.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ConfigError(place, f"is no index of embeddings: {error}") from None
        if record.get("model") != model:
            raise ModelError(
                place,
                f"holds embeddings of {record.get('model')!r}, not of {model!r}",
                "build an index with this model",
            )
        if vectors.shape != (record["rows"], record["width"]) or record["ids_sha256"] != _digest(ids):
            raise ConfigError(place, "is damaged: embeddings, ids and index.json do not fit together", "build it again")
        return cls(vectors, ids, model)

    def __len__(self) -> int:
        return len(self.ids)

    def search(
        self, queries: npt.ArrayLike, k: int, model: str | None = None, exclude: Sequence[int | None] | None = None
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Rows and cosines (queries, k) of the k nearest, best first; ties by row number.

        `exclude` gives per query a row that must not come back (the item itself). `model`, when given, must be that of
        the index. With fewer than k rows the result is that narrow.
        """
        if model is not None and model != self.model:
            raise ModelError("embedding index", f"holds embeddings of {self.model!r}, not of {model!r}")
        asked = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if asked.shape[1] != self.vectors.shape[1]:
            raise ModelError(
                "embedding index", f"queries of width {asked.shape[1]} do not fit embeddings of {self.vectors.shape[1]}"
            )
        if k < 1:
            raise ConfigError("retrieval", f"k is {k}, it must be at least 1")
        units = _unit(asked, "query", 0)
        spare = 0 if exclude is None else 1
        count = min(k + spare, len(self))
        rows = np.empty((len(units), count), np.int64)
        scores = np.empty((len(units), count), np.float32)
        for start in range(0, len(units), 64):
            block = slice(start, start + 64)
            rows[block], scores[block] = _best(units[block] @ self.vectors.T, count)
        if exclude is None:
            return rows, scores
        return _without(rows, scores, exclude, min(k, max(1, len(self) - 1)))


def _unit(array: Floats, place: str | Path, first: int) -> Floats:
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    wrong = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if wrong.any():
        raise ConfigError(place, f"embedding {first + int(wrong.argmax())} is zero or not finite")
    return np.ascontiguousarray(array / lengths, dtype=np.float32)


def _best(scores: Floats, k: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k largest of every row (rows, n), best first.

    Maxima of groups come first: the k-th largest of them is a bound that only few scores reach, so that no row has to
    be sorted or partitioned as a whole.
    """
    rows, n = scores.shape
    whole = n - n % _GROUP
    if whole // _GROUP <= k:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return order, np.take_along_axis(scores, order, axis=1)
    maxima = scores[:, :whole].reshape(rows, -1, _GROUP).max(axis=2)
    bounds = np.partition(maxima, -k, axis=1)[:, -k]
    found = np.empty((rows, k), np.int64)
    values = np.empty((rows, k), np.float32)
    for i, bound in enumerate(bounds):
        groups = np.flatnonzero(maxima[i] >= bound)
        places = (groups[:, None] * _GROUP + np.arange(_GROUP)).ravel()
        places = np.concatenate([places, np.arange(whole, n)])
        mine = scores[i, places]
        order = np.lexsort((places, -mine))[:k]
        found[i], values[i] = places[order], mine[order]
    return found, values


def _without(
    rows: npt.NDArray[np.int64], scores: Floats, exclude: Sequence[int | None], k: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Drop one row number per query (or the last column where it is not among them)."""
    own = np.array([-1 if row is None else row for row in exclude], np.int64)
    hit = rows == own[:, None]
    hit[~hit.any(axis=1), -1] = True
    kept = ~hit if rows.shape[1] > 1 else np.ones_like(hit)
    width = rows.shape[1] - (rows.shape[1] > 1)
    return rows[kept].reshape(len(rows), width)[:, :k], scores[kept].reshape(len(rows), width)[:, :k]


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
