"""What is left of a system when modalities are missing: fixed conditions and random loss.

For systems that read `present` (B, M) of a batch beside its modalities. Conditions are every part of the modalities
("audio", "audio + text", …, all of them), the usual protocol; random loss takes each modality of each item away with a
probability, never its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from affectus.errors import ConfigError
from affectus.metrics import weighted_f1
from affectus.nn.modality_presence import drop_modalities, modalities_present, subsets
from affectus.systems.base import System
from affectus.systems.prediction import collate

#: Rates of random loss.
RATES = tuple(round(0.1 * k, 1) for k in range(8))
Score = Callable[[npt.ArrayLike, npt.ArrayLike], float]


def missing_scores(
    system: System, items: Dataset, score: Score = weighted_f1, rates: Sequence[float] = RATES, seed: int = 0
) -> dict[str, dict[str, float]]:
    """`conditions`: score by condition, all modalities last, and `mean` over those that lack something; `random`: score
    by rate, the same losses for every system with the same seed.

    An item that has nothing left under a condition counts with what the system says to an empty one. Raises ConfigError
    for a system that refuses missing modalities or has only one.
    """
    names = tuple(getattr(system.config, "modalities", ()))
    if system.card.missing != "handled" or len(names) < 2:
        raise ConfigError(system.card.name, "has no missing modalities to score", "use one with several it can miss")
    if "label" not in items[0]:
        raise ConfigError(system.card.name, "is scored by classes when modalities are missing", "name a label column")
    batch = collate([items[i] for i in range(len(items))])  # type: ignore[arg-type]
    there = modalities_present(batch, names)
    scored = lambda present: _scored(system, {**batch, "present": present}, score)
    found: dict[str, float] = {}
    for part in subsets(names):
        kept = torch.tensor([name in part for name in names])
        found[" + ".join(part)] = scored(there & kept)
    lacking = [value for key, value in found.items() if key != " + ".join(names)]
    random = {}
    for rate in rates:
        draw = torch.Generator().manual_seed(seed)
        random[f"{rate:g}"] = scored(drop_modalities(there, rate, draw))
    return {"conditions": found | {"mean": float(np.mean(lacking))}, "random": random}


@torch.no_grad()
def _scored(system: System, batch: dict[str, Any], score: Score, size: int = 256) -> float:
    system.eval()
    guesses = []
    for start in range(0, len(batch["present"]), size):
        part = {name: value[start : start + size] for name, value in batch.items()}
        guesses.append(system(part)["logits"].argmax(-1).cpu().numpy())
    known = np.asarray(batch["label"]) >= 0
    return float(score(np.asarray(batch["label"])[known], np.concatenate(guesses)[known]))
