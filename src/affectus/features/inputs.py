"""Input specifications: the exact preprocessing of a model's input as data, and its execution on decoded media.

A specification is called with what a file holds (`source` says which part of it) and returns one float32 or int64 array
without a batch axis. Its fields can be printed, compared and stored, so nobody has to guess what a network saw.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from PIL import Image

from affectus.errors import ConfigError, MediaError
from affectus.features.mel import AUDIOSET_MEAN, AUDIOSET_STD, fbank
from affectus.features.texture import lbp_image

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

#: The two of Pillow smooth a picture before they make it smaller, as torchvision's pipelines do.
Interpolation = Literal["bilinear", "bicubic", "area", "pillow-bilinear", "pillow-bicubic"]
_RESIZE = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
_PILLOW = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC}


class InputSpec(ABC):
    """What every specification has."""

    #: The part of a file it takes, where no setting `of` chooses one.
    takes: ClassVar[str] = ""

    @property
    def source(self) -> str:
        """The part of a file it takes: image, face, frames, faces, audio, text, eeg, or features made elsewhere."""
        return str(getattr(self, "of", self.takes))

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the result without the batch axis; -1 where it varies."""

    @property
    def optional(self) -> bool:
        """Whether it can be called with None where a file does not hold what it takes."""
        return False

    @abstractmethod
    def __call__(self, raw: Any) -> np.ndarray:
        """Preprocess one decoded item."""


@dataclass(frozen=True)
class ImageInput(InputSpec):
    """A picture: RGB uint8 (H, W, 3) → (channels, size, size).

    `fit` "shorter" scales the shorter side to `resize` (or `size`) and crops the middle (rounded as torchvision does
    where `interpolation` is one of Pillow's); "stretch" scales both sides. Pixels are divided by 255, then standardised
    per channel. `of` is "image" or "face" (an aligned face crop).
    """

    size: int = 224
    resize: int = 0
    fit: Literal["shorter", "stretch"] = "stretch"
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    grey: bool = False
    interpolation: Interpolation = "bilinear"
    of: Literal["image", "face"] = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, size, size)."""
        return (1 if self.grey else 3, self.size, self.size)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return standardise(self.fitted(raw), self.statistics, self.grey)

    def fitted(self, image: np.ndarray) -> np.ndarray:
        """The picture at the size of the input, still RGB uint8."""
        need_rgb(image, "image")
        if self.fit == "stretch":
            return resized(image, (self.size, self.size), self.interpolation)
        target = max(self.resize, self.size)
        height, width = image.shape[:2]
        short = min(height, width)
        whole, middle = (int, round) if self.interpolation in _PILLOW else (round, int)
        wide = max(self.size, whole(target * width / short)), max(self.size, whole(target * height / short))
        image = resized(image, wide, self.interpolation)
        top, left = (middle((side - self.size) / 2) for side in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


@dataclass(frozen=True)
class SqueezedInput(InputSpec):
    """A picture squeezed to one size as Pillow does it: RGB uint8 (H, W, 3) → (3, height, width)."""

    height: int = 512
    width: int = 384
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = CLIP_STATISTICS

    takes: ClassVar[str] = "image"

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, height, width)."""
        return (3, self.height, self.width)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        need_rgb(raw, "image")
        return standardise(resized(raw, (self.width, self.height), "pillow-bilinear"), self.statistics)


@dataclass(frozen=True)
class TextureInput(InputSpec):
    """Local binary patterns of a picture: RGB uint8 → (1, size, size) in [0, 1], coded at the size of the input."""

    size: int = 224
    interpolation: Literal["bilinear", "bicubic", "area"] = "bilinear"
    of: Literal["image", "face"] = "face"

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, size, size)."""
        return (1, self.size, self.size)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return lbp_image(ImageInput(self.size, interpolation=self.interpolation).fitted(raw))[None]


@dataclass(frozen=True)
class ClipInput(InputSpec):
    """A stretch of video: RGB frames → (3, frames, size, size).

    `frames` pictures every `stride` source frames around the middle (`sampling` "middle"), or spread evenly over all
    of them ("even", middles of equal segments). A shorter clip repeats its last picture. `of` is "frames" (whole
    pictures) or "faces" (aligned crops of the largest face).
    """

    frames: int = 16
    stride: int = 4
    sampling: Literal["middle", "even"] = "middle"
    picture: ImageInput = ImageInput()
    of: Literal["frames", "faces"] = "faces"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, frames, size, size)."""
        return (self.picture.shape[0], self.frames, self.picture.size, self.picture.size)

    def rows(self, count: int) -> np.ndarray:
        """Positions of the sampled frames among `count`."""
        if count < 1:
            raise MediaError("clip", "holds no frame")
        if self.sampling == "even":
            return np.floor((np.arange(self.frames) + 0.5) * count / self.frames).astype(int)
        span = (self.frames - 1) * self.stride + 1
        start = max(0, (count - span) // 2)
        return np.minimum(start + np.arange(self.frames) * self.stride, count - 1)

    def __call__(self, raw: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.picture(raw[i]) for i in self.rows(len(raw))], 1)


