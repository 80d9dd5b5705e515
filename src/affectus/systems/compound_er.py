"""Compound expressions in clips, by words or by streams: a text classifier that reads what was seen, heard and said,
and fusions of frame-wise features.

Richet et al., "Textualized and feature-based models for compound multimodal emotion recognition in the wild", 2024
(7th ABAW). A compound is two basic expressions at once (`affectus.features.compounds`).

    text:     clip → "Speech transcription of the video : …; Facial Action Units … : …; …" (affectus.lm.clip_words)
              → causal language model with adapters, last token (or a BERT-like encoder) → Linear → logits (B, 7)
    finetune: video (B, T, 512), vggish (B, T, 128), bert (B, T, 768), all at the rate of the frames
              each → causal TCN → batch norm → (B, T, D_m)
              → lfan | can | jmt | mt | mean → (B, T, F) → Linear → frame_logits (B, T, 7) → a rule → logits (B, 7)

LFAN attends across the modalities of one frame, beside the video stream as it is; CAN weighs all numbers by a softmax;
JMT lets two streams and their joint one ask each other (MT: without the joint one); "mean" averages the logits of the
streams (the ablation). Frames decide for their clip by vote, mean logits or mean probabilities.

`face="ir50"` takes pictures (B, T, 3, 40, 40) through the frozen face network in place of stored vectors. Streams are
standardised by the training frames (public code: by training and validation frames). In the public code the learning
rate of the settings never reaches the optimiser of the streams, so that 1e-3 is used: it is 1e-3 here. "Other" is left
out unless `labels` hold it. Language models are loaded in bfloat16, not in 4 bits. `optimizer="sgd"` at 3e-3 is the
published setting of the text branch, "adamw" at 1e-4 the safer one. The published folds cut through source videos and
choose on the test list: recipes hold out whole videos, and one keeps the published folds for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import labels
from affectus.corpora import Corpus
from affectus.corpora.stored_vectors import stored_vectors
from affectus.errors import ConfigError
from affectus.features.inputs import HALF, ArrayInput, ImageInput, InputSpec
from affectus.features.sequences import FrameSequence
from affectus.features.stitching import Rule, cut_windows, stitched
from affectus.lm.clip_reading import ClipWords
from affectus.lm.clip_words import corpus_readings, drawn_reading
from affectus.lm.last_token import LastTokenEncoder
from affectus.metrics import weighted_f1
from affectus.nn.face_resnet import FaceResNet
from affectus.nn.phase import Phase
from affectus.nn.stream_items import RowItems, StreamItems
from affectus.nn.stream_network import FusionName, StreamNetwork
from affectus.nn.text import SentenceEncoder
from affectus.nn.vector_items import shared_class
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import SystemCard

COMPOUNDS = labels.space("cexpr7").labels
CARD = SystemCard(
    name="compound_er",
    title="Compound expressions: textualised and feature-based",
    year=2024,
    paper="Textualized and Feature-based Models for Compound Multimodal Emotion Recognition in the Wild, "
    "arXiv 2407.12927",
    code="nicolas-richet/feature-vs-text-compound-emotion, sbelharbi/feature-vs-text-compound-emotion",
    summary="Compound expressions of clips: a language model reads face, voice and words as text, or causal networks "
    "over frame streams are fused by attention.",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    task="compound expression of a clip or frame",
    space="cexpr7",
    labels=COMPOUNDS,
    licence={"code": "none stated", "weights": "none published; face network and VGGish: none stated",
             "data": "C-EXPR-DB by agreement; MELD GPL-3.0"},
    weights="none published for the whole; face network and VGGish on the authors' drive",
    published=(),
    stages=("text", "finetune"),
    deviations=("streams standardised by training frames alone", "no 4-bit weights",
                "an empty list of action units in place of 'No face detected' where a face is there"),
    limits=(
        "No published number is known to us: the result tables were not available.",
        "Published folds share source videos between parts, and validate on the test list.",
        "Prosodic terms came from a commercial service; the shipped voice model gives classes instead.",
    ),
)  # fmt: skip


class _Compound(System):
    """What both branches share: targets by name and the metrics."""

    card = CARD
    select = "weighted_f1"

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`label` by name; "Other" becomes -1 (left out) where the labels lack it."""
        own = {name: place for place, name in enumerate(self.labels())}
        known = set(corpus.labels(column))
        if missing := sorted(known - set(own) - {"Other"}):
            raise ConfigError(column, f"has labels that compound_er does not give: {', '.join(missing)}",
                              "set labels and space")  # fmt: skip
        return {"label": np.array([own.get(value, -1) for value in corpus.column(column)], np.int64)}

    def checked(self, batch: Batch, repeat: int = 1) -> Tensor:
        """Labels of a batch, each `repeat` times; ConfigError for numbers beyond the classes."""
        require(batch, "label")
        if int(batch["label"].max()) >= len(self.labels()) or int(batch["label"].min()) < 0:
            raise ConfigError("label", f"lies outside of 0 … {len(self.labels()) - 1}", "map labels by name")
        return batch["label"].long().repeat_interleave(repeat)

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The usual ones, and F1 weighted by the size of the classes; over frames for streams."""
        found = super().measure(outputs, targets)
        if "label" in targets and len(targets["label"]):
            found["weighted_f1"] = weighted_f1(targets["label"], outputs["logits"].argmax(1))
        return found


@dataclass(frozen=True)
class TextConfig:
    """`base` is a causal language model (see `affectus.lm.bases`), or with "encoder:" before it a BERT-like one of
    `affectus.nn.text`. `rank` 0 is no adapter. `modalities` are letters of T, V and A. `readings` is the file of a
    corpus that holds what was read of its clips (`affectus.lm.clip_words.write_readings`)."""

    base: str = "meta-llama/Meta-Llama-3-8B"
    precision: str = "bfloat16"
    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.05
    length: int = 512
    modalities: str = "TVA"
    levels: bool = False
    readings: str = "readings.jsonl"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    labels: tuple[str, ...] = COMPOUNDS
    space: str = "cexpr7"
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        if set(self.modalities) - set("TVA") or not self.modalities:
            raise ConfigError(self.modalities or "modalities", "must be letters of T, V and A")

    @classmethod
    def bert(cls) -> TextConfig:
        """BERT-base, all of it tuned."""
        return cls("encoder:bert-base-uncased", "float32", 0)

    @classmethod
    def packaged(cls) -> TextConfig:
        """The small language model of the library, for any machine."""
        return cls("packaged", "float32", optimizer="adamw", length=256)

    @classmethod
    def minilm(cls) -> TextConfig:
        """The packaged English encoder; words alone."""
        return cls("encoder:minilm-l6", "float32", 0, length=96, modalities="T", optimizer="adamw",
                   labels=labels.space("meld7").labels, space="meld7")  # fmt: skip

    @classmethod
    def tiny(cls) -> TextConfig:
        """For tests: a random encoder of hashed words."""
        return cls("encoder:new:bert,width=32,layers=1,heads=2,vocabulary=512,positions=130,dropout=0", "float32", 0,
                   length=128, optimizer="adamw")  # fmt: skip


class TextualisedEmotion(_Compound):
    """The text branch."""

    Config = TextConfig
    config: TextConfig
    stage = "text"
    overfit = (60, 3e-3, 0.5)

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config)
        c = config
        kind, _, source = c.base.partition("encoder:")
        self.encoder: SentenceEncoder | LastTokenEncoder = (
            LastTokenEncoder(c.base, c.precision, c.length, c.rank, c.alpha, c.dropout) if kind
            else SentenceEncoder(source, "cls", c.length)
        )  # fmt: skip
        self.head = nn.Linear(self.encoder.width, len(c.labels))

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        return {"text": ClipWords(self.encoder.spec(), c.modalities, c.levels, c.parity)}

    def forward(self, batch: Batch) -> Outputs:
        """`embedding` (B, D), `logits` (B, C)."""
        require(batch, "text")
        embedding = self.encoder(batch["text"])
        return {"embedding": embedding, "logits": self.head(embedding)}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy, without weights of classes."""
        return {"emotion": functional.cross_entropy(outputs["logits"].float(), self.checked(batch))}

    def phases(self) -> list[Phase]:
        """100 epochs, batches of 4, patience 50, gradient clip .3; SGD at 3e-3 halved every 18 epochs, or AdamW."""
        adapted = isinstance(self.encoder, LastTokenEncoder) and self.config.rank > 0
        train = (r"head\.", r".*\.lora_") if adapted else ()
        if self.config.optimizer == "adamw":
            return [Phase("text", 100, 1e-4, 4, weight_decay=1e-2, clip=0.3, train=train, patience=50)]
        return [Phase("text", 100, 3e-3, 4, weight_decay=1e-2, warmup=0.0, clip=0.3, train=train, optimizer="sgd",
                      momentum=0.0, schedule="steps", decay=0.5, decay_every=18, patience=50)]  # fmt: skip

    def saved_state(self) -> dict[str, Tensor]:
        """The head and what was trained of the encoder: adapters, or all of it."""
        adapted = isinstance(self.encoder, LastTokenEncoder) and self.config.rank > 0
        return {k: v for k, v in self.state_dict().items() if not adapted or "lora_" in k or k.startswith("head.")}

    def items(self, corpus: Corpus, column: str) -> RowItems:
        """Readings of the rows, one item per window that the file of readings holds; without such a file transcripts
        alone, if only these are asked for."""
        spec, wanted = self.inputs()["text"], self.targets(corpus, column)["label"] if column else None
        ids, known = corpus.column("id"), corpus_readings(corpus, self.config.readings, self.config.modalities)
        rows = [i for i, name in enumerate(ids) if name in known and (wanted is None or wanted[i] >= 0)]
        pairs = [(i, reading) for i in rows for reading in known[ids[i]]]
        label = lambda i: {} if wanted is None else {"label": wanted[i]}
        return RowItems([{"text": spec(r), "id": ids[i], **label(i)} for i, r in pairs],
                        np.array([i for i, _ in pairs], np.int64))  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Clips whose action units and seen emotions are those of both parts of their compound."""
        random, spec = np.random.default_rng(seed), self.inputs()["text"]
        classes = np.arange(count) % len(self.labels())
        readings = [drawn_reading(self.labels()[k], self.space(), random) for k in classes]
        return {"text": torch.from_numpy(np.stack([spec(r) for r in readings])), "label": torch.from_numpy(classes)}


@dataclass(frozen=True)
class Config:
    """Streams with the widths of their vectors and the channels of their temporal networks, and how they are fused.

    `features` names the folders of stored vectors, `<name>/<clip>.npy` of shape (T, width), the words as (tokens,
    width). Windows of `length` frames start every `hop` frames. `rule` turns frames into an answer of the clip.
    """

    streams: tuple[str, ...] = ("video", "vggish", "bert")
    sizes: tuple[int, ...] = (512, 128, 768)
    features: tuple[str, ...] = ("face", "vggish", "bert")
    channels: tuple[tuple[int, ...], ...] = ((256, 256, 128, 128), (64, 64, 32, 32), (256, 256, 128, 128))
    fusion: FusionName = "lfan"
    face: Literal["stored", "ir50"] = "stored"
    width: int = 128
    dropout: float = 0.1
    length: int = 300
    hop: int = 200
    rule: Rule = "logits"
    labels: tuple[str, ...] = COMPOUNDS
    space: str = "cexpr7"

    def __post_init__(self) -> None:
        count = len(self.streams)
        if not count or {len(self.sizes), len(self.channels)} != {count} or len(self.features) not in (0, count):
            raise ConfigError("streams", f"{', '.join(self.streams)}: sizes, channels and features must be as many")
        if self.fusion in ("jmt", "mt") and count != 2:
            raise ConfigError(self.fusion, f"fuses two streams, not {count}", "name two, or use lfan or can")
        if self.face == "ir50" and (self.streams[0] != "video" or self.sizes[0] != 512):
            raise ConfigError("face", "pictures are the first stream, video, of 512 numbers")

    @classmethod
    def can(cls) -> Config:
        """Gated concatenation, as published: one level more for the video, narrower and wider networks."""
        return cls(channels=((256, 256, 128, 128, 128), (128, 128, 64, 64), (256, 256, 128, 128)), fusion="can",
                   dropout=0.2)  # fmt: skip

    @classmethod
    def jmt(cls) -> Config:
        """Joint multimodal transformer of video and sound."""
        return cls(("video", "vggish"), (512, 128), ("face", "vggish"),
                   ((256, 256, 128, 128, 128), (128, 128, 64, 64)), "jmt", dropout=0.2)  # fmt: skip

    @classmethod
    def meld(cls) -> Config:
        """LFAN with the seven emotions of MELD."""
        return cls(labels=labels.space("meld7").labels, space="meld7")

    @classmethod
    def tiny(cls) -> Config:
        """For tests: three small streams, windows of 12 frames."""
        return cls(sizes=(12, 8, 10), features=(), channels=((16, 16), (8, 8), (16, 16)), width=16, dropout=0.0,
                   length=12, hop=8)  # fmt: skip


_Config = Config  # the class below has an attribute of that name


class CompoundER(_Compound):
    """The feature branch."""

    Config = Config
    config: _Config
    overfit = (60, 1e-2, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.face = FaceResNet(50, side=40, width=512, dropout=0.4, strides=(1, 2, 2, 2)) if c.face == "ir50" else None
        sizes = dict(zip(c.streams, c.sizes, strict=True))
        self.net = StreamNetwork(sizes, c.channels, c.fusion, len(c.labels), c.width, c.dropout)

    def train(self, mode: bool = True) -> Self:
        """The face network rests, also its statistics."""
        super().train(mode)
        if self.face is not None:
            self.face.eval()
        return self

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        found: dict[str, InputSpec] = {n: ArrayInput((-1, s), f"{n}_stream") for n, s in self.net.sizes.items()}
        faces = FrameSequence(c.length, ImageInput(40, 48, "shorter", HALF))
        return found if self.face is None else found | {"video": faces}

    def forward(self, batch: Batch) -> Outputs:
        """`frame_logits` (B, T, C), `logits` (B, C) of the clips by the rule, `embedding` (B, F). `frames` (B,) of the
        batch says how many of the T are real."""
        require(batch, *self.config.streams)
        streams = {name: batch[name] for name in self.config.streams}
        if self.face is not None and streams["video"].ndim == 5:
            with torch.no_grad():
                streams["video"] = self.face(streams["video"].flatten(0, 1)).unflatten(0, streams["video"].shape[:2])
        feature, frames = self.net(streams)  # (B, T, F), (B, T, C)
        share = self._real(batch, frames)[..., None].float()
        share = share / share.sum(1, keepdim=True)  # (B, T, 1)
        return {"frame_logits": frames, "logits": self._clip(frames, share), "embedding": (feature * share).sum(1)}

    @staticmethod
    def _real(batch: Batch, frames: Tensor) -> Tensor:
        place = torch.arange(frames.shape[1], device=frames.device)
        return place < batch["frames"][:, None] if "frames" in batch else torch.ones_like(frames[..., 0]).bool()

    def _clip(self, frames: Tensor, share: Tensor) -> Tensor:
        """Logits of clips whose softmax is what `decide` gives (mean logits: themselves)."""
        if self.config.rule == "logits":
            return (frames * share).sum(1)
        chosen = functional.one_hot(frames.argmax(-1), frames.shape[-1]).to(frames)
        scores = chosen if self.config.rule == "vote" else frames.softmax(-1)
        return ((scores * share).sum(1) + 1e-6).log()

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy over all frames, repeated ones too, without weights of classes."""
        frames = outputs["frame_logits"].float()
        return {"emotion": functional.cross_entropy(frames.flatten(0, 1), self.checked(batch, frames.shape[1]))}

    def scored(self, outputs: Outputs, batch: Batch) -> tuple[Outputs, Batch]:
        """Real frames one by one."""
        real = self._real(batch, outputs["frame_logits"])
        return {"logits": outputs["frame_logits"][real]}, {"label": batch["label"][:, None].expand_as(real)[real]}

    def phases(self) -> list[Phase]:
        """SGD with momentum .9, decay 1e-4, batches of 2 windows, rate times .9 every 50 epochs; the face rests."""
        freeze = (r"face\.",) if self.face is not None else ()
        return [Phase("streams", 1000, 1e-3, 2, weight_decay=1e-4, warmup=0.0, clip=0.0, optimizer="sgd", momentum=0.9,
                      schedule="steps", decay=0.9, decay_every=50, freeze=freeze)]  # fmt: skip

    def items(self, corpus: Corpus, column: str) -> StreamItems:
        """Windows of clips that have stored vectors of the first stream; another one that lacks is zeros. The first
        corpus that is read (the training rows) gives the statistics of the streams."""
        c = self.config
        if not c.features:
            raise ConfigError("features", "names no folders of stored vectors", "name one per stream")
        wanted = self.targets(corpus, column)["label"] if column else np.zeros(len(corpus), np.int64)
        read = {n: stored_vectors(corpus, f, s, True) for n, f, s in zip(c.streams, c.features, c.sizes, strict=True)}
        rows = [i for i, x in enumerate(read[c.streams[0]]) if x is not None and wanted[i] >= 0]
        clips = [{name: values[i] for name, values in read.items()} for i in rows]
        self.net.learn(clips)
        names = corpus.column("id")
        return StreamItems(
            clips, self.net.sizes, wanted[rows], np.array(rows), [names[i] for i in rows], c.length, c.hop
        )

    @torch.no_grad()
    def clip_frames(self, streams: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits (T, C) of all frames of a clip of any length: windows, averaged where they overlap
        (`features.stitching.decide` gives the answer of the clip)."""
        c = self.config
        cut = {name: cut_windows(streams[name], c.length, c.hop) for name in c.streams}
        found = self.eval()({name: torch.from_numpy(windows) for name, (windows, _) in cut.items()})
        return stitched(found["frame_logits"].numpy(), cut[c.streams[0]][1], len(streams[c.streams[0]]))

    def example(self, count: int, seed: int = 0) -> Batch:
        """Clips of 12 frames whose streams share a class."""
        classes = np.arange(count) % len(self.labels())
        shapes = {name: (12, size) for name, size in self.net.sizes.items()}
        made = shared_class(shapes, classes, len(self.labels()), seed) | {"label": classes}
        return {name: torch.from_numpy(x) for name, x in made.items()}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """The face network of the public code (`backbone.*`; its old classifier `logits.*` is left out); all else is
        fresh, since nothing else is published."""
        system = cls(config or replace(cls.Config(), face="ir50"))
        if system.face is None:
            raise ConfigError("face", "is stored here, so that no network takes these weights", "set face to ir50")
        given = {key.removeprefix("backbone."): value for key, value in state.items() if not key.startswith("logits.")}
        load_strictly(system.face, given, "face network")
        return system


STAGES = {"text": TextualisedEmotion, "finetune": CompoundER}
