"""M2FNet: the emotion of every turn of a conversation from its words, voice and picture, with the turns around it.

Chudasama, Kar, Gudmalwar, Shah, Wasnik, Onoe: "M2FNet: multi-modal fusion network for emotion recognition in
conversation", CVPR-W 2022. No official code exists; where the paper is silent, choices are listed below.

Stage `extract`, one utterance at a time: voice as a mel picture (or a face) → ResNet-18 → (B, 512) → (B, 300), taught
by triplets with an adaptive margin. Stage `finetune`, whole conversations of k turns:

    text (B, k, L) ids of before, turn, after → text encoder → (B, k, D)     (or vectors (B, k, D) made before)
    audio (B, k, 300), video (B, k, 600) → linear → (B, k, D)                (NaN: a turn without)
    each → layers over turns with an outer skip → T, A, V
    m times: T ← mix(attend(T, key A, value T), attend(T, key V, value T), T)
    T, A, V side by side → two layers → logits of every turn (B, k, C)

Query and value stay text, so voice and picture only steer which turns' words are mixed. `logits` (B, C) are those of
the asked turn: `turn` in the batch, by default the last one there is.

Choices of ours: the margin is a constant for the gradient (with it, negatives end nearer than positives); the reported
triplet loss leaves it out, for its own growth would hide what is learnt; variance and covariance are those of the
projection before it is scaled to length 1; sound and picture are projected before their layers; attention within a
modality knows the distance in turns (`reach`, 0 switches it off); mixing as in the only sound re-implementation (ReLU,
linear, ReLU, with the text itself). A frozen text encoder is run once per corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import corpora, labels
from affectus.corpora import Corpus
from affectus.corpora.readers import meld
from affectus.corpora.synthetic import EMOTIONS, conversation, face_image, tone
from affectus.errors import ConfigError
from affectus.features.inputs import ArrayInput, ImageInput, InputSpec
from affectus.features.turns import MelPicture
from affectus.metrics import weighted_f1
from affectus.nn.dialogue import DialogueEncoder, DialogueItems, KeyFusion, padded, turns_present, turns_seen
from affectus.nn.losses.adaptive_margin import margin_losses
from affectus.nn.phase import Phase
from affectus.nn.resnet import ResNet
from affectus.nn.turn_text import TurnEncoder
from affectus.systems.base import Batch, Outputs, System, require
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction, Turn

_TABLE = "CVPR-W 2022, tables of results and of modalities"
CARD = SystemCard(
    name="m2fnet",
    title="M2FNet: emotion of every turn of a conversation",
    year=2022,
    paper="M2FNet: Multi-modal Fusion Network for Emotion Recognition in Conversation, arXiv 2206.02187",
    code="none published",
    summary="Text, voice and picture of every turn, layers over the conversation, fusion in which only keys change.",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    task="emotion class of every turn of a conversation",
    space="meld7",
    labels=("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust"),
    licence={"code": "none published", "weights": "none published", "data": "MELD GPL-3.0, IEMOCAP by agreement"},
    weights="none published",
    published=(
        Published("meld", "weighted_f1", 0.6671, "test, text + audio + video, RoBERTa-large", _TABLE),
        Published("meld", "accuracy", 0.6785, "test, text + audio + video, RoBERTa-large", _TABLE),
        Published("meld", "weighted_f1", 0.6623, "test, text alone, RoBERTa-large", _TABLE),
        Published("meld", "weighted_f1", 0.3963, "test, audio alone", _TABLE),
        Published("meld", "weighted_f1", 0.3244, "test, video alone", _TABLE),
        Published("iemocap", "weighted_f1", 0.6986, "session 5, text + audio + video", _TABLE),
        Published("iemocap", "accuracy", 0.6969, "session 5, text + audio + video", _TABLE),
        Published("iemocap", "weighted_f1", 0.6620, "session 5, text alone", _TABLE),
    ),
    stages=("extract", "finetune"),
    deviations=("margin constant for the gradient", "attention knows the distance in turns",
                "sound and picture projected before their layers", "variance and covariance before scaling"),
    limits=(
        "It looks at later turns; set causal for live use.",
        "On MELD the fusion did not beat plain joining (weighted F1 .6671 against .6681).",
        "The published picture extractor learnt identities of faces, not expressions.",
        "A frozen general text encoder stays well below a fine-tuned RoBERTa-large.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Modalities, text first, and the network over turns.

    `encoder` (read as `pooling` says, see `affectus.nn.turn_text`) is "" where text comes as vectors of `width`;
    `frozen` runs it once and keeps the vectors. `sizes` are widths of the other modalities, `features` the published
    MELD vectors they are read from. `layers` and `fusions` are N and m of the paper; `fusion` "concat" is plain
    joining. `causal` hides later turns. `longest` turns are seen at once; of longer conversations `context` turns are
    seen again. `pictured` is what the extractor sees.
    """

    modalities: tuple[str, ...] = ("text", "audio", "video")
    encoder: str = "roberta-large"
    frozen: bool = True
    width: int = 1024
    pooling: Literal["turn", "cls"] = "cls"
    length: int = 128
    neighbours: bool = True
    sizes: tuple[int, ...] = (300, 600)
    features: tuple[str, ...] = ()
    layers: int = 1
    fusions: int = 5
    heads: int = 8
    hidden: int = 2048
    reach: int = 8
    dropout: float = 0.4
    smoothing: float = 0.0
    fusion: Literal["key", "concat"] = "key"
    text_skip: bool = True
    causal: bool = False
    longest: int = 64
    context: int = 16
    labels: tuple[str, ...] = CARD.labels
    space: str = "meld7"
    pictured: Literal["audio", "face"] = "audio"
    frames: int = 400
    bins: int = 128
    side: int = 224
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    base_width: int = 64
    embedding: int = 300
    mining: Literal["hard", "random"] = "hard"

    def __post_init__(self) -> None:
        others = self.modalities[1:]
        if self.modalities[:1] != ("text",) or len(set(others)) != len(others) or "text" in others:
            raise ConfigError(str(self.modalities), "must name text first, and every modality once")
        if len(self.sizes) != len(others) or (self.features and len(self.features) != len(others)):
            raise ConfigError("sizes", f"{self.sizes} do not fit {', '.join(others) or 'text alone'}")
        if self.pooling not in ("turn", "cls") or self.fusion not in ("key", "concat"):
            raise ConfigError(f"{self.pooling}, {self.fusion}", "pooling is turn or cls, fusion key or concat")
        if self.length < 8:
            raise ConfigError("length", f"{self.length} tokens hold no turn with its neighbours")

    @classmethod
    def meld(cls) -> Config:
        """As published for MELD: one layer per modality, five fusion layers."""
        return cls()

    @classmethod
    def iemocap(cls) -> Config:
        """As published for IEMOCAP: five layers per modality, six classes."""
        return cls(layers=5, longest=128, labels=labels.space("iemocap6").labels, space="iemocap6")

    @classmethod
    def minilm(cls) -> Config:
        """Text alone through the packaged encoder (6 x 384), frozen: for runs on a processor."""
        return cls(("text",), "minilm-l6", width=384, pooling="turn", length=64, sizes=(), hidden=768)

    @classmethod
    def minilm_emorynlp(cls) -> Config:
        """As `minilm`, with the classes of EmoryNLP."""
        return replace(cls.minilm(), labels=labels.space("emorynlp7").labels, space="emorynlp7")

    @classmethod
    def minilm_audio(cls) -> Config:
        """As `minilm`, with the published sound vectors of MELD's development split."""
        return replace(
            cls.minilm(), modalities=("text", "audio"), sizes=(768,), features=("audio_wav2vec2",), fusions=2
        )

    @classmethod
    def tiny(cls) -> Config:
        """For tests: all three modalities, a random text encoder of width 32."""
        return cls(encoder="new:bert,width=32,layers=1,heads=2,vocabulary=512,positions=40,dropout=0", frozen=False,
                   width=32, pooling="turn", length=24, sizes=(12, 20), fusions=2, heads=4, hidden=64, reach=4,
                   dropout=0.0, longest=8, context=2, frames=64, bins=32, side=32, blocks=(1, 1), base_width=8,
                   embedding=16)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class UtteranceExtractor(System):
    """Voice (or face) of one utterance → a vector of length 1 in which the same emotion (or person) lies near."""

    card = CARD
    Config = Config
    config: _Config
    stage = "extract"
    select = "-loss"
    overfit = (60, 3e-3, 0.7)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.net = ResNet("basic", c.blocks, 3, c.base_width)
        self.project = nn.Linear(self.net.width, c.embedding)

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        if c.pictured == "face":
            return {"face": ImageInput(c.side, of="face")}
        return {"audio": MelPicture(c.frames, c.bins)}

    def forward(self, batch: Batch) -> Outputs:
        """Pictures (B, 3, H, W) or (B, frames, bins) → `embedding` (B, 300) and `projection`, the same unscaled."""
        name = self.config.pictured
        require(batch, name)
        x = batch[name]
        x = x[:, None].expand(-1, 3, -1, -1) if x.ndim == 3 else x
        projection = self.project(self.net(x))
        return {"embedding": functional.normalize(projection, dim=-1), "projection": projection}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """20 · triplet + 5 · covariance + variance, the latter two summed over anchors, positives and negatives."""
        found = margin_losses(outputs["embedding"].float(), outputs["projection"].float(), batch["label"],
                              self.config.mining)  # fmt: skip
        return {name: weight * found[name] for name, weight in {"triplet": 20, "covariance": 5, "variance": 1}.items()}

    def phases(self) -> list[Phase]:
        """Adam at 1e-4, decay 1e-6; 60 epochs for voices, 100 for faces."""
        epochs = 60 if self.config.pictured == "audio" else 100
        return [Phase("triplets", epochs, 1e-4, 64, weight_decay=1e-6, warmup=0.0, schedule="constant", clip=0.0)]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How often the nearest other utterance has the same class."""
        x, truth = outputs["embedding"], targets["label"]
        if len(x) < 2:
            return {}
        similar = x @ x.T
        np.fill_diagonal(similar, -np.inf)
        return {"neighbour_accuracy": float((truth[similar.argmax(1)] == truth).mean())}

    def example(self, count: int, seed: int = 0) -> Batch:
        """Tones or drawn faces, at least two of a class."""
        random = np.random.default_rng(seed)
        classes = np.arange(count) % min(len(EMOTIONS), max(2, count // 2))
        (name, spec), *_ = self.inputs().items()
        draw = face_image if name == "face" else lambda e, r: tone(e, r, 0.5)
        made = np.stack([spec(draw(EMOTIONS[c], random)) for c in classes])
        return {name: torch.from_numpy(made), "label": torch.from_numpy(classes)}


class M2FNet(System):
    """The network over conversations."""

    card = CARD
    Config = Config
    config: _Config
    select = "weighted_f1"
    overfit = (60, 3e-3, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.encoder = TurnEncoder(c.encoder, c.pooling, 0.0 if c.frozen else None) if c.encoder else None
        if self.encoder is not None and self.encoder.width != c.width:
            raise ConfigError("width", f"is {c.width}, and {c.encoder} gives {self.encoder.width}")
        others = c.modalities[1:]
        self.project = nn.ModuleDict({n: nn.Linear(s, c.width) for n, s in zip(others, c.sizes, strict=True)})
        self.contexts = nn.ModuleDict(
            {n: DialogueEncoder(c.width, c.layers, c.heads, c.hidden, c.dropout, c.reach) for n in c.modalities}
        )
        count = c.fusions if others and c.fusion == "key" else 0
        self.fusion = nn.ModuleList(
            KeyFusion(c.width, c.heads, len(others), c.text_skip, c.dropout) for _ in range(count)
        )
        self.head = nn.Sequential(
            nn.Linear(c.width * len(c.modalities), c.width), nn.ReLU(), nn.Dropout(c.dropout),
            nn.Linear(c.width, len(c.labels)),
        )  # fmt: skip

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        found: dict[str, InputSpec] = {"text": ArrayInput((-1, c.width), "vectors")}
        if self.encoder is not None:
            found["text"] = self.encoder.spec(c.length, c.neighbours, c.causal)
        return found | {n: ArrayInput((-1, s), n) for n, s in zip(c.modalities[1:], c.sizes, strict=True)}

    def forward(self, batch: Batch) -> Outputs:
        """`turn_logits` (B, k, C), `logits` (B, C) and `embedding` (B, D) of the asked turn."""
        c = self.config
        require(batch, *c.modalities)
        text = batch["text"]
        present = turns_present(text, self.encoder.pad if self.encoder else 0)  # (B, k)
        if not text.is_floating_point():
            if self.encoder is None:
                raise ConfigError("text", "holds token ids, and there is no encoder", "give vectors, or name one")
            made = self.encoder(text[present])
            text = made.new_zeros((*present.shape, c.width)).masked_scatter(present[..., None], made)
        given = {"text": text} | {n: self.project[n](torch.nan_to_num(batch[n])) for n in c.modalities[1:]}
        seen = turns_seen(present, c.causal)  # (B, 1, k, k)
        hidden = {n: self.contexts[n](x.masked_fill(~present[..., None], 0), seen) for n, x in given.items()}
        state, others = hidden["text"], [hidden[n] for n in c.modalities[1:]]
        for layer in self.fusion:
            state = layer(state, others, seen)
        turns = self.head(torch.cat([state, *others], -1))  # (B, k, C)
        rows, places = (torch.arange(n, device=turns.device) for n in turns.shape[:2])
        asked = batch["turn"] if "turn" in batch else (present * (1 + places)).argmax(1)
        return {"turn_logits": turns, "logits": turns[rows, asked], "embedding": state[rows, asked]}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy over all labelled turns of all conversations."""
        logits, wanted = outputs["turn_logits"].float().flatten(0, 1), batch["turn_labels"].flatten()
        total = functional.cross_entropy(
            logits, wanted, ignore_index=-1, label_smoothing=self.config.smoothing, reduction="sum"
        )
        return {"emotion": total / (wanted >= 0).sum().clamp(min=1)}

    def scored(self, outputs: Outputs, batch: Batch) -> tuple[Outputs, Batch]:
        """Labelled turns one by one."""
        known = batch["turn_labels"] >= 0
        return {"logits": outputs["turn_logits"][known]}, {"label": batch["turn_labels"][known]}

    def phases(self) -> list[Phase]:
        """AdamW at 5e-4, weight decay 5e-4; the text encoder rests, or learns at a fiftieth of the rate."""
        freeze = (r"encoder\.",) if self.encoder is not None and self.config.frozen else ()
        rates = {r"encoder\.": 0.02} if self.encoder is not None and not self.config.frozen else {}
        return [
            Phase("conversations", 100, 5e-4, 32, weight_decay=5e-4, warmup=0.05, patience=10, freeze=freeze,
                  rates=rates)
        ]  # fmt: skip

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The usual ones, and F1 weighted by the size of the classes, over all turns of the split."""
        found = super().measure(outputs, targets)
        if "label" in targets and len(targets["label"]):
            found["weighted_f1"] = weighted_f1(targets["label"], outputs["logits"].argmax(1))
        return found

    def example(self, count: int, seed: int = 0) -> Batch:
        """Conversations of 3 to 6 turns whose words, voice and picture show the emotion of each turn."""
        c, random, rule = self.config, np.random.default_rng(seed), np.random.default_rng(17)
        sizes = dict(zip(c.modalities, (c.width, *c.sizes), strict=True))
        patterns = {n: rule.normal(size=(len(EMOTIONS), s)) for n, s in sizes.items()}
        order = np.arange(len(EMOTIONS)) % len(c.labels)
        if c.space == "meld7":
            order = np.array([c.labels.index(labels.lookup("meld7", name)) for name in EMOTIONS])
        spec, made = self.inputs()["text"], []
        for i in range(count):
            talk, emotions = conversation(f"talk{i}", random, 3 + int(random.integers(4)))
            classes = np.array([EMOTIONS.index(e) for e in emotions])
            item = {"turn_labels": padded(order[classes], 6, -1)}
            for name, pattern in patterns.items():
                noisy = pattern[classes] + 0.5 * random.normal(size=(len(classes), pattern.shape[1]))
                item[name] = padded(noisy.astype("f4"), 6, np.nan if name == "text" else 0.0)
            if self.encoder is not None:
                item["text"] = padded(spec(talk.turns), 6, self.encoder.pad)
            made.append(item)
        return {name: torch.from_numpy(np.stack([item[name] for item in made])) for name in made[0]}

    def items(self, corpus: Corpus, column: str) -> DialogueItems:
        """Conversations of a corpus; vectors of a frozen encoder are made here, once.

        Other modalities are read from the published vectors of MELD's development split. Raises ConfigError.
        """
        c, rows = self.config, corpus.dialogues()
        wanted = self.targets(corpus, column)["label"] if column else np.full(len(corpus), -1, np.int64)
        spec = self.inputs()["text"]
        if self.encoder is None:
            raise ConfigError("encoder", "is needed to read the words of a corpus", "name one")
        texts = [text or "" for text in corpus.column("text")]
        ids = np.zeros((len(corpus), c.length), np.int64)
        for order in rows.values():
            ids[order] = spec([texts[row] for row in order])
        slots = {"text": self.encoder.vectors(ids) if c.frozen else ids} | self._published(corpus)
        fill = {} if c.frozen else {"text": float(self.encoder.pad)}
        return DialogueItems(slots, rows, wanted, corpus.column("speaker"), c.longest, c.context, fill)

    def _published(self, corpus: Corpus) -> dict[str, np.ndarray]:
        c, found = self.config, {}
        if len(c.modalities) == 1:
            return {}
        if corpus.name == "meld" and c.features:
            whole = corpora.load("meld", corpus.files.root, strict=False).column("id")  # the files follow all rows
            place = {name: i for i, name in enumerate(whole)}
            rows = [place[name] for name in corpus.column("id")]
            found = {name: x[rows] for name, x in meld.features(corpus.files, whole).items()}
        if missing := [name for name in c.features or c.modalities[1:] if name not in found]:
            raise ConfigError(", ".join(missing), f"are no feature files of {corpus.name}", "or name text alone")
        return {name: found[feature] for name, feature in zip(c.modalities[1:], c.features, strict=True)}

    @torch.no_grad()
    def follow(self, turns: Sequence[Turn | str]) -> list[Prediction]:
        """A prediction for every turn of a conversation of words; long ones are read in pieces. Raises ConfigError when
        the network needs more than words."""
        require({"text": turns}, *self.config.modalities)
        ids = self.inputs()["text"](turns)
        items = DialogueItems({"text": ids}, {"talk": np.arange(len(ids))}, np.full(len(ids), -1, np.int64),
                              [""] * len(ids), self.config.longest, self.config.context)  # fmt: skip
        device, found = next(self.eval().parameters()).device, []
        for _, order, (start, first, end) in items.parts:
            outputs = self({"text": torch.from_numpy(ids[order[start:end]])[None].to(device)})
            found.append(outputs["turn_logits"][0, first - start :])
        return self.decode({"logits": torch.cat(found)})


STAGES = {"extract": UtteranceExtractor, "finetune": M2FNet}
