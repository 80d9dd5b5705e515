"""Round trips through the table formats, and what happens where a file cannot be written."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus import report
from affectus.errors import AffectusError
from affectus.report.atomic import write_atomic
from affectus.types import TIMELINE_COLUMNS, Timeline


def same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def assert_equal(one: Timeline, two: Timeline) -> None:
    assert len(one) == len(two)
    for left, right in zip(one.to_rows(), two.to_rows(), strict=True):
        assert all(same(left[name], right[name]) for name in TIMELINE_COLUMNS), (left, right)


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_round_trip_keeps_rows_and_meta(conversation: Timeline, tmp_path: Path, suffix: str) -> None:
    path = report.save(conversation, tmp_path / f"talk{suffix}")
    back = report.read(path)
    assert_equal(conversation, back)
    assert back.meta == conversation.meta


def test_timeline_saves_itself(conversation: Timeline, tmp_path: Path) -> None:
    assert conversation.save(tmp_path / "deep" / "folder" / "x.csv").is_file()


def test_infinities_and_nan_are_null_in_json_and_empty_in_csv(tmp_path: Path) -> None:
    rows = [{"file": "a", "start": 0.5, "end": math.nan, "score": math.inf, "low": -math.inf, "refs": [4, 2]}]
    timeline = Timeline.from_rows(rows, {"x": math.nan, "y": [math.inf, 1]})
    record = json.loads(report.save(timeline, tmp_path / "a.json").read_text("utf-8"))
    assert record["meta"] == {"x": None, "y": [None, 1]}
    assert record["rows"][0]["score"] is None
    assert record["rows"][0]["end"] is None
    assert math.isnan(report.read(tmp_path / "a.json").to_rows()[0]["score"])
    with report.save(timeline, tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["score"] == row["low"] == row["end"] == ""
    assert row["start"] == "0.5"
    assert row["refs"] == "4 2"
    # Parquet is the exact form.
    assert report.read(report.save(timeline, tmp_path / "a.parquet")).to_rows()[0]["score"] == math.inf


@settings(max_examples=25, deadline=None)
@given(
    text=st.text(max_size=30),
    start=st.floats(0, 1e5),
    score=st.floats(allow_nan=False, allow_infinity=False),
    refs=st.lists(st.integers(0, 2**40), max_size=3),
)
def test_any_text_and_number_survive(
    tmp_path_factory: pytest.TempPathFactory, text: str, start: float, score: float, refs: list[int]
) -> None:
    text = text.encode("utf-8", "ignore").decode()
    timeline = Timeline.from_rows([{"file": text, "text": text, "start": start, "score": score, "refs": refs}])
    folder = tmp_path_factory.mktemp("any")
    for name in ("t.parquet", "t.json"):
        assert_equal(timeline, report.read(report.save(timeline, folder / name)))
    with report.save(timeline, folder / "t.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["text"] == text
    assert float(row["score"]) == score


def test_json_of_an_empty_timeline_is_valid(tmp_path: Path) -> None:
    path = report.save(Timeline.from_rows([]), tmp_path / "empty.json")
    assert json.loads(path.read_text())["rows"] == []
    assert len(report.read(path)) == 0


def test_csv_is_the_same_in_pieces(conversation: Timeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report.save(conversation, tmp_path / "whole.csv").read_bytes()
    monkeypatch.setattr(report.tables, "_BATCH", 7)
    assert report.save(conversation, tmp_path / "pieces.csv").read_bytes() == whole
    with (tmp_path / "pieces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(row["row"]) for row in conversation.to_rows()]
    assert [row["refs"] for row in rows] == [" ".join(map(str, row["refs"])) for row in conversation.to_rows()]
    assert len(rows) > 7


def test_files_are_named_once_in_order_of_their_rows() -> None:
    rows = [{"file": name} for name in ("b.mp4", "a.mp4", "b.mp4", "a.mp4", "c.mp4")]
    assert Timeline.from_rows(rows, {}).files == ["b.mp4", "a.mp4", "c.mp4"]


@pytest.mark.parametrize("name", ["ä ö<>&'\"#%?.json", "-rf.json", "名前 🙂.parquet", "a" * 240 + ".json", " .csv"])
def test_odd_file_names(conversation: Timeline, tmp_path: Path, name: str) -> None:
    small = conversation.filter(space="transcript")
    assert report.save(small, tmp_path / name).is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_unknown_suffix_is_refused(conversation: Timeline, tmp_path: Path) -> None:
    with pytest.raises(AffectusError, match=r"\.TextGrid"):
        report.save(conversation, tmp_path / "x.xlsx")
    with pytest.raises(AffectusError, match="no suffix"):
        report.save(conversation, tmp_path / "x")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".vtt", ".eaf", ".TextGrid", ".html"])
def test_unwritable_target_is_one_clear_error(conversation: Timeline, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AffectusError, match="cannot be written") as caught:
        report.save(conversation, tmp_path / "file" / f"x{suffix}")
    assert "\n" not in str(caught.value)
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(AffectusError, match="is a folder"):
        report.save(conversation, tmp_path / f"folder{suffix}")


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomic(tmp_path / "x.txt", ["old"])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AffectusError, match="No space left on device"):
        write_atomic(path, ["new"])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def chunks() -> Iterator[str]:
        yield "half"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_atomic(tmp_path / "x.txt", chunks())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"{", "no readable JSON"),
        ("a.json", b'{"rows": []}', "no timeline"),
        ("a.json", b'{"format": "affectus-timeline", "rows": [{"start": "soon"}]}', "does not fit"),
        ("a.json", b"\xff\xfe", "no readable JSON"),
        ("a.parquet", b"PAR1", "no readable Parquet"),
        ("a.csv", b"", "read back"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AffectusError, match=reason) as caught:
        report.read(tmp_path / name)
    assert name in str(caught.value)


def test_missing_file_and_foreign_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(AffectusError, match="no such file"):
        report.read(tmp_path / "none.parquet")
    pq.write_table(pa.table({"row": [1]}), tmp_path / "other.parquet")
    with pytest.raises(AffectusError, match="columns are missing: file, start"):
        report.read(tmp_path / "other.parquet")
