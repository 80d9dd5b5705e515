"""The command line: output, exit codes, one line per error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import affectus as package

Run = Callable[..., object]


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_summary_of_a_text(affectus: Run, tmp_path: Path) -> None:
    result = affectus("analyze", write(tmp_path / "in", diary="I am so glad. I am furious!"))
    assert result.code == 0
    assert "diary.txt" in result.out
    assert "happiness 50%" in result.out
    assert "--out" in result.out
    assert result.err == ""


def test_results_go_to_a_folder_and_the_report_is_named(affectus: Run, tmp_path: Path) -> None:
    write(tmp_path / "in", diary="I am so glad.")
    result = affectus("analyze", tmp_path / "in", "--out", tmp_path / "out", "--formats", "html,json")
    assert result.code == 0
    assert str(tmp_path / "out/diary.txt/report.html") in result.out
    assert (tmp_path / "out/diary.txt/timeline.json").is_file()
    again = affectus("analyze", tmp_path / "in", "--out", tmp_path / "out", "--formats", "html,json")
    assert "1 of 1 results were finished before" in again.err
    assert "happiness" in again.out


def test_json_is_one_document_with_rows_and_failures(affectus: Run, tmp_path: Path) -> None:
    write(tmp_path / "in", a="I am so glad.", b="I am sad.")
    (tmp_path / "in/c.mp4").touch()
    result = affectus("analyze", tmp_path / "in", "--json")
    assert result.code == 1
    record = json.loads(result.out)
    assert record["format"] == "affectus-timeline"
    decisions = [row["label"] for row in record["rows"] if row["space"] == "decision"]
    assert decisions == ["happiness", "sadness"]
    assert list(record["meta"]["failures"]) == [str(tmp_path / "in/c.mp4")]
    assert [row["row"] for row in record["rows"]] == list(range(len(record["rows"])))
    assert result.err.splitlines() == [
        f"error: {tmp_path}/in/c.mp4: is empty (0 bytes) (copy or record it again)",
        "1 of 3 inputs failed",
    ]


def test_quiet_says_nothing_but_errors(affectus: Run, tmp_path: Path) -> None:
    write(tmp_path / "in", a="I am so glad.")
    result = affectus("analyze", tmp_path / "in", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_failures_are_listed_at_the_end_and_the_rest_is_kept(affectus: Run, tmp_path: Path) -> None:
    write(tmp_path / "in", a="I am so glad.", z="I am sad.")
    (tmp_path / "in/broken.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    result = affectus("analyze", tmp_path / "in", "--out", tmp_path / "out")
    assert result.code == 1
    assert "a.txt" in result.out
    assert "z.txt" in result.out
    lines = result.err.splitlines()
    assert lines[-2].startswith(f"error: {tmp_path}/in/broken.wav: ")
    assert lines[-1] == "1 of 3 inputs failed"
    assert sorted(p.parent.name for p in (tmp_path / "out").glob("*/timeline.parquet")) == ["a.txt", "z.txt"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["gone.mp4"], "there is no such file"),
        (["."], "holds no video"),
        ([".", "--modalities", "smell"], "smell is unknown"),
        ([".", "--fps", "0"], "fps: is 0"),
        ([".", "--formats", "docx"], "docx is unknown"),
        ([".", "--transcript", "gone.srt"], "gone.srt: there is no such file"),
        ([".", "--language", "??"], "language"),
    ],
)
def test_usage_errors_are_one_line_and_code_2(
    affectus: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = affectus("analyze", *arguments)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("error: ")
    assert reason in result.err
    assert result.out == ""


@pytest.mark.parametrize("arguments", [["analyze"], ["analyze", "x", "--wrong"], ["nonsense"]])
def test_unknown_commands_and_options_are_code_2(affectus: Run, arguments: list[str]) -> None:
    assert affectus(*arguments).code == 2


def test_an_unusable_output_folder_is_one_line(affectus: Run, tmp_path: Path) -> None:
    write(tmp_path / "in", a="I am so glad.")
    (tmp_path / "file").touch()
    result = affectus("analyze", tmp_path / "in", "--out", tmp_path / "file/out")
    assert result.code == 1
    assert result.err == (
        f"error: {tmp_path}/file/out: cannot be used as output folder: Not a directory "
        "(choose a folder you can write with --out)\n"
    )


def test_names_of_files_cannot_break_lines_or_colour_the_terminal(affectus: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a\n\x1b[31m[bold]x.mp4").touch()
    (tmp_path / "in" / "[red]b.txt").write_text("I am so glad.")
    result = affectus("analyze", tmp_path / "in")
    assert result.code == 1
    assert "\x1b" not in result.err
    assert len(result.err.splitlines()) == 2
    assert "[red]b.txt" in result.out


def test_debug_lets_the_traceback_through(affectus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from affectus.errors import ConfigError

    monkeypatch.setattr(sys, "argv", ["affectus", "analyze", str(tmp_path), "--modalities", "smell"])
    monkeypatch.setenv("AFFECTUS_DEBUG", "1")
    from affectus.app.cli import main

    with pytest.raises(ConfigError):
        main()


def test_version_and_help(affectus: Run) -> None:
    assert affectus("--version").out == f"affectus {package.__version__}\n"
    help_text = affectus("--help").out
    for command in ("analyze", "assets", "models", "doctor", "train", "evaluate", "score", "scoreboard", "corpora"):
        assert command in help_text
    assert "feels" not in help_text
    assert affectus("analyze", "--help").code == 0


def test_help_loads_no_heavy_packages() -> None:
    heavy = ("torch", "onnxruntime", "cv2", "av", "pyarrow", "pandas", "plotly", "numpy")
    code = (
        "import sys; sys.argv = ['affectus', '--help']\n"
        "from affectus.app.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_models_as_table_card_and_json(affectus: Run) -> None:
    table = affectus("models")
    assert table.code == 0
    assert all(name in table.out for name in ("face", "voice", "words", "scene"))
    card = affectus("models", "face")
    assert "Confusion" in card.out
    assert "0.020 [0.010, 0.030]" in card.out
    wrong = affectus("models", "smell")
    assert wrong.code == 1
    assert wrong.err.startswith("error: smell: is not a shipped model")


def test_models_says_which_are_missing(affectus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTUS_MODELS", str(tmp_path))
    result = affectus("models")
    assert result.code == 0
    assert len([line for line in result.err.splitlines() if "is missing" in line]) == 4


def test_assets_list_and_verify(affectus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTUS_CACHE", str(tmp_path))
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    assert "yunet" in affectus("assets", "list").out
    records = json.loads(affectus("assets", "list", "--json").out)
    assert {"name", "purpose", "licence", "present"} <= set(records[0])
    result = affectus("assets", "verify", "yunet")
    if result.code:  # not installed as a package either
        assert result.err.startswith("error: yunet: not on this machine (affectus assets get yunet)")
    refused = affectus("assets", "get", "no-such-asset")
    assert refused.code == 1
    assert "no such asset" in refused.err


def test_doctor_names_what_is_broken_and_the_remedy(
    affectus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = json.loads(affectus("doctor", "--json").out)
    assert {"installation", "model face", "asset yunet", "cache folder"} <= {c["name"] for c in whole["checks"]}
    monkeypatch.setenv("AFFECTUS_MODELS", str(tmp_path))
    broken = affectus("doctor")
    assert broken.code == 1
    assert "reinstall affectus" in broken.out
    assert "✗" in broken.out


def test_train_checks_its_roots(affectus: Run, tmp_path: Path) -> None:
    wrong = affectus("train", "recipe.yaml", "--root", "ferplus", "--out", tmp_path)
    assert wrong.code == 2
    assert "NAME=DIR" in wrong.err
    gone = affectus("train", "recipe.yaml", "--root", f"ferplus={tmp_path}/gone", "--out", tmp_path)
    assert "there is no such folder" in gone.err


def test_train_without_its_extra_says_so(affectus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    result = affectus("train", "recipe.yaml", "--root", f"a={tmp_path}", "--out", tmp_path)
    assert result.code == 2
    assert "pip install 'affectus[train]'" in result.err


def test_corpora_commands(affectus: Run, tmp_path: Path) -> None:
    from affectus import corpora

    assert "ferplus" in affectus("corpora", "list").out
    assert "goemotions" in {record["name"] for record in json.loads(affectus("corpora", "list", "--json").out)}
    facts = json.loads(affectus("corpora", "info", "goemotions", "--json").out)
    assert facts["licence"]
    assert "licence" in affectus("corpora", "info", "goemotions").out
    corpora.write_tiny("goemotions", tmp_path / "go")
    out = tmp_path / "tables/go.parquet"
    table = affectus("corpora", "table", "goemotions", tmp_path / "go", "--out", out)
    assert table.code == 0
    assert out.is_file()
    empty = affectus("corpora", "check", "goemotions", tmp_path / "tables")
    assert empty.code == 1
    assert "how to obtain it" in empty.err
    unknown = affectus("corpora", "info", "nonsense")
    assert unknown.code == 1
    assert "no such corpus" in unknown.err


def test_evaluate_prints_a_record(affectus: Run, tmp_path: Path) -> None:
    from affectus import corpora

    corpora.write_tiny("goemotions", tmp_path / "go")
    result = affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go", "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert record["model"] == "words"
    assert record["n"] > 0
    assert {"value", "low", "high"} <= set(record["metrics"]["macro_f1"])
    table = affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go")
    assert "macro_f1" in table.out


def test_scoreboard_shows_records_of_a_folder(affectus: Run, tmp_path: Path) -> None:
    from affectus import corpora

    corpora.write_tiny("goemotions", tmp_path / "go")
    result = affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go", "--json")
    (tmp_path / "records").mkdir()
    (tmp_path / "records/words.json").write_text(result.out)
    shown = affectus("scoreboard", tmp_path / "records")
    assert shown.code == 0, shown.err
    assert "goemotions" in shown.out
    page = tmp_path / "board.html"
    assert affectus("scoreboard", tmp_path / "records", "--out", page).code == 0
    assert "<table" in page.read_text()
    assert affectus("scoreboard", tmp_path / "nothing").code in (1, 2)


def test_score_of_an_unknown_benchmark_is_one_line(affectus: Run, tmp_path: Path) -> None:
    result = affectus("score", "--benchmark", "nonsense", "--predictions", tmp_path / "p.csv")
    assert result.code in (1, 2)
    assert result.err.startswith("error: nonsense")
    assert len(result.err.splitlines()) == 1


def start(*arguments: object) -> subprocess.Popen[str]:
    """A run that hears an interrupt even where the tests themselves are run in the background and do not."""
    command = [sys.executable, "-m", "affectus.app.cli", *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, **pipes, env=dict(os.environ), preexec_fn=hears)


def test_interrupting_keeps_what_is_finished(
    fake_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    write(tmp_path / "in", **{f"{i:03d}": "I am so glad. " * 200 for i in range(300)})
    process = start("analyze", tmp_path / "in", "--out", tmp_path / "out")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*/done.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "finished are kept" in err
    assert "Traceback" not in err
    assert len(list((tmp_path / "out").glob("*/done.json"))) >= 2
    assert not list((tmp_path / "out/.work").glob("*.new"))


def test_a_closed_pipe_is_no_traceback(fake_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    write(tmp_path / "in", a="I am so glad. " * 3000)
    process = start("analyze", tmp_path / "in", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_conversation_is_summed_up_by_speaker(affectus: Run, tmp_path: Path) -> None:
    path = tmp_path / "chat.csv"
    path.write_text("speaker,text\nAnna,I am glad\nBen,ok\nAnna,I am furious\nBen,😂\n")
    result = affectus("analyze", path, "--no-context")
    assert result.code == 0
    (head,) = (line for line in result.out.splitlines() if "shifts" in line)
    assert "turns" in head
    (anna,) = (line.split() for line in result.out.splitlines() if "Anna" in line)
    assert anna[-2:] == ["2", "1"]
    assert "1 of 4 turns hold no word" in result.err
    cards = {}
    for name in ("--gap-hints", "--no-gap-hints"):
        found = json.loads(affectus("analyze", path, name, "--json").out)
        cards[name] = [card["name"] for card in found["meta"]["models"]]
    assert cards == {"--gap-hints": ["words", "context", "gap"], "--no-gap-hints": ["words", "context"]}


def test_hints_at_gaps_are_told_with_how_often_they_are_right(affectus: Run, tmp_path: Path) -> None:
    path = tmp_path / "chat.csv"
    path.write_text("speaker,text\nAnna,I am glad\nBen,the table\nAnna,I am furious\nBen,ok\n")
    result = affectus("analyze", path)
    (line,) = (line for line in result.out.splitlines() if line.startswith("Weak hints"))
    assert (
        f": 1 of 4 turns in {path}. A hint says: the writer may have meant this more kindly than it reads. About 1 in "
        in line
    )
    assert "by chance it would be 1 in " in line
    assert result.err == ""
    assert "Weak hints" not in affectus("analyze", path, "--no-gap-hints").out


@pytest.mark.parametrize("name", ["context", "gap"])
def test_cards_of_readings_of_conversations(affectus: Run, name: str) -> None:
    result = affectus("models", name)
    assert result.code == 0
    assert "numbers" in result.out


def test_systems_are_listed_and_each_card_is_shown(affectus: Run) -> None:
    listed = affectus("systems")
    assert listed.code == 0
    names = [card["name"] for card in json.loads(affectus("systems", "--json").out)]
    assert len(names) == 25
    for name in names:
        assert name in listed.out
        shown = affectus("systems", name)
        assert (shown.code, shown.err) == (0, ""), name
        assert name in shown.out
