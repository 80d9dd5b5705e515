"""Reading MATLAB 5 files into plain dictionaries, lists and arrays.

The format is data only: nothing in it is run. Files of MATLAB 7.3 are HDF5 and are refused by name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from affectus.errors import CorpusError


def _scipy_io(name: str) -> ModuleType:
    try:
        import scipy.io
    except ImportError:
        raise CorpusError(name, "MATLAB files need SciPy", "pip install 'affectus[data]'") from None
    return scipy.io


def load_mat(data: bytes, name: str, variables: list[str] | None = None) -> dict[str, Any]:
    """Variables of a MATLAB 5 file: structs are dictionaries, cells lists, other values arrays without 1-sized axes.

    `variables` reads only those. Raises `CorpusError` for a cut-off file, for MATLAB 7.3 and where SciPy is missing.
    """
    reader = _scipy_io(name)
    _check_version(data, name)
    try:
        found = reader.loadmat(io.BytesIO(data), simplify_cells=True, variable_names=variables)
    except Exception as error:  # a cut-off file fails wherever it ends
        raise CorpusError(name, f"not a whole MATLAB file ({error})", "fetch the file again") from None
    return {key: value for key, value in found.items() if not key.startswith("__")}


def mat_shapes(data: bytes, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the variables of a MATLAB 5 file, without their values."""
    reader = _scipy_io(name)
    _check_version(data, name)
    try:
        return {key: tuple(shape) for key, shape, _ in reader.whosmat(io.BytesIO(data))}
    except Exception as error:
        raise CorpusError(name, f"not a whole MATLAB file ({error})", "fetch the file again") from None


def write_mat(path: Path, content: Mapping[str, Any]) -> None:
    """Write a compressed MATLAB 5 file; object arrays become cells, dictionaries structs."""
    _scipy_io(str(path)).savemat(path, dict(content), do_compression=True)


def _check_version(data: bytes, name: str) -> None:
    if data[:19] == b"MATLAB 7.3 MAT-file" or data[512:520] == b"\x89HDF\r\n\x1a\n":
        raise CorpusError(name, "MATLAB 7.3 file (HDF5)", "save it in MATLAB with the option -v7")
