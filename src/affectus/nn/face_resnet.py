"""Improved residual networks (IR, IR-SE) of face recognition.

Deng et al., "ArcFace", CVPR 2019, section 3.1: batch norm before the first convolution, PReLU between the two, no
stride in the stem; IR-SE adds squeeze-and-excitation (Hu et al., CVPR 2018). State-dict keys are those of the PyTorch
code that most published face weights use (`input_layer`, `body.N.res_layer`, `body.N.shortcut_layer`,
`output_layer`).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from affectus.errors import ConfigError

#: Blocks per stage, by depth.
LAYOUTS: dict[int, tuple[int, ...]] = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}


class SqueezeExcite(nn.Module):
    """Channel gate from pooled features: (B, C, H, W) → same shape."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The gated map."""
        pooled = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * self.fc2(self.fc1(pooled).relu()).sigmoid()


class FaceBlock(nn.Module):
    """One IR or IR-SE block: (B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if inputs == outputs:
            self.shortcut_layer = nn.MaxPool2d(1, stride)  # picks every `stride`-th pixel
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        layers: list[nn.Module] = [
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if squeeze:
            layers.append(SqueezeExcite(outputs))
        self.res_layer = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return self.res_layer(x) + self.shortcut_layer(x)


class FaceResNet(nn.Module):
    """Faces (B, 3, side, side), RGB in [-1, 1] → embedding (B, width); sides divisible by 16 (published: 112).

    `depth` names a layout; `blocks`, `strides` and `base` make other sizes (channels double from stage to stage).
    Without `width` there is no output layer and the forward gives the map (B, 8 · base, side / 16, side / 16).
    """

    def __init__(
        self,
        depth: int = 50,
        squeeze: bool = False,
        side: int = 112,
        width: int = 512,
        dropout: float = 0.5,
        base: int = 64,
        blocks: tuple[int, ...] | None = None,
        strides: tuple[int, ...] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        if blocks is None and depth not in LAYOUTS:
            raise ConfigError(
                f"IR-{depth}", "is no face network known here", f"depths are {', '.join(map(str, LAYOUTS))}"
            )
        counts = blocks or LAYOUTS[depth]
        self.input_layer = nn.Sequential(nn.Conv2d(3, base, 3, 1, 1, bias=False), nn.BatchNorm2d(base), nn.PReLU(base))
        units: list[nn.Module] = []
        inputs = base
        for i, count in enumerate(counts):
            for j in range(count):
                units.append(FaceBlock(inputs, base * 2**i, 1 if j else strides[i], squeeze))
                inputs = base * 2**i
        self.body = nn.Sequential(*units)
        #: Channels of the last map.
        self.channels = inputs
        last = side // math.prod(strides[: len(counts)])
        self.output_layer = (
            nn.Sequential(
                nn.BatchNorm2d(inputs),
                nn.Dropout(dropout),
                nn.Flatten(),
                nn.Linear(inputs * last * last, width),
                nn.BatchNorm1d(width),
            )
            if width
            else None
        )

    def maps(self, x: Tensor) -> Tensor:
        """The last feature map, (B, channels, side / 16, side / 16)."""
        return self.body(self.input_layer(x))

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, side, side) → (B, width)
        """Embedding without normalisation; the map where there is no output layer."""
        x = self.maps(x)
        return x if self.output_layer is None else self.output_layer(x)
