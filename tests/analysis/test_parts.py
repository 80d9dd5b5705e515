"""Settings, rows, names, locks, tallies: the small parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.analysis.fusion import LABELS
from affectus.analysis.locks import FileLock
from affectus.analysis.names import LONGEST, folder_names, safe_name
from affectus.analysis.rows import BATCH, RowSink
from affectus.analysis.settings import Settings
from affectus.analysis.tally import Tally
from affectus.errors import AffectusError, ConfigError
from affectus.types import timeline_schema


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"modalities": ("face", "smell")}, "smell"),
        ({"modalities": ()}, "none was chosen"),
        ({"fps": 0.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"window": -1.0}, "window"),
        ({"confidence": 1.5}, "confidence"),
        ({"device": "tpu"}, "tpu"),
        ({"language": "?!"}, "language"),
        ({"voice_window": 60.0}, "voice-window"),
    ],
)
def test_wrong_settings_are_named(wrong: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Settings(**wrong)


def test_settings_put_modalities_in_order_and_tell_runs_apart() -> None:
    assert Settings(modalities=("words", "face")).modalities == ("face", "words")
    assert Settings().fingerprint({"a": 1}) == Settings().fingerprint({"a": 1})
    assert Settings().fingerprint({}) != Settings(fps=4.0).fingerprint({})
    assert Settings().fingerprint({}) != Settings().fingerprint({"version": "2"})


def test_rows_keep_order_number_and_neutral_values(tmp_path: Path) -> None:
    with RowSink("clip.mp4", tmp_path) as sink:
        first = sink.add_scores(LABELS, np.arange(7) / 10, np.zeros(7), np.ones(7), source="face", space="ekman7")
        last = sink.add(space="explanation", text="because", refs=[first])
        table = sink.finish()
    assert (first, last) == (0, 7)
    assert table.schema == timeline_schema()
    rows = table.to_pylist()
    assert [row["label"] for row in rows[:7]] == list(LABELS)
    assert rows[3]["score"] == pytest.approx(0.3)
    assert rows[3]["high"] == 1
    assert rows[7]["refs"] == [0]
    assert rows[7]["track"] == -1
    assert np.isnan(rows[7]["score"])
    assert {row["file"] for row in rows} == {"clip.mp4"}
    assert not list(tmp_path.iterdir())


def test_rows_beyond_one_batch_are_all_there(tmp_path: Path) -> None:
    with RowSink("x", tmp_path) as sink:
        for i in range(2 * BATCH + 3):
            sink.add(score=float(i))
        table = sink.finish()
    assert table["score"].to_pylist() == [float(i) for i in range(2 * BATCH + 3)]


def test_rows_of_a_failed_analysis_leave_nothing_behind(tmp_path: Path) -> None:
    def fail(sink: RowSink) -> None:
        sink.add(score=1.0)
        raise RuntimeError

    with pytest.raises(RuntimeError), RowSink("x", tmp_path) as sink:
        fail(sink)
    assert not list(tmp_path.iterdir())


def test_rows_without_a_place_to_go_say_so(tmp_path: Path) -> None:
    with pytest.raises(AffectusError, match="TMPDIR"):
        RowSink("x", tmp_path / "missing")


@given(st.text())
def test_safe_names_are_safe(text: str) -> None:
    name = safe_name(text)
    assert name
    assert name not in (".", "..")
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.endswith((".", " "))
    assert len(name.encode()) <= LONGEST + 8
    assert Path("out", name).parent == Path("out")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc", "_.._etc"),
        ("con.txt", "_con.txt"),
        ("", "input"),
        ("émoji 😀.mp4", "émoji 😀.mp4"),
    ],
)
def test_safe_name(text: str, wanted: str) -> None:
    assert safe_name(text) == wanted


def test_folder_names_are_paths_below_the_given_folder_and_never_coincide(tmp_path: Path) -> None:
    for name in ("in/a.mp4", "in/day/a.mp4", "in/day__a.mp4", "other/A.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [tmp_path / n for n in ("in/a.mp4", "in/day/a.mp4", "in/day__a.mp4", "other/A.mp4")]
    names = folder_names(files, [tmp_path / "in", tmp_path / "other/A.mp4"])
    assert len({name.casefold() for name in names.values()}) == 4
    assert names[files[1]].startswith("day__a.mp4-")
    assert names == folder_names(files, [tmp_path / "other/A.mp4", tmp_path / "in"])
    assert folder_names(files[:2], [tmp_path / "in"]) == {files[0]: "a.mp4", files[1]: "day__a.mp4"}


HOLD = """
import sys, time
from pathlib import Path
from affectus.analysis.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
time.sleep(60)
"""


def test_a_lock_is_held_once_and_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with FileLock(path) as lock:
            assert not lock.acquire()
            holder.kill()
            holder.wait()
            assert lock.acquire(wait=True)
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_a_lock_that_cannot_be_made_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AffectusError, match="cannot be written"):
        FileLock(tmp_path / "file" / "x.lock").acquire()


def test_tally_is_the_weighted_mean_and_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(7), 20)
    w, q = rng.uniform(0.1, 1, 20), rng.uniform(0, 1, 20)
    affect = rng.uniform(-1, 1, (20, 2))
    tally = Tally()
    for item in zip(p, affect, w, q, strict=True):
        tally.add(item[0], tuple(item[1]), item[2], item[3])
    share = w / w.sum()
    np.testing.assert_allclose(tally.probabilities, share @ p)
    deviation = np.sqrt(share @ np.square(p - share @ p))
    np.testing.assert_allclose(tally.spread, deviation / np.sqrt(20))
    np.testing.assert_allclose(tally.affect, share @ affect)
    assert tally.quality == pytest.approx(share @ q)
    assert tally.count == 20


def test_importing_the_package_costs_neither_torch_nor_models() -> None:
    heavy = ("torch", "onnxruntime", "cv2", "av", "pyarrow", "rich")
    code = f"import sys, affectus; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"
