"""S4D: stills help clips, measured against its ablations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from affectus.systems.s4d import S4D, Config

TINY = Config.tiny()


def textures(random: np.random.Generator, classes: np.ndarray, moving: bool) -> Tensor:
    """Stripes of four directions; clips flicker in contrast, pictures do not. (N, 3[, 4], 32, 32)"""
    y, x = np.mgrid[0:32, 0:32] / 32
    angle = classes * np.pi / 4
    phase = random.uniform(0, 2 * np.pi, len(classes))
    wave = np.sin(2 * np.pi * 4 * (np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y)
                  + phase[:, None, None])[:, None]  # fmt: skip
    shape = (len(classes), 3, 4, 32, 32) if moving else (len(classes), 3, 32, 32)
    if moving:
        wave = wave[:, :, None] * random.uniform(0.5, 1.0, (len(classes), 1, 4, 1, 1))
    return torch.from_numpy((0.5 * wave + random.normal(0, 0.7, shape)).astype(np.float32))


def learnt(kind: str, seed: int) -> float:
    """Accuracy on clips after 240 steps: all on few `clips`, or two of three on stills that number two of the four
    textures differently; with everything, the head included, `shared`, or with experts and a head per task (`moae`).
    """
    random = np.random.default_rng(seed)
    names = ("a", "b", "c", "d")
    config = replace(TINY, patch=8, depth=3, labels=names, image_labels=names, space="", image_space="",
                     expert_layers=2 if kind == "moae" else 0, smoothing=0.0, capacity=2.0)  # fmt: skip
    shown, many, asked = (np.arange(n) % 4 for n in (24, 480, 200))
    clips, stills, tests = textures(random, shown, True), textures(random, many, False), textures(random, asked, True)
    conflicting = np.array([1, 0, 2, 3])[many]
    torch.manual_seed(seed)
    system = S4D(config)
    if kind == "shared":  # one head for both: the conflict reaches every weight
        system.head["image"] = system.head["video"]
    optimizer = torch.optim.AdamW(system.parameters(), 2e-3, weight_decay=0.05)
    order = torch.Generator().manual_seed(seed)
    system.train()
    for step in range(240):
        if kind != "clips" and step % 3:
            rows = torch.randint(len(many), (32,), generator=order)
            batch = {"image": stills[rows], "image_label": torch.from_numpy(conflicting)[rows]}
        else:
            rows = torch.randint(len(shown), (12,), generator=order)
            batch = {"clip": clips[rows], "label": torch.from_numpy(shown)[rows]}
        optimizer.zero_grad()
        sum(system.losses(batch, system(batch)).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    system.eval()
    with torch.no_grad():
        return float((system({"clip": tests})["logits"].argmax(1).numpy() == asked).mean())


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.sheet("MoAE joint ≥ clip-only and > shared-weights joint on clips")
def test_stills_help_clips_when_experts_can_keep_the_tasks_apart() -> None:
    found = {kind: [learnt(kind, seed) for seed in range(3)] for kind in ("clips", "shared", "moae")}
    means = {kind: float(np.mean(values)) for kind, values in found.items()}
    assert means["moae"] >= means["clips"], found
    assert means["moae"] > means["shared"], found
