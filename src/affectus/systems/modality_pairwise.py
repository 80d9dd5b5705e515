"""MPUC: emotion features without labels, by contrasting every pair of modalities of the same utterance.

Franceschini, Fini, Beyan, Conti, Arrigoni, Ricci: "Multimodal emotion recognition with modality-pairwise unsupervised
contrastive loss", ICPR 2022. Two windows ("views") of an utterance are drawn; all modalities of a view share its place.

    audio (B, F, 128) → TCN · landmarks (B, F, 51, 2) → ST-GCN · video (B, 3, 8, 112, 112) → R(2+1)D-18 ·
    text (B, F, 300) → transformer · a vector (B, D) → perceptron           → feature (B, 512) each
    projection: 512 → 1024 → ReLU → 512, for the loss alone
    probes: all features side by side, and each alone: Linear → ReLU → Linear (or one Linear), on detached features

Loss: mean over all ordered pairs of modalities (`nn.losses.pairwise`), temperature 0.07, plus cross-entropy of the
probes, which never reaches the encoders. A modality that is missing is skipped; probabilities are then the mean of the
probes of those that are there.

Inputs lay an utterance on `span` equal steps (the published loader takes video frames); training windows have `steps`
of them, prediction takes the first. A vector has no time: its second view is noise and dropout of its numbers.
`parity="published"`: text positions by place in the batch and self-loops counted twice, as in the public code. It also
contrasts utterances of validation and test; here no rows but those of training are seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.readers import meld
from affectus.errors import ConfigError
from affectus.features.inputs import ArrayInput, ClipInput, ImageInput, InputSpec
from affectus.features.steps import MelSteps, UnitLandmarks, WordSteps
from affectus.metrics import multilabel_f1, uar, weighted_accuracy
from affectus.nn.losses.pairwise import Positives, joined_contrast, pairwise_contrast
from affectus.nn.losses.partial import known_cross_entropy
from affectus.nn.modality_encoders import (
    SEQUENCES,
    VectorEncoder,
    WordTransformer,
    published_encoders,
    two_views,
)
from affectus.nn.phase import Phase
from affectus.nn.r2plus1d import R2Plus1D
from affectus.nn.st_gcn import NODES, STGCN
from affectus.nn.tcn import TCN
from affectus.nn.vector_items import VectorItems, shared_class
from affectus.systems.base import Batch, Outputs, System, load_strictly
from affectus.systems.card import SystemCard
from affectus.types import Prediction

RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
MOSEI = ("happy", "sad", "anger", "surprise", "disgust", "fear")
#: Weights of positives on CMU-MOSEI, in the order of `MOSEI`.
MOSEI_WEIGHTS = (1.05285, 5.215074, 5.3373003, 19.489855, 7.0448384, 23.688004)
KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
CARD = SystemCard(
    name="modality_pairwise",
    title="MPUC-MER: modality-pairwise unsupervised contrast",
    year=2022,
    paper="Multimodal Emotion Recognition with Modality-Pairwise Unsupervised Contrastive Loss, arXiv 2207.11482",
    code="ricfrr/mpuc-mer",
    summary="Encoders of sound, landmarks, video and text learn without labels from each other; probes read emotions.",
    modalities=("audio", "landmarks", "video", "text"),
    perspective="expressed",
    task="emotion class of an utterance (one or several)",
    space="ravdess8",
    labels=RAVDESS,
    licence={"code": "none stated", "weights": "none published",
             "data": "CMU-MOSEI research use; RAVDESS CC BY-NC-SA 4.0"},
    weights="none published",
    published=(),
    stages=("pretrain", "finetune"),
    missing="handled",
    deviations=("inductive: only training rows are seen", "utterances lie on equal steps when read from raw media"),
    limits=(
        "No published number is known to us: the result tables were not available.",
        "Landmarks and word vectors are not read from raw media without the user's own files.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Modalities in the order of the fused classifier and their encoders.

    `vectors` gives widths of modalities that are one vector per utterance; the others have the published encoders.
    """

    modalities: tuple[str, ...] = ("audio", "landmarks", "video", "text")
    vectors: tuple[int, ...] = ()
    steps: int = 30
    span: int = 60
    frames: int = 8
    side: int = 112
    bins: int = 128
    words: int = 300
    word_layers: int = 6
    word_hidden: int = 2048
    word_heads: int = 5
    width: int = 512
    projection: int = 1024
    base: int = 64
    positives: Positives = "other_view"
    contrast: Literal["pairs", "joined"] = "pairs"
    supervised: bool = False
    temperature: float = 0.07
    labels: tuple[str, ...] = RAVDESS
    space: str = "ravdess8"
    several: bool = False
    positive_weights: tuple[float, ...] = ()
    probe: Literal["hidden", "linear"] = "hidden"
    dropout: float = 0.1
    noise: float = 0.3
    word_vectors: str = ""
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        known = len(self.modalities) - len(self.vectors)
        if not self.modalities or known < 0 or (wrong := set(self.modalities[:known]) - set(SEQUENCES)):
            named = ", ".join(sorted(wrong)) if self.modalities and known >= 0 else str(self.modalities)
            raise ConfigError(named, "has no encoder", "name modalities that are vectors last, one width each")
        if self.span < self.steps:
            raise ConfigError("span", f"{self.span} steps hold no window of {self.steps}")

    @property
    def vector_widths(self) -> dict[str, int]:
        """Widths of the modalities that are vectors."""
        return dict(zip(self.modalities[len(self.modalities) - len(self.vectors) :], self.vectors, strict=True))

    @classmethod
    def mosei(cls) -> Config:
        """All four modalities, six emotions at once."""
        return cls(labels=MOSEI, space="mosei6", several=True, positive_weights=MOSEI_WEIGHTS)

    @classmethod
    def ravdess(cls) -> Config:
        """Sound and landmarks in windows of 90 steps."""
        return cls(("audio", "landmarks"), steps=90, span=120)

    @classmethod
    def meld(cls) -> Config:
        """Published utterance vectors of MELD: text, two of sound, and functionals."""
        names = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
        return cls(("text_base", "audio_wav2vec2", "audio_mel", "egemaps"), (768, 768, 300, 88), width=128,
                   projection=256, labels=names, space="meld7", probe="linear", dropout=0.3)  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests: sound, landmarks, text and a vector."""
        return cls(("audio", "landmarks", "text", "vector"), (12,), steps=12, span=16, bins=8, words=10, word_layers=1,
                   word_hidden=16, word_heads=2, width=8, projection=16, base=4, dropout=0.0)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class _Pairwise(System):
    """Encoders and projectors, which both stages have."""

    card = CARD
    Config = Config
    config: _Config

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.encoders = nn.ModuleDict({name: self._encoder(name) for name in c.modalities})
        project = lambda: nn.Sequential(nn.Linear(c.width, c.projection), nn.ReLU(), nn.Linear(c.projection, c.width))
        self.projectors = nn.ModuleDict({name: project() for name in c.modalities})
        self.dropout = nn.Dropout(c.dropout)

    def _encoder(self, name: str) -> nn.Module:
        c = self.config
        if name in c.vector_widths:
            return VectorEncoder(c.vector_widths[name], c.width, c.dropout)
        if name == "audio":
            return TCN(c.bins, c.width, c.base, 2 * c.base)
        if name == "landmarks":
            loops = 2.0 if c.parity == "published" else 1.0
            return STGCN(c.steps, c.width, c.base, max(2, c.base // 4), loops)
        if name == "video":
            return R2Plus1D(c.width, c.base)
        heads, hidden, quirk = c.word_heads, c.word_hidden, c.parity == "published"
        return WordTransformer(c.words, c.width, c.word_layers, heads, hidden, quirk)

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        picture = ImageInput(c.side, statistics=KINETICS)
        known: dict[str, InputSpec] = {
            "audio": ArrayInput((c.span, c.bins), "audio", MelSteps(c.span, c.bins)),
            "landmarks": ArrayInput((c.span, NODES, 2), "landmarks", UnitLandmarks(c.span)),
            "video": ClipInput(c.frames * c.span // c.steps, sampling="even", picture=picture, of="frames"),
            "text": ArrayInput((c.span, c.words), "text", WordSteps(c.span, c.words, c.word_vectors)),
        }
        known |= {name: ArrayInput((width,), name) for name, width in c.vector_widths.items()}
        return {name: known[name] for name in c.modalities}

    def present(self, batch: Batch) -> list[str]:
        """Modalities that a batch holds; ConfigError when there is none."""
        found = [name for name in self.config.modalities if batch.get(name) is not None]
        if not found:
            raise ConfigError(", ".join(self.config.modalities), "are all missing from the batch", "give one of them")
        return found

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Two windows per utterance, the same for all modalities, under `<name>` and `<name>:2`."""
        c = self.config
        plan = dict.fromkeys(self.present(batch), (1, c.steps))
        plan |= {"video": (2, c.frames)} if "video" in plan else {}
        plan |= {name: (0, 0) for name in c.vector_widths if name in plan}
        return batch | two_views(batch, plan, c.span - c.steps + 1, c.steps, c.noise)

    def encode(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Feature and projection (B, width) of one modality; longer input is cut to its first window."""
        c = self.config
        if name not in c.vector_widths:
            x = x[:, :, : c.frames] if name == "video" else x[:, : c.steps]
        feature = self.dropout(self.encoders[name](x))
        return feature, self.projectors[name](feature)

    def features(self, batch: Batch) -> Outputs:
        """`feature:<name>` (B, width) of the first view, `projection:<name>` (B, views, width), `embedding`."""
        outputs: Outputs = {}
        found = self.present(batch)
        for name in found:
            views = [self.encode(name, batch[name])]
            if f"{name}:2" in batch:
                views.append(self.encode(name, batch[f"{name}:2"]))
            outputs[f"feature:{name}"] = views[0][0]
            outputs[f"projection:{name}"] = torch.stack([z for _, z in views], 1)
        blank = torch.zeros_like(outputs[f"feature:{found[0]}"])
        outputs["embedding"] = torch.cat([outputs.get(f"feature:{n}", blank) for n in self.config.modalities], 1)
        return outputs

    def contrast(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The loss between modalities; a batch with one view (evaluation) counts it twice."""
        z = [outputs[key] for key in outputs if key.startswith("projection:")]
        z = [x if x.shape[1] > 1 else x.repeat(1, 2, 1) for x in z]
        if self.config.contrast == "joined" or len(z) == 1:
            return joined_contrast(z, self.config.temperature)
        labels = batch.get("label", batch.get("labels")) if self.config.supervised else None
        return pairwise_contrast(z, self.config.temperature, self.config.positives, labels)

    def example(self, count: int, seed: int = 0) -> Batch:
        """Utterances whose modalities share a class and have noise of their own."""
        c, classes = self.config, np.arange(count) % len(self.config.labels)
        shapes = {name: spec.shape for name, spec in self.inputs().items()}
        batch: Batch = {n: torch.from_numpy(x) for n, x in shared_class(shapes, classes, len(c.labels), seed).items()}
        if c.several:
            return batch | {"labels": torch.from_numpy(np.eye(len(c.labels), dtype="f4")[classes])}
        return batch | {"label": torch.from_numpy(classes)}

    def items(self, corpus: Corpus, column: str) -> Any:
        """Rows of MELD with their published utterance vectors; other corpora are read through the inputs."""
        if corpus.name != "meld" or not self.config.vectors:
            return None
        ids = corpus.column("id")
        whole = corpora.load("meld", corpus.files.root, strict=False).column("id")  # feature files follow all rows
        place = {name: i for i, name in enumerate(whole)}
        found = {n: x[[place[i] for i in ids]] for n, x in meld.features(corpus.files, whole).items()}
        if missing := [name for name in self.config.modalities if name not in found]:
            raise ConfigError(", ".join(missing), "are not among the feature files", f"found: {', '.join(found)}")
        targets = self.targets(corpus, column) if column else {}
        return VectorItems({n: found[n] for n in self.config.modalities}, targets, ids)


class PairwisePretraining(_Pairwise):
    """Contrast alone."""

    stage = "pretrain"
    select = "-loss"
    overfit = (60, 1e-2, 0.7)

    def forward(self, batch: Batch) -> Outputs:
        """Features and projections; no classes."""
        return self.features(batch)

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`contrast`."""
        return {"contrast": self.contrast(batch, outputs)}

    def phases(self) -> list[Phase]:
        """As published for MOSEI: SGD 1e-3, momentum 0.9, rate × 0.9 every 5 epochs, patience 50."""
        return [published_phase("contrast")]

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """Encoder checkpoint of the public code (or its `model_state_dict`); modalities are those it holds. The unused
        template of the text layers and the fixed positions are left out."""
        named, found = published_encoders(state)
        if config is None:
            width, steps = found.width or 512, found.steps or 30
            config = Config(
                found.modalities or ("audio",), steps=steps, span=2 * steps, width=width, parity="published"
            )
        system = cls(config)
        load_strictly(system, named, "checkpoint")
        return system


class ModalityPairwise(_Pairwise):
    """Contrast, and probes on detached features in the same loop (as published)."""

    select = "uar"
    overfit = (80, 1e-2, 0.6)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.multi_label = c.several
        if c.several:
            self.select = "weighted_accuracy"
        sizes = {"fused": c.width * len(c.modalities), **dict.fromkeys(c.modalities, c.width)}
        self.probes = nn.ModuleDict({name: self._probe(size) for name, size in sizes.items()})

    def _probe(self, size: int) -> nn.Module:
        c = self.config
        if c.probe == "linear":
            return nn.Linear(size, len(c.labels))
        return nn.Sequential(nn.Linear(size, c.width), nn.ReLU(), nn.Linear(c.width, len(c.labels)))

    def forward(self, batch: Batch) -> Outputs:
        """Features, projections, `logits:<name>` of each probe and `logits` (B, classes) of what is there."""
        outputs = self.features(batch)
        found = self.present(batch)
        for name in found:
            outputs[f"logits:{name}"] = self.probes[name](outputs[f"feature:{name}"].detach())
        if len(found) == len(self.config.modalities):
            outputs["logits"] = self.probes["fused"](outputs["embedding"].detach())
        else:
            single = torch.stack([outputs[f"logits:{name}"] for name in found])
            outputs["logits"] = single.mean(0) if self.config.several else single.log_softmax(-1).mean(0)
        return outputs

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`contrast` for the encoders (off with `contrast: false`); `fused` and one per modality for the probes."""
        found: dict[str, Tensor] = {}
        if (options or {}).get("contrast", True):
            found["contrast"] = self.contrast(batch, outputs)
        for key in [key for key in outputs if key.startswith("logits")]:
            found[key.partition(":")[2] or "fused"] = self._probe_loss(outputs[key], batch)
        return found

    def _probe_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        c = self.config
        if not c.several:
            if (batch["label"] >= len(c.labels)).any():
                raise ConfigError("label", f"lies outside of 0 … {len(c.labels) - 1}", "map labels by name")
            return known_cross_entropy(logits, batch["label"])
        weight = torch.tensor(c.positive_weights, device=logits.device) if c.positive_weights else None
        return functional.binary_cross_entropy_with_logits(logits.float(), batch["labels"].float(), pos_weight=weight)

    def phases(self) -> list[Phase]:
        """As published: encoders and probes in one loop."""
        return [published_phase("contrast and probes")]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """One label, or for several a `labels:` column as zeros and ones."""
        if not self.config.several:
            return super().targets(corpus, column)
        known, own = corpus.labels(column), self.labels()
        if set(known) != set(own):
            raise ConfigError(column, f"has labels {', '.join(known)}; this model gives {', '.join(own)}")
        return {"labels": corpus.multi_hot(column)[:, [known.index(name) for name in own]]}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Probabilities: independent ones where there are several labels."""
        if not self.config.several:
            return super().decode(outputs)
        scores = outputs["logits"].detach().float().sigmoid().cpu().numpy()
        return [Prediction(self.space(), self.labels(), row, CARD.perspective) for row in scores]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores of the fused probe, and `uar:<name>` of each alone; weighted accuracy and F1 for several labels."""
        if self.config.several:
            truth, guess = targets["labels"] > 0, outputs["logits"] > 0
            scores = {"weighted_f1": multilabel_f1(truth, guess, "weighted")}
            mixed = (truth.any(0) & ~truth.all(0)).any()  # emotions absent from a split have no rate
            return scores | {"weighted_accuracy": weighted_accuracy(truth, guess) if mixed else 0.5}
        found = super().measure(outputs, targets)
        kept = targets["label"] >= 0
        for key, logits in outputs.items():
            if key.startswith("logits:"):
                found[f"uar:{key.partition(':')[2]}"] = uar(targets["label"][kept], logits[kept].argmax(1))
        return found


def published_phase(name: str) -> Phase:
    """SGD as published, for CMU-MOSEI (RAVDESS: every 100 epochs, patience 100)."""
    return Phase(name, 2000, 1e-3, 32, weight_decay=1e-3, warmup=0.0, clip=0.0, optimizer="sgd", momentum=0.9,
                 schedule="steps", decay=0.9, decay_every=5, patience=50)  # fmt: skip


STAGES = {"pretrain": PairwisePretraining, "finetune": ModalityPairwise}
