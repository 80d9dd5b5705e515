"""Spatio-temporal graph convolutions over facial landmarks.

Yu, Yin, Zhu: "Spatio-temporal graph convolutional networks", IJCAI 2018, in the form that Franceschini et al. (ICPR
2022) use on the 51 inner points of the 68-point face; parameter names are those of their public code.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError

NODES = 51
_EDGES = (
    "0-1 0-19 1-2 2-3 3-4 4-5 5-7 6-7 6-8 8-9 9-28 10-11 10-14 10-18 10-22 10-25 11-12 12-13 13-16 14-15 15-16 16-17 "
    "16-34 17-18 19-20 19-24 19-31 20-21 21-22 22-23 23-24 25-26 25-30 26-27 27-28 28-29 28-37 29-30 31-32 31-42 31-43 "
    "32-33 33-34 33-44 34-35 34-45 35-36 35-46 36-37 37-38 37-47 38-39 39-40 40-41 41-42 43-44 43-50 44-45 44-50 45-46 "
    "46-47 46-48 47-48 48-49 49-50"
)
#: Neighbouring points of the published graph.
EDGES: tuple[tuple[int, int], ...] = tuple(tuple(map(int, pair.split("-"))) for pair in _EDGES.split())  # type: ignore[misc]
#: Steps that an encoder takes off a sequence: five convolutions of kernel 3 without padding.
LOST_STEPS = 10


def face_graph() -> np.ndarray:
    """Adjacency of the 51 points: zeros and ones (51, 51), symmetric, empty diagonal."""
    table = np.zeros((NODES, NODES), np.float32)
    for a, b in EDGES:
        table[a, b] = table[b, a] = 1
    return table


def normalised(adjacency: np.ndarray, loops: float = 1.0) -> np.ndarray:
    """D^-1/2 (A + loops · I) D^-1/2 with the degrees D of the sum; `loops` 2 is what the public code ends up with."""
    table = np.asarray(adjacency, np.float64) + loops * np.eye(len(adjacency))
    scale = 1 / np.sqrt(np.maximum(table.sum(1), 1e-4))
    return (scale[:, None] * table * scale[None, :]).astype(np.float32)


class TimeBlock(nn.Module):
    """Gated convolution over time, node by node: (B, N, T, inputs) → (B, N, T - 2, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, (1, 3))
        self.conv2 = nn.Conv2d(inputs, outputs, (1, 3))
        self.conv3 = nn.Conv2d(inputs, outputs, (1, 3))

    def forward(self, x: Tensor) -> Tensor:
        """relu(c1 + sigmoid(c2) + c3)."""
        x = x.permute(0, 3, 1, 2)
        x = torch.relu(self.conv1(x) + torch.sigmoid(self.conv2(x)) + self.conv3(x))
        return x.permute(0, 2, 3, 1)


class GraphBlock(nn.Module):
    """Time, graph, time: (B, N, T, inputs) → (B, N, T - 4, width)."""

    def __init__(self, inputs: int, width: int, spatial: int, nodes: int) -> None:
        super().__init__()
        self.temporal1 = TimeBlock(inputs, width)
        self.Theta1 = nn.Parameter(torch.empty(width, spatial).uniform_(-1, 1) / math.sqrt(spatial))
        self.temporal2 = TimeBlock(spatial, width)
        self.batch_norm = nn.BatchNorm2d(nodes)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """`graph` (N, N) is normalised."""
        x = torch.einsum("ij,bjtc->bitc", graph, self.temporal1(x))
        return self.batch_norm(self.temporal2(torch.relu(x @ self.Theta1)))


class STGCN(nn.Module):
    """Landmarks (B, F, 51, 2) → (B, outputs); needs F > 10 steps."""

    graph: Tensor

    def __init__(self, steps: int, outputs: int = 512, width: int = 64, spatial: int = 16, loops: float = 1.0) -> None:
        super().__init__()
        if steps <= LOST_STEPS:
            raise ConfigError("steps", f"are {steps}; landmarks need more than {LOST_STEPS}", "take longer windows")
        self.steps = steps
        self.block1 = GraphBlock(2, width, spatial, NODES)
        self.block2 = GraphBlock(width, width, spatial, NODES)
        self.last_temporal = TimeBlock(width, width)
        self.fully = nn.Linear((steps - LOST_STEPS) * width, outputs)
        self.dropout = nn.Dropout(0.1)
        self.fc_out = nn.Linear(NODES * outputs, outputs)
        self.register_buffer("graph", torch.from_numpy(normalised(face_graph(), loops)), persistent=False)

    def nodes(self, x: Tensor) -> Tensor:
        """Features of every node: (B, F, 51, 2) → (B, 51, (F - 10) · width)."""
        if x.ndim != 4 or x.shape[1:] != (self.steps, NODES, 2):
            raise ConfigError("landmarks", f"have shape {tuple(x.shape)}; (batch, {self.steps}, {NODES}, 2) is needed")
        x = self.block2(self.block1(x.permute(0, 2, 1, 3), self.graph), self.graph)
        return self.dropout(self.last_temporal(x)).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """One vector per sequence."""
        return self.fc_out(self.fully(self.nodes(x)).flatten(1))
