"""VTFF: a colour and a texture view of one face, fused by a gate, read as words by a small transformer.

A face goes through two convolutional branches that share nothing: one sees its colours, the other its local binary
patterns, which no change of lighting alters as long as it keeps the order of greys. A gate that looks at the whole map
and at every place of it mixes the two maps; the places of the mixed map become words of a transformer.

    face (B, 3, 224, 224) → ResNet-18 → (B, 512, 7, 7) ┐
    lbp  (B, 1, 224, 224) → ResNet-18 → (B, 512, 7, 7) ┴→ gate → (B, 512, 7, 7) → 1×1 → 49 words (B, 49, 768)
    [CLS] + words + positions (B, 50, 768) → 4 pre-norm blocks of 8 heads → CLS → layer norm → logits (B, classes)

There is no public code, and two re-creations disagree; what they disagree on is a setting. Readings taken by default:

- words come from the last stage of the branches (`stages=4`): its parameter total is the one quoted for the system;
- the gate applies one sigmoid (`gate="single"`): the fused map is a convex mix; its local part has one channel;
- 8 heads in all, 4 blocks, feed-forward width 4 · 768, layer norm before the classifier;
- the training recipe (SGD, two learning rates, cosine) is a proposal: the published one could not be read.

`branches` and `fusion` give the ablations of the paper. In training the texture is coded again after the picture was
shifted, turned, mirrored and partly covered, and before its light is changed, so that both views stay of one face.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora.synthetic import face_image
from affectus.errors import ConfigError
from affectus.features.inputs import IMAGENET, ImageInput, InputSpec, TextureInput
from affectus.nn.attention_fusion import SelectiveFusion
from affectus.nn.augment import ImageAugment
from affectus.nn.phase import Phase
from affectus.nn.resnet import LAYOUTS, ResNet
from affectus.nn.texture import grey_levels, lbp_maps
from affectus.nn.vit import Block
from affectus.systems.base import Batch, Outputs, System, require
from affectus.systems.card import Published, SystemCard

_PAPER = "arXiv 2103.16854"

CARD = SystemCard(
    name="vtff",
    title="VTFF: visual transformers with attentional selective fusion",
    year=2021,
    paper="Ma, Sun, Li: Facial expression recognition with visual transformers and attentional selective fusion, "
    "IEEE Transactions on Affective Computing 14(2), 2023; arXiv 2103.16854",
    code="none published",
    summary="Recognises the expression of one aligned face from its colours and its local binary patterns: two "
    "ResNet-18 branches, fused by a global-local gate, read by a small transformer.",
    modalities=("face",),
    perspective="expressed",
    task="expression of one aligned face",
    space="rafdb7",
    labels=("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    licence={"code": "no public code; this implementation is part of affectus", "weights": "none published",
             "data": "RAF-DB, AffectNet: non-commercial research; FER+: labels MIT, images research"},
    weights="none published; the branches start from ResNet-18 weights in torchvision's layout",
    published=(
        Published("RAF-DB", "accuracy", 0.8814, "official test split", _PAPER),
        Published("FER+", "accuracy", 0.8881, "test split, majority label", _PAPER),
        Published("AffectNet", "accuracy", 0.6185, "validation set, 8 classes", _PAPER),
        Published("CK+", "accuracy", 0.8188, "trained on RAF-DB, no fine-tuning", f"{_PAPER} (quoted, not checked)"),
    ),
    deviations=(
        "layer, number of words, heads, gate and recipe are readings: no public code",
        "branches start from random weights unless ResNet weights are given to them",
    ),
    limits=("trained on posed and acted pictures of the web; unreliable for profiles and faces under 24 pixels",),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Sizes. The default is the four-block reading of the paper (51.8 M parameters for 7 classes).

    `branches` "rgb" or "lbp" use one view alone; `fusion` "sum" and "concat" replace the gate, "global" and "local"
    keep one half of it; `blocks` 0 replaces the transformer by the mean of the words. `grey` feeds grey pictures to
    the first branch; `channels` are those of its first stage; `stages` < 4 stops early, which gives more words.
    """

    labels: tuple[str, ...] = CARD.labels
    space: str = CARD.space
    size: int = 224
    grey: bool = False
    backbone: str = "resnet18"
    channels: int = 64
    stem: Literal["7x7", "3x3"] = "7x7"
    stages: int = 4
    branches: Literal["both", "rgb", "lbp"] = "both"
    fusion: Literal["asf", "global", "local", "sum", "concat"] = "asf"
    gate: Literal["single", "double"] = "single"
    local_channels: int = 1
    reduction: int = 8
    norm: Literal["batch", "layer"] = "batch"
    width: int = 768
    heads: int = 8
    blocks: int = 4
    ratio: float = 4.0
    dropout: float = 0.1
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.backbone not in LAYOUTS:
            raise ValueError(f"backbone {self.backbone!r} is none of {', '.join(LAYOUTS)}")
        if not 1 <= self.stages <= len(LAYOUTS[self.backbone][1]):
            raise ValueError(f"stages {self.stages} are not among 1…{len(LAYOUTS[self.backbone][1])}")
        if self.size < self.step:
            raise ValueError(f"size {self.size} is below the {self.step} pixels of one word")

    @property
    def words(self) -> int:
        """Number of words: places of the last map."""
        return math.ceil(self.size / self.step) ** 2

    @property
    def step(self) -> int:
        """Pixels per word in each direction."""
        return (4 if self.stem == "7x7" else 1) * 2 ** (self.stages - 1)

    @classmethod
    def base(cls) -> Config:
        """Four transformer blocks."""
        return cls()

    @classmethod
    def deep(cls) -> Config:
        """Eight transformer blocks (80.1 M parameters)."""
        return cls(blocks=8)

    @classmethod
    def tiny(cls) -> Config:
        """For tests."""
        return cls(size=32, channels=8, stem="3x3", stages=3, width=24, heads=2, blocks=1, ratio=2.0, dropout=0.0)


