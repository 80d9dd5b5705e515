"""Reading npz files that hold pickled Python objects without running code.

Published label and table files are npz archives with object arrays. The reader here admits plain containers, strings,
numbers and numpy arrays of them; any other class named in the pickle is an error, nothing is ever called by name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar  # type: ignore[attr-defined]

from affectus.errors import LabelError

#: Uncompressed size (bytes) above which an archive is refused.
MAX_BYTES = 2**31

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in (("set", set),)},
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in (("frozenset", frozenset),)},
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("list", list), ("dict", dict))
    },
    **{
        (module, name): function
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", scalar))
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which data files do not need")
        return _ALLOWED[module, name]


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Byte strings as old pickles write them."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}")
    return text.encode("latin1")


def load_npz(path: str | Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Arrays of an npz by name; object arrays come as numpy object arrays, a 0-d one as the object itself.

    LabelError for a damaged, oversized or unsafe file.
    """
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise LabelError(file, "it unpacks to more than the allowed size", f"at most {max_bytes} bytes")
            names = [entry.filename for entry in archive.infolist() if entry.filename.endswith(".npy")]
            return {name[:-4]: _array(archive.read(name)) for name in names}
    except pickle.UnpicklingError as error:
        raise LabelError(
            file, f"it is not a plain data file: {error}", "convert it to JSON where you trust it"
        ) from None
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, TypeError, AttributeError, IndexError) as error:
        raise LabelError(file, f"it cannot be read as npz: {error}") from None


def _array(content: bytes) -> Any:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, kind = header(stream)
    if not kind.hasobject:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    found = _Unpickler(stream, encoding="latin1").load()
    return found.item() if isinstance(found, np.ndarray) and found.ndim == 0 else found
