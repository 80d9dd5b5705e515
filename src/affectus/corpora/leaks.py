"""What train and test share: groups, identical files, (nearly) identical text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from affectus.corpora.corpus import Corpus
from affectus.corpora.files import Files

_HASHES = 64
_BANDS = 16
_PRIME = np.uint64((1 << 31) - 1)
#: Kana and Han characters, written without blanks between words.
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


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
    """What the test rows share with the train rows of one corpus; empty when nothing does.

    `groups` are the group columns to look at (all by default), `media` compares the content of files (of a `Corpus`),
    `near` is the Jaccard similarity of word triples above which two texts of at least five words count as the same
    (1 turns this search off). Row numbers must not overlap; a row in both parts is reported as `id`.
    """
    if isinstance(corpus, Corpus):
        return compare(corpus.take(train), corpus.take(test), groups, media, near)
    parts = [corpus.take(pa.array(np.asarray(rows, np.int64))) for rows in (train, test)]
    return _compare(parts[0], parts[1], None, groups, near)


def compare(
    train: Corpus, test: Corpus, groups: Sequence[str] | None = None, media: bool = True, near: float = 0.8
) -> list[Leak]:
    """What a test corpus shares with a training corpus, which may be another one (see `leak_check`)."""
    hashes = pair_hashes(train, test) if media else None
    return _compare(train.table, test.table, hashes, groups, near)


def group_check(corpus: Corpus, by: str) -> list[Leak]:
    """What groups of one corpus share, and so any folds that keep `group:BY` together: files of the same content."""
    names = corpus.column(f"group:{by}")
    sizes = _sizes(corpus)
    often = {size for size, count in Counter(sizes).items() if count > 1 and size is not None}
    refs = corpus.column("media")
    hashes = content_hashes(corpus.files, [r if s in often else None for r, s in zip(refs, sizes, strict=True)])
    ids, pairs = corpus.column("id"), []
    first: dict[bytes, int] = {}
    for row, key in enumerate(hashes):
        if key is not None and names[first.setdefault(key, row)] != names[row]:
            pairs.append((ids[first[key]], ids[row]))
    leak = _leak("media", pairs, len(corpus))
    return [] if leak is None else [leak]


def _compare(
    train: pa.Table,
    test: pa.Table,
    hashes: tuple[list, list] | None,
    groups: Sequence[str] | None,
    near: float,
) -> list[Leak]:
    ids = train["id"].to_pylist(), test["id"].to_pylist()
    names = [c for c in test.column_names if c.startswith("group:") and c in train.column_names]
    if groups is not None:
        names = [c for c in names if c in groups or c.removeprefix("group:") in groups]
    found = [_shared("id", ids[0], ids[1], ids)]
    found += [_shared(name, train[name].to_pylist(), test[name].to_pylist(), ids) for name in names]
    if hashes is not None:
        found.append(_shared("media", *hashes, ids))
    texts = [[None if t is None else plain_text(t) for t in part["text"].to_pylist()] for part in (train, test)]
    # short turns such as "Yeah." recur in any dialogue and say nothing
    keys = [[t if t and _weight(t) >= 3 else None for t in part] for part in texts]
    found.append(_shared("text", keys[0], keys[1], ids))
    if near < 1:
        found.append(_near_text(texts[0], texts[1], ids, near))
    return [leak for leak in found if leak is not None]


def _shared(kind: str, train: Sequence, test: Sequence, ids: tuple[list, list]) -> Leak | None:
    first: dict[object, int] = {}
    for row, key in enumerate(train):
        first.setdefault(key, row)
    first.pop(None, None)
    pairs = [(ids[0][first[key]], ids[1][row]) for row, key in enumerate(test) if key in first]
    return _leak(kind, pairs, len(test))


def _leak(kind: str, pairs: list[tuple[str, str]], tested: int) -> Leak | None:
    return Leak(kind, len(pairs), len(pairs) / max(tested, 1), tuple(pairs[:10])) if pairs else None


def _sizes(corpus: Corpus) -> list[int | None]:
    refs = corpus.table["media"].to_pylist()
    return [None if r is None or r.endswith("/") else corpus.files.size(r) for r in refs]


def pair_hashes(train: Corpus, test: Corpus) -> tuple[list[bytes | None], list[bytes | None]]:
    """Content hashes of both parts; only files of a size that occurs in both are read."""
    sizes = _sizes(train), _sizes(test)
    both = set(sizes[0]) & set(sizes[1]) - {None}
    hashed = []
    for corpus, lengths in zip((train, test), sizes, strict=True):
        refs = corpus.table["media"].to_pylist()
        picked = [r if length in both else None for r, length in zip(refs, lengths, strict=True)]
        hashed.append(content_hashes(corpus.files, picked))
    return hashed[0], hashed[1]


def content_hashes(files: Files, refs: Sequence[str | None]) -> list[bytes | None]:
    """Hash of the bytes of each file, None where there is no reference or it is a folder."""
    return [
        None if ref is None or ref.endswith("/") else hashlib.blake2b(files.read(ref), digest_size=16).digest()
        for ref in refs
    ]


def plain_text(text: str) -> str:
    """Lower case, compatibility characters unified, punctuation and repeated blanks gone."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()


