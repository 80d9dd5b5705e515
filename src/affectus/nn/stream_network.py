"""Frame streams through temporal networks of their own, fused frame by frame, to logits of every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError
from affectus.nn.causal_tcn import CausalTCN
from affectus.nn.stream_fusion import GatedConcat, JointTransformer, LeaderFollower
from affectus.nn.stream_items import UnitSpread

FusionName = Literal["lfan", "can", "jmt", "mt", "mean"]


class StreamNetwork(nn.Module):
    """Streams (B, T, D_m) by name → features (B, T, F) and logits of the frames (B, T, classes).

    Streams are standardised by statistics of training frames, except those named by `plain`. The fusion "mean" has a
    head per stream and averages their logits.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        channels: Sequence[Sequence[int]],
        fusion: FusionName,
        classes: int,
        width: int = 128,
        dropout: float = 0.1,
        plain: Sequence[str] = ("video",),
    ) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.unit = nn.ModuleDict({name: UnitSpread(size) for name, size in sizes.items() if name not in plain})
        self.temporal = nn.ModuleDict(
            {n: CausalTCN(s, w, dropout=dropout) for (n, s), w in zip(sizes.items(), channels, strict=True)}
        )
        widths = [own[-1] for own in channels]
        self.fusion: nn.Module | None = None
        if fusion == "lfan":
            self.fusion = LeaderFollower(widths)
        elif fusion == "can":
            self.fusion = GatedConcat(widths, width)
        elif fusion in ("jmt", "mt"):
            self.fusion = JointTransformer(widths, fusion == "jmt", width)
        elif fusion != "mean":
            raise ConfigError(fusion, "is no fusion of streams", "use lfan, can, jmt, mt or mean")
        wanted: list[Any] = widths if self.fusion is None else [self.fusion.width]
        self.heads = nn.ModuleList(nn.Linear(size, classes) for size in wanted)

    def learn(self, clips: Sequence[Mapping[str, np.ndarray | None]]) -> None:
        """Take the statistics of the streams from training clips, unless they are known."""
        for name, unit in self.unit.items():
            known = [x for clip in clips if (x := clip[name]) is not None]
            if known and not unit.known:
                unit.learn(known)  # type: ignore[operator]

    def forward(self, streams: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features and logits. Raises ConfigError that names a stream of another width or length."""
        made, length = [], next(iter(streams.values())).shape[1]
        for name, size in self.sizes.items():
            x = streams[name].float()
            if x.ndim != 3 or x.shape[1:] != (length, size):
                raise ConfigError(name, f"has shape {tuple(x.shape)}; (clips, {length}, {size}) is needed")
            made.append(self.temporal[name](self.unit[name](x) if name in self.unit else x))
        if self.fusion is None:
            logits = torch.stack([head(x) for head, x in zip(self.heads, made, strict=True)]).mean(0)
            return torch.cat(made, -1), logits
        feature = self.fusion(made)
        return feature, self.heads[0](feature)
