"""Residual networks under the parameter names of torchvision.

He et al., "Deep residual learning for image recognition", CVPR 2016; bottlenecks carry their stride in the 3×3
convolution, as torchvision's weights do.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError

#: Kind of block and number of blocks per stage, by published name.
LAYOUTS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, ...]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut: (B, inputs, H, W) → (B, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions with a shortcut: (B, inputs, H, W) → (B, 4 · width, H / stride, W / stride)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """A residual network: pictures (B, channels, H, W) → pooled features (B, width), or logits where `classes` > 0.

    `blocks` are the numbers of blocks per stage, `base` the channels of the first stage (doubled from stage to stage).
    `stem` "7x7" is the published one (stride 2 and max pooling: side / 4); "3x3" keeps the resolution of small
    pictures. State-dict keys are torchvision's (`conv1`, `bn1`, `layer1.0.conv1` …, `fc`).
    """

    def __init__(
        self,
        block: Literal["basic", "bottleneck"] = "basic",
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        channels: int = 3,
        base: int = 64,
        stem: Literal["7x7", "3x3"] = "7x7",
        classes: int = 0,
    ) -> None:
        super().__init__()
        kind = BasicBlock if block == "basic" else Bottleneck
        large = stem == "7x7"
        self.conv1 = nn.Conv2d(channels, base, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        inputs = base
        #: Channels after each stage.
        self.widths: tuple[int, ...] = tuple(base * 2**i * kind.expansion for i in range(len(blocks)))
        for i, count in enumerate(blocks):
            units: list[nn.Module] = []
            for j in range(count):
                units.append(kind(inputs, base * 2**i, 2 if i and not j else 1))
                inputs = self.widths[i]
            setattr(self, f"layer{i + 1}", nn.Sequential(*units))
        #: Channels of the pooled features.
        self.width = inputs
        self.fc = nn.Linear(inputs, classes) if classes else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps after every stage; at 224 pixels and the 7×7 stem their sides are 56, 28, 14 and 7."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        found = []
        for i in range(len(self.widths)):
            x = getattr(self, f"layer{i + 1}")(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, H, W) → (B, width) or (B, classes)
        """Pooled features of the last stage, through the classifier where there is one."""
        pooled = torch.flatten(nn.functional.adaptive_avg_pool2d(self.maps(x)[-1], 1), 1)
        return pooled if self.fc is None else self.fc(pooled)


def resnet(
    name: str, channels: int = 3, classes: int = 0, base: int = 64, stem: Literal["7x7", "3x3"] = "7x7"
) -> ResNet:
    """A network of `LAYOUTS` by name; raises ConfigError for an unknown one."""
    if name not in LAYOUTS:
        raise ConfigError(name, "is no residual network known here", f"choose one of {', '.join(LAYOUTS)}")
    block, blocks = LAYOUTS[name]
    return ResNet(block, blocks, channels, base, stem, classes)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
