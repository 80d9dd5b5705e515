"""Reading published `.npz`, `.npy` and `.pkl` files without running anything that is in them.

A pickle is a program. Published labels and features come as pickles all the same, so they are read by a machine that
knows containers, numpy arrays and torch tensors and refuses every other name. Tensors become numpy arrays; torch itself
is not needed. Errors are of the kind the caller names, with the file and, within an archive, the member.
"""

from __future__ import annotations

import codecs
import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy

from affectus.errors import AffectusError, LabelError

#: Uncompressed size (bytes) above which an archive is refused.
MAX_BYTES = 2**31

_MAGIC_LEGACY_TORCH = 0x1950A86A20F9469CFC6C
_STORAGES: dict[str, str] = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?", "BFloat16Storage": "bf16",
}  # fmt: skip


class _Storage:
    """A flat tensor storage: dtype code, and its elements once they have been read."""

    def __init__(self, code: str, numel: int) -> None:
        self.code, self.numel = code, numel
        self.data = np.zeros(0, np.float32)

    def fill(self, raw: bytes) -> None:
        if self.code == "bf16":
            self.data = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        else:
            self.data = np.frombuffer(raw, self.code)


class _StorageType:
    def __init__(self, code: str) -> None:
        self.code = code


def _tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    count = offset + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else 0
    if offset < 0 or any(n < 0 for n in size) or any(s < 0 for s in stride) or count > len(storage.data):
        raise pickle.UnpicklingError("tensor reaches beyond its storage")
    step = storage.data.itemsize
    return np.lib.stride_tricks.as_strided(
        storage.data[offset:], tuple(size), tuple(s * step for s in stride), writeable=False
    ).copy()


def _array(subtype: type, shape: tuple, code: Any) -> np.ndarray:
    if tuple(shape) != (0,):  # numpy pickles an empty shell and fills it afterwards
        raise pickle.UnpicklingError("unusual array")
    return np.ndarray.__new__(np.ndarray, shape, code)


def _scalar(dtype: np.dtype, raw: Any = None) -> Any:
    return np.frombuffer(raw if isinstance(raw, bytes) else raw.encode("latin1"), dtype)[0]


def _frombuffer(raw: Any, dtype: np.dtype, shape: tuple, order: Any) -> np.ndarray:
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _dtype(code: Any, *_: Any) -> np.dtype:
    return np.dtype(code)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unusual encoding {encoding!r}")
    return codecs.latin_1_encode(text)[0]


_NUMPY = {"_reconstruct": _array, "scalar": _scalar, "_frombuffer": _frombuffer}
_PLAIN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{
        (module, name): {"dict": dict, "list": list, "set": set, "tuple": tuple, "frozenset": frozenset,
                         "int": int, "float": float, "str": str, "bytes": bytes, "bool": bool, "complex": complex}[name]
        for module in ("builtins", "__builtin__")
        for name in ("dict", "list", "set", "tuple", "frozenset", "int", "float", "str", "bytes", "bool", "complex")
    },
}  # fmt: skip


class _Reader(pickle.Unpickler):
    """Unpickler that knows the names above and nothing else."""

    def __init__(self, file: Any, storages: Callable[[Any], _Storage] | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module.startswith(("numpy.core.", "numpy._core.")) and name in _NUMPY:
            return _NUMPY[name]
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        if module == "torch.storage" and name == "_load_from_bytes":
            return _legacy_torch
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")

    def persistent_load(self, pid: Any) -> _Storage:
        if self._storages is None:
            raise pickle.UnpicklingError("it refers to data outside the file")
        return self._storages(pid)


def _storage_of(pid: Any, known: dict[str, _Storage]) -> _Storage:
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType)):
        raise pickle.UnpicklingError("unusual tensor reference")
    return known.setdefault(str(pid[2]), _Storage(pid[1].code, int(pid[4])))


