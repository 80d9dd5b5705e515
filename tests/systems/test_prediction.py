"""Predictions of files: one per file, and one per turn where a file holds turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from affectus.systems import registry
from affectus.systems.base import System
from affectus.systems.m2fnet import Config, M2FNet
from affectus.systems.prediction import Predicted, predict

TALK = (("Ann", "I lost it"), ("Ben", "oh no"), ("Ann", "help me look"))


@pytest.fixture(scope="module")
def reader() -> System:
    """A system that takes texts."""
    return registry.build("sns_gap", "tiny", seed=1).eval()


@pytest.fixture(scope="module")
def follower() -> M2FNet:
    """A system that takes conversations."""
    torch.manual_seed(0)
    return M2FNet(replace(Config.tiny(), modalities=("text",), sizes=())).eval()


def chat(folder: Path, suffix: str) -> Path:
    path = folder / f"chat{suffix}"
    rows = {
        ".csv": "speaker,text\n" + "".join(f"{who},{said}\n" for who, said in TALK),
        ".jsonl": "".join(f'{{"speaker": "{who}", "text": "{said}"}}\n' for who, said in TALK),
        ".txt": "".join(f"{who}: {said}\n" for who, said in TALK),
        ".srt": "".join(
            f"{i + 1}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n{who}: {said}\n\n" for i, (who, said) in enumerate(TALK)
        ),
    }
    path.write_text(rows[suffix], encoding="utf-8")
    return path


def scores(found: list[Predicted]) -> np.ndarray:
    return np.stack([f.prediction.scores for f in found if f.prediction is not None])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".srt", ".txt"])
def test_every_turn_is_predicted_in_order(reader: System, follower: M2FNet, tmp_path: Path, suffix: str) -> None:
    path = chat(tmp_path, suffix)
    for system in (reader, follower):
        found = list(predict(system, [path], batch_size=2))
        assert [(f.item, f.id, f.turn and f.turn.speaker, f.turn and f.turn.text, f.error) for f in found] == [
            (str(path), f"chat/{i + 1}", who, said, "") for i, (who, said) in enumerate(TALK)
        ]
        assert all(f.prediction is not None for f in found)


def test_a_turn_is_read_by_itself_or_in_its_talk(reader: System, follower: M2FNet, tmp_path: Path) -> None:
    path = chat(tmp_path, ".csv")
    alone = [next(predict(reader, [{"text": said}])) for _, said in TALK]
    np.testing.assert_allclose(scores(list(predict(reader, [path]))), scores(alone), atol=1e-5)
    followed = np.stack([p.scores for p in follower.follow([said for _, said in TALK])])
    np.testing.assert_allclose(scores(list(predict(follower, [path]))), followed, atol=1e-5)


def test_conversations_of_one_file_are_kept_apart(follower: M2FNet, tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("dialogue,speaker,text\nx,A,I lost it\ny,A,so glad\nx,B,oh no\ny,B,me too\n", encoding="utf-8")
    found = list(predict(follower, [path]))
    assert [f.id for f in found] == ["x/1", "x/2", "y/1", "y/2"]
    alone = np.stack([p.scores for p in follower.follow(["so glad", "me too"])])
    np.testing.assert_allclose(scores(found[2:]), alone, atol=1e-5)


def test_other_files_stay_one_prediction(reader: System, follower: M2FNet, tmp_path: Path) -> None:
    plain = tmp_path / "diary.txt"
    plain.write_text("I lost it. Oh no! What now?", encoding="utf-8")
    (found,) = predict(reader, [plain])
    assert (found.id, found.turn) == ("", None)
    (whole,) = predict(reader, [{"text": "I lost it. Oh no! What now?"}])
    np.testing.assert_allclose(scores([found]), scores([whole]), atol=1e-5)
    # To a system of conversations the sentences of a text are turns.
    assert [f.id for f in predict(follower, [plain])] == ["diary/1", "diary/2", "diary/3"]
    picture = tmp_path / "picture.png"
    Image.new("RGB", (32, 32)).save(picture)
    seer = registry.build("emoset", "tiny", seed=1)
    (seen,) = predict(seer, [picture])
    assert (seen.id, seen.turn) == ("", None)
    (refused,) = predict(reader, [picture])
    assert refused.prediction is None
    assert "is a picture" in refused.error


def test_bad_files_between_good_ones_are_named_and_notes_are_kept(reader: System, tmp_path: Path) -> None:
    double = tmp_path / "double.csv"
    double.write_text("turn_id,speaker,text\n1,A,hello\n1,A,hello\n2,B,\n3,B,bye\n", encoding="utf-8")
    empty = tmp_path / "empty.csv"
    empty.write_text("speaker,text\n", encoding="utf-8")
    notes: list[str] = []
    found = list(predict(reader, [double, empty, tmp_path / "nowhere.csv", chat(tmp_path, ".csv")], warnings=notes))
    assert [(Path(f.item).name, f.id, bool(f.error)) for f in found] == [
        ("double.csv", "double/1", False),
        ("double.csv", "double/2", False),
        ("empty.csv", "", True),
        ("nowhere.csv", "", True),
        *(("chat.csv", f"chat/{i}", False) for i in (1, 2, 3)),
    ]
    assert any(note.startswith(f"{double}: ") for note in notes)


def test_words_alone_do_not_do_for_a_system_that_needs_more(tmp_path: Path) -> None:
    system = M2FNet(Config.tiny())
    (found,) = predict(system, [chat(tmp_path, ".csv")])
    assert found.prediction is None
    assert "audio" in found.error


def test_emoji_and_long_talks(reader: System, follower: M2FNet, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("speaker,text\n" + "".join(f"P{i % 3},😀\n" for i in range(300)), encoding="utf-8")
    for system in (reader, follower):
        found = list(predict(system, [path], batch_size=64))
        assert len(found) == 300
        assert np.isfinite(scores(found)).all()
