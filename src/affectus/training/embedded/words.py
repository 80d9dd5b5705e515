"""Emotion in sentences: a small sentence encoder fine-tuned on GoEmotions (28 labels) and EmoBank (VAD) together.

token ids (B, L) → MiniLM → [CLS ; mean over tokens] of the last layer → 28 independent logits
                          → means over tokens of the last layers → VAD in [-1, 1].
Each row carries the labels of its own corpus only; the other head is masked for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from affectus.metrics import pcc
from affectus.metrics.multilabel import multilabel_f1
from affectus.nn.phase import Phase
from affectus.training.task import Task

VAD = ("valence", "arousal", "dominance")


class WordsNet(nn.Module):
    """Any BERT-like encoder plus heads; returns (B, labels + 3): logits, then valence, arousal, dominance."""

    def __init__(self, encoder: nn.Module, width: int, labels: int = 28, dropout: float = 0.1, states: int = 3) -> None:
        super().__init__()
        self.encoder, self.states = encoder, states
        self.dropout = nn.Dropout(dropout)
        self.body = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.labels = nn.Linear(width, labels)
        self.vad = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(states * width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, len(VAD)),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        found = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        states = found[-self.states :]  # each (B, L, D)
        weight = mask[..., None].to(states[-1].dtype)
        means = [(state * weight).sum(1) / weight.sum(1).clamp(min=1) for state in states]
        features = self.dropout(self.body(self.dropout(torch.cat([states[-1][:, 0], means[-1]], 1))))
        return torch.cat([self.labels(features), self.vad(torch.cat(means, 1)).tanh()], 1)


@dataclass(frozen=True)
class WordsData:
    """Token ids per text, label matrix (n, 28), VAD (n, 3) in [-1, 1] and what a teacher says of VAD (n, 3).

    Rows are NaN where something is unknown; without a teacher all of `taught` is.
    """

    ids: Sequence[Sequence[int]]
    labels: np.ndarray
    vad: np.ndarray
    taught: np.ndarray = field(default_factory=lambda: np.empty((0, len(VAD)), np.float32))

    def __post_init__(self) -> None:
        if len(self.taught) != len(self.ids):
            object.__setattr__(self, "taught", np.full((len(self.ids), len(VAD)), np.nan, np.float32))

    def __getitem__(self, rows: np.ndarray) -> WordsData:
        return WordsData([self.ids[i] for i in rows], self.labels[rows], self.vad[rows], self.taught[rows])

    def __add__(self, other: WordsData) -> WordsData:
        joined = [np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("labels", "vad", "taught")]
        return WordsData([*self.ids, *other.ids], *joined)


class LengthBuckets(Sampler[list[int]]):
    """Batches of texts of similar length in random order, so that little time goes into padding."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, pool: int = 50) -> None:
        self.lengths, self.batch_size, self.seed, self.pool = np.asarray(lengths), batch_size, seed, pool

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(self.lengths))
        batches: list[list[int]] = []
        for start in range(0, len(order), self.batch_size * self.pool):
            part = order[start : start + self.batch_size * self.pool]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size].tolist() for i in range(0, len(part), self.batch_size)]
        yield from (batches[i] for i in rng.permutation(len(batches)))


