"""R(2+1)D: residual networks for clips whose 3-D convolutions are split into space and time.

Tran et al., "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018; parameter names are
torchvision's (`stem`, `layer1.0.conv1.0.0` …).
"""

from __future__ import annotations

from torch import Tensor, nn


def split_conv(inputs: int, outputs: int, middle: int, stride: int = 1) -> nn.Sequential:
    """A 3×3×3 convolution as 1×3×3 to `middle` channels, then 3×1×1."""
    return nn.Sequential(
        nn.Conv3d(inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class Block(nn.Module):
    """Two split convolutions with a shortcut: (B, inputs, T, H, W) → (B, outputs, T/stride, H/stride, W/stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        # As many parameters as the unsplit convolution would have.
        middle = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        self.conv1 = nn.Sequential(split_conv(inputs, outputs, middle, stride), nn.BatchNorm3d(outputs), nn.ReLU(True))
        self.conv2 = nn.Sequential(split_conv(outputs, outputs, middle), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class R2Plus1D(nn.Module):
    """The 18-layer network: clips (B, 3, T, H, W) → (B, outputs) through `fc`, dropout and a linear layer.

    `base` channels in the first stage (64 as published), doubled from stage to stage.
    """

    def __init__(self, outputs: int, base: int = 64, blocks: tuple[int, ...] = (2, 2, 2, 2)) -> None:
        super().__init__()
        middle = max(1, round(45 * base / 64))
        self.stem = nn.Sequential(
            nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, base, (3, 1, 1), 1, (1, 0, 0), bias=False),
            nn.BatchNorm3d(base),
            nn.ReLU(inplace=True),
        )
        width = base
        for i, count in enumerate(blocks):
            units = []
            for j in range(count):
                units.append(Block(width, base * 2**i, 2 if i and not j else 1))
                width = base * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*units))
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Sequential(nn.Dropout(0.1), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """One vector per clip."""
        x = self.stem(x)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))
