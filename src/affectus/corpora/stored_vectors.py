"""Feature vectors that a user made beforehand: one npy file per item in a folder named after the encoder.

This is the layout of the MER toolkits: `<encoder>-UTT/<id>.npy` holds (D,) and `<encoder>-FRA/<id>.npy` (T, D).
"""

from __future__ import annotations

import io

import numpy as np

from affectus.corpora.corpus import Corpus
from affectus.errors import CorpusError


def stored_vectors(corpus: Corpus, folder: str, width: int, frames: bool = False) -> list[np.ndarray | None]:
    """Float32 vectors (`width`,) of all rows, or with `frames` (T, `width`); None where an item has no file.

    `folder` is a name such as `clip-vit-large-patch14-UTT`, anywhere below the root of the corpus. Raises CorpusError
    when there is no such folder, when no row has a file in it, and for files that hold anything else.
    """
    ids = corpus.column("id")
    depth = ids[0].count("/") if ids else 0  # ids such as dev/dia0_utt3 lie in folders of their own
    refs = {}
    for ref in corpus.files.match(f"{folder}/{'*/' * depth}*.npy"):
        refs["/".join([*corpus.files.folders(ref)[:depth][::-1], corpus.files.stem(ref)])] = ref
    if not any(name in refs for name in ids):
        raise CorpusError(corpus.files.root, f"holds no {folder}/<id>.npy", "extract these features first")
    return [_read(corpus, refs[name], width, frames) if name in refs else None for name in ids]


def vector_table(corpus: Corpus, folder: str, width: int) -> np.ndarray:
    """Vectors (rows, `width`) of all rows, NaN where an item has no file; see `stored_vectors`."""
    blank = np.full(width, np.nan, np.float32)
    return np.stack([blank if found is None else found for found in stored_vectors(corpus, folder, width)])


def _read(corpus: Corpus, ref: str, width: int, frames: bool) -> np.ndarray:
    try:
        found = np.load(io.BytesIO(corpus.files.read(ref)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorpusError(ref, "is no npy file of numbers", "extract it again") from error
    found = np.asarray(found, np.float32)
    if frames and found.ndim == 1:
        found = found[None]
    if found.shape != ((len(found), width) if frames else (width,)) or not found.size:
        raise CorpusError(ref, f"holds shape {found.shape}, not {'(T, ' if frames else '('}{width})")
    if not np.isfinite(found).all():
        raise CorpusError(ref, "holds numbers that are not finite", "extract it again")
    return found
