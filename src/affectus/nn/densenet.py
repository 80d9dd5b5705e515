"""Densely connected networks under the parameter names of torchvision.

Huang et al., "Densely connected convolutional networks", CVPR 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Layers per block, by published name; growth 32 and 64 stem channels.
LAYOUTS: dict[str, tuple[int, ...]] = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32)}


class DenseLayer(nn.Module):
    """1×1 and 3×3 convolution, each after batch norm and ReLU; its output is appended to its input."""

    def __init__(self, inputs: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C + growth, H, W)
        """One layer."""
        new = self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """Halves channels and sides between two dense blocks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C / 2, H / 2, W / 2)
        """Norm, ReLU, 1×1 convolution, average pooling."""
        return nn.functional.avg_pool2d(self.conv(self.norm(x).relu()), 2, 2)


class DenseNetFeatures(nn.Module):
    """Pictures (B, 3, H, W) → map (B, width, H / 32, W / 32), normalised and *not* rectified, as torchvision's
    `features` is; its state-dict keys follow `features.` there (`conv0`, `denseblock1.denselayer1.norm1` …, `norm5`).

    Without `pooled` the stem is a 3×3 convolution of stride 2 and no pooling follows, for small pictures: side / 16.
    """

    def __init__(
        self,
        blocks: tuple[int, ...] = (6, 12, 24, 16),
        growth: int = 32,
        stem: int = 64,
        bottleneck: int = 4,
        channels: int = 3,
        pooled: bool = True,
    ) -> None:
        super().__init__()
        self.pooled = pooled
        self.conv0 = nn.Conv2d(channels, stem, 7 if pooled else 3, 2, 3 if pooled else 1, bias=False)
        self.norm0 = nn.BatchNorm2d(stem)
        self.order: list[str] = []
        inputs = stem
        for i, count in enumerate(blocks, 1):
            layers = {f"denselayer{j + 1}": DenseLayer(inputs + j * growth, growth, bottleneck) for j in range(count)}
            block = nn.Sequential()
            for name, layer in layers.items():
                block.add_module(name, layer)
            self.add_module(f"denseblock{i}", block)
            self.order.append(f"denseblock{i}")
            inputs += count * growth
            if i < len(blocks):
                self.add_module(f"transition{i}", Transition(inputs, inputs // 2))
                self.order.append(f"transition{i}")
                inputs //= 2
        self.norm5 = nn.BatchNorm2d(inputs)
        #: Channels of the map.
        self.width = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) → (B, width, H / 32, W / 32)
        """The map after the last batch norm."""
        x = self.norm0(self.conv0(x)).relu()
        if self.pooled:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for name in self.order:
            x = self.get_submodule(name)(x)
        return self.norm5(x)
