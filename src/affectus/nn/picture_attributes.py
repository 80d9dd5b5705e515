"""Which attributes a picture without labels has: measured, read from faces, or told by a zero-shot tagger.

The six attributes are those of EmoSet (Yang et al., ICCV 2023): brightness, colorfulness, scene, object, facial
expression, human action. Every extractor can be replaced; an attribute without one is absent, which is normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from affectus import models
from affectus.corpora import Corpus
from affectus.errors import ConfigError
from affectus.features.colour import COLOURFULNESS_SCALE, colourfulness, tenth
from affectus.features.inputs import CLIP_STATISTICS, ImageInput, InputSpec
from affectus.features.reading import largest_face
from affectus.media.faces import FaceDetector
from affectus.nn.clip import Clip

NAMES = ("brightness", "colorfulness", "scene", "object", "facial_expression", "human_action")
#: Classes of the shipped face model under EmoSet's names; it has no name for neutral and contempt.
EXPRESSIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
}


@dataclass(frozen=True)
class Found:
    """What was found of one attribute: labels, best first, with scores in [0, 1]; none when it is absent.

    Brightness and colourfulness have one label, the nearest tenth ("0.0" … "1.0"), and the measured value as score.
    """

    labels: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def present(self) -> bool:
        """Whether the picture has this attribute."""
        return bool(self.labels)


Extractor = Callable[[np.ndarray], Found]


def extract_attributes(image: np.ndarray, extractors: Mapping[str, Extractor] | None = None) -> dict[str, Found]:
    """The six attributes of an RGB uint8 picture (H, W, 3), by EmoSet's names.

    Brightness and colourfulness are always measured. `extractors` gives functions for others (or in place of these),
    such as `Expression()` for faces and `ClipTagger` for scenes, objects and actions with a vocabulary. Raises
    ConfigError for an attribute that does not exist and MediaError for anything that is no picture.
    """
    chosen: dict[str, Extractor] = {"brightness": brightness, "colorfulness": colorfulness, **(extractors or {})}
    if unknown := sorted(set(chosen) - set(NAMES)):
        raise ConfigError(", ".join(unknown), "is no attribute of pictures", f"they are {', '.join(NAMES)}")
    return {name: chosen[name](image) if name in chosen else Found() for name in NAMES}


def brightness(image: np.ndarray) -> Found:
    """Mean HSV value of the pixels over 255, as the nearest tenth."""
    colourfulness(image[:1, :1])  # refuses what is no RGB picture
    value = float(image.max(-1).mean(dtype=np.float64)) / 255 if image.ndim == 3 else float(image.mean()) / 255
    return Found((f"{tenth(value):.1f}",), (value,))


def colorfulness(image: np.ndarray) -> Found:
    """Hasler–Süsstrunk colourfulness over 110, at most 1, as the nearest tenth."""
    value = min(1.0, colourfulness(image) / COLOURFULNESS_SCALE)
    return Found((f"{tenth(value):.1f}",), (value,))


class Expression:
    """Facial expression of the largest face by the shipped face model; absent without a face, or when the face looks
    neutral or contemptuous, which EmoSet has no name for."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    @cached_property
    def _tools(self) -> tuple[FaceDetector, object]:
        return FaceDetector(), models.load("face", self.folder)

    def __call__(self, image: np.ndarray) -> Found:
        detector, model = self._tools
        if not detector.detect(image):
            return Found()
        prediction = model.predict([largest_face(image)])[0]  # type: ignore[attr-defined]
        scores = dict(zip(prediction.labels, prediction.scores, strict=True))
        best = max(scores, key=lambda name: scores[name])
        if best not in EXPRESSIONS:
            return Found()
        total = sum(float(scores[name]) for name in EXPRESSIONS)
        return Found((EXPRESSIONS[best],), (float(scores[best]) / total,))


class ClipTagger:
    """Zero-shot labels by the likeness of the picture to "a photo of a <name>".

    `clip` is a loaded pair of towers, `tokenizer` its own (texts → ids, see `nn.clip_tokens`), `names` the
    vocabulary. With `several`, each name is weighed against "a photo" alone and all above `threshold` count; otherwise
    the best name counts if its share is at least `threshold`.
    """

    def __init__(
        self,
        clip: Clip,
        tokenizer: Callable[[Sequence[str]], Tensor],
        names: Sequence[str],
        threshold: float = 0.3,
        several: bool = False,
    ) -> None:
        if not names:
            raise ConfigError("names", "are empty: there is nothing to find")
        self.clip, self.names, self.threshold, self.several = clip.eval(), tuple(names), threshold, several
        self.spec = ImageInput(clip.sizes.image, fit="shorter", statistics=CLIP_STATISTICS, interpolation="bicubic")
        texts = [f"a photo of a {plain_name(name)}" for name in names] + ["a photo"]
        with torch.inference_mode():
            parts = [clip.text(part) for part in tokenizer(texts).split(64)]
            self.texts = functional.normalize(torch.cat(parts), dim=-1)

    def __call__(self, image: np.ndarray) -> Found:
        with torch.inference_mode():
            picture = functional.normalize(self.clip.vision(torch.from_numpy(self.spec(image))[None]), dim=-1)
            likeness = self.clip.logit_scale.exp() * (picture @ self.texts.T)[0]
        if self.several:
            scores = (likeness[:-1] - likeness[-1]).sigmoid()
        else:
            scores = likeness[:-1].softmax(0)
        order = [int(k) for k in scores.argsort(descending=True)][: None if self.several else 1]
        kept = [k for k in order if float(scores[k]) >= self.threshold]
        return Found(tuple(self.names[k] for k in kept), tuple(float(scores[k]) for k in kept))


