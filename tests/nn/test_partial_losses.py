"""Losses with missing targets: equal to the plain ones where all are known, zero and differentiable where none is."""

from __future__ import annotations

import torch
from torch.nn import functional

from affectus.nn.losses.partial import known_binary, known_cross_entropy


def test_known_targets_count_alone() -> None:
    logits, targets = torch.randn(6, 4), torch.tensor([0, -1, 3, -1, 1, 2])
    kept = targets >= 0
    torch.testing.assert_close(
        known_cross_entropy(logits, targets), functional.cross_entropy(logits[kept], targets[kept])
    )
    binary = (torch.rand(6, 4) > 0.5).float()
    torch.testing.assert_close(
        known_binary(logits, binary, kept),
        functional.binary_cross_entropy_with_logits(logits[kept], binary[kept]),
    )
    torch.testing.assert_close(
        known_binary(logits, binary), functional.binary_cross_entropy_with_logits(logits, binary)
    )


def test_nothing_known_costs_nothing_and_gives_zero_gradients() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = known_cross_entropy(logits, torch.full((3,), -1)) + known_binary(
        logits, torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool)
    )
    loss.backward()
    assert float(loss) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
