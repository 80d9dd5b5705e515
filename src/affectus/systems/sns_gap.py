"""SNS gap ("hidden anger"): posts whose writer has an emotion that readers do not see, and the expressions behind it.

A binary detector is trained on the gap between the writer's own rating and the ratings of readers; expressions that
mark the detected posts are then found by their relative frequency (`affectus.metrics.characteristic`).

  post → token ids (B, L) → encoder → one vector (B, D) → dropout → linear → 1 logit: is there a gap?
  alternative head: the 16 intensities (writer's 8, readers' mean 8) by regression; score = writer - readers

Which posts count as gaps is decided by `GapRule` (hidden, gap, unseen, misread, excess) for any of the eight emotions;
the rule is part of the config and so of every saved model, since an AUC means nothing without it.

Deviations: definitions, sizes and training settings of the paper were not available, and the defaults are proposals
(writer ≥ 2 and mean of readers < 1; AdamW 2e-5, weight decay .01, batch 32, four epochs). The learning rate falls by a
cosine instead of linearly. `Config.ngrams()` replaces the Japanese BERT by hashed character n-grams, which need no
dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from affectus.corpora import Corpus
from affectus.corpora.writer_reader import two_sides
from affectus.errors import ConfigError
from affectus.features.inputs import InputSpec
from affectus.metrics import GapRule, auc, average_precision
from affectus.metrics.annotator_gap import RuleKind
from affectus.nn.phase import Phase
from affectus.nn.text import Pooling, SentenceEncoder
from affectus.systems.base import Batch, Outputs, System, require
from affectus.systems.card import Published, SystemCard

EMOTIONS = ("joy", "sadness", "anticipation", "surprise", "anger", "fear", "disgust", "trust")

CARD = SystemCard(
    name="sns_gap",
    title="SNS gap: expressions that make readers miss a writer's emotion",
    year=2022,
    paper="https://arxiv.org/abs/2208.14244",
    code="none published",
    summary="Finds posts in which the writer has an emotion that readers do not perceive, and the expressions that "
    "characterise them.",
    modalities=("text",),
    perspective="felt",
    task="is there a gap between the writer's rating and the readers' ratings (probability)",
    space="",
    labels=("no hidden anger", "hidden anger"),
    licence={
        "code": "no code published",
        "weights": "none published",
        "data": "WRIME, CC BY-NC-ND 4.0; EmoBank, CC BY-SA 4.0",
    },
    weights="none published; a regression model of the same data is patrickramosobf/bert-base-japanese-v2-wrime-fine-"
    "tune",
    published=(
        Published("WRIME", "ROC-AUC of hidden anger", 0.772, "rule, split and positive count not known", "abstract"),
    ),
    deviations=(
        "rule and training settings are proposals, since those of the paper were not available",
        "the learning rate falls by a cosine instead of linearly",
    ),
    limits=(
        "an AUC is comparable only under the same rule",
        "says that a writer's own rating and readers' ratings would differ, never what a person has inside",
        "writers differ in how often they rate themselves angry: split by writer",
    ),
)


@dataclass(frozen=True)
class Config:
    """Encoder (see `affectus.nn.text`), emotion, rule and head.

    `head` is "gap" (one logit) or "intensities" (16 values by regression, whose difference is the score).
    `positive_weight` multiplies the loss of gap posts; the usual choice is negatives over positives.
    """

    encoder: str = "cl-tohoku/bert-base-japanese-whole-word-masking"
    emotion: str = "anger"
    rule: RuleKind = "hidden"
    writer: float = 2.0
    readers: float = 1.0
    gap: float = 2.0
    contrast: bool = False
    head: Literal["gap", "intensities"] = "gap"
    pooling: Pooling = "cls"
    length: int = 128
    dropout: float = 0.1
    positive_weight: float = 1.0

    @classmethod
    def base(cls) -> Config:
        """Japanese BERT-base."""
        return cls()

    @classmethod
    def ngrams(cls) -> Config:
        """Linear model of hashed character n-grams: no dictionary, any script, seconds on one core."""
        return cls(encoder="ngrams:1-3,width=8,buckets=32768,length=512")

    @classmethod
    def tiny(cls) -> Config:
        """For tests: word n-grams of the synthetic posts."""
        return cls(encoder="ngrams:1-2,width=8,buckets=2048,length=48,unit=word", dropout=0.0)

    @property
    def labels(self) -> tuple[str, str]:
        """Names of "no gap" and "gap" under this rule."""
        return f"no {self.rule} {self.emotion}", f"{self.rule} {self.emotion}"

    @property
    def gap_rule(self) -> GapRule:
        """The rule that makes the labels."""
        return GapRule(self.rule, self.writer, self.readers, self.gap, self.contrast)


class SnsGap(System):
    """The detector."""

    card = CARD
    Config = Config
    select = "auc"
    overfit = (60, 3e-2, 0.3)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.head not in ("gap", "intensities"):
            raise ConfigError(config.head, "is no head of sns_gap", "use gap or intensities")
        if config.head == "intensities" and config.emotion not in EMOTIONS:
            raise ConfigError(config.emotion, "is not among the intensities", f"they are of {', '.join(EMOTIONS)}")
        self.encoder = SentenceEncoder(config.encoder, config.pooling, config.length)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.encoder.width, 1 if config.head == "gap" else 2 * len(EMOTIONS))

    def inputs(self) -> dict[str, InputSpec]:
        return {"text": self.encoder.spec()}

    def forward(self, batch: Batch) -> Outputs:
        require(batch, "text")
        embedding = self.encoder(batch["text"])  # (B, D)
        found = self.head(self.dropout(embedding))  # (B, 1) or (B, 16)
        outputs = {"embedding": embedding}
        if self.config.head == "gap":
            score = found[:, 0]
        else:
            outputs["intensities"] = found
            place = EMOTIONS.index(self.config.emotion)
            difference = found[:, place] - found[:, len(EMOTIONS) + place]
            score = -difference if self.config.rule in ("misread", "excess") else difference
        return outputs | {"logits": torch.stack([torch.zeros_like(score), score], 1)}  # softmax = sigmoid of the score

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        if self.config.head == "intensities":
            return {"intensities": nn.functional.mse_loss(outputs["intensities"], batch["intensities"].float())}
        weight = torch.tensor(self.config.positive_weight, device=outputs["logits"].device)
        score = outputs["logits"][:, 1]
        return {"gap": nn.functional.binary_cross_entropy_with_logits(score, batch["label"].float(), pos_weight=weight)}

    def phases(self) -> list[Phase]:
        if self.config.encoder.startswith("ngrams:"):
            # Plain steps with decay are a ridge penalty; AdamW would step as far for rare n-grams as for common ones.
            return [Phase("fit", epochs=8, lr=0.1, batch_size=64, weight_decay=5e-4, warmup=0.0, optimizer="sgd")]
        return [Phase("finetune", epochs=4, lr=2e-5, batch_size=32, weight_decay=0.01, warmup=0.1)]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`label` under the rule, and `intensities` (N, 16) on 0–3 where the head needs them; `column` is "gap".

        Items that one side has not rated get -1.
        """
        if column != "gap":
            raise ConfigError(column, "is no target of sns_gap", 'use column "gap"')
        writer, readers = two_sides(corpus, self.config.emotion)
        rated = ~np.isnan(writer) & ~np.isnan(readers).any(1)
        label = np.full(len(corpus), -1, np.int64)
        if rated.any():
            label[rated] = self.config.gap_rule.label(writer[rated], readers[rated])
        found = {"label": label}
        if self.config.head == "intensities":
            sides = [two_sides(corpus, emotion) for emotion in EMOTIONS]
            both = [s[0] for s in sides] + [s[1].mean(1) for s in sides]
            found["intensities"] = np.stack(both, 1).astype(np.float32)
        return found

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """ROC-AUC, average precision and the share of gaps; accuracy says nothing where gaps are rare."""
        kept = targets["label"] >= 0
        truth = targets["label"][kept]
        score = (outputs["logits"][:, 1] - outputs["logits"][:, 0])[kept]
        if not 0 < truth.sum() < len(truth):
            return {"auc": 0.5, "average_precision": float(truth.mean()), "share": float(truth.mean())}
        return {
            "auc": auc(truth, score),
            "average_precision": average_precision(truth, score),
            "share": float(truth.mean()),
        }

    def example(self, count: int, seed: int = 0) -> Batch:
        posts = gap_posts(count, seed, self.config.emotion)
        spec = self.inputs()["text"]
        return {
            "text": torch.from_numpy(np.stack([spec(text) for text in posts["text"]])),
            "label": torch.from_numpy(self.config.gap_rule.label(posts["writer"], posts["readers"]).clip(0)),
            "intensities": torch.from_numpy(posts["intensities"]),
        }


