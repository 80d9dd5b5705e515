"""Folder runs: whole results or none, resumed, shared between runs, going on past failures."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from affectus import analyze
from affectus.analysis.folder import FILES, MARKER, Outcome, analyze_each
from affectus.analysis.settings import Settings
from affectus.errors import AffectusError, ConfigError
from affectus.types import Timeline


def write_texts(folder: Path, count: int, sentences: int = 1) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02d}.txt" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_text(f"I am glad you are number {number}. " * sentences)
    return paths


def run(inputs: Path | list[Path], out: Path, **settings: object) -> list[Outcome]:
    return list(analyze_each(inputs, Settings(**settings), out))  # type: ignore[arg-type]


def test_each_input_gets_a_folder_with_whole_files(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2)
    outcomes = run(tmp_path / "in", tmp_path / "out")
    assert [outcome.folder for outcome in outcomes] == [tmp_path / "out/00.txt", tmp_path / "out/01.txt"]
    for outcome in outcomes:
        assert outcome.folder is not None
        assert {p.name for p in outcome.folder.iterdir()} == {"timeline.parquet", "timeline.csv", "report.html", MARKER}
        kept = Timeline.read(outcome.folder / FILES["parquet"])
        assert kept.table.equals(outcome.timeline.table) or len(kept) == len(outcome.timeline)  # type: ignore[union-attr,arg-type]
    assert not list((tmp_path / "out/.work").glob("*.new"))


def test_formats_can_be_chosen_and_parquet_is_always_there(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 1)
    analyze(tmp_path / "in", tmp_path / "out", formats=("json",))
    names = {p.name for p in (tmp_path / "out/00.txt").iterdir()}
    assert names == {"timeline.parquet", "timeline.json", MARKER}
    with pytest.raises(ConfigError, match="docx"):
        analyze(tmp_path / "in", tmp_path / "out", formats=("docx",))


def test_the_report_finds_the_recording(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 48), (90, 20, 20)).save(tmp_path / "in/a picture.png")
    analyze(tmp_path / "in", tmp_path / "out", modalities="scene")
    folder = tmp_path / "out/a picture.png"
    (source,) = re.findall(r'class="media" src="([^"]+)"', (folder / "report.html").read_text(encoding="utf-8"))
    assert (folder / unquote(source)).samefile(tmp_path / "in/a picture.png")


@pytest.mark.assets
def test_all_formats_of_a_recording(tmp_path: Path, samples: Path) -> None:
    analyze(samples / "single_face.mp4", tmp_path / "out", modalities="face", formats=tuple(FILES))
    assert {p.name for p in (tmp_path / "out/single_face.mp4").iterdir()} == {*FILES.values(), MARKER}


def test_a_second_run_does_nothing_again(tmp_path: Path) -> None:
    paths = write_texts(tmp_path / "in", 3)
    run(tmp_path / "in", tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    again = run(tmp_path / "in", tmp_path / "out")
    assert [outcome.resumed for outcome in again] == [True] * 3
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    assert all(len(outcome.load() or ()) > 0 for outcome in again)
    paths[1].write_text("Now I am sad.")
    assert [outcome.resumed for outcome in run(tmp_path / "in", tmp_path / "out")] == [True, False, True]
    assert [outcome.resumed for outcome in run(tmp_path / "in", tmp_path / "out", confidence=0.9)] == [False] * 3


def test_other_models_are_another_run(tmp_path: Path, fake_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    write_texts(tmp_path / "in", 1)
    run(tmp_path / "in", tmp_path / "out")
    shutil.copytree(fake_models, tmp_path / "models")
    card = json.loads((tmp_path / "models/words/card.json").read_text())
    (tmp_path / "models/words/card.json").write_text(json.dumps(card | {"version": "1"}))
    monkeypatch.setenv("AFFECTUS_MODELS", str(tmp_path / "models"))
    assert [outcome.resumed for outcome in run(tmp_path / "in", tmp_path / "out")] == [False]


def test_a_moved_input_is_recognised_and_a_different_one_gets_its_own_folder(tmp_path: Path) -> None:
    [path] = write_texts(tmp_path / "in", 1)
    run(path, tmp_path / "out")
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert run(moved, tmp_path / "out")[0].resumed
    other = tmp_path / "third" / path.name
    other.parent.mkdir()
    other.write_text("Something else.")
    [outcome] = run(other, tmp_path / "out")
    assert not outcome.resumed
    assert outcome.folder is not None
    assert outcome.folder.name.startswith("00.txt-")
    assert run(other, tmp_path / "out")[0].resumed


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2)
    (tmp_path / "in/01a.mp4").touch()
    outcomes = run(tmp_path / "in", tmp_path / "out")
    assert [outcome.error is None for outcome in outcomes] == [True, True, False] or [
        outcome.error is None for outcome in outcomes
    ] == [True, False, True]
    failed = next(outcome for outcome in outcomes if outcome.error)
    assert "01a.mp4: is empty" in str(failed.error)
    assert not (tmp_path / "out/01a.mp4").exists()


def test_an_unexpected_error_is_one_line_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectus.analysis import folder

    write_texts(tmp_path / "in", 2)
    real = folder.analyze_file

    def breaks(path: Path, *rest: object) -> Timeline:
        if path.name == "00.txt":
            raise ZeroDivisionError("division\nby zero")
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "analyze_file", breaks)
    monkeypatch.delenv("AFFECTUS_DEBUG", raising=False)
    first, second = run(tmp_path / "in", tmp_path / "out")
    assert "unexpected ZeroDivisionError: division (AFFECTUS_DEBUG=1" in str(first.error)
    assert second.error is None
    monkeypatch.setenv("AFFECTUS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "in", tmp_path / "out")


def test_an_output_folder_that_cannot_be_used(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 1)
    (tmp_path / "file").touch()
    with pytest.raises(AffectusError, match=r"file.*cannot be used as output folder.*--out"):
        run(tmp_path / "in", tmp_path / "file")
    with pytest.raises(AffectusError, match="cannot be used as output folder"):
        run(tmp_path / "in", tmp_path / "file" / "deeper")


def test_an_output_folder_that_is_full(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the report does not fit, an earlier result stays."""
    write_texts(tmp_path / "in", 1)
    run(tmp_path / "in", tmp_path / "out")
    kept = (tmp_path / "out/00.txt" / FILES["parquet"]).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        [outcome] = run(tmp_path / "in", tmp_path / "out", confidence=0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written" in str(outcome.error)
    assert (tmp_path / "out/00.txt" / FILES["parquet"]).read_bytes() == kept
    assert not list((tmp_path / "out/.work").glob("*.new"))
    assert not run(tmp_path / "in", tmp_path / "out", confidence=0.3)[0].resumed


def test_an_empty_path_is_not_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path, 1)
    monkeypatch.chdir(tmp_path)
    for nothing in ("", ["00.txt", ""]):
        with pytest.raises(AffectusError, match="is no path"):
            analyze(nothing)
    assert analyze(".").files == ["00.txt"]