@dataclass(frozen=True)
class FbankInput(InputSpec):
    """Kaldi filter bank: float32 mono at `rate` → (frames, bins), cut or zero-padded, then `(x - mean) / (2 · std)`
    when `doubled`, else `(x - mean) / std`. A longer sound is cut at its `crop`: start or middle."""

    frames: int = 256
    bins: int = 128
    rate: int = 16000
    mean: float = AUDIOSET_MEAN
    std: float = AUDIOSET_STD
    doubled: bool = True
    crop: Literal["start", "middle"] = "start"

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, bins)."""
        return (self.frames, self.bins)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        span = int(self.rate * (0.01 * self.frames + 0.025))
        start = max(0, (len(raw) - span) // 2) if self.crop == "middle" else 0
        found = fbank(raw[start : start + span], self.rate, self.bins)[: self.frames]
        out = np.zeros(self.shape, np.float32)
        out[: len(found)] = found
        return (out - np.float32(self.mean)) / np.float32(self.std * (2 if self.doubled else 1))


@dataclass(frozen=True)
class WaveInput(InputSpec):
    """The waveform itself: float32 mono → (samples,), cut or zero-padded."""

    samples: int = 160_000
    rate: int = 16000

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples,)."""
        return (self.samples,)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        out = np.zeros(self.samples, np.float32)
        out[: len(raw)] = raw[: self.samples]
        return out


@dataclass(frozen=True)
class TextInput(InputSpec):
    """Token ids of a text, (length,) int64 padded with `pad`; `encode` is a tokenizer's text → ids function."""

    encode: Callable[[str], list[int]]
    length: int = 77
    pad: int = 0

    takes: ClassVar[str] = "text"

    @property
    def shape(self) -> tuple[int, ...]:
        """(length,)."""
        return (self.length,)

    def __call__(self, raw: str) -> np.ndarray:
        out = np.full(self.length, self.pad, np.int64)
        ids = self.encode(raw)[: self.length]
        out[: len(ids)] = ids
        return out


@dataclass(frozen=True)
class ArrayInput(InputSpec):
    """Precomputed features or signals of a fixed shape (-1 where any length goes); `of` says where they come from.

    `make` turns decoded media into them, where that can be done.
    """

    size: tuple[int, ...] = (0,)
    of: str = "features"
    make: Callable[[Any], np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As given."""
        return self.size

    def __call__(self, raw: Any) -> np.ndarray:
        found = np.asarray(self.make(raw) if self.make else raw, np.float32)
        if len(found.shape) != len(self.size) or any(
            w not in (-1, g) for w, g in zip(self.size, found.shape, strict=True)
        ):
            raise ConfigError("features", f"have shape {found.shape}; {self.size} is needed")
        return found


def need_rgb(image: np.ndarray, name: str) -> None:
    """MediaError, under that name, unless the picture is RGB (height, width, 3)."""
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise MediaError(name, f"has shape {image.shape}; RGB (height, width, 3) is needed")


def resized(image: np.ndarray, size: tuple[int, int], interpolation: Interpolation = "bilinear") -> np.ndarray:
    """RGB uint8 (H, W, 3) at another `size` (width, height)."""
    if interpolation in _PILLOW:
        return np.asarray(Image.fromarray(image).resize(size, _PILLOW[interpolation]))
    return cv2.resize(image, size, interpolation=_RESIZE[interpolation])


def standardise(
    image: np.ndarray, statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET, grey: bool = False
) -> np.ndarray:
    """RGB uint8 (H, W, 3) → float32 (3 or 1, H, W): divided by 255, minus mean, over standard deviation."""
    scaled = image.astype(np.float32) / np.float32(255)
    if grey:
        scaled = (scaled @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    mean, std = (np.array(v[: scaled.shape[-1]], np.float32) for v in statistics)
    return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))
