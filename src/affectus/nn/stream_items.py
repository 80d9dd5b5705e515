"""Clips of frame streams as windows to learn from, and frozen statistics that bring a stream to unit spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from affectus.features.stitching import cut_windows, spread_tokens


class RowItems(Sequence[dict[str, Any]]):
    """Ready items; `kept` holds the corpus row that each scored row comes from."""

    def __init__(self, items: Sequence[dict[str, Any]], kept: np.ndarray) -> None:
        self.items, self.kept = items, kept

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[int(index)]


class StreamItems(Sequence[dict[str, Any]]):
    """Windows of clips: streams (length, D) by name, `label`, `frames` (how many are real) and `id`.

    `clips` are dicts of streams by name, the first one frame by frame (T, D); others of another length are laid over
    its frames in equal blocks (tokens of a transcript), and missing ones (None) are zeros of their width. The last
    frame is repeated in a window that ends after the clip. `kept` holds the corpus row of every real frame in order.
    """

    def __init__(
        self,
        clips: Sequence[Mapping[str, np.ndarray | None]],
        widths: Mapping[str, int],
        labels: np.ndarray,
        rows: np.ndarray,
        ids: Sequence[str],
        length: int,
        hop: int,
    ) -> None:
        self.clips, self.widths, self.labels, self.ids, self.length = clips, widths, labels, ids, length
        self.counts = [len(next(iter(clip.values()))) for clip in clips]  # type: ignore[arg-type]
        starts = [cut_windows(np.zeros((count, 0)), length, hop)[1] for count in self.counts]
        self.places = [(clip, int(start)) for clip, found in enumerate(starts) for start in found]
        self.real = np.array([min(length, self.counts[clip] - start) for clip, start in self.places], np.int64)
        self.kept = np.repeat(np.array([rows[clip] for clip, _ in self.places], np.int64), self.real)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        clip, start = self.places[int(index)]
        frames = slice(start, start + self.length)
        item: dict[str, Any] = {}
        for name, values in self.clips[clip].items():
            found = spread_tokens(values, self.counts[clip], self.widths[name])[frames]
            item[name] = np.pad(found, ((0, self.length - len(found)), (0, 0)), mode="edge")
        return item | {"label": self.labels[clip], "frames": self.real[int(index)], "id": f"{self.ids[clip]}:{start}"}


class UnitSpread(nn.Module):
    """Streams (…, width) minus mean over standard deviation of the training frames; unchanged until `learn` was called.

    Kept with the weights, since a trained network is wrong without them.
    """

    centre: Tensor
    spread: Tensor
    known: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    def learn(self, clips: Sequence[np.ndarray]) -> None:
        """Take mean and deviation per number over the frames (T, width) of clips."""
        frames = np.concatenate(list(clips)).astype(np.float64)
        self.centre.copy_(torch.from_numpy(frames.mean(0)))
        self.spread.copy_(torch.from_numpy(np.maximum(frames.std(0), 1e-5)))
        self.known.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return (x - self.centre) / self.spread
