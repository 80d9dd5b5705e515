"""NeuroGaze-Distill: a face model taught by an image teacher and by the geometry that brain signals give to feelings.

Three networks, each a stage; at inference only the last one is there, and it sees faces alone:

    eeg      scalp maps (B, 4, 32, 32) → CNN → z (B, 128), unit length → valence, arousal (B, 2)
             mean z per cell of the valence-arousal plane → 25 prototypes (25, 128), frozen
    teacher  face (B, 3, 224, 224) → ResNet-50 → 8 logits
    finetune face (B, 3, 224, 224) → ResNet-18 → f (B, 512) → 8 logits            class, logit distillation, compactness
                                        └→ linear → (B, 128) → cos with prototypes           prototype distillation

    L = CE + 0.30 · KD + 0.12 · prototypes + 0.012 · w(epoch) · compactness

Compactness draws faces of happiness and surprise to their class means, without drawing the two means together; its
weight comes in late, as half a cosine from epoch 20 to 60.

The code lies in a release archive that was not read, so what readme and a note on the paper leave open is a reading:

- the logit teacher is not explained (an EEG regressor cannot label faces): here a ResNet trained on the same labels,
  taken over with `initialise`; without one the student learns without that term;
- distilled logits: mean squared error at temperature 5; targets of the prototype loss: softmax of the cosines between
  the prototype of a class's anchor on the plane and all prototypes;
- maps: log power of theta, alpha, beta and gamma over four seconds; cap .2, margin .5, and which samples count (the
  probability of their class is .2 or more);
- without a bank of an EEG teacher the prototypes are vectors whose likeness falls with distance on the plane.

`gaze` in the name is historical. The positive-class term is a geometric regulariser, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.synthetic import brain_waves, face_image
from affectus.errors import ConfigError
from affectus.features.eeg import MAP_BANDS, log_power_maps
from affectus.features.inputs import IMAGENET, ArrayInput, ImageInput, InputSpec
from affectus.metrics.presence import presence_report
from affectus.nn.augment import change_standardised
from affectus.nn.losses.distillation import (
    PrototypeBank,
    compactness,
    late_cosine,
    logit_loss,
    prototype_loss,
    prototype_targets,
)
from affectus.nn.phase import Phase
from affectus.nn.resnet import LAYOUTS, ResNet
from affectus.systems.base import Batch, Outputs, System, require
from affectus.systems.card import Published, SystemCard

_NOTE = "public reading note of the paper"

CARD = SystemCard(
    name="neurogaze_distill",
    title="NeuroGaze-Distill: prototypes of brain signals taught to a face model",
    year=2025,
    paper="NeuroGaze-Distill: brain-informed distillation and depression-inspired geometric priors for robust facial "
    "emotion recognition, arXiv 2509.11916",
    code="https://github.com/Lixeeone/NeuroGaze-Distill (readme and notice; code in a release archive)",
    summary="Recognises the expression of one aligned face; in training the face model also learns from an image "
    "teacher's logits and from 25 frozen prototypes of an EEG teacher on the valence-arousal plane.",
    modalities=("eeg", "face"),
    perspective="expressed",
    task="expression of one aligned face",
    space="ferplus8",
    labels=("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    dimensions=("valence", "arousal"),
    stages=("eeg", "teacher", "finetune"),
    licence={"code": "MIT (public code, not used here)",
             "weights": "research only; no identification, no surveillance",
             "data": "DREAMER, MAHNOB-HCI: signed agreements; FER+: labels MIT, images research"},
    weights="release archive of the repository (tag v2025-09-13); key layout not known",
    published=(
        Published("FER+", "accuracy", 0.8306, "validation split, 8-way, full model", _NOTE),
        Published("FER+", "macro_f1", 0.6474, "validation split, 8-way, full model", _NOTE),
        Published("FER+", "accuracy", 0.7822, "validation split, 8-way, cross-entropy alone", _NOTE),
        Published("CK+", "macro_f1", 0.4933, "present labels only, no fine-tuning", _NOTE),
    ),
    deviations=(
        "logit teacher, map layout, prototype targets, cap and margin are readings: the code was not read",
        "without an EEG bank the prototypes only carry the geometry of the valence-arousal plane",
    ),
    limits=("prototype and compactness gains are about one point in the paper: compare several seeds",),
)  # fmt: skip

ELECTRODES = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")  # DREAMER
#: (valence, arousal) of the labels on the grid of prototypes, in the order of the card.
ANCHORS = ((0.0, 0.0), (0.8, 0.4), (0.4, 0.8), (-0.8, -0.4), (-0.6, 0.8), (-0.6, 0.4), (-0.6, 0.8), (-0.4, 0.0))


@dataclass(frozen=True)
class Config:
    """Settings of all three networks; `backbone` and `channels` are the student's, `teacher` and `teacher_channels` the
    image teacher's. `bank` is a file of `PrototypeBank.save` (empty: geometry alone), `width` that of its vectors.
    """

    labels: tuple[str, ...] = CARD.labels
    space: str = CARD.space
    anchors: tuple[tuple[float, float], ...] = ANCHORS
    size: int = 224
    grey: bool = False
    backbone: str = "resnet18"
    channels: int = 64
    stem: Literal["7x7", "3x3"] = "7x7"
    teacher: str = "resnet50"
    teacher_channels: int = 64
    bank: str = ""
    width: int = 128
    smoothing: float = 0.055
    logit_weight: float = 0.30
    prototype_weight: float = 0.12
    compactness_weight: float = 0.012
    temperature: float = 5.0
    form: Literal["mse", "kl"] = "mse"
    prototype_temperature: float = 0.9
    positive: tuple[str, ...] = ("happiness", "surprise")
    cap: float = 0.2
    margin: float = 0.5
    gate: float = 0.2
    ramp: tuple[float, float] = (20, 60)
    electrodes: tuple[str, ...] = ELECTRODES
    rate: float = 128.0
    seconds: float = 4.0
    map_size: int = 32
    map_channels: int = 32

    def __post_init__(self) -> None:
        for name in (self.backbone, self.teacher):
            if name not in LAYOUTS:
                raise ValueError(f"backbone {name!r} is none of {', '.join(LAYOUTS)}")
        if len(self.anchors) != len(self.labels):
            raise ValueError(f"anchors: {len(self.labels)} are needed")
        if unknown := set(self.positive) - set(self.labels):
            raise ValueError(f"positive: {', '.join(sorted(unknown))} are no labels")

    @classmethod
    def resnet50(cls) -> Config:
        """The larger published student."""
        return cls(backbone="resnet50")

    @classmethod
    def tiny(cls) -> Config:
        """For tests."""
        return cls(size=32, channels=4, stem="3x3", teacher="resnet18", teacher_channels=4, width=16, ramp=(0, 2),
                   map_size=16, map_channels=4, seconds=1.0)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class _Stage(System):
    card = CARD
    Config = Config
    config: _Config

    def __init__(self, config: _Config) -> None:
        super().__init__(config)


class _FaceStage(_Stage):
    """What teacher and student share: a ResNet over faces, and how they are measured."""

    select = "macro_f1"

    def __init__(self, config: _Config, name: str, channels: int) -> None:
        super().__init__(config)
        kind, blocks = LAYOUTS[name]
        self.backbone = ResNet(kind, blocks, 1 if config.grey else 3, channels, config.stem)
        self.fc = nn.Linear(self.backbone.width, len(config.labels))

    def inputs(self) -> dict[str, InputSpec]:
        """The aligned face, stretched to the size of the network."""
        return {"face": ImageInput(self.config.size, statistics=IMAGENET, grey=self.config.grey, of="face")}

    def forward(self, batch: Batch) -> Outputs:  # face → logits (B, classes), embedding (B, backbone width)
        require(batch, "face")
        wanted = (1 if self.config.grey else 3, self.config.size, self.config.size)
        if (shape := tuple(batch["face"].shape[1:])) != wanted:
            raise ConfigError("face", f"has shape {shape}; (B, {', '.join(map(str, wanted))}) is needed")
        features = self.backbone(batch["face"])
        return {"logits": self.fc(features), "embedding": features}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy with smoothed labels, or with the annotators' shares in training where the batch has them."""
        target = batch["shares"] if "shares" in batch and self.training else batch["label"]
        return {"class": functional.cross_entropy(outputs["logits"], target, label_smoothing=self.config.smoothing)}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Geometry and light of the picture, as strong as `options["augment"]` says."""
        if (strengths := options.get("augment")) is None:
            return batch
        return {**batch, "face": change_standardised(batch["face"], IMAGENET, strengths)}

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """As in the base, with macro F1 over all labels."""
        found = super().measure(outputs, targets)
        kept = targets["label"] >= 0
        scores = presence_report(targets["label"][kept], outputs["logits"][kept].argmax(1), self.labels())
        return {**found, "macro_f1": scores["8way"]["macro_f1"]}

    def phases(self) -> list[Phase]:
        """AdamW, cosine, batches of 128, 100 epochs, no averaging of weights."""
        light = {"rotation": 10.0, "scale": 0.1, "shift": 0.06}
        return [Phase("train", epochs=100, lr=2e-4, batch_size=128, weight_decay=0.05, options={"augment": light})]

    def example(self, count: int, seed: int = 0) -> Batch:
        """Drawn faces of all labels in turn."""
        random = np.random.default_rng(seed)
        labels = [i % len(self.labels()) for i in range(count)]
        spec = self.inputs()["face"]
        pictures = np.stack([spec(face_image(self.labels()[i], random, self.config.size)) for i in labels])
        return {"face": torch.from_numpy(pictures), "label": torch.tensor(labels)}


class ImageTeacher(_FaceStage):
    """Stage `teacher`: the network whose logits the student follows. Batch: `face` (B, 3 or 1, S, S), `label`."""

    stage = "teacher"

    def __init__(self, config: _Config) -> None:
        super().__init__(config, config.teacher, config.teacher_channels)


class Student(_FaceStage):
    """Stage `finetune`: the deployed network. Batch: `face` (B, 3 or 1, S, S), `label`, optionally `shares`.

    Saved weights hold backbone and classifier alone; projection, prototypes and teacher exist in training only.
    """

    prototypes: Tensor
    expected: Tensor

    def __init__(self, config: _Config) -> None:
        super().__init__(config, config.backbone, config.channels)
        self.project = nn.Linear(self.backbone.width, config.width)
        bank = PrototypeBank.from_grid(config.width)
        self.register_buffer("prototypes", torch.from_numpy(bank.vectors), persistent=False)
        self.register_buffer("expected", torch.zeros(len(config.labels), len(bank.vectors)), persistent=False)
        self.use_bank(bank)
        self._ramp = late_cosine(0, *config.ramp)
        # In a list, so that the teacher is no part of this module's parameters and weights.
        self._teacher: list[ImageTeacher] = []

    def use_bank(self, bank: PrototypeBank) -> None:
        """Learn from these prototypes; raises ConfigError when their width is not `Config.width`."""
        if bank.vectors.shape[1] != self.config.width:
            raise ConfigError("bank", f"is {bank.vectors.shape[1]} wide, the student's width is {self.config.width}")
        targets = prototype_targets(bank, np.array(self.config.anchors), self.config.prototype_temperature)
        self.prototypes = torch.from_numpy(bank.vectors).to(self.prototypes.device)
        self.expected = torch.from_numpy(targets).to(self.expected.device)

    def use_teacher(self, teacher: ImageTeacher) -> None:
        """Follow this teacher's logits; it learns nothing itself."""
        self._teacher = [teacher.eval().requires_grad_(False)]

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Weights of a `teacher` stage of this config become the teacher; others are the student's own start."""
        teacher = ImageTeacher(self.config)
        shapes = {key: value.shape for key, value in teacher.state_dict().items()}
        if {key: value.shape for key, value in state.items()} != shapes:
            return super().initialise(state)
        teacher.load_state_dict(dict(state))
        self.use_teacher(teacher)
        return sorted(self.state_dict())

    def enter(self, phase: Phase) -> None:
        """Reads the bank that the config names."""
        if self.config.bank:
            self.use_bank(PrototypeBank.read(self.config.bank))

    def begin(self, phase: Phase, epoch: int) -> None:
        """Sets the weight of the compactness term."""
        self._ramp = late_cosine(epoch, *self.config.ramp)

    def saved_state(self) -> dict[str, Tensor]:
        """Backbone and classifier."""
        return {key: value for key, value in self.state_dict().items() if not key.startswith("project.")}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The four weighted terms; no logit term without a teacher."""
        config, features, label = self.config, outputs["embedding"], batch["label"]
        found = super().losses(batch, outputs, options)
        if self._teacher:
            teacher = self._teacher[0].to(features.device)
            with torch.no_grad():
                wanted = teacher(batch)["logits"]
            distance = logit_loss(outputs["logits"], wanted, config.temperature, config.form)
            found["logits"] = config.logit_weight * distance
        near = prototype_loss(
            self.project(features), self.prototypes, self.expected[label], config.prototype_temperature
        )
        found["prototypes"] = config.prototype_weight * near
        sure = outputs["logits"].detach().softmax(-1).gather(1, label[:, None])[:, 0] >= config.gate
        classes = tuple(config.labels.index(name) for name in config.positive)
        spread = compactness(features, label, classes, sure, config.cap, config.margin)
        found["compactness"] = config.compactness_weight * self._ramp * spread
        return found


class EegTeacher(_Stage):
    """Stage `eeg`: scalp maps to felt valence and arousal. Batch: `eeg` (B, 4, S, S), `values` (B, 2) on [-1, 1]."""

    stage = "eeg"
    select = "pcc"

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        inputs = len(MAP_BANDS)
        for i in range(3):
            outputs = config.map_channels * 2**i
            layers += [
                nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            inputs = outputs
        self.trunk = nn.Sequential(*layers)
        self.embed = nn.Linear(inputs, config.width)
        self.head = nn.Linear(config.width, 2)

    def inputs(self) -> dict[str, InputSpec]:
        """Maps of log band power."""
        c = self.config
        make = partial(log_power_maps, electrodes=c.electrodes, rate=c.rate, seconds=c.seconds, size=c.map_size)
        return {"eeg": ArrayInput((len(MAP_BANDS), c.map_size, c.map_size), "eeg", make)}

    def forward(self, batch: Batch) -> Outputs:  # eeg → values (B, 2), embedding (B, width) of unit length
        require(batch, "eeg")
        z = functional.normalize(self.embed(self.trunk(batch["eeg"]).mean((2, 3))), dim=-1)
        return {"values": self.head(z), "embedding": z}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Mean squared error of the ratings; missing ones do not count."""
        known = ~batch["values"].isnan()
        gaps = torch.where(known, outputs["values"] - batch["values"].nan_to_num(), 0.0) ** 2
        return {"values": gaps.sum() / known.sum().clamp(min=1)}

    @torch.no_grad()
    def prototypes(self, batches: Iterable[Batch]) -> PrototypeBank:
        """The bank of labelled recordings, which should be held out of training."""
        self.eval()
        found = [(self(batch)["embedding"].cpu().numpy(), batch["values"].cpu().numpy()) for batch in batches]
        if not found:
            raise ConfigError("prototypes", "there is no recording to make them from")
        features, values = (np.concatenate(part) for part in zip(*found, strict=True))
        known = ~np.isnan(values).any(1)
        return PrototypeBank.from_features(features[known], values[known])

    def items(self, corpus: Corpus, column: str) -> Any:
        """Windows of the recordings of DREAMER with the ratings of their trial; other corpora hold ready maps."""
        if corpus.name != "dreamer":
            return None
        from affectus.corpora.readers import dreamer

        spec, length = self.inputs()["eeg"], round(self.config.seconds * self.config.rate)
        values = self.targets(corpus, column or "dim:valence, dim:arousal")["values"]
        rows = {name: row for row, name in enumerate(corpus.column("id"))}
        return [
            {
                "id": f"{name}/{start // length}",
                "eeg": spec(signal[:, start : start + length]),
                "values": values[rows[name]],
            }
            for name, signal, _ in dreamer.recordings(corpus.files)
            if name in rows
            for start in range(0, signal.shape[1] - length + 1, length)
        ]

    def phases(self) -> list[Phase]:
        """Proposal: AdamW for 30 epochs."""
        return [Phase("eeg", epochs=30, lr=1e-3, batch_size=64)]

    def example(self, count: int, seed: int = 0) -> Batch:
        """EEG-like noise whose alpha and beta power tell valence and arousal."""
        random, spec = np.random.default_rng(seed), self.inputs()["eeg"]
        values = random.uniform(-1, 1, (count, 2)).astype(np.float32)
        shape = (round(self.config.seconds * self.config.rate), len(self.config.electrodes))
        maps = np.stack([spec(brain_waves(v, a, random, shape, self.config.rate).T) for v, a in values])
        return {"eeg": torch.from_numpy(maps), "values": torch.from_numpy(values)}


STAGES: dict[str, type[System]] = {"eeg": EegTeacher, "teacher": ImageTeacher, "finetune": Student}
