"""EfficientNet-Lite image backbones.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite
variants (Google, 2020) drop squeeze-and-excitation, use ReLU6 and keep stem and head unscaled, which makes them
quantise well and run fast on CPUs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError

# (expansion, output channels, repeats, stride, kernel) of EfficientNet-B0, Table 1 of the paper.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


@dataclass(frozen=True)
class LiteConfig:
    """Scaling of one Lite variant: width and depth multipliers and the image side it was published with (px)."""

    width: float
    depth: float
    side: int
    head: int = 1280
    stem: int = 32
    stages: tuple[tuple[int, int, int, int, int], ...] = STAGES

    @classmethod
    def named(cls, name: str) -> LiteConfig:
        """`lite0` … `lite2` as published, or `tiny`; raises ConfigError for another name."""
        known = {"lite0": cls(1.0, 1.0, 224), "lite1": cls(1.0, 1.1, 240), "lite2": cls(1.1, 1.2, 260)}
        known["tiny"] = cls.tiny()
        if name not in known:
            raise ConfigError(name, "is no EfficientNet-Lite variant", f"choose one of {', '.join(known)}")
        return known[name]

    @classmethod
    def tiny(cls) -> LiteConfig:
        """A few thousand parameters, for tests."""
        return cls(1.0, 1.0, 32, head=32, stem=8, stages=((1, 8, 1, 1, 3), (2, 16, 2, 2, 3), (2, 24, 1, 2, 5)))


def round_channels(channels: int, width: float, divisor: int = 8) -> int:
    """Scale a channel count by `width` and round to a multiple of `divisor`, never losing more than 10 %."""
    scaled = channels * width
    rounded = max(divisor, int(scaled + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * scaled else rounded


class SamePad(nn.Module):
    """TensorFlow "SAME" padding for a strided convolution: the extra pixel goes to the right and the bottom."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        pads = [max((math.ceil(n / self.stride) - 1) * self.stride + self.kernel - n, 0) for n in x.shape[-2:]]
        (top, left) = (p // 2 for p in pads)
        return nn.functional.pad(x, (left, pads[1] - left, top, pads[0] - top))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    pad = [SamePad(kernel, stride)] if stride > 1 else []
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)
    return [*pad, conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class MBConv(nn.Module):
    """Inverted residual: 1×1 expansion, depthwise convolution, linear 1×1 projection, drop-path on the residual."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(*_conv(inputs, hidden, 1), nn.ReLU6()) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Sequential(*_conv(hidden, hidden, kernel, stride, groups=hidden), nn.ReLU6())
        self.project = nn.Sequential(*_conv(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) → (B, C', H/stride, W/stride)
        y = self.project(self.depthwise(self.expand(x)))
        if not self.residual:
            return y
        if self.training and self.drop:
            keep = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * keep / (1 - self.drop)
        return x + y


class EfficientNetLite(nn.Module):
    """Convolutional trunk up to the pooled feature vector.

    `stem_stride=1` keeps the resolution of small inputs (a 48×48 face then meets the same feature-map sizes as a
    96×96 one) without any change of the weights.
    """

    def __init__(self, config: LiteConfig, stem_stride: int = 2, drop_path: float = 0.2) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(*_conv(3, config.stem, 3, stem_stride), nn.ReLU6())
        last = len(config.stages) - 1
        plan = []
        for index, (expansion, channels, repeats, stride, kernel) in enumerate(config.stages):
            # The Lite variants leave the first and the last stage at their original depth.
            count = repeats if index in (0, last) else math.ceil(repeats * config.depth)
            plan += [
                (expansion, round_channels(channels, config.width), stride if i == 0 else 1, kernel)
                for i in range(count)
            ]
        blocks, inputs = [], config.stem
        for index, (expansion, outputs, stride, kernel) in enumerate(plan):
            blocks.append(MBConv(inputs, outputs, expansion, kernel, stride, drop_path * index / len(plan)))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(*_conv(inputs, config.head, 1), nn.ReLU6())
        self.width = config.head

    def maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps after every block and after the head; x: (B, 3, H, W) float."""
        x = self.stem(x)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return [*maps, self.head(x)]

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) → (B, head)
        return self.maps(x)[-1].mean((2, 3))

    @staticmethod
    def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of the public PyTorch port (`_blocks.3._depthwise_conv.weight` …) to ours.

        The classification layer is left out. Raises RuntimeError on a key the port does not have.
        """
        # The convolution sits behind a padding module exactly where the stride is 2, so its index depends on the block.
        names = {
            "_expand_conv": "expand.conv",
            "_bn0": "expand.norm",
            "_depthwise_conv": "depthwise.conv",
            "_bn1": "depthwise.norm",
            "_project_conv": "project.conv",
            "_bn2": "project.norm",
        }
        ends = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}
        renamed = {}
        for key, value in state.items():
            if key.startswith("_fc."):
                continue
            match = re.fullmatch(r"(?:_blocks\.(\d+)\.)?(\w+)\.(\w+)", key)
            target = (names if match and match[1] else ends).get(match[2]) if match else None
            if match is None or target is None:
                raise RuntimeError(f"unknown key {key!r} in the published weights")
            renamed[f"blocks.{match[1]}.{target}.{match[3]}" if match[1] else f"{target}.{match[3]}"] = value
        return renamed

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load public ImageNet weights strictly; raises RuntimeError on any missing or unknown key."""
        own = {}
        for key, value in self.from_published(state).items():
            part, role, kind = key.rsplit(".", 2)
            wanted: type[nn.Module] = nn.Conv2d if role == "conv" else nn.BatchNorm2d
            places = [
                name
                for name, module in self.named_modules()
                if name.rpartition(".")[0] == part and isinstance(module, wanted)
            ]
            # Without such a layer the name stays as it is, and the strict loading below refuses it.
            own[f"{places[0]}.{kind}" if places else key] = value
        self.load_state_dict(own, strict=True)
