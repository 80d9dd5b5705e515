"""Which faces a picture shows and what they express, as a few numbers: part of what a picture evokes in a viewer."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from affectus.errors import AssetError
from affectus.media.alignment import FER_TEMPLATE, align
from affectus.media.faces import FaceDetector
from affectus.models.face import FaceModel

#: Columns of `FaceSummary`: mean expression (8), its valence and arousal, then how many and how large.
WIDTH = 16
#: Faces looked at per picture, the largest first.
MOST = 8


class FaceSummary:
    """Mean expression of the faces in a picture, large and sure ones counting more, and their number and size.

    Without a detector (its file neither here nor obtainable) every picture counts as one without faces; `missing` then
    says why.
    """

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self.missing = ""

    @cached_property
    def _detector(self) -> FaceDetector | None:
        try:
            return FaceDetector()
        except AssetError as error:
            self.missing = str(error)
            return None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (height, width, 3) → float32 (WIDTH,); zeros where no face is found."""
        found = np.zeros(WIDTH, np.float32)
        faces = self._detector.detect(image) if self._detector is not None and min(image.shape[:2]) >= 16 else []
        if not faces:
            return found
        faces = sorted(faces, key=lambda face: -face.box[2] * face.box[3])[:MOST]
        crops = [align(image, face.points, self._model.size, FER_TEMPLATE) for face in faces]
        predictions = self._model.predict(crops)
        area = np.array([face.box[2] * face.box[3] for face in faces]) / (image.shape[0] * image.shape[1])
        weight = np.sqrt(area) * np.array([face.score for face in faces])
        weight /= weight.sum()
        affect = np.array([[p.dimensions["valence"], p.dimensions["arousal"]] for p in predictions])
        found[:8] = weight @ np.stack([p.scores for p in predictions])
        found[8:10] = weight @ affect
        found[10:13] = 1.0, np.log1p(len(faces)), np.sqrt(area.max())
        found[13:] = np.sqrt(area.sum()), faces[0].score, affect[:, 0].min()
        return found