def test_a_transcript_belongs_to_one_recording(tmp_path: Path) -> None:
    paths = write_texts(tmp_path / "in", 3)
    with pytest.raises(ConfigError, match="belongs to one recording"):
        analyze(paths[:2], transcript=paths[2])


def test_results_are_not_taken_for_inputs(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 1)
    run(tmp_path / "in", tmp_path / "in/results")
    assert [outcome.path.name for outcome in run(tmp_path / "in", tmp_path / "in/results")] == ["00.txt"]


def test_a_damaged_marker_means_doing_it_again(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 1)
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/00.txt" / MARKER).write_text('{"content":')
    assert [outcome.resumed for outcome in run(tmp_path / "in", tmp_path / "out")] == [False]


def test_a_result_moved_aside_by_a_killed_run_comes_back(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 1)
    run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out/00.txt").rename(tmp_path / "out/.work/00.txt.old")
    (tmp_path / "out/.work/00.txt.12345.new").mkdir()
    assert [outcome.resumed for outcome in run(tmp_path / "in", tmp_path / "out")] == [True]
    assert not list((tmp_path / "out/.work").glob("00.txt.*.new"))


SLOWED = """
import sys, time
from pathlib import Path
from affectus.analysis.folder import analyze_each
from affectus.analysis.settings import Settings
def slowly(path, stage, share):
    if stage == "writing":
        time.sleep(0.3)
for outcome in analyze_each(Path(sys.argv[1]), Settings(modalities=("words",)), Path(sys.argv[2]), ("csv",), slowly):
    print(outcome.path.name, outcome.resumed, outcome.error, flush=True)
"""


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SLOWED, str(folder), str(out)], stdout=subprocess.PIPE, text=True)


def test_kill_in_the_middle_loses_nothing_finished(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 8)
    process = start(tmp_path / "in", tmp_path / "out")
    assert process.stdout is not None
    finished = [process.stdout.readline().split()[0] for _ in range(3)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for name in finished:
        assert len(Timeline.read(tmp_path / "out" / name / FILES["parquet"])) > 0
    outcomes = run(tmp_path / "in", tmp_path / "out", modalities=("words",))
    by_name = {outcome.path.name: outcome for outcome in outcomes}
    assert len(by_name) == 8
    assert all(outcome.error is None for outcome in outcomes)
    whole = [p.parent.name for p in (tmp_path / "out").glob(f"*/{MARKER}")]
    assert sorted(whole) == sorted(by_name)
    assert not list((tmp_path / "out/.work").glob("*.new"))


def test_a_resumed_run_keeps_what_the_killed_one_finished(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 5)
    process = start(tmp_path / "in", tmp_path / "out")
    assert process.stdout is not None
    finished = {process.stdout.readline().split()[0] for _ in range(2)}
    process.kill()
    process.wait()
    process.stdout.close()
    second = start(tmp_path / "in", tmp_path / "out")
    told, _ = second.communicate()
    lines = {line.split()[0]: line.split()[1:] for line in told.splitlines()}
    assert {name for name, (resumed, error) in lines.items() if resumed == "True"} >= finished
    assert all(error == "None" for _, error in lines.values())


def test_two_runs_share_a_folder_without_doing_anything_twice(tmp_path: Path) -> None:
    names = {path.name for path in write_texts(tmp_path / "in", 5)}
    first, second = start(tmp_path / "in", tmp_path / "out"), start(tmp_path / "in", tmp_path / "out")
    lines = [line.split() for process in (first, second) for line in process.communicate()[0].splitlines()]
    assert len(lines) == 10
    assert all(error == "None" for _, _, error in lines)
    for name in names:
        assert sorted(resumed for path, resumed, _ in lines if path == name) == ["False", "True"]
    assert {p.parent.name for p in (tmp_path / "out").glob(f"*/{MARKER}")} == names


def test_what_another_run_works_on_is_left_for_last(tmp_path: Path) -> None:
    from affectus.analysis.locks import FileLock

    write_texts(tmp_path / "in", 3)
    (tmp_path / "out/.work").mkdir(parents=True)
    lock = FileLock(tmp_path / "out/.work/00.txt.lock")
    assert lock.acquire()
    threading.Thread(target=lambda: (time.sleep(1.0), lock.release())).start()
    outcomes = run(tmp_path / "in", tmp_path / "out")
    assert [outcome.path.name for outcome in outcomes] == ["01.txt", "02.txt", "00.txt"]
