"""EmoSet: the emotion a picture evokes, with six describable attributes as auxiliary tasks that inform it.

Yang, Huang, Ding, Lischinski, Cohen-Or, Huang: "EmoSet: a large-scale visual emotion dataset with rich attributes",
ICCV 2023. Attributes are predicted at the depth of the backbone they belong to and fed back to the emotion classifier:

    image (B, 3, S, S) → trunk → low (B, C1, h, w), mid (B, C2, …), high (B, C3, …)
    low: brightness, colorfulness · mid: scene, object · high: facial expression, human action
    each attribute: 1×1 convolution → 256, norm, ReLU → attention over places → code (B, 256) → linear → its classes
    emotion: mean of high | six codes, each times its gate → dropout → linear → 8 (or valence and arousal)

A gate is a learned function in (0, 1) of the attribute's own confidence, taken as it is: the emotion loss does not
reach the attribute heads, so a head without any label keeps its weights. Loss: emotion + 0.1 · (cross-entropies of the
five single-label attributes over known labels + binary cross-entropy of the objects).

Only loader and vocabularies of the paper are public: the wiring of the module, the gate and the training settings are
our reading of its idea. `extract_attributes` says which attributes a picture without labels has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import assets
from affectus.corpora import Corpus
from affectus.corpora.readers import emoset as reader
from affectus.errors import ConfigError
from affectus.features.inputs import IMAGENET, ArrayInput, ImageInput, InputSpec
from affectus.metrics import mean_average_precision
from affectus.nn.attribute_branch import LEVELS, AttributeBranch, Trunk
from affectus.nn.losses.concordance import concordance_loss
from affectus.nn.losses.partial import known_binary, known_cross_entropy
from affectus.nn.phase import Phase
from affectus.nn.picture_attributes import (
    ClipTagger,
    Expression,
    Extractor,
    Found,
    PictureItems,
    crop_and_flip,
    drawn_picture,
    extract_attributes,
)
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import SystemCard

__all__ = ["STAGES", "ClipTagger", "Config", "EmoSet", "EmoSetProbe", "Expression", "Extractor", "Found",
           "extract_attributes", "polarity"]  # fmt: skip

LABELS = ("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness")
#: Attribute → level of the backbone, number of classes. `object` holds several labels, the others one.
ATTRIBUTES: dict[str, tuple[str, int]] = {
    "brightness": ("low", 11),
    "colorfulness": ("low", 11),
    "scene": ("mid", 254),
    "object": ("mid", 409),
    "facial_expression": ("high", 6),
    "human_action": ("high", 264),
}

CARD = SystemCard(
    name="emoset",
    title="EmoSet attribute module",
    year=2023,
    paper="EmoSet: A Large-scale Visual Emotion Dataset with Rich Attributes, arXiv 2307.07961",
    code="JingyuanYY/EmoSet (loader and vocabularies only)",
    summary="Evoked emotion of a picture with brightness, colour, scene, object, expression and action as side tasks.",
    modalities=("image",),
    perspective="evoked",
    task="emotion that a picture evokes, or valence and arousal, and six attributes of the picture",
    space="mikels8",
    labels=LABELS,
    dimensions=("valence", "arousal"),
    licence={
        "code": "MIT (loader); the module was not published",
        "weights": "none published for the module; the linear probe of EmoGen states no licence",
        "data": "annotations MIT; pictures of public image sites, research",
    },
    weights="none published for the module; a linear probe on CLIP features lies in JingyuanYY/EmoGen",
    published=(),
    stages=("probe", "finetune"),
    deviations=("wiring, gates and training settings are inferred: the module's code is not public",),
    limits=(
        "No published number of the module is known to us: its result tables were not available.",
        "Evoked is not expressed: it says nothing about the people shown.",
        "An object that nobody annotated counts as absent unless `skip_unannotated` is set.",
    ),
)


@dataclass(frozen=True)
class Config:
    """Backbone, attributes and head. `backbone` is a network of `nn.resnet` or `efficientnet-lite0/1/2/tiny`;
    `pretrained` an asset or a file with its public weights, taken over before training on a corpus. With `frozen` the
    trunk does not learn and corpora are read as feature maps; `grid` averages maps to at most that many places a
    side."""

    backbone: str = "resnet50"
    size: int = 224
    base: int = 64
    attributes: tuple[str, ...] = tuple(ATTRIBUTES)
    counts: tuple[int, ...] = tuple(count for _, count in ATTRIBUTES.values())
    code: int = 256
    dropout: float = 0.5
    weight: float = 0.1
    head: Literal["classes", "values"] = "classes"
    skip_unannotated: bool = False
    frozen: bool = False
    grid: int = 0
    pretrained: str = ""

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.attributes) or set(self.attributes) - set(ATTRIBUTES):
            raise ConfigError(str(self.attributes), "needs one count per attribute", f"known: {', '.join(ATTRIBUTES)}")

    @classmethod
    def full(cls) -> Config:
        """ResNet-50 with all six attributes."""
        return cls()

    @classmethod
    def lite(cls) -> Config:
        """Frozen EfficientNet-Lite2 with the attributes that are measured or cheap, for valence and arousal."""
        return cls(backbone="efficientnet-lite2", size=260, attributes=("brightness", "colorfulness"), counts=(11, 11),
                   code=64, head="values", frozen=True, grid=9, pretrained="efficientnet-lite2")  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests."""
        return cls("resnet18", 32, 4, counts=(11, 11, 3, 4, 6, 3), code=8, dropout=0.0)


