"""The models and detectors of a run: opened on first use, shared by all its files; what is missing is said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affectus import models
from affectus.analysis import fusion
from affectus.analysis.settings import Settings
from affectus.errors import AffectusError
from affectus.models.package import on_device
from affectus.types import Card

if TYPE_CHECKING:
    import numpy as np

    from affectus.analysis.describing import Writer
    from affectus.media.faces import FaceDetector
    from affectus.media.landmarks import FaceLandmarker
    from affectus.media.speech import SpeechDetector


#: A text that says nothing.
NO_CONTENT = "."


class Engines:
    """What perceives. `missing` maps a modality to the reason why it cannot run, in words with the remedy."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.missing: dict[str, str] = {}
        self._models: dict[str, Any] = {}
        self._priors: dict[str, np.ndarray] = {}
        self._faces: FaceDetector | None = None
        self._landmarker: FaceLandmarker | None = None
        self._landmarks_tried = False
        self._writer: Writer | None = None

    def model(self, name: str) -> Any | None:
        """The shipped model of a modality; None when it was not chosen or cannot be opened (see `missing`)."""
        if name not in self.settings.modalities:
            return None
        if name not in self._models and name not in self.missing:
            try:
                with on_device(self.settings.device):
                    self._models[name] = models.load(name)
            except AffectusError as error:
                self.missing[name] = _reason(error)
        return self._models.get(name)

    def cards(self) -> list[Card]:
        """Cards of the models opened so far, in the usual order."""
        return [self._models[name].card for name in models.NAMES if name in self._models]

    def weight(self, name: str) -> float:
        """Reliability of a modality's model; see `fusion.reliability`."""
        model = self.model(name)
        return 0.0 if model is None else fusion.reliability(model.card)

    def prior(self, name: str) -> np.ndarray | None:
        """Class prior (7,) of a modality's model; see `fusion.prior_of`.

        A card without a confusion matrix does not tell it. For words it is then what the model says about a text
        without content (contextual calibration, Zhao et al., ICML 2021): most sentences carry no emotion, and a neutral
        sentence must not outvote a face.
        """
        model = self.model(name)
        if name not in self._priors and model is not None:
            self._priors[name] = fusion.prior_of(model.card)
            if name == "words" and not model.card.confusion:
                said = model.predict([NO_CONTENT])[0]
                self._priors[name] = fusion.to_common(said.space, said.scores)
        return self._priors.get(name)

    def face_detector(self) -> FaceDetector | None:
        """The face detector, or None with the reason in `missing`."""
        if self._faces is None and "face" not in self.missing:
            from affectus.media.faces import FaceDetector

            try:
                self._faces = FaceDetector()
            except AffectusError as error:
                self.missing["face"] = _reason(error)
        return self._faces

    def speech_detector(self) -> SpeechDetector | None:
        """A fresh detector of speech, or None with the reason in `missing`."""
        from affectus.media.speech import SpeechDetector

        try:
            return SpeechDetector()
        except AffectusError as error:
            self.missing["voice"] = _reason(error)
            return None

    def landmarker(self) -> FaceLandmarker | None:
        """The dense landmarker when its asset and the extra `aus` are here already; it is never fetched for this."""
        if not self._landmarks_tried:
            self._landmarks_tried = True
            from importlib.util import find_spec

            from affectus import assets

            if find_spec("ai_edge_litert") is not None and assets.available("face-landmarker"):
                from affectus.media.landmarks import FaceLandmarker

                try:
                    self._landmarker = FaceLandmarker()
                except AffectusError:
                    self._landmarker = None
        return self._landmarker

    def writer(self) -> Writer | None:
        """The language model that words descriptions, None for the evidence template; raises when the model that was
        asked for cannot be had, because nothing may take its place."""
        if self._writer is None and self.settings.describe and self.settings.llm:
            from affectus.analysis.describing import writer_of

            self._writer = writer_of(self.settings)
        return self._writer


def _reason(error: AffectusError) -> str:
    return str(error)
