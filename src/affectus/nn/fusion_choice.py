"""The fusions of the MER tool kits by name, their settings, and the grid that published runs draw them from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from affectus.errors import ConfigError
from affectus.nn.cross_modal import CrossModalFusion
from affectus.nn.cyclic_translation import TranslationFusion
from affectus.nn.factorised_fusion import FactorisedFusion
from affectus.nn.memory_fusion import MemoryFusion
from affectus.nn.shared_private import SharedPrivateFusion
from affectus.nn.utterance_fusion import InfoMaxFusion, LowRankFusion, TensorFusion, WeighedSum

Fusion = Literal["attention", "lmf", "tfn", "misa", "mmim", "mult", "mfn", "graph_mfn", "mfm", "mctn"]
#: Those that take frame sequences (B, L, D) in place of codes, and of these the ones that step through all modalities.
SEQUENTIAL = ("mult", "mfn", "graph_mfn", "mfm", "mctn")
ALIGNED = SEQUENTIAL[1:]
#: Values that published runs draw their settings from, by fusion; for the aligned ones those of the tool kit MERBench,
#: whose code the benchmark of EmotionTalk bundles.
GRID: dict[str, dict[str, tuple[Any, ...]]] = {
    "attention": {"hidden": (64, 128, 256), "dropout": (0.2, 0.3, 0.4, 0.5)},
    "lmf": {"hidden": (32, 64, 128, 256), "rank": (3, 4, 5, 6), "dropout": (0.2, 0.3, 0.4, 0.5)},
    "tfn": {"hidden": (64, 128), "dropout": (0.2, 0.3, 0.4, 0.5)},
    "mult": {"layers": (2, 4, 6), "kernel": (1, 3), "clip": (0.6, 0.8, 1.0)},
    "mmim": {"layers": (1, 2, 3, 4), "alpha": (0.0, 0.1, 0.2), "beta": (0.0, 0.1, 0.2)},
    "misa": {"apart": (0.0, 0.1, 0.2), "together": (0.0, 0.1, 0.2), "rebuilt": (0.0, 0.1, 0.2), "lr": (1e-4, 1e-5)},
    "mfn": {"hidden": (128, 256), "dropout": (0.0, 0.3, 0.5, 0.7)},
    "graph_mfn": {"hidden": (128, 256), "dropout": (0.0, 0.3, 0.5, 0.7)},
    "mfm": {"hidden": (128, 256), "dropout": (0.0, 0.3, 0.5, 0.7), "rebuilt": (0.01, 0.1, 0.5, 1.0),
            "prior": (10.0, 50.0, 100.0)},
    "mctn": {"hidden": (64, 128, 256), "dropout": (0.0, 0.1, 0.2, 0.3), "forced": (0.3, 0.5),
             "translated": (0.1, 0.3, 0.5, 0.8, 1.0), "clip": (0.6, 0.8, 1.0)},
}  # fmt: skip


@dataclass(frozen=True)
class FusionSettings:
    """How modalities are fused: `fusion`, width `hidden` and `dropout` for all, the rest for some.

    `softmax`: attention; `rank`: lmf; `layers`: mult and mmim; `kernel` and `heads`: mult; `alpha` and `beta`: mmim;
    `apart` and `together`: misa; `rebuilt`: misa and mfm; `memory` (its width): mfn, graph_mfn and mfm; `prior`: mfm;
    `translated` (weight of its losses) and `forced` (share of steps that are told what came before): mctn.
    """

    fusion: Fusion = "attention"
    softmax: bool = False
    hidden: int = 128
    rank: int = 4
    layers: int = 4
    kernel: int = 1
    heads: int = 8
    alpha: float = 0.1
    beta: float = 0.1
    apart: float = 0.1
    together: float = 0.1
    rebuilt: float = 0.1
    memory: int = 128
    prior: float = 10.0
    translated: float = 0.3
    forced: float = 0.3
    dropout: float = 0.3

    def check_fusion(self, count: int, frames: bool, aligned: bool) -> None:
        """Raises ConfigError when the fusion does not fit `count` modalities of vectors or (aligned) frames."""
        if self.fusion not in GRID:
            raise ConfigError(self.fusion, "is no fusion", f"use {', '.join(GRID)}")
        if self.fusion in SEQUENTIAL and not frames:
            raise ConfigError(self.fusion, "does not fuse vectors", "use it with level frame alone")
        if self.fusion in ALIGNED and not aligned:
            raise ConfigError(self.fusion, "steps through all modalities at once", "set aligned")
        if count == 1 and self.fusion in (*SEQUENTIAL, "mmim"):
            raise ConfigError(self.fusion, "needs several modalities", "use attention for one")


def build_fusion(settings: FusionSettings, sizes: Sequence[int], lead: int = 0, padded: bool = False) -> nn.Module:
    """The module of a fusion. `sizes` are the widths of the frames of each modality; fusions of codes take one code of
    width `hidden` for each. `lead` is the place of the text; with `padded` LSTMs run over padding as well."""
    s, count = settings, len(sizes)
    match s.fusion:
        case "lmf":
            return LowRankFusion(s.hidden, count, s.rank)
        case "tfn":
            return TensorFusion(s.hidden, count, s.dropout)
        case "misa":
            return SharedPrivateFusion(s.hidden, count, s.dropout, weights=(s.apart, s.together, s.rebuilt))
        case "mmim":
            return InfoMaxFusion(s.hidden, count, s.dropout, lead, s.layers, s.alpha, s.beta)
        case "mult":
            return CrossModalFusion(sizes, s.hidden, s.heads, s.layers, s.kernel, s.dropout)
        case "mfn" | "graph_mfn":
            return MemoryFusion(sizes, s.hidden, s.memory, s.dropout, s.fusion == "graph_mfn", padded)
        case "mfm":
            return FactorisedFusion(sizes, s.hidden, s.memory, s.dropout, s.rebuilt, s.prior, padded)
        case "mctn":
            return TranslationFusion(sizes, s.hidden, lead, s.dropout, s.translated, s.forced)
    return WeighedSum(s.hidden, count, s.dropout, s.softmax)