_Config = Config  # the class below has an attribute of that name


class VTFF(System):
    """See the head of the file. Batch keys: `face` (B, 3 or 1, S, S) standardised, `lbp` (B, 1, S, S) in [0, 1]."""

    card = CARD
    Config = Config
    config: _Config
    select = "accuracy"

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.rgb = self._branch(1 if config.grey else 3) if config.branches != "lbp" else None
        self.lbp = self._branch(1) if config.branches != "rgb" else None
        channels = next(branch for branch in (self.rgb, self.lbp) if branch is not None).width
        self.fusion: SelectiveFusion | None = None
        if config.branches == "both" and config.fusion in ("asf", "global", "local"):
            scope: Any = "both" if config.fusion == "asf" else config.fusion
            local = config.local_channels
            self.fusion = SelectiveFusion(channels, config.reduction, scope, config.gate, local, config.norm)
        double = config.branches == "both" and config.fusion == "concat"
        self.project = nn.Conv2d(channels * (2 if double else 1), config.width, 1)
        self.cls = nn.Parameter(torch.randn(1, 1, config.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, config.words + 1, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.ratio, bias="fused", dropout=config.dropout)
            for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, len(self.labels()))

    def _branch(self, channels: int) -> ResNet:
        kind, blocks = LAYOUTS[self.config.backbone]
        return ResNet(kind, blocks[: self.config.stages], channels, self.config.channels, self.config.stem)

    def inputs(self) -> dict[str, InputSpec]:
        """The face and its texture, both of the same crop at the size of the network."""
        size, views = self.config.size, self.config.branches
        specs: dict[str, InputSpec] = {}
        if views != "lbp":
            specs["face"] = ImageInput(size, statistics=IMAGENET, grey=self.config.grey, of="face")
        if views != "rgb":
            specs["lbp"] = TextureInput(size, of="face")
        return specs

    def maps(self, batch: Batch) -> Tensor:
        """Fused feature map (B, C, H, W), or twice as many channels where the maps are only put together."""
        require(batch, *self.inputs())
        found = []
        for key, branch in (("lbp", self.lbp), ("face", self.rgb)):
            if branch is not None:
                self._check(key, batch[key], branch)
                found.append(branch.maps(batch[key])[-1])
        if len(found) == 1:
            return found[0]
        texture, colour = found
        if self.fusion is not None:
            return self.fusion(texture, colour)
        return texture + colour if self.config.fusion == "sum" else torch.cat([texture, colour], 1)

    def _check(self, key: str, pictures: Tensor, branch: ResNet) -> None:
        wanted = (branch.conv1.in_channels, self.config.size, self.config.size)
        if tuple(pictures.shape[1:]) != wanted:
            raise ConfigError(key, f"has shape {tuple(pictures.shape)}; (B, {', '.join(map(str, wanted))}) is needed")

    def words(self, batch: Batch) -> Tensor:
        """Visual words (B, H · W, width), row by row, before positions."""
        return self.project(self.maps(batch)).flatten(2).transpose(1, 2)

    def encode(self, words: Tensor, positions: Tensor | None = None) -> Tensor:
        """Words (B, N, width) → features (B, width) of CLS; `positions` (1, N + 1, width) default to those learnt."""
        x = torch.cat([self.cls.expand(len(words), -1, -1), words], 1)
        x = functional.dropout(
            x + (self.positions if positions is None else positions), self.config.dropout, self.training
        )
        if not len(self.blocks):
            return self.norm(x.mean(1))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]

    def forward(self, batch: Batch) -> Outputs:  # face, lbp → logits (B, classes), embedding (B, width)
        features = self.encode(self.words(batch))
        return {"logits": self.head(features), "embedding": features}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy with the labels, or with the annotators' shares where the batch has `shares`."""
        target = batch["shares"] if "shares" in batch and self.training else batch["label"]
        return {"class": functional.cross_entropy(outputs["logits"], target, label_smoothing=self.config.smoothing)}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Geometry and occlusion, then the texture again, then light, as strong as `options["augment"]` says."""
        strengths = options.get("augment")
        if strengths is None or "face" not in batch:
            return batch
        whole = ImageAugment(**strengths)
        light_off = {"brightness": 0.0, "contrast": 0.0, "gamma": 0.0, "blur": 0.0, "low_resolution": 0.0, "noise": 0.0}
        still = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "shear": 0.0, "flip": 0.0, "erase": 0.0}
        mean, std = (batch["face"].new_tensor(v[: batch["face"].shape[1]]).view(-1, 1, 1) for v in IMAGENET)
        pictures = replace(whole, **light_off)(255 * (batch["face"] * std + mean))
        changed = {**batch}
        if "lbp" in batch:
            changed["lbp"] = lbp_maps(grey_levels(pictures))
        changed["face"] = (replace(whole, **still)(pictures) / 255 - mean) / std
        return changed

    def phases(self) -> list[Phase]:
        """Proposal: SGD, a tenth of the learning rate for the branches, cosine decay, 40 epochs."""
        gentle = {branch: 0.1 for branch in (r"rgb\.", r"lbp\.") if getattr(self, branch[:3]) is not None}
        return [
            Phase("train", epochs=40, lr=1e-2, batch_size=64, weight_decay=5e-4, warmup=0.05, clip=5.0, rates=gentle,
                  optimizer="sgd", options={"augment": {"rotation": 10.0, "scale": 0.1, "shift": 0.06}})
        ]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Drawn faces of all labels in turn."""
        random = np.random.default_rng(seed)
        labels = [i % len(self.labels()) for i in range(count)]
        pictures = [face_image(self.labels()[i], random, self.config.size) for i in labels]
        batch: Batch = {
            key: torch.from_numpy(np.stack([spec(p) for p in pictures])) for key, spec in self.inputs().items()
        }
        return {**batch, "label": torch.tensor(labels)}


STAGES: dict[str, type[System]] = {"finetune": VTFF}
