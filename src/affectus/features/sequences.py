"""Inputs that stay a sequence: frames and stretches of sound for encoders that take them one by one, and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from affectus.errors import ConfigError, MediaError
from affectus.features.highlight import blended
from affectus.features.inputs import CLIP_STATISTICS, ImageInput, InputSpec, need_rgb, resized, standardise
from affectus.features.mel import log_mel_whisper
from affectus.features.reading import face_detector

#: A picture as CLIP's own processor makes it.
CLIP_PICTURE = ImageInput(224, 224, "shorter", CLIP_STATISTICS, interpolation="pillow-bicubic")


def spread_rows(count: int, wanted: int) -> np.ndarray:
    """Positions floor(0, T/n, 2T/n …) of n = min(wanted, T) frames among T, the last one repeated up to `wanted`."""
    if count < 1:
        raise MediaError("clip", "holds no frame")
    n = min(wanted, count)
    rows = np.floor(np.arange(n) * (count / n)).astype(int)
    return np.concatenate([rows, np.full(wanted - n, rows[-1])])


def spread_clips(samples: np.ndarray, clips: int, length: int) -> np.ndarray:
    """(clips, length) stretches of a sound at constant spacing from its start to its end; a shorter one is padded with
    zeros."""
    if not len(samples):
        raise MediaError("sound", "holds no sample")
    padded = np.pad(samples, (0, max(0, length - len(samples))))
    starts = np.linspace(0, len(padded) - length, clips).round().astype(int)
    return np.stack([padded[start : start + length] for start in starts]).astype(np.float32)


@dataclass(frozen=True)
class FrameSequence(InputSpec):
    """Frames spread over a clip: RGB frames → (frames, 3, size, size); see `spread_rows`."""

    frames: int = 8
    picture: ImageInput = CLIP_PICTURE
    of: Literal["frames", "faces"] = "faces"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, channels, size, size)."""
        return (self.frames, *self.picture.shape)

    def __call__(self, raw: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.picture(raw[i]) for i in spread_rows(len(raw), self.frames)])


@dataclass(frozen=True)
class FramePairs(InputSpec):
    """Frames spread over a clip, two by two: RGB frames → (pairs, 2, 3, height, width); see `spread_rows`.

    Two frames are one step in time of Qwen's vision tower. A clip of a single frame, or a picture (`of` "image"), is
    one pair of equal frames. Frames are squeezed to the size and standardised as CLIP's. With `highlight` faces stand
    out (`features.highlight`).
    """

    frames: int = 16
    height: int = 448
    width: int = 448
    highlight: bool = False
    of: Literal["frames", "image"] = "frames"

    def __post_init__(self) -> None:
        if self.frames < 2 or self.frames % 2:
            raise ConfigError("frames", f"{self.frames} frames do not make pairs", "give an even number")

    @property
    def shape(self) -> tuple[int, ...]:
        """(pairs, 2, channels, height, width); pairs vary because a picture is one."""
        return (-1, 2, 3, self.height, self.width)

    def __call__(self, raw: Any) -> np.ndarray:
        pictures = [raw] if self.of == "image" else raw
        rows = spread_rows(len(pictures), 2 if len(pictures) == 1 else self.frames)
        made = np.stack([self._picture(pictures[i]) for i in rows])
        return made.reshape(-1, 2, *made.shape[1:])

    def _picture(self, image: np.ndarray) -> np.ndarray:
        need_rgb(image, "frame")
        shown = blended(image, face_detector().detect(image)) if self.highlight else image
        return standardise(resized(shown, (self.width, self.height), "bicubic"), CLIP_STATISTICS)


@dataclass(frozen=True)
class SoundClips(InputSpec):
    """Stretches of a sound at constant spacing: float32 mono → (clips, rate * seconds)."""

    clips: int = 8
    seconds: float = 2.0
    rate: int = 16000

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(clips, samples)."""
        return (self.clips, round(self.rate * self.seconds))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return spread_clips(raw, *self.shape)


@dataclass(frozen=True)
class WhisperWindows(InputSpec):
    """Log-mel of whole windows as Whisper wants them: float32 mono → (windows, mels, 100 * seconds).

    The sound is cut at `windows` times `seconds`; the last window it reaches is padded with silence, further ones are
    not made.
    """

    windows: int = 1
    mels: int = 128
    seconds: float = 30.0
    rate: int = 16000

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(windows, mels, columns); windows vary where there may be several."""
        return (1 if self.windows == 1 else -1, self.mels, round(100 * self.seconds))

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        if not len(raw):
            raise MediaError("sound", "holds no sample")
        length = round(self.rate * self.seconds)
        starts = range(0, min(len(raw), self.windows * length), length)
        cut = [np.pad(part := raw[at : at + length], (0, length - len(part))) for at in starts]
        return np.stack([log_mel_whisper(part, bins=self.mels) for part in cut])


@dataclass(frozen=True)
class FacesIfAny(FrameSequence):
    """As `FrameSequence` of faces; a clip without any face gives NaN, which systems that write take for nothing."""

    @property
    def optional(self) -> bool:
        return True

    def __call__(self, raw: Sequence[np.ndarray] | None) -> np.ndarray:
        return super().__call__(raw) if raw else np.full(self.shape, np.nan, np.float32)


@dataclass(frozen=True)
class CellFeatures(InputSpec):
    """Brightness on a coarse grid, standardised per frame: RGB frames → (frames, cells²). For tiny models."""

    frames: int = 8
    cells: int = 4
    of: Literal["frames", "faces"] = "faces"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, cells²)."""
        return (self.frames, self.cells**2)

    def __call__(self, raw: Sequence[np.ndarray]) -> np.ndarray:
        side = (self.cells, self.cells)
        grids = np.stack([
            cv2.resize(raw[i].mean(2, dtype=np.float32), side, interpolation=cv2.INTER_AREA).ravel()
            for i in spread_rows(len(raw), self.frames)
        ])  # fmt: skip
        return (grids - grids.mean(1, keepdims=True)) / (grids.std(1, keepdims=True) + 1e-3)


@dataclass(frozen=True)
class BandFeatures(InputSpec):
    """Log energy in bands of equal width on a logarithmic axis, 60 Hz to 6 kHz: sound → (clips, bands). For tiny
    models."""

    clips: int = 8
    bands: int = 24
    seconds: float = 0.25
    rate: int = 16000

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(clips, bands)."""
        return (self.clips, self.bands)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        stretches = spread_clips(raw, self.clips, round(self.rate * self.seconds))
        power = np.abs(np.fft.rfft(stretches * np.hanning(stretches.shape[1]), axis=1)) ** 2
        places = np.fft.rfftfreq(stretches.shape[1], 1 / self.rate)
        edges = np.geomspace(60, 6000, self.bands + 1)
        inside = (places >= edges[:-1, None]) & (places < edges[1:, None])
        return (np.log(power @ inside.T + 1e-4) / 4).astype(np.float32)


@dataclass(frozen=True)
class PlainText(InputSpec):
    """The text itself, for models that have a tokenizer of their own; a batch holds it as a list."""

    takes: ClassVar[str] = "text"

    @property
    def shape(self) -> tuple[int, ...]:
        """()."""
        return ()

    def __call__(self, raw: Any) -> Any:
        return str(raw)
