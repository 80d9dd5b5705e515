"""Inputs of conversations: every turn with its neighbours as token ids, and the voice of one turn as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from affectus.errors import MediaError
from affectus.features.inputs import InputSpec
from affectus.features.mel import slaney_filters
from affectus.features.signal import frames, mono
from affectus.types import Turn


@dataclass(frozen=True)
class TurnsInput(InputSpec):
    """A conversation, a list of `Turn`s or texts → ids (turns, length) int64, padded with `pad` on the right.

    Each turn is read with the one before and the one after it, which share the room that it leaves:
    start, before, end, turn, end, after, end. A neighbour that is missing leaves its separator; `causal` never shows
    the one after, `neighbours=False` neither. `encode` is a tokenizer's (text, length) → ids with special tokens.
    """

    encode: Callable[[str, int], list[int]]
    length: int = 64
    pad: int = 0
    neighbours: bool = True
    causal: bool = False

    takes: ClassVar[str] = "turns"

    @property
    def shape(self) -> tuple[int, ...]:
        """(any number of turns, length)."""
        return (-1, self.length)

    def __call__(self, raw: Sequence[Turn | str] | str) -> np.ndarray:
        texts = [raw] if isinstance(raw, str) else [t.text if isinstance(t, Turn) else t for t in raw]
        if not texts:
            raise MediaError("conversation", "holds no turn", "give a transcript with at least one")
        start, end = self.encode("", self.length)[0], self.encode("", self.length)[-1]
        words = [self.encode(text, self.length)[1:-1] for text in texts]
        out = np.full((len(texts), self.length), self.pad, np.int64)
        for i, own in enumerate(words):
            before = words[i - 1] if self.neighbours and i else []
            after = words[i + 1] if self.neighbours and not self.causal and i + 1 < len(words) else []
            own = own[: self.length - 4]
            room = self.length - 4 - len(own)
            after = after[: max(room // 2, room - len(before))]
            before = before[max(0, len(before) - (room - len(after))) :]
            ids = [start, *before, end, *own, end, *after, end]
            out[i, : len(ids)] = ids
        return out


@dataclass(frozen=True)
class MelPicture(InputSpec):
    """Voice as a grey picture: float32 mono → (frames, bins) in [0, 1], time downwards, zeros where the sound has
    ended.

    Loudest sample scaled to 1; Hann windows of 25 ms every 10 ms; logarithm of mel-filtered magnitudes; least and
    largest value of the utterance become 0 and 1.
    """

    frames: int = 400
    bins: int = 128
    rate: int = 16000

    takes: ClassVar[str] = "audio"

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, bins)."""
        return (self.frames, self.bins)

    def __call__(self, raw: Any) -> np.ndarray:
        size, hop = self.rate * 25 // 1000, self.rate // 100
        audio = mono(raw, self.rate)
        if not len(audio):
            raise MediaError("audio", "holds no sample")
        audio = audio[: size + (self.frames - 1) * hop]
        audio = np.pad(audio, (0, max(0, size - len(audio))))
        audio = audio / max(float(np.abs(audio).max()), 1e-8)
        n_fft = 1 << (size - 1).bit_length()
        magnitude = np.abs(np.fft.rfft(frames(audio, size, hop) * np.hanning(size), n_fft, axis=1))
        found = np.log(magnitude @ slaney_filters(self.bins, n_fft, self.rate) + 1e-6)
        low, high = float(found.min()), float(found.max())
        out = np.zeros(self.shape, np.float32)
        out[: len(found)] = (found - low) / max(high - low, 1e-8)
        return out
