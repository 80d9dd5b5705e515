"""Exact nearest neighbours by cosine among stored embeddings, mapped from disk.

An index is a folder: `vectors.npy` (float32, rows of length one, mapped and never copied), `ids.json`, `index.json`
(the model that made the embeddings, their width, number and digest of ids). Opening it for another model is refused,
because the numbers would be meaningless without any sign of it.

No approximation: a float32 product over all rows finds every row that rounding could hide among the best, these few are
compared in float64. So the same query gives the same rows and cosines alone or among others, whatever the number of
threads.
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
#: Queries that go through together, scores of one block, and rows that share a maximum in the search for the best.
_QUERIES, _SCORES, _GROUP = 256, 1 << 21, 64
#: Rows that are compared in float64 at a time.
_CHUNK = 4096


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
        for start in range(0, len(units), _QUERIES):
            part = slice(start, start + _QUERIES)
            found = _candidates(units[part], self.vectors, count)
            for i, places in enumerate(found, start):
                rows[i], scores[i] = _best(units[i], self.vectors, places, count)
        if exclude is None:
            return rows, scores
        return _without(rows, scores, exclude, min(k, max(1, len(self) - 1)))


def _unit(array: Floats, place: str | Path, first: int) -> Floats:
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    wrong = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if wrong.any():
        raise ConfigError(place, f"embedding {first + int(wrong.argmax())} is zero or not finite")
    return np.ascontiguousarray(array / lengths, dtype=np.float32)


def _candidates(units: Floats, vectors: Floats, k: int) -> list[npt.NDArray[np.int64]]:
    """Rows of `vectors` (n, width) that may be among the k best of every query (q, width), in rising order.

    A float32 product of unit vectors is off by at most g = width u / (1 - width u), u = 2^-24, in whatever order it is
    summed (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). With t the k-th largest computed
    score, k true scores are at least t - g, so a row among the k best was computed at least t - 2g. Maxima of groups of
    rows give a bound below t without sorting any row of scores.
    """
    count, width = vectors.shape
    slack = np.float32(2.1 * width * 2.0**-24 / (1 - width * 2.0**-24))
    step = max(_GROUP * max(k, 16), _SCORES // len(units) // _GROUP * _GROUP)
    highest = np.full((len(units), k), -np.inf, np.float32)  # of all groups so far
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]] = []
    buffer = np.empty((len(units), min(step, count)), np.float32)
    for start in range(0, count, step):
        block = vectors[start : start + step]
        scores = np.matmul(units, block.T, out=buffer if len(block) == buffer.shape[1] else None)
        groups = len(block) // _GROUP
        # Group g holds the rows g, g + groups, g + 2 groups …: maxima over the outer axis are several times as fast.
        maxima = scores[:, : groups * _GROUP].reshape(len(units), _GROUP, groups).max(1)
        highest = -np.partition(-np.concatenate([highest, maxima], 1), k - 1, axis=1)[:, :k]
        bounds = highest.min(1, keepdims=True) - slack
        query, group = np.nonzero(maxima >= bounds)
        places = group[:, None] + groups * np.arange(_GROUP)
        rest = np.arange(groups * _GROUP, len(block))
        queries = np.concatenate([np.repeat(query, _GROUP), np.repeat(np.arange(len(units)), len(rest))])
        columns = np.concatenate([places.ravel(), np.tile(rest, len(units))])
        reached = scores[queries, columns]
        kept = reached >= bounds[queries, 0]
        found.append((queries[kept], start + columns[kept], reached[kept]))
    queries, rows, reached = (np.concatenate(part) for part in zip(*found, strict=True))
    kept = reached >= bounds[queries, 0]
    queries, rows = queries[kept], rows[kept]
    order = np.lexsort((rows, queries))
    return np.split(rows[order], np.searchsorted(queries[order], np.arange(1, len(units))))


def _best(
    unit: Floats, vectors: Floats, rows: npt.NDArray[np.int64], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The k rows of greatest cosine to one query among some, compared in float64; equal ones by row number."""
    wide = unit.astype(np.float64)
    cosines = np.concatenate([(vectors[rows[i : i + _CHUNK]] * wide).sum(1) for i in range(0, len(rows), _CHUNK)])
    order = np.lexsort((rows, -cosines))[:k]
    return rows[order], cosines[order]


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
