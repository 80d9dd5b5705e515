"""Transcripts that go with a recording: times that are missing, and times that belong elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affectus import analyze
from affectus.analysis.transcripts import with_ends
from affectus.errors import ConfigError
from affectus.types import Timeline, Turn

nan = math.nan


def facts(timeline: Timeline) -> dict:
    return next(iter(timeline.meta["files"].values()))


def said(timeline: Timeline) -> list[tuple[float, float, str]]:
    rows = timeline.filter(space="transcript").to_rows()
    return [(row["start"], row["end"], row["text"]) for row in rows]


def test_open_turns_end_where_the_next_begins_or_the_recording_ends() -> None:
    turns = [Turn("a", 1.0, nan), Turn("b", 3.0, nan), Turn("c", 3.0, nan), Turn("d", 30.0, nan), Turn("e", nan, nan)]
    ends = [turn.end for turn in with_ends(turns, 32.0)]
    assert ends[:4] == [3.0, 13.0, 13.0, 32.0]
    assert math.isnan(ends[4])
    assert with_ends([Turn("late", 40.0, nan)], 32.0)[0].end == 40.0
    assert math.isnan(with_ends([Turn("untimed")], 32.0)[0].end)
    assert with_ends([Turn("whole", 1.0, 2.0)], 0.0) == [Turn("whole", 1.0, 2.0)]


def test_a_table_with_beginnings_alone_is_fused(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    table = tmp_path / "said.csv"
    table.write_text("speaker;message;time\nAnna;I am so glad;0,5\nBen;I am furious;2,5\n")
    timeline = analyze(make_sound("a.wav", np.zeros(4 * 16000, np.float32)), modalities="words", transcript=table)
    assert said(timeline) == [(0.5, 2.5, "I am so glad"), (2.5, 4.0, "I am furious")]
    decided = {(row["speaker"], row["label"]) for row in timeline.filter(space="decision").to_rows()}
    assert {("Anna", "happiness"), ("Ben", "anger")} <= decided


def test_turns_after_the_end_are_left_out_and_counted(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    recording = make_sound("a.wav", np.zeros(4 * 16000, np.float32))
    table = tmp_path / "said.csv"
    table.write_text("text,start,end\nI am so glad,1,2\nI am furious,1257,1260\n")
    timeline = analyze(recording, modalities="words", transcript=table)
    assert [text for *_, text in said(timeline)] == ["I am so glad"]
    assert "1 of 2 turns of said.csv begin after the end of the recording (4.0 s)" in facts(timeline)["warnings"][0]
    table.write_text("text,start,end\nI am furious,1257,1260\n")
    timeline = analyze(recording, modalities=("voice", "words"), transcript=table)
    assert said(timeline) == []
    assert "1 of 1 turns" in facts(timeline)["missing"]["words"]


@pytest.mark.parametrize(("name", "kind"), [("a.png", "a picture"), ("a.txt", "a text")])
def test_a_transcript_of_no_recording_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    from PIL import Image

    (tmp_path / "a.txt").write_text("I am so glad.")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "said.txt").write_text("Wow!")
    with pytest.raises(ConfigError, match=f"belongs to a recording, but {name} is {kind}"):
        analyze(tmp_path / name, transcript=tmp_path / "said.txt")
