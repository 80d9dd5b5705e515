"""The record of a system that writes words, and of what it gained on the one it started from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from affectus import corpora
from affectus.errors import CorpusError

torch = pytest.importorskip("torch")

from affectus.evaluation.written import word_record  # noqa: E402

TEXTS = (("What a lovely day", "17"), ("Leave me alone", "2"), ("Oh no, not again", "25"), ("It is noon", "27"))


class Writer(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Says what a table holds about a text."""

    card = SimpleNamespace(name="writer", perspective="expressed", year=2025, as_dict=lambda: {"published": []})

    def __init__(self, table: dict[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.table = table
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def inputs_for(self, _corpus: Any) -> dict[str, Any]:
        from affectus.features.sequences import PlainText

        return {"text": PlainText()}

    def kinds(self, batch: dict[str, Any]) -> list[str]:
        return ["ovlabel"] * len(batch["text"])

    def answer(self, batch: dict[str, Any], _kind: str) -> list[Any]:
        from affectus.systems.generative import Answer

        return [Answer("", self.table.get(text, ()), "ok") for text in batch["text"]]


@pytest.fixture
def comments(tmp_path: Path) -> Any:
    """Forty comments: thirty with an emotion, ten neutral ones."""
    rows = [f"{text} {i}\t{code}\tc{i}-{code}" for i in range(10) for text, code in TEXTS]
    (tmp_path / "dev.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return corpora.load("goemotions", tmp_path, strict=False)


def test_f_of_the_words_and_the_gain_on_the_start(comments: Any, tmp_path: Path) -> None:
    right = {
        f"{text} {i}": (word,)
        for i in range(10)
        for (text, _), word in zip(TEXTS, ("joyful", "angry", "sad"), strict=False)
    }
    system, start = Writer(right), Writer({k: v for k, v in right.items() if v != ("sad",)})
    record = word_record(system, comments, "labels:goemotions28", tmp_path / "out", start)  # type: ignore[arg-type]
    assert record.n == 30
    assert record.left_out == {"no true word in any wheel": 10}
    assert record.metrics["f1"].value == pytest.approx(1)
    before = record.parts["start"]["metrics"]["f1"]["value"]
    assert before == pytest.approx(2 / 3), "a third of the rows has no answer: precision and recall are two thirds"
    gain = record.metrics["f1_gain"]
    assert gain.value == pytest.approx(1 - before)
    assert gain.low is not None
    assert 0 < gain.low < gain.value
    assert "10 answers hold no word" in record.parts["start"]["lists"]
    assert set(record.baselines) == {"the 1 most frequent words", "the 3 most frequent words"}
    assert (tmp_path / "out" / "answers-start.jsonl").is_file()


def test_rows_without_a_word_are_no_score(comments: Any) -> None:
    neutral = comments.filter([words == ["neutral"] for words in comments.column("labels:goemotions28")])
    with pytest.raises(CorpusError, match="no row whose labels:goemotions28"):
        word_record(Writer({}), neutral, "labels:goemotions28")  # type: ignore[arg-type]


RECIPE = """
model: affectgpt_r1
title: toy comments
corpora: {{goemotions: comments}}
options:
  stage: {stage}
  config: {{preset: tiny, mode: text}}
  column: 'labels:goemotions28'
  train: valid
  validation: 0.2
  test: 0.3
{start}
phases:
  - {{name: {stage}, epochs: 1, lr: 0.003, batch_size: 4, train: ['.*\\.lora_', '.*\\.modules_to_save\\.'],
     options: {{mix: {{ovlabel: 1.0}}{options}}}}}
accept_leaks:
  text: the comments of this test repeat
  near text: the comments of this test repeat
"""


@pytest.mark.slow
def test_a_rewarded_run_is_recorded_against_its_start(comments: Any, tmp_path: Path) -> None:
    from affectus.evaluation.systems import evaluate_system, record_run
    from affectus.training.run import train

    roots = {"goemotions": tmp_path}
    start, rl = tmp_path / "start.yaml", tmp_path / "rl.yaml"
    start.write_text(RECIPE.format(stage="cold_start", start="", options=""), encoding="utf-8")
    train(start, roots, tmp_path / "first")
    given = f"  start: {tmp_path / 'first' / 'model'}"
    options = ", group: 4, beta: 0.0, longest: 12, rewards: {ew: 1.0, format: 0.1}"
    rl.write_text(RECIPE.format(stage="rl", start=given, options=options), encoding="utf-8")
    train(rl, roots, tmp_path / "second")
    record = record_run(rl, roots, tmp_path / "second")
    assert set(record["metrics"]) == {"f1", "precision", "recall", "f1_gain"}
    gain = record["metrics"]["f1"]["value"] - record["parts"]["start"]["metrics"]["f1"]["value"]
    assert record["metrics"]["f1_gain"]["value"] == pytest.approx(gain)
    assert record["split"].startswith("test: 0.3")
    again = evaluate_system("affectgpt_r1", tmp_path / "second" / "model", "goemotions", tmp_path, "valid")
    assert again["target"] == "labels:goemotions28"
    assert again["n"] == 30
    assert len(comments) == 40
