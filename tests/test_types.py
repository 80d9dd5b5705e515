"""Cards are the same before and after a file; a timeline prints as a few lines."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from affectus import models
from affectus.types import Card, Timeline

CARD = Card(
    "face",
    "Faces",
    "2",
    "face",
    "expression",
    "expressed",
    "ferplus8",
    ["neutral", "happiness"],  # type: ignore[arg-type]
    data=[{"name": "ferplus", "licence": "MIT"}],  # type: ignore[arg-type]
    inputs={"size": 48, "thresholds": [0.5, 0.4]},
    metrics={"uar": {"value": 0.8, "low": 0.7, "high": 0.9}},
    confusion=[[3, 1], [0, 4]],  # type: ignore[arg-type]
    limits=["dark faces in backlight"],  # type: ignore[arg-type]
)


def test_a_card_written_is_the_card_read(tmp_path: Path) -> None:
    CARD.write(tmp_path / "card.json")
    read = Card.read(tmp_path / "card.json")
    assert read == CARD
    assert read.confusion == ((3, 1), (0, 4))
    assert read.limits == ("dark faces in backlight",)
    assert read.data == ({"name": "ferplus", "licence": "MIT"},)
    assert replace(read, limits=()) != CARD


@pytest.mark.parametrize("name", models.NAMES)
def test_shipped_cards_survive_a_round_trip(tmp_path: Path, name: str) -> None:
    path = Path(models.__file__).parent / "weights" / name / "card.json"
    card = Card.read(path)
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == card
    assert json.loads((tmp_path / "card.json").read_text()) == json.loads(path.read_text())
    assert not [f.name for f in fields(card) if isinstance(getattr(card, f.name), list)]


def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"name": "face", "mood": "good"}))
    with pytest.raises(ValueError, match=r"unknown card fields \['mood'\]"):
        Card.read(tmp_path / "card.json")


def test_a_timeline_prints_as_a_few_lines() -> None:
    rows = [{"file": f"{name}.mp4", "space": space} for name in "abcde" for space in ("va", "va", "decision")]
    thumbnails = {"0": "data:image/jpeg;base64," + "A" * 10_000}
    shown = repr(Timeline.from_rows(rows, {"files": {"a.mp4": {"thumbnails": thumbnails}}}))
    assert shown == "Timeline: 15 rows of a.mp4, b.mp4, c.mp4 and 2 more\n  rows by space: va 10, decision 5"
    assert repr(Timeline.from_rows([])) == "Timeline: 0 rows of no file"
    assert repr(Timeline.from_rows(rows[:1])).startswith("Timeline: 1 row of a.mp4\n")
