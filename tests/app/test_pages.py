"""The pages in docs/systems say what the cards say."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectus.app.pages import index_page, system_page
from affectus.systems import registry

DOCS = Path(__file__).parents[2] / "docs" / "systems"


@pytest.mark.parametrize("name", registry.names())
def test_every_system_has_its_page(name: str) -> None:
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == system_page(registry.card(name)), (
        "affectus systems --docs docs/systems"
    )


def test_the_index_lists_them_all() -> None:
    assert (DOCS / "README.md").read_text(encoding="utf-8") == index_page()
    assert {path.stem for path in DOCS.glob("*.md")} == {"README", *registry.names()}
