"""What a student can learn from a teacher: its logits, or the geometry of its prototypes on the valence–arousal plane.

Logits: Hinton et al., "Distilling the knowledge in a neural network", 2015. Prototypes, their similarity loss and the
compactness term follow "NeuroGaze-Distill", arXiv 2509.11916.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from affectus.errors import ConfigError


def grid_centres(size: int = 5) -> np.ndarray:
    """Centres of `size` equal cells of [-1, 1]: −0.8, −0.4, 0, 0.4, 0.8 for five."""
    return (np.arange(size) * 2 + 1) / size - 1


def grid_cell(valence: np.ndarray, arousal: np.ndarray, size: int = 5) -> np.ndarray:
    """Cell numbers `row · size + column` of points on [-1, 1]²: the column counts valence, the row arousal, both from
    the lowest; points outside go to the nearest cell."""
    column, row = (
        np.clip(np.floor((np.asarray(v) + 1) / 2 * size), 0, size - 1).astype(int) for v in (valence, arousal)
    )
    return row * size + column


@dataclass(frozen=True)
class PrototypeBank:
    """Frozen unit vectors (size², width), one per cell of the valence–arousal grid.

    `filled` (size²,) says which of them rest on samples; the others copy their nearest filled cell.
    """

    vectors: np.ndarray
    filled: np.ndarray

    @property
    def size(self) -> int:
        """Cells per side of the grid."""
        return math.isqrt(len(self.vectors))

    @property
    def digest(self) -> str:
        """Hash of the vectors: says which bank a student learnt from."""
        return hashlib.sha256(np.ascontiguousarray(self.vectors, "<f4").tobytes()).hexdigest()

    @classmethod
    def from_features(cls, features: np.ndarray, values: np.ndarray, size: int = 5) -> PrototypeBank:
        """Means of L2-normalised features (n, width) per cell of their (valence, arousal) (n, 2), normalised again.

        Raises ConfigError when there is no sample or a shape does not fit.
        """
        features, values = np.asarray(features, np.float64), np.asarray(values, np.float64)
        if features.ndim != 2 or values.shape != (len(features), 2) or not len(features):
            raise ConfigError("prototypes", f"features {features.shape} and values {values.shape} do not go together")
        units = _unit(features)
        cells = grid_cell(values[:, 0], values[:, 1], size)
        sums = np.zeros((size * size, features.shape[1]))
        np.add.at(sums, cells, units)
        filled = np.bincount(cells, minlength=size * size) > 0
        places = _places(size)
        known = np.flatnonzero(filled)
        gaps = ((places[:, None] - places[known]) ** 2).sum(-1).round(9)
        return cls(_unit(sums[known[gaps.argmin(1)]]).astype(np.float32), filled)

    @classmethod
    def from_grid(cls, width: int, size: int = 5, reach: float = 0.6, seed: int = 0) -> PrototypeBank:
        """A bank without a teacher: seeded random Fourier features of the cell centres, whose cosine falls with the
        distance d on the grid as exp(−d² / (2 · reach²)) (Rahimi & Recht, 2007)."""
        random = np.random.default_rng(seed)
        angles = _places(size) @ random.normal(0, 1 / reach, (2, width)) + random.uniform(0, 2 * np.pi, width)
        return cls(_unit(np.cos(angles)).astype(np.float32), np.zeros(size * size, bool))

    def shuffled(self, seed: int = 0) -> PrototypeBank:
        """The same vectors in other cells: the control that tells whether their geometry matters."""
        order = np.random.default_rng(seed).permutation(len(self.vectors))
        return PrototypeBank(self.vectors[order], self.filled[order])

    def save(self, path: str | Path) -> Path:
        """Write as `.npz` with the arrays `vectors` and `filled`."""
        path = Path(path)
        with path.open("wb") as stream:
            np.savez(stream, vectors=self.vectors, filled=self.filled)
        return path

    @classmethod
    def read(cls, path: str | Path) -> PrototypeBank:
        """Read what `save` wrote; raises ConfigError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as held:
                vectors, filled = np.asarray(held["vectors"], np.float64), np.asarray(held["filled"], bool)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(path, "holds no prototype bank", "give an .npz with vectors and filled") from error
        if vectors.ndim != 2 or math.isqrt(len(vectors)) ** 2 != len(vectors) or filled.shape != (len(vectors),):
            raise ConfigError(path, f"vectors {vectors.shape} and filled {filled.shape} are no square grid")
        return cls(_unit(vectors).astype(np.float32), filled)