def _weight(text: str) -> float:
    """Length in words; in scripts without blanks, three characters count as a word."""
    return len(_WIDE.sub(" ", text).split()) + len(_WIDE.findall(text)) / 3


def _shingles(text: str) -> np.ndarray:
    """Sorted numbers of the word triples of a text; none for texts of fewer than five words."""
    words = _WIDE.sub(r" \g<0> ", text).split()
    if _weight(text) < 5:
        return np.zeros(0, np.uint64)
    parts = {" ".join(words[i : i + 3]) for i in range(len(words) - 2)}
    return np.unique(np.fromiter((zlib.crc32(p.encode()) for p in parts), np.uint64, len(parts)))


def _bands(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Keys `(sets, bands)` of which similar sets of numbers probably share one: min-hashes in bands (Broder 1997)."""
    random = np.random.default_rng(0)
    factor = random.integers(1, int(_PRIME), _HASHES).astype(np.uint64)
    shift = random.integers(0, int(_PRIME), _HASHES).astype(np.uint64)
    starts = np.cumsum([0, *map(len, parts[:-1])])
    flat = np.concatenate(parts) % _PRIME
    least = np.stack([np.minimum.reduceat((flat * f + s) % _PRIME, starts) for f, s in zip(factor, shift, strict=True)])
    mixed = least.reshape(_BANDS, -1, len(parts)) * factor[: _HASHES // _BANDS, None]  # wraps around on purpose
    return mixed.sum(1).T


def _near_text(
    train: Sequence[str | None], test: Sequence[str | None], ids: tuple[list, list], near: float
) -> Leak | None:
    """Pairs that share a band of min-hashes, confirmed by the exact Jaccard similarity of their word triples."""
    sets = [[_shingles(text or "") for text in part] for part in (train, test)]
    rows = [np.flatnonzero([len(s) > 0 for s in part]) for part in sets]
    if not len(rows[0]) or not len(rows[1]):
        return None
    known, asked = (_bands([part[r] for r in kept]) for part, kept in zip(sets, rows, strict=True))
    rivals: dict[int, set[int]] = {}
    for band in range(_BANDS):
        order = np.argsort(known[:, band], kind="stable")
        ends = (np.searchsorted(known[order, band], asked[:, band], side) for side in ("left", "right"))
        for row, first, last in zip(rows[1], *ends, strict=True):
            if first < last:
                rivals.setdefault(int(row), set()).update(rows[0][order[first : min(last, first + 50)]].tolist())
    pairs = []
    for row, found in sorted(rivals.items()):
        mine = sets[1][row]
        for rival in sorted(found):
            both = len(np.intersect1d(mine, sets[0][rival], assume_unique=True))
            if both / (len(mine) + len(sets[0][rival]) - both) >= near and train[rival] != test[row]:
                pairs.append((ids[0][rival], ids[1][row]))
                break
    return _leak("near text", pairs, len(test))
