"""What a picture evokes: Gaussian processes on the features of a frozen ImageNet trunk and on colour attributes.

pixels at two sizes (B, 3, S, S) → EfficientNet-Lite trunk → pooled last features | pooled earlier maps, averaged over
the sizes | colour attributes | faces and what they express → standardised blocks → one Gaussian process each for
valence and arousal → mean and standard deviation (B, 2, 2).
The few hyper-parameters are fitted by marginal likelihood; nothing of the trunk is trained on 755 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from affectus.metrics import pcc
from affectus.nn.efficientnet import EfficientNetLite
from affectus.nn.gaussian_process import GaussianProcess, products
from affectus.nn.phase import Phase
from affectus.training.task import Task

TARGETS = ("valence", "arousal")


class SceneFeatures(nn.Module):
    """Pooled features, averaged over a picture at two sizes and its mirror: last layer, and several earlier maps."""

    def __init__(self, trunk: EfficientNetLite, levels: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk, self.levels = trunk, levels

    def forward(self, pixels: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        """Two sizes (B, 3, S, S) in [0, 255] → (B, head), (B, sum of widths)."""
        found = [self._pooled(picture) for picture in (pixels, large)]
        return (found[0][0] + found[1][0]) / 2, (found[0][1] + found[1][1]) / 2

    def _pooled(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([pixels, pixels.flip(3)])
        maps = self.trunk.maps((both - 127) / 128)
        last = maps[-1]
        parts = [maps[level].mean((2, 3)) for level in self.levels]
        parts += [last.amax((2, 3)), (last - last.mean((2, 3), keepdim=True)).square().mean((2, 3)).sqrt()]
        halves = [torch.stack(part.chunk(2)).mean(0) for part in (last.mean((2, 3)), torch.cat(parts, 1))]
        return halves[0], halves[1]


@dataclass(frozen=True)
class SceneData:
    """Feature blocks (n, d_b), targets (n, 2) in [-1, 1] and theme of each picture."""

    blocks: tuple[np.ndarray, ...]
    targets: np.ndarray
    theme: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> SceneData:
        return SceneData(tuple(b[rows] for b in self.blocks), self.targets[rows], self.theme[rows])

    @property
    def sizes(self) -> list[int]:
        """Columns per block."""
        return [block.shape[1] for block in self.blocks]

    def matrix(self) -> np.ndarray:
        """All blocks side by side (n, d)."""
        return np.concatenate(self.blocks, 1).astype(np.float32)


class SceneNet(nn.Module):
    """The Gaussian processes with what they remember: standardisation, training items, solved systems."""

    mean: Tensor
    scale: Tensor
    known: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, data: SceneData) -> None:
        super().__init__()
        x = torch.from_numpy(data.matrix())
        self.sizes = data.sizes
        y = torch.from_numpy(data.targets).float()
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("scale", 1 / (x.std(0) + 1e-4))
        self.register_buffer("known", (x - self.mean) * self.scale)
        self.register_buffer("centre", y.mean(0))
        self.register_buffer("spread", y.std(0).clamp(min=1e-3))
        self.processes = nn.ModuleList(GaussianProcess(len(self.sizes)) for _ in TARGETS)
        self.inner, self.squared = products(self.known, self.known, self.sizes)
        self.y = ((y - self.centre) / self.spread).T
        self.solved: list[tuple[Tensor, Tensor]] = []

    def solve(self) -> SceneNet:
        """Solve for prediction with the current hyper-parameters."""
        with torch.no_grad():
            self.solved = [
                gp.condition(self.inner, self.squared, y)  # type: ignore[operator]
                for gp, y in zip(self.processes, self.y, strict=True)
            ]
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, d) → (B, 2, 2): [valence, arousal] × [mean, standard deviation] in [-1, 1] units."""
        x = (x - self.mean) * self.scale
        inner, squared = products(x, self.known, self.sizes)
        own = torch.stack([(part**2).mean(1) for part in x.split(self.sizes, 1)])
        rows = []
        for index, (gp, (alpha, inverse)) in enumerate(zip(self.processes, self.solved, strict=True)):
            mean, deviation = gp.predict(inner, squared, own, alpha, inverse)  # type: ignore[operator]
            rows.append(
                torch.stack([self.centre[index] + self.spread[index] * mean, self.spread[index] * deviation], 1)
            )
        return torch.stack(rows, 1)


class SceneTask(Task):
    """Fits the hyper-parameters by full-batch steps; one step per epoch."""

    select = "epoch"

    def __init__(self, train: SceneData, validation: SceneData, split: str = "held-out themes") -> None:
        self.net = SceneNet(train)
        self.model = self.net
        self.validation, self.validation_split = validation, split

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        return DataLoader([{"step": torch.zeros(1)}], batch_size=None)  # type: ignore[arg-type]

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        return {
            name: gp.loss(self.net.inner, self.net.squared, y)  # type: ignore[operator]
            for name, gp, y in zip(TARGETS, self.net.processes, self.net.y, strict=True)
        }

    def validate(self, model: nn.Module) -> dict[str, float]:
        if not len(self.validation.targets):
            return {}
        with torch.no_grad():
            found = self.net.solve()(torch.from_numpy(self.validation.matrix())).numpy()
        return {f"pcc_{name}": pcc(self.validation.targets[:, i], found[:, i, 0]) for i, name in enumerate(TARGETS)}
