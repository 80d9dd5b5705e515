"""What train and test share: groups, identical files, (nearly) identical text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from affectus.corpora.corpus import Corpus
from affectus.corpora.files import Files

_HASHES = 64
_BANDS = 16
_PRIME = np.uint64((1 << 31) - 1)


@dataclass(frozen=True)
class Leak:
    """`count` of the test items share something with training: `kind` is `group:NAME`, `media`, `text` or `near text`.

    `share` is their part of the test items, `examples` are pairs (train id, test id).
    """

    kind: str
    count: int
    share: float
    examples: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        pairs = "; ".join(f"{a} = {b}" for a, b in self.examples[:3])
        return f"{self.count} test items ({self.share:.1%}) share {self.kind} with training: {pairs}"


def leak_check(
    corpus: Corpus | pa.Table,
    train: Sequence[int] | np.ndarray,
    test: Sequence[int] | np.ndarray,
    groups: Sequence[str] | None = None,
    media: bool = True,
    near: float = 0.8,
) -> list[Leak]:
    """What the test rows share with the train rows; empty when nothing does.

    `groups` are the group columns to look at (all by default), `media` compares the content of files (of a `Corpus`),
    `near` is the Jaccard similarity of word triples above which two texts of at least five words count as the same.
    """
    table = corpus.table if isinstance(corpus, Corpus) else corpus
    ids = table["id"].to_pylist()
    train, test = np.asarray(train, np.int64), np.asarray(test, np.int64)
    names = [c for c in table.column_names if c.startswith("group:")]
    if groups is not None:
        names = [c for c in names if c in groups or c.removeprefix("group:") in groups]
    found = [_shared(name, table[name].to_pylist(), ids, train, test) for name in names]
    if media and isinstance(corpus, Corpus):
        refs = table["media"].to_pylist()
        found.append(_shared("media", content_hashes(corpus.files, refs), ids, train, test))
    texts = [None if t is None else plain_text(t) for t in table["text"].to_pylist()]
    # one-word turns such as "Yeah." recur in any dialogue and say nothing
    keys = [t if t and len(t.split()) >= 3 else None for t in texts]
    found.append(_shared("text", keys, ids, train, test))
    if near < 1:
        found.append(_near_text(texts, ids, train, test, near))
    return [leak for leak in found if leak is not None]


def _shared(kind: str, keys: Sequence, ids: Sequence[str], train: np.ndarray, test: np.ndarray) -> Leak | None:
    first = {keys[i]: int(i) for i in train[::-1] if keys[i] is not None}
    pairs = [(ids[first[keys[i]]], ids[i]) for i in test if keys[i] is not None and keys[i] in first]
    return Leak(kind, len(pairs), len(pairs) / max(len(test), 1), tuple(pairs[:10])) if pairs else None


def content_hashes(files: Files, refs: Sequence[str | None]) -> list[bytes | None]:
    """Hash of the bytes of each file, None where there is none; files whose size is unique are not read."""
    sizes = [None if r is None or r.endswith("/") else files.size(r) for r in refs]
    seen: dict[int, int] = {}
    for size in sizes:
        if size is not None:
            seen[size] = seen.get(size, 0) + 1
    return [
        hashlib.blake2b(files.read(ref), digest_size=16).digest() if ref and size and seen[size] > 1 else None
        for ref, size in zip(refs, sizes, strict=True)
    ]


def plain_text(text: str) -> str:
    """Lower case, compatibility characters unified, punctuation and repeated blanks gone."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()


def _shingles(text: str) -> np.ndarray:
    words = text.split()
    if len(words) < 5:
        return np.zeros(0, np.uint64)
    parts = {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}
    return np.asarray([int.from_bytes(hashlib.blake2b(p.encode(), digest_size=4).digest()) for p in parts], np.uint64)


def _near_text(
    texts: Sequence[str | None], ids: Sequence[str], train: np.ndarray, test: np.ndarray, near: float
) -> Leak | None:
    """Pairs by min-hash bands (Broder 1997), confirmed by the exact Jaccard similarity of word triples."""
    random = np.random.default_rng(0)
    factor = random.integers(1, int(_PRIME), _HASHES).astype(np.uint64)
    shift = random.integers(0, int(_PRIME), _HASHES).astype(np.uint64)
    sets: dict[int, np.ndarray] = {}
    bands: list[dict[bytes, list[int]]] = [{} for _ in range(_BANDS)]

    def signature(row: int) -> np.ndarray | None:
        text = texts[row]
        parts = _shingles(text) if text else np.zeros(0, np.uint64)
        if not len(parts):
            return None
        sets[row] = np.unique(parts)
        return ((parts[:, None] % _PRIME * factor + shift) % _PRIME).min(0)

    width = _HASHES // _BANDS
    for row in train:
        if (mine := signature(int(row))) is not None:
            for k in range(_BANDS):
                bands[k].setdefault(mine[k * width : (k + 1) * width].tobytes(), []).append(int(row))
    pairs = []
    for row in test:
        if (mine := signature(int(row))) is None:
            continue
        rivals = {r for k in range(_BANDS) for r in bands[k].get(mine[k * width : (k + 1) * width].tobytes(), ())[:50]}
        for rival in sorted(rivals):
            both = len(np.intersect1d(sets[int(row)], sets[rival], assume_unique=True))
            jaccard = both / (len(sets[int(row)]) + len(sets[rival]) - both)
            if jaccard >= near and texts[rival] != texts[row]:
                pairs.append((ids[rival], ids[row]))
                break
    return Leak("near text", len(pairs), len(pairs) / max(len(test), 1), tuple(pairs[:10])) if pairs else None
