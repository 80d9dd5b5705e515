"""A system that writes, over a corpus, into the published and the strict score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from affectus import evaluation
from affectus.errors import ConfigError, CorpusError
from affectus.evaluation.answers import write_answers

torch = pytest.importorskip("torch")


class Clips:
    """Four clips; the last one cannot be read."""

    table = pa.table({"id": ["c0", "c1", "c2", "c3"], "text": ["How lovely.", "Go away!", "Oh no.", None]})

    def column(self, name: str) -> list[Any]:
        return self.table[name].to_pylist()

    def __len__(self) -> int:
        return 4


class Writer(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Answers by what is said, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked = 0

    def inputs_for(self, _corpus: Any) -> dict[str, Any]:
        from affectus.features.sequences import PlainText

        class Strict(PlainText):
            def __call__(self, raw: Any) -> Any:
                if not raw:
                    raise CorpusError("clip", "has no words")
                return raw

        return {"text": Strict()}

    def answer(self, batch: dict[str, Any], kind: str) -> list[Any]:
        from affectus.systems.generative import Answer

        self.asked += len(batch["text"])
        known = {"How lovely.": ("happy",), "Go away!": ("angry", "annoyed"), "Oh no.": ("worried",)}
        if kind == "sentiment":
            return [Answer("positive" if text == "How lovely." else "negative", (), "ok") for text in batch["text"]]
        return [Answer(f"<answer>{', '.join(known[t])}</answer>", known[t], "ok") for t in batch["text"]]


def test_answers_are_scored_in_both_forms(tmp_path: Path) -> None:
    system: Any = Writer()
    clips: Any = Clips()
    counts = write_answers(system, clips, tmp_path / "a.jsonl", batch_size=3)
    assert counts == {"ok": 3, "unreadable": 1}
    truth = tmp_path / "truth.jsonl"
    words = {"c0": ["joyful"], "c1": ["furious"], "c2": ["anxious", "sad"], "c3": ["calm"]}
    truth.write_text("".join(json.dumps({"name": n, "openset": w}) + "\n" for n, w in words.items()), encoding="utf-8")
    for variant in ("published", "strict"):
        record = evaluation.score("mer-unibench/ovmerd-plus", tmp_path / "a.jsonl", truth, variant)
        found = record["metrics"]["f1"]["value"]
        assert record["n"] == 4, "the clip that could not be read counts as wrong"
        assert 0.5 < found < 1.0


def test_a_cut_off_run_goes_on_and_another_question_is_refused(tmp_path: Path) -> None:
    system: Any = Writer()
    clips: Any = Clips()
    file = tmp_path / "a.jsonl"
    write_answers(system, clips, file, batch_size=2)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[:2]) + "\n" + lines[2][:20], encoding="utf-8")
    system.asked = 0
    assert write_answers(system, clips, file, batch_size=2) == {"ok": 3, "unreadable": 1}
    assert system.asked == 1
    assert file.read_text(encoding="utf-8").splitlines() == lines
    with pytest.raises(ConfigError, match="answers to ovlabel, not to sentiment"):
        write_answers(system, clips, file, "sentiment")
    file.write_text(json.dumps({"name": "x", "kind": "ovlabel", "state": "ok"}) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="about x"):
        write_answers(system, clips, file)


def test_sentiment_is_asked_for_and_scored(tmp_path: Path) -> None:
    system: Any = Writer()
    clips: Any = Clips()
    write_answers(system, clips, tmp_path / "s.jsonl", "sentiment")
    truth = tmp_path / "label.json"
    truth.write_text(json.dumps({f"c{i}": {"val": v} for i, v in enumerate((1.0, -1.0, -0.5, 0.7))}), encoding="utf-8")
    record = evaluation.score("mer-unibench/sims", tmp_path / "s.jsonl", truth, "strict")
    assert record["metrics"]["accuracy"]["value"] == pytest.approx(0.75)