def prototype_targets(bank: PrototypeBank, anchors: np.ndarray, temperature: float = 0.9) -> np.ndarray:
    """What a face of each class should be similar to, float32 (classes, size²), rows summing to 1.

    `anchors` (classes, 2) are the classes' points (valence, arousal); row c is softmax(cos(p_k(c), p) / τ) with k(c)
    the anchor's cell.
    """
    anchors = np.asarray(anchors, np.float64)
    own = bank.vectors[grid_cell(anchors[:, 0], anchors[:, 1], bank.size)]
    scores = own @ bank.vectors.T / temperature
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def prototype_loss(features: Tensor, prototypes: Tensor, targets: Tensor, temperature: float = 0.9) -> Tensor:
    """Mean KL(targets ‖ softmax(cos(features, prototypes) / τ)), in nats; no gradient reaches prototypes or targets.

    `features` (B, width), `prototypes` (K, width), `targets` (B, K).
    """
    similar = functional.normalize(features, dim=-1) @ functional.normalize(prototypes.detach(), dim=-1).T
    return functional.kl_div((similar / temperature).log_softmax(-1), targets.detach(), reduction="batchmean")


def logit_loss(
    student: Tensor, teacher: Tensor, temperature: float = 5.0, form: Literal["mse", "kl"] = "mse"
) -> Tensor:
    """Distance of logits (B, classes) at a temperature; no gradient reaches the teacher.

    "mse": mean squared difference of logits divided by T. "kl": T² · KL(teacher ‖ student) of the softened softmax.
    """
    student, teacher = student / temperature, teacher.detach() / temperature
    if form == "mse":
        return functional.mse_loss(student, teacher)
    divergence = functional.kl_div(
        student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True
    )
    return divergence * temperature**2


def compactness(
    features: Tensor, labels: Tensor, classes: tuple[int, ...], counted: Tensor, cap: float = 0.2, margin: float = 0.5
) -> Tensor:
    """Spread of some classes above a cap, and closeness of their means below a margin, on L2-normalised features.

    Σ_c max(0, Var_c − cap) + Σ_{c ≠ c'} max(0, margin − ‖μ_c − μ_c'‖²) over `classes`, with Var_c the mean squared
    distance from the class mean. Statistics are those of the batch rows (B,) marked in `counted`; a class needs two of
    them to have a variance and one to have a mean.
    """
    units = functional.normalize(features, dim=-1)
    member = torch.stack([(labels == c) & counted for c in classes], 1).to(units)  # (B, P)
    count = member.sum(0)
    means = (member.T @ units) / count.clamp(min=1)[:, None]  # (P, width)
    gaps = ((units[:, None] - means) ** 2).sum(-1)  # (B, P)
    variance = (gaps * member).sum(0) / count.clamp(min=1)
    spread = (functional.relu(variance - cap) * (count > 1)).sum()
    apart = ((means[:, None] - means[None]) ** 2).sum(-1)
    both = (count[:, None] > 0) & (count[None] > 0) & ~torch.eye(len(classes), dtype=torch.bool, device=units.device)
    return spread + (functional.relu(margin - apart) * both).sum()


def late_cosine(epoch: float, start: float = 20, end: float = 60) -> float:
    """Weight of a term that comes in late: 0 before `start`, ½(1 − cos(π (e − start)/(end − start))), 1 after `end`."""
    progress = min(1.0, max(0.0, (epoch - start) / max(end - start, 1e-9)))
    return 0.5 * (1 - math.cos(math.pi * progress))


def _places(size: int) -> np.ndarray:
    """(valence, arousal) of every cell's centre, (size², 2)."""
    centres = grid_centres(size)
    return np.column_stack([np.tile(centres, size), np.repeat(centres, size)])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − mean cosine of paired vectors (B, D): 0 when they point the same way, 1 when orthogonal (UniEmoX, L2)."""
    return 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1).mean()


def profile_distance(student: Tensor, teacher: Tensor, anchors: Tensor) -> Tensor:
    """1 − mean cosine of the similarity profiles of paired vectors (B, D) to all `anchors` (M, D) (UniEmoX, L1).

    A profile holds the cosines of one vector to every anchor, paired or not. Any positive scale of the similarities
    leaves it as it is, and so does whatever of the student is orthogonal to all anchors.
    """
    units = functional.normalize(anchors.float(), dim=-1)
    profiles = (functional.normalize(v.float(), dim=-1) @ units.T for v in (student, teacher))
    return cosine_distance(*profiles)
