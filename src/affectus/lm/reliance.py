"""On which modality does an answer rest? Attention of the token that writes it, and the weights of experts.

Attention is told in two ways that can disagree when one modality has far more tokens than the other: the whole mass on
a modality, and the mean per token. What it says about cause is little; the change of the answer's likelihood when a
modality is taken away (a system's `reliance`) says more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from affectus.lm.modality_experts import expert_layers
from affectus.lm.reallocation import Reallocation, numbers


@dataclass(frozen=True)
class Reliance:
    """Of every item: `mass` (B, layers, 2) attention of the last token on both groups of branches (mean over heads),
    `tokens` (B, 2) how many tokens they have, `weights` (B, layers with experts, 2) of the experts, NaN without."""

    mass: np.ndarray
    tokens: np.ndarray
    weights: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Share of the second group in the mass on both, mean over layers (B,); NaN where neither is there."""
        return _share(self.mass.mean(1))

    @property
    def share_per_token(self) -> np.ndarray:
        """The same for mean attention per token (B,)."""
        return _share(self.mass.mean(1) / np.maximum(self.tokens, 1))

    def rows(self, names: tuple[str, str] = ("visual", "audio")) -> list[dict[str, Any]]:
        """One record per item: mass, attention per token, tokens and expert weight by modality, and both shares of the
        second one."""
        mass, found = self.mass.mean(1), []
        weights = self.weights.mean(1) if self.weights.shape[1] else np.full_like(mass, np.nan)
        for i, (tokens, whole, per_token) in enumerate(zip(self.tokens, self.share, self.share_per_token, strict=True)):
            row: dict[str, Any] = {f"{names[1]}_share": float(whole), f"{names[1]}_share_per_token": float(per_token)}
            for m, name in enumerate(names):
                row[name] = {"mass": float(mass[i, m]), "per_token": float(mass[i, m] / max(1, tokens[m])),
                             "tokens": int(tokens[m]), "weight": float(weights[i, m])}  # fmt: skip
            found.append(row)
        return found


def _share(pair: np.ndarray) -> np.ndarray:
    total = pair.sum(1)
    return np.divide(pair[:, 1], total, out=np.full(len(pair), np.nan), where=total > 0)


def sweep(
    model: Any, settings: Reallocation, shares: Sequence[float], score: Callable[[], Mapping[str, float]]
) -> list[dict[str, float]]:
    """The curve from which `rho` is chosen, on clips held out for it and never on a benchmark: for every share what
    `score` (such as `metrics.subset_means` of the answers) finds while attention is moved by it, and `rho`."""
    found = []
    for rho in shares:
        with model.reallocating(replace(settings, rho=rho)):
            found.append({"rho": float(rho), **score()})
    return found


def measure(model: Any, inputs: Mapping[str, Any], settings: Reallocation) -> Reliance:
    """Attention on the two groups of `settings` while a model reads prompts (as `Processor.asking` gives them); with
    `rho` above 0 the masses are still those before anything is moved, but later layers see what earlier ones did."""
    with torch.no_grad(), model.reallocating(settings) as state:
        model(**inputs)
        masses = torch.stack([mass for _, mass in state.masses], 1).float().cpu().numpy()
    ids = inputs["modality_ids"]
    groups = [numbers(model.config.branch_names, names) for names in (settings.first, settings.second)]
    tokens = torch.stack([torch.isin(ids, ids.new_tensor(group)).sum(1) for group in groups], 1).cpu().numpy()
    routed = [layer.routing.weights.detach().float().cpu().numpy() for layer in expert_layers(model) if layer.routing]
    weights = np.stack(routed, 1) if routed else np.zeros((len(tokens), 0, 2), np.float32)
    return Reliance(masses, tokens, weights)