@dataclass
class WordsTask(Task):
    """Fine-tunes `WordsNet`; validates macro-F1 (thresholds fitted on half of the validation rows, scored on the other
    half, and the reverse) and Pearson r per dimension."""

    model: nn.Module
    train: WordsData
    validation: WordsData
    validation_split: str = "held-out part of train"
    select: str = "score"
    layers: int = 6
    positive: np.ndarray = field(init=False)
    rarity: np.ndarray = field(init=False)
    spread: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        known = self.train.labels[~np.isnan(self.train.labels[:, 0])]
        self.positive = known.mean(0) if len(known) else np.zeros(self.train.labels.shape[1])
        # How many times rarer than the median label; positives of rare labels count `rarity ** balance` times.
        self.rarity = (np.median(self.positive) / self.positive.clip(1e-4)).clip(1, 50)
        rated = self.train.vad[~np.isnan(self.train.vad[:, 0])]
        self.spread = rated.std(0).clip(0.05) if len(rated) else np.ones(len(VAD))

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        data: Any = range(len(self.train.ids))
        buckets = LengthBuckets([len(i) for i in self.train.ids], phase.batch_size, seed)
        return DataLoader(data, batch_sampler=buckets, collate_fn=lambda rows: collate(self.train, rows))

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        output = model(batch["ids"], batch["mask"]).float()
        count = batch["labels"].shape[1]
        losses = {}
        known = ~batch["labels"][:, 0].isnan()
        if known.any():
            targets = batch["labels"][known]
            smoothing = phase.options.get("smoothing", 0.0)
            targets = targets * (1 - smoothing) + smoothing * torch.from_numpy(self.positive).to(targets)
            weight = torch.from_numpy(self.rarity ** phase.options.get("balance", 0.0)).to(output)
            bce = nn.functional.binary_cross_entropy_with_logits(
                output[known, :count], targets, reduction="none", pos_weight=weight
            )
            losses["labels"] = bce.sum(1).mean()
        for name, share in (("vad", 1.0), ("taught", 0.0)):
            rated = ~batch[name][:, 0].isnan()
            if rated.any():
                # In units of each dimension's own spread, else the narrow ones (dominance) would hardly be learnt.
                error = (output[rated, count:] - batch[name][rated]) / torch.from_numpy(self.spread).to(output)
                losses[name] = phase.options.get(name, share) * error.pow(2).mean()
        return losses

    def outputs(self, model: nn.Module, data: WordsData, batch: int = 64) -> np.ndarray:
        """Probabilities (n, 28) and VAD (n, 3), in the order of the rows."""
        order = np.argsort([len(i) for i in data.ids], kind="stable")
        device = next(model.parameters()).device
        result: np.ndarray | None = None
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            part = collate(data, rows.tolist())
            with torch.no_grad():
                output = model(part["ids"].to(device), part["mask"].to(device)).float().cpu()
            count = data.labels.shape[1]
            values = torch.cat([output[:, :count].sigmoid(), output[:, count:]], 1).numpy()
            result = np.empty((len(order), values.shape[1]), np.float32) if result is None else result
            result[rows] = values
        assert result is not None
        return result

    def validate(self, model: nn.Module) -> dict[str, float]:
        output = self.outputs(model, self.validation)
        count = self.validation.labels.shape[1]
        metrics = {"macro_f1": self._cross_fitted_f1(output[:, :count])}
        rated = np.flatnonzero(~np.isnan(self.validation.vad[:, 0]))
        for i, name in enumerate(VAD):
            metrics[f"pcc_{name}"] = pcc(self.validation.vad[rated, i], output[rated, count + i])
        metrics["score"] = metrics["macro_f1"] + 0.5 * float(np.mean([metrics[f"pcc_{name}"] for name in VAD]))
        return metrics

    def _cross_fitted_f1(self, output: np.ndarray) -> float:
        """Macro F1 of the labelled validation rows; 0 when none has labels."""
        known = np.flatnonzero(~np.isnan(self.validation.labels[:, 0]))
        if not len(known):
            return 0.0
        truth, scores = self.validation.labels[known].astype(int), output[known]
        f1 = []
        for half in (np.arange(len(known)) % 2 == side for side in (0, 1)):
            cut = best_thresholds(truth[~half], scores[~half])
            f1.append(multilabel_f1(truth[half], (scores[half] >= cut).astype(int)))
        return float(np.mean(f1))

    def depth(self, name: str) -> int:
        """Heads 0, encoder layers from the top, embeddings last."""
        if not name.startswith("encoder."):
            return 0
        if ".layer." in name:
            return self.layers - int(name.split(".layer.")[1].split(".")[0])
        return self.layers + 1 if "embeddings" in name else 0


def collate(data: WordsData, rows: Sequence[int]) -> dict[str, Tensor]:
    """Pad token ids with zeros to the longest of the batch; padding is masked out of attention and pooling."""
    length = max(len(data.ids[i]) for i in rows)
    ids = np.zeros((len(rows), length), np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for place, i in enumerate(rows):
        ids[place, : len(data.ids[i])] = data.ids[i]
        mask[place, : len(data.ids[i])] = 1
    return {
        "ids": torch.from_numpy(ids),
        "mask": torch.from_numpy(mask),
        "labels": torch.from_numpy(data.labels[list(rows)]).float(),
        "vad": torch.from_numpy(data.vad[list(rows)]).float(),
        "taught": torch.from_numpy(data.taught[list(rows)]).float(),
    }


def best_thresholds(truth: np.ndarray, scores: np.ndarray, smooth: float = 5.0) -> np.ndarray:
    """Per label the threshold with the best F1 on the given rows.

    The F1 is damped by `smooth` pseudo-errors so that rare labels do not pick a lucky extreme.
    """
    grid = np.linspace(0.02, 0.9, 89)
    best = np.full(truth.shape[1], 0.5)
    for label in range(truth.shape[1]):
        guess = scores[:, label, None] >= grid
        hits = (truth[:, label, None] & guess).sum(0)
        f1 = 2 * hits / (truth[:, label].sum() + guess.sum(0) + smooth)
        best[label] = grid[int(np.argmax(f1))]
    return best
