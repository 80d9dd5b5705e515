"""What the command says to people on their first day: what a file is, what to do with it, what a number rests on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Run = Callable[..., "object"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("talk.xlsx", b"PK\x03\x04" + bytes(99), "save the sheet as CSV (UTF-8)"),
        ("talk.docx", b"PK\x03\x04" + bytes(99), "save it as plain text (UTF-8)"),
        ("talk.pdf", b"%PDF-1.7" + bytes(99), "save it as plain text (UTF-8)"),
        ("clips.zip", b"PK\x03\x04" + bytes(99), "unpack it and give the folder"),
        ("film.ass", b"[Script Info]\n", "convert it to .srt or .vtt"),
        ("face.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing, which is not supported (export"),
        ("face.svg", b"<?xml version='1.0'?><svg/>", "an SVG drawing, which is not supported (export it as PNG)"),
        ("odd.bin", b"PK\x03\x04" + bytes(99), "give a video, sound, picture or text file"),
    ],
)
def test_files_of_other_kinds_come_with_what_to_do(
    affectus: Run, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = affectus("analyze", tmp_path / name)
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("https://example.org/a.mp4", "is an address on a network, from which nothing is fetched"),
        ("*.mp4", "patterns are not filled in here (name files or the folder)"),
        ("gone.mp4", "there is no such file (check the spelling of the path)"),
    ],
)
def test_paths_that_lead_nowhere(affectus: Run, path: str, said: str) -> None:
    result = affectus("analyze", path)
    assert result.code == 2
    assert said in result.err


def test_the_list_of_models_holds_the_readings_of_conversations(affectus: Run) -> None:
    names = [card["name"] for card in json.loads(affectus("models", "--json").out)]
    assert names == ["face", "voice", "words", "scene", "context", "gap"]


def test_a_score_on_data_the_model_learnt_from_says_so(affectus: Run, tmp_path: Path) -> None:
    from affectus import corpora

    corpora.write_tiny("goemotions", tmp_path / "go")
    shown = affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go")
    record = json.loads(
        affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go", "--json").out
    )
    assert record["notes"]
    assert [line.removeprefix("note: ") for line in shown.err.splitlines() if line.startswith("note: ")] == record[
        "notes"
    ]


def test_the_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "affectus", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("affectus ")


def test_columns_of_a_table_can_be_said(affectus: Run, tmp_path: Path) -> None:
    path = tmp_path / "talk.csv"
    path.write_text("wer;was;text\nAnna;I am so glad;x\nBen;I am furious;x\n", encoding="utf-8")
    result = affectus("analyze", path, "--columns", "text=was, speaker=wer", "--json", "--no-gap-hints")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert [(r["speaker"], r["text"]) for r in rows if r["space"] == "transcript"] == [
        ("Anna", "I am so glad"),
        ("Ben", "I am furious"),
    ]
    for wrong, said in (("was", "not of the form ROLE=NAME"), ("txt=was", "txt is no role (choose from text, speaker")):
        refused = affectus("analyze", path, "--columns", wrong)
        assert refused.code == 2
        assert said in refused.err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_one_table_of_all_inputs(affectus: Run, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_text("speaker,text\nAnna,I am so glad\nBen,I am furious\nAnna,ok\n")
    (folder / "sub/b.txt").write_text("I am so glad. The table.")
    (folder / "c.txt").touch()
    (folder / "summary.csv").write_text("text\nI am so sad\n")
    result = affectus("analyze", folder, "--out", tmp_path / "out", "--no-context", "--quiet")
    assert result.code == 1
    first, second, named, text, failed = rows_of(tmp_path / "out/summary.csv")
    assert (first["who"], first["turns"], first["folder"]) == ("Anna", "2", "a.csv")
    assert (first["share_happiness"], first["share_neutral"], first["share_anger"]) == ("0.5", "0.5", "0")
    assert (second["who"], second["share_anger"]) == ("Ben", "1")
    assert text["folder"] == "sub__b.txt"
    assert (named["folder"], named["share_sadness"]) == ("_summary.csv", "1")
    for row in (first, second, text, named):
        shares = [float(value) for name, value in row.items() if name.startswith("share_") or name == "uncertain"]
        assert sum(shares) == pytest.approx(1)
    assert (failed["file"], failed["who"]) == (str(folder / "c.txt"), "")
    assert "is empty" in failed["note"]


def test_files_of_a_folder_that_nothing_chosen_can_look_at_are_passed_over(affectus: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("I am so glad.")
    Image.new("RGB", (32, 32)).save(tmp_path / "in/b.png")
    result = affectus("analyze", tmp_path / "in", "--modalities", "words")
    assert (result.code, "1 files that words cannot look at are passed over" in result.err) == (0, True)
    named = affectus("analyze", tmp_path / "in", tmp_path / "in/b.png", "--modalities", "words")
    assert named.code == 1
    assert "b.png: is a picture, and no chosen modality can look at that" in named.err
    alone = affectus("analyze", tmp_path / "in", "--modalities", "voice")
    assert alone.code == 1
    assert "2 of 2 inputs failed" in alone.err


def test_benchmarks_are_listed(affectus: Run) -> None:
    from affectus import evaluation

    result = affectus("score", "--list")
    assert result.code == 0
    assert all(entry.name in result.out for entry in evaluation.benchmarks())


def test_a_scoreboard_of_nested_folders(affectus: Run, tmp_path: Path) -> None:
    from affectus import corpora

    corpora.write_tiny("goemotions", tmp_path / "go")
    record = affectus("evaluate", "words", "--corpus", "goemotions", "--root", tmp_path / "go", "--json")
    (tmp_path / "records/models").mkdir(parents=True)
    (tmp_path / "records/models/words.json").write_text(record.out)
    shown = affectus("scoreboard", tmp_path / "records")
    assert (shown.code, "goemotions" in shown.out) == (0, True), shown.err


def test_tables_without_texts_beside_recordings_are_passed_over(affectus: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("I am so glad.")
    (tmp_path / "in/labels.csv").write_text("clip,label\na,joy\n")
    result = affectus("analyze", tmp_path / "in")
    assert (result.code, "a.txt" in result.out) == (0, True)
    assert f"passed over: {tmp_path}/in/labels.csv: no column of texts among: clip, label" in result.err
    assert affectus("analyze", tmp_path / "in/labels.csv", tmp_path / "in/a.txt").code == 1
    (tmp_path / "in/a.txt").unlink()
    assert affectus("analyze", tmp_path / "in").code == 1
