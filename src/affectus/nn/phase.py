"""What one stretch of training does, declared by a system or a recipe and executed by the training loop."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    `train` names the parameters that learn (regular expressions matched from the start of the name; empty = all),
    `freeze` those that do not; `rates` multiplies the learning rate of matching parameters (first match wins).
    `layer_decay` < 1 lowers the rate by that factor per depth as told by the task's `depth(name)`.
    `ema` > 0 keeps an exponential moving average of the weights, which is then what is validated and kept.
    `optimizer` "sgd" takes `momentum` in place of `betas`. `schedule`: after the warm-up (a share of the steps) half a
    "cosine" down to `final_lr` of the peak, "constant", or "steps" (times `decay` every `decay_every` epochs, or
    at the epochs `milestones` where there are any).
    `patience` > 0 ends the phase after that many epochs without a better validation score.
    """

    name: str
    epochs: int
    lr: float
    batch_size: int
    weight_decay: float = 0.05
    warmup: float = 0.1
    final_lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    train: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0
    ema: float = 0.0
    clip: float = 1.0
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    decay: float = 0.1
    decay_every: int = 10
    milestones: tuple[int, ...] = ()
    patience: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Same for phases that train alike: a hash of all settings that are not left at their default."""
        plain = asdict(Phase(self.name, self.epochs, self.lr, self.batch_size))
        given = {k: v for k, v in asdict(self).items() if v != plain[k] or k in ("name", "epochs", "lr", "batch_size")}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
