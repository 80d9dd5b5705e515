"""What follows training: temperatures, calibration records, confusion tables, packages with hashes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from affectus.metrics.recalibration import fit_temperature, softmax
from affectus.models.package import file_hash
from affectus.nn.phase import Phase
from affectus.training.embedded.shipping import (
    calibration_record,
    card_fields,
    confusion_table,
    measure_speed,
    write_package,
)
from affectus.training.recipe import Recipe
from affectus.types import Card


def planted(temperature: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right about their own doubt once divided by `temperature`, and the truth drawn from them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 5))
    truth = (random.random((n, 1)) > softmax(logits).cumsum(1)).sum(1).clip(0, 4)
    return logits * temperature, truth


def test_calibration_of_overconfident_outputs_gets_better_on_other_rows() -> None:
    logits, truth = planted(3.0)
    temperature = fit_temperature(truth[:2000], logits[:2000])
    record = calibration_record(logits[2000:], softmax(logits[2000:], temperature), truth[2000:], temperature)
    assert record["temperature"] == pytest.approx(3.0, rel=0.1)
    assert record["ece_after"] < 0.3 * record["ece_before"]
    assert record["nll_after"] < record["nll_before"] - 0.2


def test_confusion_has_a_row_per_class_even_without_cases() -> None:
    table = confusion_table(np.array([0, 0, 2]), np.array([0, 1, 2]), 4)
    assert table == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert json.loads(json.dumps(table)) == table


def test_speed_counts_items_not_calls() -> None:
    sizes: list[int] = []
    speed = measure_speed(lambda items: sizes.append(len(items)), list(range(7)), seconds=0.01)
    assert speed > 0
    assert set(sizes) == {7}
    assert len(sizes) >= 2  # the first call only warms up


def recipe() -> Recipe:
    card = {"name": "face", "modality": "face", "task": "t", "perspective": "expressed", "space": "ferplus8",
            "labels": ["neutral", "happiness"], "inputs": {"size": 48}, "limits": ["few"]}  # fmt: skip
    return Recipe(model="face", title="A title", version="7", corpora={"ferplus": "train"}, card=card,
                  phases=[Phase("all", 1, 0.1, 8)])  # fmt: skip


def test_card_fields_join_recipe_and_measurement() -> None:
    card = Card(**card_fields(recipe(), n=3, inputs={"batch": 4}))
    assert (card.title, card.version, card.n) == ("A title", "7", 3)
    assert card.inputs == {"size": 48, "batch": 4}
    assert card.labels == ("neutral", "happiness")
    assert card.data[0]["part"] == "train"
    assert "Barsoum" in card.data[0]["citation"]


def test_packages_hold_the_hashes_of_their_files(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "notes.txt").write_bytes(b"not needed")
    log = tmp_path / "log.jsonl"
    log.write_text('{"epoch": 1}\n')
    card = write_package(tmp_path, card_fields(recipe()), log)
    assert dict(card.files) == {"model.onnx": file_hash(tmp_path / "model.onnx")}
    read = Card.read(tmp_path / "card.json")
    assert json.loads(json.dumps(asdict(read))) == json.loads(json.dumps(asdict(card)))
    assert (tmp_path / "training-log.jsonl").read_text() == log.read_text()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert set(write_package(tmp_path, card_fields(recipe())).files) == {"model.onnx", "tokenizer.json"}
