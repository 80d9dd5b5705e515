"""`affectus predict`: lines, JSON and JSON lines, per file and per turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a system that reads texts."""
    from affectus.systems import registry

    return registry.build("sns_gap", "tiny", seed=1).save(tmp_path_factory.mktemp("sns_gap"))


def chat(folder: Path) -> Path:
    path = folder / "chat.csv"
    path.write_text("speaker,text,start,end\nAnn,hello,0,1\n\tBen  B,oh no,1,2\n,who,,\n", encoding="utf-8")
    return path


def test_a_line_per_turn_and_a_line_per_text(affectus: Run, weights: Path, tmp_path: Path) -> None:
    path, plain = chat(tmp_path), tmp_path / "diary.txt"
    plain.write_text("Dear diary. It rained.", encoding="utf-8")
    result = affectus("predict", path, plain, "--system", "sns_gap", "--weights", weights)
    assert (result.code, result.err) == (0, "")
    lines = [line.split("\t") for line in result.out.splitlines()]
    assert [line[:3] for line in lines[:3]] == [
        [str(path), "chat/1", "Ann"],
        [str(path), "chat/2", "Ben B"],
        [str(path), "chat/3", ""],
    ]
    assert lines[3][0] == str(plain)
    assert [len(line) for line in lines] == [5, 5, 5, 3]
    assert all(0 <= float(line[4]) <= 1 for line in lines[:3])


def test_json_has_an_object_per_turn(affectus: Run, weights: Path, tmp_path: Path) -> None:
    path = chat(tmp_path)
    common = ("predict", path, "--system", "sns_gap", "--weights", weights)
    record = json.loads(affectus(*common, "--json").out)
    first, _, last = record["predictions"]
    assert {k: first[k] for k in ("file", "id", "speaker", "start", "end", "text")} == {
        "file": str(path), "id": "chat/1", "speaker": "Ann", "start": 0.0, "end": 1.0, "text": "hello",
    }  # fmt: skip
    assert sum(first["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert first["label"] == max(first["scores"], key=first["scores"].get)
    assert "start" not in last
    out = tmp_path / "out/lines.jsonl"
    affectus(*common, "--out", out)
    assert [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] == record["predictions"]


def test_failures_and_notes_are_told(affectus: Run, weights: Path, tmp_path: Path) -> None:
    double, broken = tmp_path / "double.csv", tmp_path / "broken.csv"
    double.write_text("turn_id,speaker,text\n1,A,hello\n1,A,hello\n2,B,bye\n", encoding="utf-8")
    broken.write_text("speaker,text\n", encoding="utf-8")
    result = affectus("predict", double, broken, "--system", "sns_gap", "--weights", weights, "--json")
    assert result.code == 1
    record = json.loads(result.out)
    assert [p["id"] for p in record["predictions"]] == ["double/1", "double/2"]
    (failed,) = record["failed"]
    assert failed["file"] == str(broken)
    warning, error = result.err.splitlines()
    assert warning.startswith(f"warning: {double}: ")
    assert error.startswith(f"error: {broken}")
