"""Descriptions reviewed by models and by people: what is kept, why the rest is not, and going on after a stop."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from affectus.errors import ConfigError, ModelError
from affectus.lm.judge import Judge, LocalClient
from affectus.lm.prompts import load_prompt
from affectus.lm.review import (
    AGREEMENT,
    ReviewEngine,
    read_agreement,
    read_audit,
    reviewed,
    self_reviewed,
    why_dropped,
    write_sheet,
)

CLIPS = [{"name": f"c{i}", "subtitle": "Oh no." if i else None} for i in range(6)]
#: What the stub scorer says about each clip.
SCORES: dict[str, dict[str, Any]] = {
    "c0": {"score": 9, "visual": "yes", "face": "yes", "audio": "yes"},
    "c1": {"score": 9, "visual": "no", "face": "yes", "audio": "yes"},
    "c2": {"score": 8, "visual": "yes", "face": "no", "audio": "yes"},
    "c3": {"score": 8, "visual": "yes", "face": "yes", "audio": "no"},
    "c4": {"score": 5, "visual": "yes", "face": "yes", "audio": "yes"},
    "c5": {"score": 6, "visual": "yes", "face": "yes"},
}


class Stub:
    """Describers, writer and scorer that know the clip by a mark in the text, and count what they are asked."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts = texts or {}
        self.asked: list[str] = []

    def describe(self, channel: str) -> Any:
        return lambda clip: "" if clip["name"] == "c5" and channel == "audio" else f"{channel} of {clip['name']}"

    def write(self, messages: Sequence[Mapping[str, str]]) -> str:
        text = messages[-1]["content"]
        name = text[text.index(" of c") + 4 :][:2]
        self.asked.append(name)
        return self.texts.get(name, f"{name}: lowered brows and a shaking voice; the person seems sad and worried.")

    def score(self, messages: Sequence[Mapping[str, str]]) -> str:
        text = messages[-1]["content"]
        return json.dumps(SCORES[text[text.index(" of c") + 4 :][:2]])

    def engine(self, audit: Path, **options: Any) -> ReviewEngine:
        judge = Judge(LocalClient("scorer", self.score), load_prompt(AGREEMENT), read_agreement)
        describers = {name: self.describe(name) for name in ("visual", "face", "audio")}
        return ReviewEngine(describers, LocalClient("writer", self.write), judge, audit, **options)


