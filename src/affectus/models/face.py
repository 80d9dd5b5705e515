"""Facial expression of aligned crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from affectus.errors import ModelError
from affectus.labels import space
from affectus.media.alignment import FER_TEMPLATE
from affectus.models.package import open_model
from affectus.types import Prediction


class FaceModel:
    """Eight-class distribution over `ferplus8` and derived valence–arousal for crops of one face each."""

    def __init__(self, folder: Path) -> None:
        self.card, self._session = open_model(folder)
        self.size = int(self.card.inputs["size"])
        self.template = FER_TEMPLATE
        self.batch = int(self.card.inputs.get("batch", 16))
        #: Below this probability of the first label the mirrored crop is looked at too.
        self.second_look = float(self.card.inputs.get("second_look", 0.0))
        self._va = derived_dimensions(self.card.space, self.card.labels)

    def prepare(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Grey float32 (n, 1, size, size) in [0, 255] from RGB or grey uint8 crops of any size."""
        grey = np.empty((len(crops), 1, self.size, self.size), np.float32)
        for row, crop in enumerate(crops):
            if crop.ndim not in (2, 3) or 0 in crop.shape or crop.shape[2:] not in ((), (3,)):
                raise ModelError(
                    f"face crop {row}", f"has shape {crop.shape}", "pass (height, width) or (height, width, 3)"
                )
            if crop.dtype != np.uint8:
                raise ModelError(f"face crop {row}", f"holds {crop.dtype}", "pass grey levels 0-255 as uint8")
            plane = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if crop.ndim == 3 else crop
            if plane.shape != (self.size, self.size):
                shrink = plane.shape[0] > self.size
                plane = cv2.resize(
                    plane, (self.size, self.size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
                )
            grey[row, 0] = plane
        return grey

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities (n, 8) in the label order of the card.

        An unsure crop is seen a second time in the mirror, and the logits of both looks are averaged.
        """
        x = self.prepare(crops)
        first = self._run(x)
        unsure = np.flatnonzero(first.max(1, initial=0.0) < self.second_look)
        if len(unsure):
            both = np.sqrt(first[unsure] * self._run(np.ascontiguousarray(x[unsure, :, :, ::-1])))
            first[unsure] = both / both.sum(1, keepdims=True)
        return first

    def _run(self, x: np.ndarray) -> np.ndarray:
        parts = [self._session.run(None, {"images": x[i : i + self.batch]})[0] for i in range(0, len(x), self.batch)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.card.labels)), np.float32)

    def predict(self, crops: Sequence[np.ndarray]) -> list[Prediction]:
        """One prediction per crop; valence and arousal are derived from the distribution, not measured."""
        probabilities = self.probabilities(crops)
        dimensions = probabilities @ self._va
        return [
            Prediction(
                self.card.space,
                self.card.labels,
                p,
                self.card.perspective,
                dimensions={"valence": float(v), "arousal": float(a)},
            )
            for p, (v, a) in zip(probabilities, dimensions, strict=True)
        ]


def derived_dimensions(space_name: str, labels: Sequence[str]) -> np.ndarray:
    """Valence and arousal of each label (n, 2) on the circumplex; with probabilities this gives derived dimensions."""
    points = space(space_name).vad
    return np.array([[points[label][0], points[label][1]] for label in labels], np.float32)
