"""Conversation files: both dialects, histories, and what is wrong with an item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affectus import corpora
from affectus.errors import CorpusError


def rows(root: Path) -> list[dict[str, Any]]:
    return corpora.load("conversations", root).table.to_pylist()


def test_every_answer_is_a_row_with_what_was_said_before(tmp_path: Path) -> None:
    first, second, video, plain = rows(corpora.write_tiny("conversations", tmp_path))
    assert (first["id"], second["id"]) == ("0#1", "0#2")
    assert first["meta:question"] == "What is drawn?"
    assert first["meta:history"] is None
    assert second["meta:history"] == "user: What is drawn?\nassistant: A face."
    assert first["media"] == second["media"] != video["media"]
    assert first["media"].endswith("a.png")
    assert (first["meta:task"], video["meta:task"]) == ("general", None)
    assert (video["meta:question"], video["meta:answer"]) == ("Which emotion is it?", "anger")
    assert plain["media"] is None
    assert {row["split"] for row in (first, second, video, plain)} == {"train"}


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "robot", "content": "x"}, {"role": "assistant", "content": "y"}],
        [{"role": "user", "content": "x"}],
        [{"role": "user", "content": 3}, {"role": "assistant", "content": "y"}],
        "nothing",
    ],
)
def test_a_broken_item_is_named_and_the_rest_is_read(tmp_path: Path, turns: Any) -> None:
    good = {"id": "g", "conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "all.json").write_text(json.dumps([good, {"id": "bad", "conversations": turns}]))
    loaded = corpora.load("conversations", tmp_path, strict=False)
    assert loaded.column("id") == ["g"]
    problems = [p for p in corpora.check("conversations", tmp_path) if p.level == "error"]
    assert [(p.file, p.row) for p in problems] == [("all.json", 2)]
    with pytest.raises(CorpusError, match="no answer"):
        corpora.load("conversations", tmp_path)


def test_missing_and_several_media_are_told(tmp_path: Path) -> None:
    asked = [{"from": "human", "value": "<video>\nWho?"}, {"from": "gpt", "value": "He."}]
    items = [{"id": "m", "video": "clips/none.mp4", "conversations": asked},
             {"id": "s", "image": {"<image_00>": "a.png", "<image_01>": "b.png"}, "conversations": asked}]  # fmt: skip
    (tmp_path / "all.json").write_text(json.dumps(items))
    told = [str(p) for p in corpora.check("conversations", tmp_path)]
    assert any("clips/none.mp4 is not there" in text for text in told)
    assert any("has 2 files" in text for text in told)
    (tmp_path / "all.json").write_text("[]")
    with pytest.raises(CorpusError, match="no json list"):
        corpora.load("conversations", tmp_path)
