"""Emotion expressed in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from affectus.errors import ModelError
from affectus.models.package import open_model
from affectus.types import Prediction


class WordsModel:
    """Independent probabilities of the `goemotions28` labels and valence, arousal, dominance of English sentences."""

    def __init__(self, folder: Path) -> None:
        self.card, self._session = open_model(folder)
        self.longest = int(self.card.inputs["max_tokens"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.longest)
        self.thresholds = np.asarray(self.card.inputs["thresholds"], np.float32)
        self.batch = int(self.card.inputs.get("batch", 16))

    def prepare(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids per text, cut to the longest the model takes."""
        if isinstance(texts, str):
            raise ModelError("texts", "is one text", "pass a list of texts")
        return [encoding.ids for encoding in self.tokenizer.encode_batch([str(text) for text in texts])]

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities and VAD (n, 31); texts of similar length share a batch."""
        ids = self.prepare(texts)
        result = np.empty((len(ids), len(self.card.labels) + len(self.card.dimensions)), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            length = max(len(ids[i]) for i in rows)
            tokens = np.zeros((len(rows), length), np.int64)
            mask = np.zeros((len(rows), length), np.int64)
            for place, i in enumerate(rows):
                tokens[place, : len(ids[i])] = ids[i]
                mask[place, : len(ids[i])] = 1
            result[rows] = self._session.run(None, {"ids": tokens, "mask": mask})[0]
        return result

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One prediction per text."""
        count = len(self.card.labels)
        return [
            Prediction(
                self.card.space,
                self.card.labels,
                row[:count],
                self.card.perspective,
                dimensions=dict(zip(self.card.dimensions, row[count:].tolist(), strict=True)),
            )
            for row in self.outputs(texts)
        ]
