"""Backbones with three taps, and the branch that predicts an attribute from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError, ModelError
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.nn.resnet import LAYOUTS, resnet

LEVELS = ("low", "mid", "high")


class Trunk(nn.Module):
    """Feature maps of three depths: (B, 3, S, S) → `low` at about S/8, `mid` S/16, `high` S/32.

    `name` is a network of `nn.resnet` (maps after stages 2, 3, 4; `base` scales its width) or `efficientnet-lite0`,
    `-lite1`, `-lite2`, `-tiny` (last maps of each resolution, the highest after the head). `grid` > 0 averages maps
    down to at most that many places a side.
    """

    def __init__(self, name: str, base: int = 64, grid: int = 0) -> None:
        super().__init__()
        self.name, self.grid = name, grid
        if name.startswith("efficientnet-"):
            config = LiteConfig.named(name.removeprefix("efficientnet-"))
            self.network: nn.Module = EfficientNetLite(config, drop_path=0.0)
            with torch.no_grad():
                shapes = [m.shape[1:] for m in self.network.eval().maps(torch.zeros(1, 3, 64, 64))]  # type: ignore[operator]
            self.network.train()
            sides = [shape[1] for shape in shapes[:-1]]
            last = {side: i for i, side in enumerate(sides)}  # the deepest block of each resolution
            ends = sorted(last.values())
            # The deepest resolution is read after the head; below it the two before, or the nearest there are.
            self.taps = (ends[max(0, len(ends) - 3)], ends[max(0, len(ends) - 2)], len(shapes) - 1)
            self.widths = tuple(shapes[i][0] for i in self.taps)
        elif name in LAYOUTS:
            network = resnet(name, base=base)
            self.network, self.taps, self.widths = network, (1, 2, 3), network.widths[1:]
        else:
            raise ConfigError(name, "is no backbone known here", f"{', '.join(LAYOUTS)}, efficientnet-lite0/1/2")

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Maps by level."""
        maps = self.network.maps(image)  # type: ignore[operator]
        found = {level: maps[i] for level, i in zip(LEVELS, self.taps, strict=True)}
        if not self.grid:
            return found
        return {
            level: functional.adaptive_avg_pool2d(x, (min(self.grid, x.shape[2]), min(self.grid, x.shape[3])))
            for level, x in found.items()
        }

    def load_public(self, path: Path) -> None:
        """Take over public ImageNet weights (torchvision's names for residual networks, the PyTorch port's for Lite
        ones); a classifier in the file is left out. Raises ModelError when they do not fit."""
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Mapping[str, Tensor] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        try:
            if isinstance(self.network, EfficientNetLite):
                self.network.load_published(state)
            else:
                self.network.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
        except RuntimeError as error:
            raise ModelError(path, f"does not fit {self.name}: {str(error).splitlines()[0]}") from error


class AttributeBranch(nn.Module):
    """Code, classes and gate of one attribute: maps (B, C, h, w) → (B, code), (B, classes), (B, 1) in (0, 1).

    The gate depends on the confidence of the attribute, which is taken as it is: no gradient flows back through it.
    """

    def __init__(self, inputs: int, code: int, classes: int, several: bool = False) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(inputs, code, 1, bias=False), nn.BatchNorm2d(code), nn.ReLU())
        self.attention = nn.Conv2d(code, 1, 1)
        self.head = nn.Linear(code, classes)
        self.gate = nn.Linear(1, 1)
        self.several = several

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One attribute."""
        x = self.reduce(maps)  # (B, code, h, w)
        weights = self.attention(x).flatten(2).softmax(2)  # (B, 1, h w)
        code = (x.flatten(2) * weights).sum(2)
        logits = self.head(code)
        scores = logits.sigmoid() if self.several else logits.softmax(1)
        confidence = scores.amax(1, keepdim=True).detach()
        return code, logits, torch.sigmoid(self.gate(confidence))