def _legacy_torch(raw: bytes) -> Any:
    """The pre-1.6 torch format: four pickles (magic, version, platform, object), the storage keys, the raw storages.

    Tensors are rebuilt from filled storages, so the object is read a second time once the data is known.
    """
    file, known = io.BytesIO(raw), {}  # type: io.BytesIO, dict[str, _Storage]
    if _Reader(file).load() != _MAGIC_LEGACY_TORCH:
        raise pickle.UnpicklingError("not a torch file")
    _Reader(file).load()
    _Reader(file).load()
    start = file.tell()
    _Shapes(file, known).load()
    for key in _Reader(file).load():
        (numel,) = struct.unpack("<q", file.read(8))
        storage = known[str(key)]
        width = 2 if storage.code == "bf16" else np.dtype(storage.code).itemsize
        if numel != storage.numel:
            raise pickle.UnpicklingError("storage size differs from its reference")
        storage.fill(file.read(numel * width))
    file.seek(start)
    return _Reader(file, lambda pid: _storage_of(pid, known)).load()


class _Shapes(_Reader):
    """First pass over a legacy object: learn which storages there are, build no tensor."""

    def __init__(self, file: Any, known: dict[str, _Storage]) -> None:
        super().__init__(file, lambda pid: _storage_of(pid, known))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *_: None
        return super().find_class(module, name)


def _zip_torch(raw: bytes) -> Any:
    """The current torch format: a zip archive with `data.pkl` and one file per storage."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        index = next(n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl")
        folder = index.removesuffix("data.pkl")
        known: dict[str, _Storage] = {}

        def storage(pid: Any) -> _Storage:
            found = _storage_of(pid, known)
            if not len(found.data):
                found.fill(archive.read(f"{folder}data/{pid[2]}"))
            return found

        return _Reader(io.BytesIO(archive.read(index)), storage).load()


def load_pickle(data: bytes, name: str, error: type[AffectusError] = LabelError) -> Any:
    """Plain data (containers, numbers, text, numpy arrays, torch tensors as arrays) from the bytes of a pickle.

    Also reads files of `torch.save`, old and new. Raises `error` for anything that is not plain data.
    """
    try:
        if data[:4] == b"PK\x03\x04":
            return _zip_torch(data)
        if data[:2] == b"\x80\x02" and _is_legacy(data):
            return _legacy_torch(data)
        return _Reader(io.BytesIO(data)).load()
    except Exception as found:  # a crafted or cut-off pickle can fail in any way
        reason = str(found) or type(found).__name__
        raise error(name, f"refused: {reason}", "it must hold plain data only") from None


def _is_legacy(data: bytes) -> bool:
    return data[2:3] == b"\x8a" and data[4:14] == _MAGIC_LEGACY_TORCH.to_bytes(10, "little")


def load_npy(data: bytes, name: str, error: type[AffectusError] = LabelError) -> Any:
    """Array from the bytes of a `.npy` file; object arrays of plain data are read as such, 0-d ones unwrapped."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if not dtype.hasobject:
            file.seek(0)
            return npy.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as found:
        raise error(name, f"not a whole npy file ({found})", "fetch the file again") from None
    content = load_pickle(data[file.tell() :], name, error)
    array = np.asarray(content, dtype=object) if not isinstance(content, np.ndarray) else content
    return array.item() if shape == () else array.reshape(shape, order="F" if fortran else "C")


def load_npz(
    source: bytes | str | Path, name: str = "", error: type[AffectusError] = LabelError, max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """Arrays of a `.npz` file (its path, or its bytes and `name`) by name; see `load_npy`.

    An archive that unpacks to more than `max_bytes` is refused.
    """
    name = name or str(source)
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else Path(source)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise error(name, "unpacks to more than the allowed size", f"at most {max_bytes} bytes")
            names = archive.namelist()
            return {n.removesuffix(".npy"): load_npy(archive.read(n), f"{name}::{n}", error) for n in names}
    except (zipfile.BadZipFile, EOFError, OSError) as found:
        raise error(name, f"not a whole npz file ({found})", "fetch the file again") from None
