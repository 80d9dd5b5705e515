"""Label files that belong to another release than the rest of the folder are named, not read as missing labels."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from affectus import corpora
from affectus.errors import CorpusError


def renamed(path: Path, column: str, old: str, new: str) -> None:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([row | {column: row[column].replace(old, new)} for row in rows])


def test_transcripts_of_another_release(tmp_path: Path) -> None:
    root = corpora.write_tiny("emotiontalk", tmp_path / "emotiontalk")
    assert len(corpora.load("emotiontalk", root)) > 0
    renamed(root / "transcription.csv", "name", "G", "H")
    with pytest.raises(CorpusError, match=r"transcription\.csv.*another release"):
        corpora.load("emotiontalk", root)
    problems = corpora.check("emotiontalk", root)
    assert any(problem.level == "error" and "another release" in str(problem) for problem in problems)


def test_label_archives_of_another_release(tmp_path: Path) -> None:
    root = corpora.write_tiny("emotiontalk", tmp_path / "emotiontalk")
    other = corpora.write_tiny("emotiontalk", tmp_path / "other")
    _rename_archive(other / "audio_label.npz")
    (root / "audio_label.npz").write_bytes((other / "audio_label.npz").read_bytes())
    with pytest.raises(CorpusError, match=r"audio_label\.npz.*0 are among the .*another release"):
        corpora.load("emotiontalk", root)


def _rename_archive(path: Path) -> None:
    import numpy as np

    with np.load(path, allow_pickle=True) as archive:
        content = {key: archive[key].item() for key in archive.files}
    moved = {key: {name.replace("G", "K"): label for name, label in part.items()} for key, part in content.items()}
    np.savez(path, **{key: np.array(part, dtype=object) for key, part in moved.items()})


def test_another_number_of_items_is_told(tmp_path: Path) -> None:
    root = corpora.write_tiny("meld", tmp_path / "meld")
    assert any("published are 1109" in str(problem) for problem in corpora.check("meld", root))
