"""Arrays to numbers without training: spectrograms, prosody, colour, texture, motion and EEG features.

Names are loaded on first use, so importing the room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "log_mel_whisper": "mel",
    "fbank": "mel",
    "audioset_input": "mel",
    "COLOUR_NAMES": "colour",
    "colour_attributes": "colour",
    "colour_cues": "colour",
    "colour_vector": "colour",
    "Contours": "pitch",
    "voice_contours": "pitch",
    "PROSODY_NAMES": "voice_prosody",
    "Prosody": "voice_prosody",
    "compare": "voice_prosody",
    "prosody": "voice_prosody",
    "speaker_norm": "voice_prosody",
    "summarise": "voice_prosody",
    "lbp": "texture",
    "lbp_histogram": "texture",
    "lbp_image": "texture",
    "uniform_lbp": "texture",
    "MOTION_NAMES": "flow",
    "dense_flow": "flow",
    "flow_image": "flow",
    "flow_stack": "flow",
    "motion_vector": "flow",
    "band_filter": "eeg",
    "band_power": "eeg",
    "differential_entropy": "eeg",
    "electrode_position": "eeg",
    "topographic_maps": "eeg",
    "FeatureStore": "store",
    "media_id": "store",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.features.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.features' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
