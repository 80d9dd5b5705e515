"""Foreign weights that the published-layout tests load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from affectus import assets
from affectus.errors import AssetError


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """`asset(name)`: path of a foreign file; skips where it cannot be had."""

    def find(name: str) -> Path:
        try:
            return assets.resolve(name)
        except AssetError as error:
            pytest.skip(f"asset {name} is not obtainable: {error}")

    return find
