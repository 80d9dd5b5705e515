"""Heads on top of encoder features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class MlpHead(nn.Module):
    """Linear layers `fc1`, `fc2` … from `widths[0]` to `widths[-1]`, with ReLU and dropout between them."""

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        for i in range(len(widths) - 1):
            self.add_module(f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))

    def forward(self, x: Tensor) -> Tensor:  # (…, widths[0]) → (…, widths[-1])
        *hidden, last = self.children()
        for layer in hidden:
            x = functional.dropout(functional.relu(layer(x)), self.dropout, self.training)
        return last(x)
