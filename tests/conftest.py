"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real corpora; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("AFFECTUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared corpora are not on this machine (set AFFECTUS_SHARED_DATA)")
    return folder
