"""From bytes to arrays and turns: pictures, video, audio, text, subtitles, faces and speech.

Everything is loaded on first use; importing this package costs neither PyAV nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Bound eagerly because the function shares its name with its module, which would otherwise shadow it once imported.
from affectus.media.probe import MediaInfo, probe

if TYPE_CHECKING:
    from affectus.media.audio import AudioBlocks, audio_blocks, read_audio
    from affectus.media.containers import NoAudioError, NoVideoError
    from affectus.media.files import OUTPUT_MARKER, find_media, sidecar
    from affectus.media.image import read_image
    from affectus.media.text import split_sentences
    from affectus.media.turns import read_conversations, read_turns
    from affectus.media.video import VideoFrames, video_frames

_PUBLIC = {
    "AudioBlocks": "audio",
    "audio_blocks": "audio",
    "read_audio": "audio",
    "NoAudioError": "containers",
    "NoVideoError": "containers",
    "OUTPUT_MARKER": "files",
    "find_media": "files",
    "sidecar": "files",
    "read_image": "image",
    "read_conversations": "turns",
    "read_turns": "turns",
    "split_sentences": "text",
    "VideoFrames": "video",
    "video_frames": "video",
}

__all__ = [
    "OUTPUT_MARKER",
    "AudioBlocks",
    "MediaInfo",
    "NoAudioError",
    "NoVideoError",
    "VideoFrames",
    "audio_blocks",
    "find_media",
    "probe",
    "read_audio",
    "read_conversations",
    "read_image",
    "read_turns",
    "sidecar",
    "split_sentences",
    "video_frames",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.media.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.media' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
