"""The room's public names."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from affectus import features


def test_every_public_name_resolves_and_none_hides_a_module() -> None:
    for name in features.__all__:
        # A submodule of the same name would replace the function as soon as it is imported.
        with pytest.raises(ModuleNotFoundError):
            import_module(f"affectus.features.{name}")
        assert getattr(features, name) is not None
    assert set(features.__all__) <= set(dir(features))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = features.nonsense


def test_import_is_lazy() -> None:
    code = "import sys, affectus.features; print([m for m in ('cv2', 'numpy', 'pyarrow', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
