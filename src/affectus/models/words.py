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

    def prepare(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids per text, cut to the longest the model takes."""
        if isinstance(texts, str):
            raise ModelError("texts", "is one text", "pass a list of texts")
        return [encoding.ids for encoding in self.tokenizer.encode_batch([str(text) for text in texts])]

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities and VAD (n, 31).

        Every text is run by itself: the int8 file scales its activations over the whole input, so batch mates and
        padding would change a text's numbers (by up to 0.18 in probability).
        """
        rows = [self._output(ids) for ids in self.prepare(texts)]
        width = len(self.card.labels) + len(self.card.dimensions)
        return np.stack(rows) if rows else np.empty((0, width), np.float32)

    def _output(self, ids: list[int]) -> np.ndarray:
        tokens = np.array([ids], np.int64)
        return self._session.run(None, {"ids": tokens, "mask": np.ones_like(tokens)})[0][0]

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
