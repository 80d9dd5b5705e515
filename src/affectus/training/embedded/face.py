"""Facial expression from a 48×48 crop: a face-recognition trunk fine-tuned on the FER+ vote distribution.

grey crop (B, 1, 48, 48) in [0, 255] → MobileNet-V1 trunk → mean and maximum over space (B, 2·1024) → 8 logits.
Targets are the ten crowd votes as a distribution (Barsoum et al., ICMI 2016), single dissenting votes removed as in
that paper's label preparation. The input is grey by definition, so colour cannot matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from affectus.metrics import accuracy, ece, macro_f1, nll, uar
from affectus.metrics.recalibration import softmax
from affectus.nn.augment import ImageAugment, mixup
from affectus.nn.efficientnet import EfficientNetLite
from affectus.nn.mobilenet import FaceMobileNet
from affectus.nn.phase import Phase
from affectus.training.task import Task

LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SIDE = 48


class FaceNet(nn.Module):
    """Trunk plus linear head; input grey (B, 1, S, S) in [0, 255], output logits (B, 8).

    `trunk` is any module with `maps(x)` (feature maps, the last is used) and `width`; `side` enlarges the crop first.
    """

    def __init__(self, trunk: FaceMobileNet | EfficientNetLite, side: int = SIDE, dropout: float = 0.3) -> None:
        super().__init__()
        self.trunk, self.side = trunk, side
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * trunk.width, len(LABELS))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        if self.side != images.shape[-1]:
            images = nn.functional.interpolate(images, (self.side, self.side), mode="bilinear", align_corners=False)
        x = ((images - 127.5) / 128).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        maps = self.trunk.maps(x)[-1]  # (B, width, S', S')
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return self.head(self.dropout(pooled))


@dataclass(frozen=True)
class FaceData:
    """Grey uint8 images (n, 48, 48) and their votes (n, 10) in the published column order."""

    images: np.ndarray
    votes: np.ndarray

    def targets(self) -> np.ndarray:
        """Vote distribution over the 8 emotions (n, 8) float32; single votes are dropped when others agree."""
        emotions = self.votes[:, : len(LABELS)].astype(np.float32)
        kept = np.where(emotions > 1, emotions, 0)
        kept = np.where(kept.sum(1, keepdims=True) > 0, kept, emotions)
        return kept / np.maximum(kept.sum(1, keepdims=True), 1)

    def usable(self) -> np.ndarray:
        """Rows whose most frequent vote is an emotion, not `unknown` or `no face`."""
        return self.votes[:, : len(LABELS)].max(1) >= self.votes.max(1)

    def scored(self) -> np.ndarray:
        """Rows with one strict majority that is an emotion: those on which FER+ accuracies are reported."""
        best = self.votes.max(1, keepdims=True)
        return self.usable() & ((self.votes == best).sum(1) == 1)

    def majority(self) -> np.ndarray:
        """Index of the most frequent emotion; ties go to the first in the published order."""
        return self.votes[:, : len(LABELS)].argmax(1)

    def __getitem__(self, rows: np.ndarray) -> FaceData:
        return FaceData(self.images[rows], self.votes[rows])


class FaceTask(Task):
    """Fine-tunes `FaceNet`; validates accuracy, UAR, F1, ECE and NLL on held-out training images."""

    select = "accuracy"

    def __init__(
        self, train: FaceData, validation: FaceData, model: FaceNet, split: str = "held-out part of train"
    ) -> None:
        self.model: FaceNet = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train = train[np.flatnonzero(train.usable())]
        self.validation = validation[np.flatnonzero(validation.scored())]
        self.validation_split = split
        self.augment = ImageAugment()

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        targets = self.train.targets()

        def collate(rows: list[int]) -> dict[str, Tensor]:
            images = torch.from_numpy(self.train.images[rows]).float()[:, None]
            return {"images": images, "targets": torch.from_numpy(targets[rows])}

        return DataLoader(
            range(len(targets)),  # type: ignore[arg-type]
            batch_size=phase.batch_size,
            shuffle=True,
            drop_last=len(targets) > phase.batch_size,
            collate_fn=collate,
            generator=torch.Generator().manual_seed(seed),
        )

    def enter(self, phase: Phase) -> None:
        """A phase may look at the crops at another size: small first is faster."""
        self.model.side = int(phase.options.get("side", self.model.side))

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        # Changed here rather than while loading: on a GPU the whole batch is then changed there, in full precision.
        with torch.autocast(batch["images"].device.type, enabled=False):
            changed = self.augment.scaled(float(phase.options.get("augment", 1.0)))(batch["images"])
        images, targets = mixup(changed, batch["targets"], phase.options.get("mixup", 0.0))
        logits = model(images).float()
        return {"votes": -(targets * logits.log_softmax(1)).sum(1).mean()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        truth = self.validation.majority()
        probabilities = softmax(logits_of(model, self.validation.images))
        guess = probabilities.argmax(1)
        return {
            "accuracy": accuracy(truth, guess),
            "uar": uar(truth, guess),
            "macro_f1": macro_f1(truth, guess),
            "ece": ece(truth, probabilities),
            "nll": nll(truth, probabilities),
        }

    def depth(self, name: str) -> int:
        """Head 0, then one step per trunk block counted from the output."""
        if name.startswith("head"):
            return 0
        count = len(self.model.trunk.blocks)
        if name.startswith("trunk.blocks."):
            return count - int(name.split(".")[2])
        return count + 1


def logits_of(model: nn.Module, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """Logits (n, 8) of grey uint8 images (n, S, S)."""
    device = next(model.parameters()).device
    parts = [torch.from_numpy(images[start : start + batch]) for start in range(0, len(images), batch)]
    with torch.no_grad():
        return torch.cat([model(part.to(device).float()[:, None]).float() for part in parts]).cpu().numpy()