_Config = Config  # the classes below have an attribute of that name


class EmoSet(System):
    """Attribute module and emotion classifier."""

    card = CARD
    Config = Config
    config: _Config
    select = "accuracy"
    overfit = (40, 5e-3, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.select = "accuracy" if c.head == "classes" else "pcc"
        self.trunk = Trunk(c.backbone, c.base, c.grid)
        widths = dict(zip(LEVELS, self.trunk.widths, strict=True))
        self.branches = nn.ModuleDict(
            {
                name: AttributeBranch(widths[ATTRIBUTES[name][0]], c.code, count, several=name == "object")
                for name, count in zip(c.attributes, c.counts, strict=True)
            }
        )
        outputs = len(LABELS) if c.head == "classes" else len(CARD.dimensions)
        self.dropout = nn.Dropout(c.dropout)
        self.classifier = nn.Linear(widths["high"] + c.code * len(c.attributes), outputs)
        if c.frozen:
            self.trunk.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """A frozen trunk keeps its statistics."""
        super().train(mode)
        if self.config.frozen:
            self.trunk.eval()
        return self

    def inputs(self) -> dict[str, InputSpec]:
        half = ((127 / 255,) * 3, (128 / 255,) * 3)  # Lite networks take pixels minus 127 over 128
        statistics = half if self.config.backbone.startswith("efficientnet") else IMAGENET
        return {"image": ImageInput(self.config.size, fit="shorter", statistics=statistics)}

    def forward(self, batch: Batch) -> Outputs:
        """`image` (B, 3, S, S), or its maps `low`, `mid`, `high` → `logits` (B, 8) or `values` (B, 2), `embedding`,
        `attribute:<name>` (B, classes) and `gates` (B, attributes)."""
        if all(level in batch for level in LEVELS):
            maps = {level: batch[level].float() for level in LEVELS}
        else:
            require(batch, "image")
            image = batch["image"]
            if image.ndim != 4 or image.shape[1] != 3:
                raise ConfigError("image", f"has shape {tuple(image.shape)}; (batch, 3, height, width) is needed")
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
                maps = self.trunk(image)
        outputs: Outputs = {}
        codes, gates = [maps["high"].mean((2, 3))], []
        for name, branch in self.branches.items():
            code, logits, gate = branch(maps[ATTRIBUTES[name][0]])  # (B, code), (B, classes), (B, 1)
            outputs[f"attribute:{name}"] = logits
            codes.append(gate * code)
            gates.append(gate)
        joined = torch.cat(codes, 1)
        found = self.classifier(self.dropout(joined))
        outputs["logits" if self.config.head == "classes" else "values"] = found
        outputs["embedding"] = joined
        if gates:
            outputs["gates"] = torch.cat(gates, 1)
        return outputs

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`emotion`, and `attributes` over the labels that are there."""
        found: dict[str, Tensor] = {}
        if "logits" in outputs:
            label = batch["label"].long()
            if (label >= len(LABELS)).any():
                raise ConfigError("label", f"lies outside of 0 … {len(LABELS) - 1}", "map labels by name")
            found["emotion"] = known_cross_entropy(outputs["logits"], label)
        else:
            values, target = outputs["values"].float(), batch["values"].float()
            known = ~target.isnan()
            gap = torch.where(known, values - target, torch.zeros_like(values)).square().sum() / known.sum().clamp(
                min=1
            )
            found["emotion"] = gap + concordance_loss(values, target).float()
        parts = [self._attribute_loss(name, batch, outputs) for name in self.config.attributes]
        if parts:
            found["attributes"] = self.config.weight * torch.stack(parts).sum()
        return found

    def _attribute_loss(self, name: str, batch: Batch, outputs: Outputs) -> Tensor:
        logits, target = outputs[f"attribute:{name}"], batch.get(name)
        if target is None:
            return logits.float().sum() * 0
        if name == "object":
            annotated = batch["object_known"].bool() if self.config.skip_unannotated else None
            return known_binary(logits, target, annotated)
        return known_cross_entropy(logits, target)

    def phases(self) -> list[Phase]:
        """Inferred: SGD, 1e-3 for the trunk and 1e-2 for new layers, three steps over 30 epochs."""
        trunk = {} if self.config.frozen else {"trunk": 0.1}
        freeze = ("trunk",) if self.config.frozen else ()
        return [
            Phase("module", 30, 1e-2, 64, weight_decay=5e-4, warmup=0.0, optimizer="sgd", schedule="steps",
                  decay_every=10, rates=trunk, freeze=freeze)
        ]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Drawn pictures: the emotion is bright or dark × colourful or grey × circle or square, the attributes say
        which, and every third picture lacks scene, expression and action."""
        random = np.random.default_rng(seed)
        classes = np.arange(count) % len(LABELS)
        pictures = [drawn_picture(int(k), random, self.config.size) for k in classes]
        batch: Batch = {"image": torch.from_numpy(np.stack([self.inputs()["image"](p) for p in pictures]))}
        bins = [extract_attributes(p) for p in pictures]
        absent = np.arange(count) % 3 == 2
        for name, total in zip(self.config.attributes, self.config.counts, strict=True):
            if name in ("brightness", "colorfulness"):
                batch[name] = torch.tensor([round(found[name].scores[0] * 10) for found in bins])
            elif name == "object":
                batch[name] = functional.one_hot(torch.from_numpy(classes % min(2, total)), total).float()
            else:
                batch[name] = torch.from_numpy(np.where(absent, -1, classes % min(2, total)))
        batch["object_known"] = torch.ones(count, dtype=torch.bool)
        points = np.stack([np.where(classes < 4, 0.5, -0.5), np.where(classes % 4 < 2, 0.3, -0.3)], 1)
        return batch | {"label": torch.from_numpy(classes), "values": torch.from_numpy(points.astype("f4"))}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Random crop of 8 … 100 % of the picture at its full size, and mirroring."""
        return (
            batch | {"image": crop_and_flip(batch["image"])} if "image" in batch and options.get("crop", 1) else batch
        )

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Besides the usual: accuracy of polarity (`accuracy2`), of single-label attributes, average precision of
        objects, where their labels are among the targets."""
        found = super().measure(outputs, targets)
        if "logits" in outputs and "label" in targets:
            kept = targets["label"] >= 0
            scores = torch.from_numpy(outputs["logits"][kept]).softmax(-1).numpy()
            found["accuracy2"] = float((polarity(scores) == (targets["label"][kept] >= 4)).mean())
        for name in self.config.attributes:
            if name not in targets or f"attribute:{name}" not in outputs:
                continue
            truth, logits = targets[name], outputs[f"attribute:{name}"]
            if name == "object":
                found["map_object"] = mean_average_precision(truth, logits)
            elif (truth >= 0).any():
                kept = truth >= 0
                found[f"accuracy_{name}"] = float((logits[kept].argmax(1) == truth[kept]).mean())
        return found

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """Emotion or dimensions, and what the corpus says of the attributes, in the numbers of its `info.json`."""
        found = super().targets(corpus, column)
        names = [n for n in self.config.attributes if f"meta:{n}" in corpus.table.column_names]
        if not names:
            return found
        known = reader.attributes(corpus.files)
        for name, count in zip(self.config.attributes, self.config.counts, strict=True):
            if name in names:
                numbers = known.get(name, {})
                if numbers and max(numbers.values()) >= count:
                    raise ConfigError(name, f"has {len(numbers)} values in info.json, {count} in the config")
                found |= reader.numbered(name, corpus.column(f"meta:{name}"), numbers, count)
        return found

    def items(self, corpus: Corpus, column: str) -> PictureItems:
        """Pictures with all targets; a corpus without attributes gets those that can be measured. With a frozen trunk
        the items are its maps, computed once."""
        if self.config.pretrained:
            file = Path(self.config.pretrained)
            self.trunk.load_public(file if file.is_file() else assets.resolve(self.config.pretrained))
        targets = self.targets(corpus, column)
        wanted = [n for n in ("brightness", "colorfulness") if n in self.config.attributes and n not in targets]
        spec = self.inputs()["image"]
        return PictureItems(corpus, spec, targets, wanted, self.trunk if self.config.frozen else None)

    @torch.no_grad()
    def describe(
        self, batch: Batch, names: Mapping[str, Mapping[str, int]], threshold: float = 0.3
    ) -> list[dict[str, Found]]:
        """Attributes of pictures by the trained heads; `names` are the vocabularies of `info.json` (label → number).

        Single labels are absent below `threshold`; objects are those above one half.
        """
        outputs, rows = self(batch), []
        for i in range(len(outputs["embedding"])):
            row = {}
            for name in self.config.attributes:
                words = {number: word for word, number in names[name].items()}
                logits = outputs[f"attribute:{name}"][i].float()
                if name == "object":
                    scores = logits.sigmoid()
                    kept = [int(k) for k in scores.argsort(descending=True) if scores[k] >= 0.5]
                else:
                    scores = logits.softmax(0)
                    kept = [int(scores.argmax())] if scores.max() >= threshold else []
                row[name] = Found(tuple(words[k] for k in kept), tuple(float(scores[k]) for k in kept))
            rows.append(row)
        return rows


class EmoSetProbe(System):
    """Linear probe on CLIP ViT-L/14 image features, the classifier that EmoGen publishes."""

    card = CARD
    Config = Config
    config: _Config
    stage = "probe"
    select = "accuracy"
    overfit = (80, 1e-1, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.fc = nn.Linear(768, len(LABELS))

    def inputs(self) -> dict[str, InputSpec]:
        return {"clip": ArrayInput((768,))}

    def forward(self, batch: Batch) -> Outputs:
        """`clip` (B, 768), projected and not normalised → `logits` (B, 8)."""
        require(batch, "clip")
        return {"logits": self.fc(batch["clip"])}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy over known labels."""
        return {"emotion": known_cross_entropy(outputs["logits"], batch["label"])}

    def phases(self) -> list[Phase]:
        """Inferred."""
        return [Phase("probe", 20, 1e-3, 256, weight_decay=1e-4)]

    def example(self, count: int, seed: int = 0) -> Batch:
        """Features around one centre per emotion."""
        random, centres = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(8, 768))
        classes = np.arange(count) % len(LABELS)
        features = centres[classes] + random.normal(size=(count, 768))
        return {"clip": torch.from_numpy(features.astype("f4")), "label": torch.from_numpy(classes)}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """`fc.weight` (8, 768) and `fc.bias` (8,) in the order of the labels here."""
        system = cls(config or Config())
        load_strictly(system, state, "checkpoint")
        return system


def polarity(probabilities: np.ndarray) -> np.ndarray:
    """Negative (1) or positive (0) of probabilities (…, 8): the half with the larger sum, whatever class is best."""
    scores = np.asarray(probabilities)
    return (scores[..., 4:].sum(-1) > scores[..., :4].sum(-1)).astype(np.int64)


STAGES = {"probe": EmoSetProbe, "finetune": EmoSet}
