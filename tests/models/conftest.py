"""Model packages to test: the fake ones always, the shipped ones where they were built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import affectus.models


@pytest.fixture(params=["fake", "shipped"])
def load(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """`load("face")`: the fake model, then the shipped one; skips where that was not built."""
    packaged = Path(affectus.models.__file__).parent / "weights"
    root = request.getfixturevalue("fake_models") if request.param == "fake" else packaged

    def find(name: str) -> Any:
        if not (root / name / "card.json").is_file():
            pytest.skip(f"the shipped {name} weights are not in this checkout")
        return affectus.models.load(name, root / name)

    return find


@pytest.fixture
def package(fake_models: Path, tmp_path: Path) -> Callable[[str], Path]:
    """`package("face")`: a copy of a fake package that a test may damage."""
    return lambda name: Path(shutil.copytree(fake_models / name, tmp_path / name))
