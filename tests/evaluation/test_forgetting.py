"""Forgetting: what was known before and is not known after, with interval, and over the phases of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus.errors import ConfigError
from affectus.evaluation.forgetting import change, forgetting, phase_ends
from affectus.training.system_task import BatchItems


def test_change_counts_what_was_lost_and_gained() -> None:
    before = np.array([True] * 80 + [False] * 20)
    after = np.array([True] * 50 + [False] * 30 + [True] * 5 + [False] * 15)
    found = change(before, after)
    assert (found.n, found.lost, found.gained) == (100, 30, 5)
    assert (found.before, found.after) == pytest.approx((0.8, 0.55))
    assert found.change == pytest.approx(-0.25)
    assert found.low < -0.25 < found.high < 0
    same = change(before, before)
    assert (same.change, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ConfigError, match="100 items with 99"):
        change(before, after[1:])


def test_two_states_of_a_system_on_the_same_items() -> None:
    pytest.importorskip("torch")
    import torch

    from affectus.systems import registry

    before, after = (registry.build("emotion_qwen", "tiny", seed=1) for _ in range(2))
    items = before.example(8)
    optimizer = torch.optim.AdamW([p for p in after.parameters() if p.requires_grad], 1e-2)
    general = {k: v[1::2] for k, v in items.items()}
    for _ in range(25):
        optimizer.zero_grad()
        sum(after.losses(general, after(general)).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    found = forgetting(before, after, BatchItems(items))
    assert {name: part.n for name, part in found.items()} == {"general": 4, "emotion": 4}
    assert found["general"].before == 0
    assert found["general"].after >= 0.75
    assert found["general"].gained == 4 * found["general"].after
    assert found["emotion"].change <= 0


def test_phases_of_a_run(tmp_path: Path) -> None:
    def line(phase: str, epoch: int, loss: float, **more: Any) -> str:
        return json.dumps({"phase": phase, "epoch": epoch, "loss": loss, **more}) + "\n"

    (tmp_path / "log.jsonl").write_text(
        line("general", 1, 2.0, sure_general=0.2) + line("general", 2, 1.0, sure_general=0.6)
        + line("joint", 1, 0.5, sure_general=0.5, sure_emotion=0.4) + line("joint", 2, 0.9, sure_general=0.1)
    )  # fmt: skip
    first, second = phase_ends(tmp_path)
    assert (first["epoch"], first["sure_general"], first["sure_general_change"]) == (2, 0.6, 0)
    assert second["sure_general_change"] == pytest.approx(-0.1)
    assert second["sure_emotion_change"] == 0
    with pytest.raises(ConfigError, match="does not exist"):
        phase_ends(tmp_path / "nowhere")
