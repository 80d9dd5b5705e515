"""Encoders of word vectors and of plain vectors, and the two views that contrastive learning draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from affectus.nn.st_gcn import LOST_STEPS

#: Modalities that are sequences, with the public names of their encoders and projectors and our own.
SEQUENCES: dict[str, tuple[tuple[str, str], ...]] = {
    "audio": (("audio_encoder.", "encoders.audio."), ("proj_audio.", "projectors.audio.")),
    "landmarks": (("stgcn.", "encoders.landmarks."), ("proj_ld.", "projectors.landmarks.")),
    "video": (("video_encoder.model.", "encoders.video."), ("proj_video.", "projectors.video.")),
    "text": (
        ("trnn1.", "encoders.text.encoder."),
        ("text_linear.", "encoders.text.linear."),
        ("proj_text.", "projectors.text."),
    ),
}


@dataclass(frozen=True)
class PublishedEncoders:
    """What a public checkpoint holds: modalities, width of the features, steps of the landmark network (0: none)."""

    modalities: tuple[str, ...]
    width: int
    steps: int


def published_encoders(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], PublishedEncoders]:
    """Weights of the public code of Franceschini et al. (ICPR 2022), or its checkpoint's `model_state_dict`, under our
    names. The template of the text layers, which is never run, and the fixed positions are left out; keys that are not
    known keep their names."""
    state = state.get("model_state_dict", state)
    names = [pair for pairs in SEQUENCES.values() for pair in pairs]
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith(("text_encoder_layer.", "text_pos_encoder.")):
            own = next((own + key.removeprefix(public) for public, own in names if key.startswith(public)), key)
            renamed[own] = value
    held = tuple(name for name in SEQUENCES if any(key.startswith(f"encoders.{name}.") for key in renamed))
    ends = [v.shape[0] for k, v in renamed.items() if k.startswith("projectors.") and k.endswith(".2.weight")]
    steps = 0
    if (last := renamed.get("encoders.landmarks.fully.weight")) is not None:
        channels = renamed["encoders.landmarks.last_temporal.conv1.weight"].shape[0]
        steps = last.shape[1] // channels + LOST_STEPS
    return renamed, PublishedEncoders(held, ends[0] if ends else 0, steps)


class WordTransformer(nn.Module):
    """Word vectors (B, T, size) → (B, outputs): sinusoidal positions, post-norm transformer layers, mean over time.

    `by_batch` adds the position of the item in its batch instead of that of the word, as the public code of
    Franceschini et al. (ICPR 2022) does.
    """

    def __init__(
        self, size: int, outputs: int, layers: int = 6, heads: int = 5, hidden: int = 2048, by_batch: bool = False
    ) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(size, heads, hidden, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(size, outputs)
        self.by_batch = by_batch

    def forward(self, x: Tensor) -> Tensor:
        """One vector per text."""
        places = sinusoids(len(x) if self.by_batch else x.shape[1], x.shape[2]).to(x)
        x = self.dropout(x + (places[:, None] if self.by_batch else places))
        return self.linear(self.dropout(self.encoder(x).mean(1)))


class VectorEncoder(nn.Module):
    """A vector (B, size) → (B, outputs): normalisation over the training items, one hidden layer."""

    def __init__(self, size: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(size, affine=False),
            nn.Linear(size, 2 * outputs),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * outputs, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """One vector per item."""
        return self.layers(x)


def sinusoids(count: int, size: int) -> Tensor:
    """Positions (count, size): sine in even and cosine in odd columns (Vaswani et al., 2017)."""
    place = torch.arange(count, dtype=torch.float)[:, None]
    rate = torch.exp(torch.arange(0, size, 2).float() * (-math.log(10000.0) / size))
    table = torch.zeros(count, size)
    table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)[:, : size // 2]
    return table


def window(x: Tensor, start: Tensor, length: int, dim: int) -> Tensor:
    """`length` steps of `x` along `dim` from an own start per item: start (B,) → the same with that length."""
    rows = start.to(x.device)[:, None] + torch.arange(length, device=x.device)
    shape = [len(x)] + [1] * (x.ndim - 1)
    shape[dim] = length
    index = rows.view(shape).expand(*x.shape[:dim], length, *x.shape[dim + 1 :])
    return x.gather(dim, index)


def second_view(x: Tensor, noise: float) -> Tensor:
    """Another view of vectors (B, size): numbers dropped with probability `noise` and as much Gaussian noise, in units
    of their spread over the batch."""
    spread = x.std(0, keepdim=True).nan_to_num() if len(x) > 1 else torch.ones_like(x[:1])
    kept = torch.rand_like(x) >= noise
    return torch.where(kept, x, x.mean(0, keepdim=True)) + noise * spread * torch.randn_like(x)


def two_views(
    batch: Mapping[str, Any], plan: Mapping[str, tuple[int, int]], starts: int, steps: int, noise: float
) -> dict[str, Tensor]:
    """Two windows of every item, at the same place for all modalities, under `<name>` and `<name>:2`.

    `plan` says for each modality the axis of time and the length of a window there; axis 0 is a vector without time.
    A window starts at one of `starts` places in units of `steps` per window.
    """
    count = len(batch[next(iter(plan))])
    found: dict[str, Tensor] = {}
    for view in ("", ":2"):
        start = torch.randint(0, starts, (count,))
        for name, (axis, length) in plan.items():
            x = batch[name]
            if axis:
                found[name + view] = window(x, start * length // steps, length, axis)
            else:
                found[name + view] = second_view(x, noise) if view else x
    return found
