"""Vocal expression: the lower blocks of a speech recogniser's encoder, fine-tuned on RAVDESS speech.

log-mel (B, 80, T) → Whisper trunk → mean and deviation over time of its upper states, attentive mean and deviation of
their learned mix → 8 class logits and one arousal value in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from affectus.features.mel import log_mel_whisper
from affectus.metrics import accuracy, ccc, ece, macro_f1, nll, uar
from affectus.nn.augment import mixup
from affectus.nn.phase import Phase
from affectus.nn.whisper import AttentivePooling, WhisperTrunk
from affectus.training.speech_augment import SpeechAugment
from affectus.training.task import Task

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RATE = 16000


class VoiceNet(nn.Module):
    """Trunk, pooling of its last `states` states, and two heads; returns (B, 9): 8 logits, then arousal."""

    def __init__(
        self, trunk: WhisperTrunk | None = None, hidden: int = 192, dropout: float = 0.3, states: int = 2
    ) -> None:
        super().__init__()
        self.trunk = trunk or WhisperTrunk()
        self.states = states
        self.mix = nn.Parameter(torch.zeros(states))
        width = self.trunk.width
        self.pool = AttentivePooling(width)
        # A few dimensions of the encoder are many times larger than the rest: every pooled number is brought to unit
        # variance by itself, as standardising before a linear classifier does.
        self.standardise = nn.BatchNorm1d(2 * (states + 1) * width)
        pooled = self.standardise.num_features
        self.body = nn.Sequential(nn.Dropout(dropout), nn.Linear(pooled, hidden), nn.GELU(), nn.Dropout(dropout))
        self.classes, self.arousal = nn.Linear(hidden, len(LABELS)), nn.Linear(hidden, 1)

    def forward(self, mel: Tensor) -> Tensor:
        states = self.trunk(mel)[-self.states :]
        mixed = torch.stack([w * s for w, s in zip(self.mix.softmax(0), states, strict=True)]).sum(0)
        plain = [part for x in states for part in (x.mean(1), (x.var(1, correction=0) + 1e-5).sqrt())]
        features = self.body(self.standardise(torch.cat([*plain, self.pool(mixed)], 1)))
        return torch.cat([self.classes(features), self.arousal(features).tanh()], 1)


@dataclass(frozen=True)
class VoiceData:
    """Waveforms (float32, 16 kHz), class indices in the order of `LABELS`, arousal in [-1, 1] and speaker ids.

    `clip` numbers the clips of a corpus and stays with them in every part of it.
    """

    audio: Sequence[np.ndarray]
    label: np.ndarray
    arousal: np.ndarray
    speaker: np.ndarray
    clip: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    def __post_init__(self) -> None:
        if len(self.clip) != len(self.label):
            object.__setattr__(self, "clip", np.arange(len(self.label)))

    def __getitem__(self, rows: np.ndarray) -> VoiceData:
        parts = (part[rows] for part in (self.label, self.arousal, self.speaker, self.clip))
        return VoiceData([self.audio[i] for i in rows], *parts)


class VoiceTask(Task):
    """Fine-tunes `VoiceNet` on random crops of changed clips; validates on whole clips.

    How a clip is changed in an epoch follows from its number alone, and is kept in `changed` (clip, epoch → log-mel):
    given the same dictionary, further folds and members do not have to do it again (60 kB per entry).
    """

    select = "epoch"  # the number of epochs is fixed in advance: nothing is chosen on the validation speakers

    def __init__(
        self,
        train: VoiceData,
        validation: VoiceData,
        model: VoiceNet | None = None,
        split: str = "held-out speakers",
        changed: dict[tuple[int, int], np.ndarray] | None = None,
    ) -> None:
        self.model: VoiceNet = model or VoiceNet()
        self.train, self.validation, self.validation_split = train, validation, split
        self.augment, self.epoch = SpeechAugment(), 0
        self.changed = {} if changed is None else changed
        self.mels = [log_mel_whisper(audio) for audio in validation.audio]

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        rng = np.random.default_rng(seed)

        def collate(rows: list[int]) -> dict[str, Tensor]:
            frames = int(rng.integers(220, 380))  # 2.2 … 3.8 s, one length per batch so that no padding is needed
            mels = [self._crop(self._change(i), frames, rng) for i in rows]
            return {
                "mel": torch.from_numpy(np.stack(mels)),
                "label": torch.from_numpy(self.train.label[rows]).long(),
                "arousal": torch.from_numpy(self.train.arousal[rows]).float(),
            }

        return DataLoader(
            range(len(self.train.label)),  # type: ignore[arg-type]
            batch_size=phase.batch_size,
            shuffle=True,
            drop_last=len(self.train.label) > phase.batch_size,
            collate_fn=collate,
            generator=torch.Generator().manual_seed(seed),
        )

    def begin(self, phase: Phase, epoch: int) -> None:
        """Every epoch hears the clips changed in another way."""
        self.epoch = epoch

    def _change(self, row: int) -> np.ndarray:
        key = int(self.train.clip[row]), self.epoch
        if key not in self.changed:
            audio = self.augment(self.train.audio[row], np.random.default_rng(key))
            self.changed[key] = log_mel_whisper(audio).astype(np.float16)
        return self.changed[key].astype(np.float32)

    @staticmethod
    def _crop(mel: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
        if mel.shape[1] < frames:
            mel = np.pad(mel, ((0, 0), (0, frames - mel.shape[1])), mode="edge")
        start = int(rng.integers(0, mel.shape[1] - frames + 1))
        return mel[:, start : start + frames]

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        mel = mask_spectrogram(batch["mel"], phase.options.get("mask", 0.0))
        targets = nn.functional.one_hot(batch["label"], len(LABELS)).float()
        targets = torch.cat([targets, batch["arousal"][:, None]], 1)
        mel, targets = mixup(mel, targets, phase.options.get("mixup", 0.0))
        smoothing = phase.options.get("smoothing", 0.0)
        classes = targets[:, :-1] * (1 - smoothing) + smoothing / len(LABELS)
        output = model(mel).float()
        return {
            "classes": -(classes * output[:, :-1].log_softmax(1)).sum(1).mean(),
            "arousal": phase.options.get("arousal", 0.5) * (output[:, -1] - targets[:, -1]).pow(2).mean(),
        }

    def outputs(self, model: nn.Module, mels: Sequence[np.ndarray]) -> np.ndarray:
        """Logits and arousal (n, 9) of whole clips, one by one because their lengths differ."""
        device = next(model.parameters()).device
        with torch.no_grad():
            rows = [model(torch.from_numpy(mel)[None].to(device))[0].float() for mel in mels]
        return torch.stack(rows).cpu().numpy()

    def validate(self, model: nn.Module) -> dict[str, float]:
        if not self.mels:
            return {}
        output = torch.from_numpy(self.outputs(model, self.mels))
        probabilities = output[:, :-1].softmax(1).numpy()
        truth, guess = self.validation.label, probabilities.argmax(1)
        return {
            "uar": uar(truth, guess),
            "accuracy": accuracy(truth, guess),
            "macro_f1": macro_f1(truth, guess),
            "ece": ece(truth, probabilities),
            "nll": nll(truth, probabilities),
            "ccc_arousal": ccc(self.validation.arousal, output[:, -1].numpy()),
        }

    def depth(self, name: str) -> int:
        """Heads 0, then the trunk blocks counted from the top, then the convolutions."""
        if not name.startswith("trunk."):
            return 0
        count = len(self.model.trunk.blocks)
        return count - int(name.split(".")[2]) if name.startswith("trunk.blocks.") else count + 1


def mask_spectrogram(mel: Tensor, strength: float) -> Tensor:
    """Blank one random band of up to 24 mels and one stretch of up to a fifth of the time per clip (SpecAugment)."""
    if strength <= 0:
        return mel
    batch, bands, frames = mel.shape
    fill = mel.mean((1, 2), keepdim=True)
    for size, largest, view in ((bands, 24, (batch, bands, 1)), (frames, frames // 5, (batch, 1, frames))):
        width = torch.rand(batch, 1, device=mel.device) * largest * strength
        start = torch.rand(batch, 1, device=mel.device) * (size - width)
        index = torch.arange(size, device=mel.device)[None]
        inside = ((index >= start) & (index < start + width)).view(view)
        mel = torch.where(inside, fill, mel)
    return mel
