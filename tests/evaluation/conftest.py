"""Stand-ins for the shipped models: they answer from what they are shown, fast and the same every time."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus.labels import space
from affectus.media.alignment import FER_TEMPLATE
from affectus.types import Card, Prediction

SPACES = {"face": "ferplus8", "voice": "ravdess8", "words": "goemotions28", "scene": "va"}


class FakeModel:
    """A model of the given modality whose scores depend on the input alone; `size` inputs seen are counted."""

    def __init__(self, name: str, labels: Sequence[str] | None = None, data: Sequence[dict[str, Any]] = ()) -> None:
        order = tuple(labels or (("valence", "arousal") if name == "scene" else space(SPACES[name]).labels))
        self.card = Card(
            name=name,
            title=f"stand-in {name}",
            version="0",
            modality=name,  # type: ignore[arg-type]
            task="test",
            perspective="evoked" if name == "scene" else "expressed",
            space=SPACES[name],
            labels=order,
            selection="nothing is chosen",
            files={"model.onnx": "0" * 64},
            data=data,
        )
        self.size, self.template = 48, FER_TEMPLATE
        self.thresholds = np.full(len(order), 0.5)
        self.seen: list[Any] = []

    def predict(self, batch: Sequence[Any]) -> list[Prediction]:
        self.seen += list(batch)
        return [self._one(item) for item in batch]

    def _one(self, item: Any) -> Prediction:
        seed = zlib.crc32(item.encode() if isinstance(item, str) else np.ascontiguousarray(item).tobytes())
        random = np.random.default_rng(seed)
        if self.card.modality == "scene":
            mean = random.uniform(-0.5, 0.5, 2)
            return Prediction(
                "va", self.card.labels, mean, "evoked", mean - 2, mean + 2, {"valence": mean[0], "arousal": mean[1]}
            )
        scores = random.uniform(0.01, 1, len(self.card.labels))
        if self.card.modality != "words":
            scores = scores / scores.sum()
        values = dict(zip(("valence", "arousal", "dominance"), random.uniform(-1, 1, 3).tolist(), strict=True))
        return Prediction(self.card.space, self.card.labels, scores, "expressed", dimensions=values)


class OracleModel(FakeModel):
    """Knows the answer of every item by its position in reading order, to test that nothing gets mixed up."""

    def __init__(self, name: str, answers: Callable[[Any], dict[str, float]], **options: Any) -> None:
        super().__init__(name, **options)
        self._answers = answers

    def _one(self, item: Any) -> Prediction:
        given = self._answers(item)
        scores = np.array([given.get(label, 0.0) for label in self.card.labels])
        values = {name: given.get(name, 0.0) for name in ("valence", "arousal", "dominance")}
        return Prediction(self.card.space, self.card.labels, scores, "expressed", dimensions=values)


@pytest.fixture
def use_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Make `models.load` return a stand-in."""

    def install(model: Any) -> Any:
        monkeypatch.setattr("affectus.models.load", lambda name, folder=None: model)
        return model

    return install


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[[str], Path]:
    """Write the tiny synthetic folder of a corpus and return it."""
    from affectus import corpora

    return lambda name: corpora.write_tiny(name, tmp_path / name)


Write = Callable[[str, Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write JSON, JSON lines or csv below the temporary folder by suffix."""

    def make(name: str, content: Any) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jsonl"):
            file.write_text("\n".join(json.dumps(row) for row in content), encoding="utf-8")
        elif name.endswith(".csv"):
            with file.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows(content)
        else:
            file.write_text(json.dumps(content), encoding="utf-8")
        return file

    return make


def value(record: dict[str, Any], metric: str) -> float:
    return record["metrics"][metric]["value"]
