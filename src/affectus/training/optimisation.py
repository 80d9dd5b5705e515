"""Parameter groups and learning-rate schedules from a `Phase`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from affectus.nn.phase import Phase


def select_parameters(model: nn.Module, phase: Phase) -> None:
    """Set `requires_grad` as the phase declares; raises ValueError when nothing would learn or a pattern is idle."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in (*phase.train, *phase.freeze, *phase.rates):
        if not any(re.match(pattern, name) for name in names):
            raise ValueError(f"phase {phase.name!r}: no parameter matches {pattern!r}")
    for name, parameter in model.named_parameters():
        wanted = not phase.train or any(re.match(pattern, name) for pattern in phase.train)
        parameter.requires_grad_(wanted and not any(re.match(pattern, name) for pattern in phase.freeze))
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"phase {phase.name!r} trains nothing")


def parameter_groups(model: nn.Module, phase: Phase, depth: Callable[[str], int]) -> list[dict[str, Any]]:
    """Groups by learning rate and weight decay; vectors (norms, biases) are never decayed."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = next((f for pattern, f in phase.rates.items() if re.match(pattern, name)), 1.0)
            lr = phase.lr * rate * phase.layer_decay ** depth(name)
            decay = phase.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


def build_optimizer(groups: list[dict[str, Any]], phase: Phase) -> torch.optim.Optimizer:
    """The optimiser of a phase over parameter groups."""
    if phase.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=phase.lr, momentum=phase.momentum)
    # One pass over the memory of each tensor: on a CPU several times faster than one pass per operation.
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    return torch.optim.AdamW(groups, lr=phase.lr, betas=phase.betas, fused=fused)


def rate_schedule(optimizer: torch.optim.Optimizer, phase: Phase, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate over the `steps` of a phase: linear warm-up over `phase.warmup` of them, then `phase.schedule`."""
    rise = max(1, round(phase.warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        if phase.schedule == "constant":
            return 1.0
        if phase.schedule == "steps":
            epoch = step * phase.epochs // max(1, steps)
            passed = sum(epoch >= at for at in phase.milestones)
            return phase.decay ** (passed if phase.milestones else epoch // phase.decay_every)
        progress = min(1.0, (step - rise) / max(1, steps - rise))
        return phase.final_lr + (1 - phase.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