@pytest.mark.sheet(
    "SRE filter: a stub scorer (0-10) with threshold 6 keeps/drops the expected items and logs the reason "
    "(visual/face/audio disagreement, low score)"
)
def test_what_is_kept_and_why_the_rest_is_not(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    counts = Stub().engine(audit).run(CLIPS)
    assert counts == {"kept": 2, "dropped by scorer": 4}
    reasons = {entry["name"]: entry["reason"] for entry in read_audit(audit)}
    assert reasons == {
        "c0": "", "c1": "disagrees with the visual analysis", "c2": "disagrees with the face analysis",
        "c3": "disagrees with the audio analysis", "c4": "low score 5 (below 6)", "c5": "",
    }  # fmt: skip
    kept = self_reviewed(audit)
    assert [record["name"] for record in kept] == ["c0", "c5"]
    assert kept[0]["openset"] == ["sad", "worried"]
    first = read_audit(audit)[0]
    assert first["writer"] == {"model": "writer"}
    assert first["question"]["sha256"] == load_prompt(AGREEMENT).digest
    assert json.loads(first["reply"])["score"] == 9
    assert "audio" not in read_audit(audit)[5]["analyses"], "nothing was heard there"


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    stub = Stub()
    stub.engine(audit).run(CLIPS[:3])
    with audit.open("a") as stream:
        stream.write('{"name": "c3", "outc')
    assert len(read_audit(audit)) == 3
    counts = stub.engine(audit).run(CLIPS)
    assert stub.asked == ["c0", "c1", "c2", "c3", "c4", "c5"], "nothing twice"
    assert sum(counts.values()) == len(read_audit(audit)) == 6
    audit.write_text("no record\n" + audit.read_text())
    with pytest.raises(ConfigError, match="line 1"):
        read_audit(audit)


def test_clips_whose_model_fails_are_asked_again(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    stub = Stub()
    works = stub.write

    def fails(messages: Any) -> str:
        if "of c1" in messages[-1]["content"]:
            raise ModelError("writer", "is down")
        return works(messages)

    stub.write = fails  # type: ignore[method-assign]
    assert stub.engine(audit).run(CLIPS[:2]) == {"kept": 1, "not asked": 1}
    stub.write = works  # type: ignore[method-assign]
    assert stub.engine(audit).run(CLIPS[:2]) == {"kept": 1, "dropped by scorer": 1}


def test_rules_come_before_the_scorer_and_labels_after_it(tmp_path: Path) -> None:
    texts = {"c0": "Too short.", "c1": "A glad, laughing and happy person smiles broadly at the whole room."}
    checks = {"speaker": lambda clip, _: "another face speaks" if clip["name"] == "c2" else ""}
    stub = Stub(texts)
    engine = stub.engine(tmp_path / "a.jsonl", checks=checks, labels_of=lambda clip: ["sad", "neutral"])
    names = {"c0": "length: 2 words, not 8 to 400", "c2": "speaker: another face speaks"}
    for name, reason in names.items():
        found = engine.one({"name": name})
        assert (found["outcome"], found["reason"]) == ("dropped by rule", reason)
        assert "reply" not in found
    assert engine.one({"name": "c5"})["outcome"] == "kept"
    cheerful = Stub({"c5": texts["c1"]}).engine(tmp_path / "b.jsonl", labels_of=lambda _: ["sad", "angry"])
    found = cheerful.one({"name": "c5"})
    assert found["outcome"] == "dropped by labels"
    assert found["reason"].startswith("words hit 0 of 2 labels")
    empty = engine
    empty.describers = {"face": lambda _: " "}
    assert empty.one({"name": "c0"})["outcome"] == "nothing to describe"
    with pytest.raises(ConfigError, match="smell"):
        ReviewEngine({"smell": lambda _: ""}, engine.writer, engine.judge, tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("reply", "error"),
    [("", "empty"), ('{"visual": "yes"}', "score"), ('{"score": 11}', "not in 0 … 10"), ('{"score": "9"}', "score")],
)
def test_scores_that_are_none(reply: str, error: str) -> None:
    assert error in read_agreement(reply).error


def test_reasons() -> None:
    assert why_dropped({"score": 6}, 6) == ""
    assert why_dropped({"score": 10, "face": "no", "audio": "No"}, 6) == "disagrees with the face and audio analysis"


def test_people_correct_keep_or_drop(tmp_path: Path) -> None:
    audit, sheet = tmp_path / "audit.jsonl", tmp_path / "sheet.csv"
    Stub().engine(audit).run(CLIPS)
    assert write_sheet(audit, sheet, 5) == 2
    with pytest.raises(ConfigError, match="exists already"):
        write_sheet(audit, sheet, 5)
    with sheet.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["c0", "c5"]
    assert reviewed(sheet) == [], "nobody has looked yet"
    rows[0] |= {"verdict": "Keep", "corrected": "An angry voice and a frown.", "reviewer": "R1"}
    rows[1] |= {"verdict": "drop"}
    _write(sheet, rows)
    (found,) = reviewed(sheet)
    assert (found["reason"], found["reviewer"]) == ("An angry voice and a frown.", "R1")
    assert found["openset"] == ["angry"]
    rows[1] |= {"verdict": "maybe"}
    _write(sheet, rows)
    with pytest.raises(ConfigError, match="line 3: has the verdict 'maybe'"):
        reviewed(sheet)
    sheet.write_text("name,description\nc0,x\n")
    with pytest.raises(ConfigError, match="lacks verdict, corrected"):
        reviewed(sheet)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
