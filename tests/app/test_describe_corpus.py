"""`affectus describe-corpus`: clips from a timeline, the engine with fake models, the files it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from affectus import corpora
from affectus.analysis import clips
from affectus.app import describe_corpus as dc
from affectus.errors import ModelError
from affectus.lm import verbaliser
from affectus.lm.judge import JudgeTimeout, LocalClient
from affectus.lm.prompts import Message
from affectus.lm.review import read_audit
from affectus.types import Timeline


def recording(file: str, kind: str = "video", track: int = 0, face: str = "happiness") -> Timeline:
    """One turn: the words express joy, the voice is happy, the face as wanted."""
    who = {"file": file, "track": track, "speaker": "Anna", "start": 0.0, "end": 2.0}
    rows = [who | {"source": "words", "space": "transcript", "text": "I am glad."},
            who | {"source": "words", "space": "goemotions28", "label": "joy", "score": 0.8},
            who | {"source": "voice", "space": "ravdess8", "label": "happy", "score": 0.6},
            who | {"source": "fusion", "space": "decision", "label": "happiness", "score": 0.7}]  # fmt: skip
    if track >= 0:
        rows.append(who | {"source": "face", "space": "ferplus8", "label": face, "score": 0.9, "end": 0.0})
    return Timeline.from_rows(rows, {"files": {file: {"kind": kind}}})


def clip_of(name: str, **options: Any) -> dict[str, Any]:
    (found,) = clips.clips_of(recording(f"{name}.mp4", **options), f"{name}.mp4", name)
    return found


class Model:
    """A fake language model: answers by what it is asked, and notes it."""

    def __init__(self, merged: str = "The face shows joy and the voice sounds happy as well.") -> None:
        self.merged, self.score, self.broken = merged, 9, False
        self.asked: list[str] = []

    def __call__(self, messages: Sequence[Message]) -> str:
        question = messages[-1]["content"]
        self.asked.append(question)
        if self.broken:
            raise JudgeTimeout("fake", "no answer within 1 s")
        if question.startswith("Measured in the"):
            return "Measured: " + question.split("- ")[1].split("\n")[0]
        if "Reply with one JSON object" in question:
            return json.dumps({"score": self.score})
        return self.merged

    @property
    def client(self) -> LocalClient:
        return LocalClient("fake", self)


@pytest.fixture
def choice(tmp_path: Path) -> dc.Choice:
    return dc.Choice("fake", tmp_path / "out")


def test_clips_hold_evidence_per_channel_and_votes() -> None:
    clip = clip_of("c1")
    assert clip["name"] == "c1"
    assert clip["channels"] == {
        "face": ("The face shows happiness (90%).",),
        "audio": ("The voice sounds closest to happy (60%).",),
    }
    assert clip["votes"] == ["happiness", "happy", "joy"]
    assert clip["subtitle"].startswith("“I am glad.” The words express joy (80%).")
    assert not clip["unseen"]
    assert clip_of("c2", track=-1)["unseen"]
    assert not clip_of("c2", track=-1, kind="audio")["unseen"]


def test_the_whole_way_of_a_clip_is_in_the_audit(choice: dc.Choice) -> None:
    model = Model()
    counts = dc.engine(model.client, model.client, choice).run([clip_of("c1")])
    assert counts == {"kept": 1}
    (record,) = read_audit(choice.out / dc.AUDIT)
    assert record["analyses"] == {"face": "Measured: The face shows happiness (90%).",
                                  "audio": "Measured: The voice sounds closest to happy (60%)."}  # fmt: skip
    assert record["description"] == model.merged
    assert record["agreement"] == {"score": 9}
    assert record["openset"] == ["joy", "happy"]
    assert record["labels"] == ["happiness", "happy", "joy"]
    assert record["writer"] == {"model": "fake"}
    assert len(record["merge"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("merged", "options", "outcome", "reason"),
    [
        ("Anna won the lottery and her brother came to visit them.", {}, "dropped by rule", "rows: 0 of 1"),
        ("The face shows joy.", {}, "dropped by rule", "length: 4 words"),
        ("joy " * 50, {}, "dropped by rule", "generation: it is looping"),
        ("The voice sounds happy and the words express joy here.", {"track": -1}, "dropped by rule", "speaker: "),
        ("The face shows sadness and there is much of it here.", {"face": "sadness"}, "dropped by labels", "1 of 3"),
    ],
)
def test_each_filter_drops_with_its_reason(
    choice: dc.Choice, merged: str, options: dict[str, Any], outcome: str, reason: str
) -> None:
    model = Model(merged)
    record = dc.engine(model.client, model.client, choice).one(clip_of("c1", **options))
    assert record["outcome"] == outcome
    assert reason in record["reason"]


def test_a_low_score_drops(choice: dc.Choice) -> None:
    model = Model()
    model.score = 2
    assert dc.engine(model.client, model.client, choice).run([clip_of("c1")]) == {"dropped by scorer": 1}


def test_a_broken_model_is_asked_again_and_nothing_twice(choice: dc.Choice) -> None:
    model = Model()
    model.broken = True
    assert dc.engine(model.client, model.client, choice).run([clip_of("c1")]) == {"not asked": 1}
    model.broken = False
    assert dc.engine(model.client, model.client, choice).run([clip_of("c1"), clip_of("c2")]) == {"kept": 2}
    with (choice.out / dc.AUDIT).open("a") as stream:
        stream.write('{"name": "c3", "outc')  # a run that was killed here
    asked = len(model.asked)
    assert dc.engine(model.client, model.client, choice).run([clip_of("c1"), clip_of("c2")]) == {"kept": 2}
    assert len(model.asked) == asked
    assert len(read_audit(choice.out / dc.AUDIT)) == 2


def test_kept_clips_are_read_as_a_corpus(choice: dc.Choice) -> None:
    model = Model()
    counts = dc.engine(model.client, model.client, choice).run([clip_of("c1"), clip_of("c2", track=-1)])
    record = dc.finish(choice.out, counts, model.client, model.client)
    assert record["outcomes"] == {"kept": 1, "dropped by rule": 1}
    assert record["reasons"] == {"speaker": 1}
    assert (record["kept"], record["words"]) == (1, 2)
    table = corpora.load("mer_caption_plus", choice.out).table
    assert table["labels:openset"].to_pylist() == [["joy", "happy"]]
    assert table["meta:reason"].to_pylist() == [model.merged]


def test_the_command_goes_on_past_a_broken_file_and_tells(
    affectus: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    monkeypatch.setattr(verbaliser, "open_clients", lambda *_: (model.client, model.client))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("I am so glad.\n", encoding="utf-8")
    (folder / "b.wav").write_bytes(b"RIFF of nothing")
    done = affectus("describe-corpus", folder, "--out", tmp_path / "out", "--json")
    assert done.code == 1
    assert "b.wav" in done.err
    record = json.loads(done.out)
    assert record["outcomes"] == {"nothing to describe": 1}
    (entry,) = read_audit(tmp_path / "out" / dc.AUDIT)
    assert entry["name"] == "a"
    assert (tmp_path / "out" / dc.SUBTITLES).read_text(encoding="utf-8").splitlines() == [
        "name,chinese,english",
        "a,,I am so glad.",
    ]


def test_a_model_that_cannot_be_had_stops_before_any_work(
    affectus: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> Any:
        raise ModelError("some/model", "cannot be loaded")

    monkeypatch.setattr(verbaliser, "open_clients", missing)
    (tmp_path / "a.txt").write_text("I am so glad.\n", encoding="utf-8")
    done = affectus("describe-corpus", tmp_path / "a.txt", "--out", tmp_path / "out")
    assert done.code == 1
    assert "some/model" in done.err
    assert not (tmp_path / "out").exists()