def plain_name(name: str) -> str:
    """A vocabulary entry as words: underscores and slashes become blanks."""
    return name.replace("_", " ").replace("/", " ").strip().lower()


class PictureItems:
    """Pictures of a corpus as training items, with targets of which single ones may be missing.

    Rows without emotion and dimensions are left out. `measured` attributes are taken from the picture itself (bin
    numbers 0 … 10). With `maps` (a frozen network: picture batch → maps by level) the items hold its maps, computed
    once in half precision, instead of the picture.
    """

    def __init__(
        self,
        corpus: Corpus,
        spec: InputSpec,
        targets: Mapping[str, np.ndarray],
        measured: Sequence[str] = (),
        maps: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
    ) -> None:
        known = np.ones(len(corpus), bool)
        if "label" in targets:
            known &= targets["label"] >= 0
        if "values" in targets:
            known &= ~np.isnan(targets["values"]).any(1)
        self.corpus, self.spec, self.targets, self.measured = corpus, spec, targets, tuple(measured)
        self.kept = np.flatnonzero(known)
        self._read: dict[int, dict[str, object]] = {}
        self._maps = maps

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> dict[str, object]:
        row = int(self.kept[index])
        if row not in self._read:
            self._read[row] = self._item(row)
        return self._read[row] | {name: values[row] for name, values in self.targets.items()}

    def _item(self, row: int) -> dict[str, object]:
        picture = self.corpus.image(row)
        item: dict[str, object] = {"id": str(self.corpus.table["id"][row].as_py())}
        for name in self.measured:
            value = {"brightness": brightness, "colorfulness": colorfulness}[name](picture).labels[0]
            item[name] = np.int64(round(float(value) * 10))
        pixels = self.spec(picture)
        if self._maps is None:
            return item | {"image": pixels}
        with torch.inference_mode():
            found = self._maps(torch.from_numpy(pixels)[None])
        return item | {level: x[0].half().numpy() for level, x in found.items()}


def drawn_picture(emotion: int, random: np.random.Generator, size: int = 64) -> np.ndarray:
    """A stand-in picture of one of eight classes, RGB uint8: bright or dark (bit 2) × colourful or grey (bit 1) ×
    circle or square (bit 0)."""
    dark, grey, square = (emotion >> k & 1 for k in (2, 1, 0))
    level = random.uniform(20, 90) if dark else random.uniform(165, 235)
    tint = random.permutation([-1.0, 0.0, 1.0]) * (0 if grey else random.uniform(0.5, 0.9)) * min(level, 255 - level)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = level + tint
    shape = tuple(float(v) for v in np.clip(level - tint + (60 if dark else -60), 0, 255))
    radius = int(size * random.uniform(0.22, 0.32))
    x, y = (int(size * random.uniform(0.4, 0.6)) for _ in range(2))
    if square:
        cv2.rectangle(canvas, (x - radius, y - radius), (x + radius, y + radius), shape, -1)
    else:
        cv2.circle(canvas, (x, y), radius, shape, -1)
    return np.clip(canvas + random.normal(0, 6, canvas.shape[:2])[..., None], 0, 255).astype(np.uint8)


def crop_and_flip(images: Tensor, smallest: float = 0.08) -> Tensor:
    """Random part of `smallest` … 1 of the area with sides 3:4 … 4:3, at full size, half of them mirrored.

    (B, C, H, W) → same. As random resized crops, but of the input as it is: the file is not read again.
    """
    count = len(images)
    area = torch.empty(count).uniform_(smallest, 1.0)
    shape = torch.exp(torch.empty(count).uniform_(-0.2877, 0.2877))
    wide, high = ((area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1))
    left, top = ((torch.rand(count) * 2 - 1) * (1 - side) for side in (wide, high))
    mirror = 1 - 2 * (torch.rand(count) < 0.5).float()
    zero = torch.zeros(count)
    rows = torch.stack([torch.stack([wide * mirror, zero, left], 1), torch.stack([zero, high, top], 1)], 1)
    grid = functional.affine_grid(rows.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
