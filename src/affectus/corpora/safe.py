"""Published pickles and numpy archives of a corpus, read as plain data or refused with a `CorpusError`.

`load_pickle`, `load_npy` and `load_npz` take the bytes of a file and the name that errors call it.
"""

from __future__ import annotations

from functools import partial

from affectus.errors import CorpusError
from affectus.labels import restricted

load_pickle = partial(restricted.load_pickle, error=CorpusError)
load_npy = partial(restricted.load_npy, error=CorpusError)
load_npz = partial(restricted.load_npz, error=CorpusError)
