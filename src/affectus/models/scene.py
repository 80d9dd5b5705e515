"""What a picture evokes in a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from affectus.errors import ModelError
from affectus.features.colour import colour_vector
from affectus.models.face import FaceModel
from affectus.models.package import model_folder, open_model
from affectus.models.scene_faces import FaceSummary
from affectus.types import Prediction


class SceneModel:
    """Evoked valence and arousal in [-1, 1] with a 95 % predictive interval for RGB pictures."""

    def __init__(self, folder: Path) -> None:
        self.card, self._session = open_model(folder)
        self.sizes = tuple(int(side) for side in self.card.inputs["sizes"])
        self.faces = FaceSummary(FaceModel(model_folder("face")))

    def prepare(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Pixels at both sizes (n, 3, side, side) in [0, 255], colour attributes (n, c) and faces (n, 16)."""
        for row, image in enumerate(images):
            if image.ndim != 3 or 0 in image.shape or image.shape[2] != 3:
                raise ModelError(f"picture {row}", f"has shape {image.shape}", "pass RGB (height, width, 3)")
            if image.dtype != np.uint8:
                raise ModelError(f"picture {row}", f"holds {image.dtype}", "pass levels 0-255 as uint8")
        pixels = {
            name: np.asarray([square(image, side) for image in images], np.float32)
            for name, side in zip(("pixels", "large"), self.sizes, strict=True)
        }
        return pixels | {
            "colours": np.stack([colour_vector(image) for image in images]).astype(np.float32),
            "faces": np.stack([self.faces(image) for image in images]),
        }

    def outputs(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Mean and standard deviation (n, 2, 2): [valence, arousal] × [mean, deviation]."""
        rows = [self._session.run(None, self.prepare([image]))[0][0] for image in images]
        return np.stack(rows) if rows else np.empty((0, 2, 2), np.float32)

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """One prediction per picture: `scores` are valence and arousal, `low`/`high` bound them."""
        factor = float(self.card.calibration["interval_factor"])
        predictions = []
        for mean, deviation in self.outputs(images).transpose(0, 2, 1):
            low, high = np.clip(mean - factor * deviation, -1, 1), np.clip(mean + factor * deviation, -1, 1)
            mean = np.clip(mean, -1, 1)
            predictions.append(
                Prediction(
                    "va",
                    ("valence", "arousal"),
                    mean,
                    self.card.perspective,
                    low,
                    high,
                    {"valence": float(mean[0]), "arousal": float(mean[1])},
                )
            )
        return predictions


def square(image: np.ndarray, side: int) -> np.ndarray:
    """The picture stretched to a square, channels first: uint8 (3, side, side)."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