_PLAIN = ("today", "train", "lunch", "weather", "work", "book", "friend", "room", "music", "coffee", "walk", "phone")
#: A polite phrase under which synthetic writers are angry, and one that shows it.
CUE, OPEN = "i see as expected", "i am furious"


def gap_posts(count: int, seed: int = 0, emotion: str = "anger") -> dict[str, Any]:
    """Synthetic posts: `CUE` raises the writer's rating alone, `OPEN` raises both sides' ratings, others neither.

    Gives text, writer (N,), readers (N, 3), intensities (N, 16) float32, and kind (0 plain, 1 cue, 2 open); kinds take
    turns.
    """
    random = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    texts = []
    for k in kind:
        words = [str(w) for w in random.choice(_PLAIN, 6)]
        words.insert(int(random.integers(0, 6)), ("", CUE, OPEN)[k])
        texts.append(" ".join(w for w in words if w))
    strong = random.integers(2, 4, count)
    writer = np.where(kind > 0, strong, 0).astype(float)
    readers = np.where(kind[:, None] == 2, random.integers(2, 4, (count, 3)), random.integers(0, 2, (count, 3)) // 2)
    place = EMOTIONS.index(emotion) if emotion in EMOTIONS else 0
    intensities = np.zeros((count, 2 * len(EMOTIONS)), np.float32)
    intensities[:, place], intensities[:, len(EMOTIONS) + place] = writer, readers.mean(1)
    return {"text": texts, "writer": writer, "readers": readers.astype(float), "intensities": intensities, "kind": kind}


STAGES = {"finetune": SnsGap}
