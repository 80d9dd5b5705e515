"""BReG-NeXt: residual networks whose shortcut is a bounded, learnt function of its input.

Hasani, Negi & Mahoor, "BReG-NeXt: facial affect computing using adaptive residual networks with bounded gradient",
IEEE Transactions on Affective Computing, 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError


class BoundedShortcut(nn.Module):
    """atan(a · x / √(c² + 1)) / (a · √(c² + 1)) with learnt a and c."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))
        self.c = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        scale = (self.c**2 + 1).sqrt()
        return torch.atan(self.a * x / scale) / (self.a * scale)


class BoundedBlock(nn.Module):
    """Batch norm, ELU and 3×3 convolution twice, plus the bounded shortcut: (B, inputs, H, W) → (B, outputs, H/s, W/s).

    A strided shortcut is averaged, and a narrower one sits in the middle of the wider channels between zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.extra = stride, (outputs - inputs) // 2
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = BoundedShortcut()
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_uniform_(conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        kept = self.shortcut(x)
        x = self.conv1(functional.elu(self.norm1(x)))
        x = self.conv2(functional.elu(self.norm2(x)))
        if self.stride > 1:
            kept = functional.avg_pool2d(kept, self.stride, self.stride)
        if self.extra:
            kept = functional.pad(kept, (0, 0, 0, 0, self.extra, self.extra))
        return x + kept


class BoundedResNet(nn.Module):
    """Pictures (B, 3, H, W), sides multiples of 4 (published: 112) → features (B, width).

    `blocks` are those of the three resolutions (published 7, 8 + 1, 7 + 1: the first of a later resolution halves the
    sides and doubles the channels); `base` the channels of the first.
    """

    def __init__(self, blocks: tuple[int, ...] = (7, 8, 7), base: int = 32, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, base, 3, 1, 1)
        stages: list[nn.Module] = []
        for i, count in enumerate(blocks):
            if i:
                stages.append(nn.Sequential(BoundedBlock(base * 2 ** (i - 1), base * 2**i, 2)))
            stages.append(nn.Sequential(*[BoundedBlock(base * 2**i, base * 2**i) for _ in range(count)]))
        self.stages = nn.Sequential(*stages)
        #: Features of a picture.
        self.width = base * 2 ** (len(blocks) - 1)
        self.norm = nn.BatchNorm2d(self.width)
        self.step = 2 ** (len(blocks) - 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) → (B, width)
        """Pooled features after the last norm and ELU."""
        if x.shape[-1] % self.step or x.shape[-2] % self.step:
            raise ConfigError("picture", f"has sides {tuple(x.shape[-2:])}; multiples of {self.step} are needed")
        return functional.elu(self.norm(self.stages(self.stem(x)))).mean((2, 3))
