"""The models that ship with the package: ONNX files with a card, run by ONNX Runtime.

`load("face")` gives a model with `.card` and `.predict(batch)`; `cards()` lists what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affectus.models.package import NAMES, card, cards, model_folder

if TYPE_CHECKING:
    from affectus.models.face import FaceModel
    from affectus.models.scene import SceneModel
    from affectus.models.voice import VoiceModel
    from affectus.models.words import WordsModel

    EmbeddedModel = FaceModel | VoiceModel | WordsModel | SceneModel

__all__ = ["NAMES", "card", "cards", "load", "model_folder"]


def load(name: str, folder: Any = None) -> EmbeddedModel:
    """Open a shipped model by name, or the same kind of model from another folder.

    Raises ModelError for an unknown name, a missing file or weights that do not match their card.
    """
    from importlib import import_module

    path = model_folder(name, folder)
    kind = getattr(import_module(f"affectus.models.{name}"), f"{name.capitalize()}Model")
    return kind(path)
