"""EmotionTalk: what voice, words and face of an utterance in a Chinese conversation express, together and alone.

"EmotionTalk: an interactive Chinese multimodal emotion dataset with rich annotations", 2025, and its benchmark of
fusions over vectors of frozen encoders. Stage `finetune` is that benchmark, stage `caption` its speech captioning.

    audio (B, D_a), text (B, D_t), video (B, D_v), or frames (B, L, D)    zero rows in front; NaN: not there
    text also as ids of any encoder of `affectus.nn.text`                 → (B, width of the encoder)
    each → perceptron (vectors) or LSTM (frames) → code (B, H), zero where the modality is missing
    codes → attention | lmf | tfn | misa | mmim, or frames → mult         → feature, and losses of the fusion
    frames, as many of each modality → mfn | graph_mfn | mfm | mctn       → feature, and losses of the fusion
    feature → logits (B, 7 or 4), sentiment (B, 1)

One modality alone takes the place of all three in the attention model, each time with an encoder of its own: this is
how the published numbers of single modalities were made. Sentiment is on [-1, 1] here, on -2 … 2 (five levels, mean of
five raters) in the corpus; its loss is that of the published scale.

    caption: sound → tokens (B, T, D) → linear → soft tokens in front of "describe …" → causal language model → text

Chinese text: hashed character n-grams need neither tokenizer nor download, and know nothing of words that are not
spelled alike; any Chinese encoder goes by its id or folder (`encoder="hfl/chinese-roberta-wwm-ext"`). The packaged
MiniLM is an English one and no choice here.

MFN and Graph-MFN add a memory of what changes in several modalities at once, MFM makes every modality again from what
tells the label and what does not, MCTN learns to translate words into voice and face and back, and in use
reads the words alone.

Missing modalities: their code is zero; `drop` takes modalities away in training, `affectus.evaluation.missing` scores
every condition (`missing: true` in a recipe). `parity="published"`: LSTMs also run over the padding. Published training
draws hyper-parameters from a grid (`Config.drawn`); the train set is shuffled here, and the decay of Adam is decoupled.
`docs/emotiontalk.md` says which recipe makes which part of the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from affectus import labels
from affectus.corpora import Corpus
from affectus.corpora.stored_vectors import stored_vectors, vector_table
from affectus.corpora.synthetic import chinese_sentence
from affectus.errors import ConfigError
from affectus.features.inputs import ArrayInput, InputSpec
from affectus.features.utterance_frames import frame_batches
from affectus.metrics import acc2, acc5, mse, sentiment_f1, weighted_f1
from affectus.metrics.sentiment import sentiment_report
from affectus.nn.fusion_choice import ALIGNED, GRID, SEQUENTIAL, FusionSettings, build_fusion
from affectus.nn.losses.partial import known_cross_entropy
from affectus.nn.modality_presence import drop_modalities, modalities_present
from affectus.nn.phase import Phase
from affectus.nn.text import SentenceEncoder
from affectus.nn.utterance_fusion import StepReader
from affectus.nn.utterance_fusion import VectorPerceptron as Perceptron
from affectus.nn.vector_items import VectorItems, shared_class
from affectus.systems.base import Batch, Outputs, System
from affectus.systems.captioning import SpeechCaptioner
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction

_TABLE = "arXiv 2505.23018, tables of unimodal and fusion baselines"
_TRIO = "test, HuBERT-base + Baichuan-7B + CLIP-large"
_FUSIONS = {"attention": (0.8211, 0.6817), "lmf": (0.8131, 0.6910), "tfn": (0.8012, 0.6827), "mult": (0.8217, 0.6667),
            "misa": (0.8058, 0.6677), "mmim": (0.7893, 0.6454), "mfn": (0.8038, 0.6931),
            "graph_mfn": (0.7687, 0.6366), "mfm": (0.7594, 0.5951), "mctn": (0.6534, 0.4780)}  # fmt: skip
_ALONE = {"audio, HuBERT-large": (0.6864, 0.6252), "text, RoBERTa-base": (0.4811, 0.4552),
          "text, Baichuan-7B": (0.4821, 0.4184), "video, CLIP-large": (0.6475, 0.5417)}  # fmt: skip
CARD = SystemCard(
    name="emotiontalk",
    title="EmotionTalk baselines: voice, words and face of Chinese utterances",
    year=2025,
    paper="EmotionTalk: An Interactive Chinese Multimodal Emotion Dataset With Rich Annotations, arXiv 2505.23018",
    code="NKU-HLT/EmotionTalk",
    summary="Vectors of frozen encoders fused by attention, low-rank or full tensors, MISA, MMIM, MulT, MFN, "
    "Graph-MFN, MFM or MCTN; each modality alone; any of them missing; sentiment; speech captions.",
    modalities=("audio", "text", "video"),
    perspective="expressed",
    task="emotion class and sentiment of an utterance; caption of its voice",
    space="emotiontalk7",
    labels=labels.space("emotiontalk7").labels,
    dimensions=("sentiment",),
    licence={"code": "none stated", "weights": "none published", "data": "CC BY-NC-SA 4.0, gated"},
    weights="none published for the classifiers; encoders: model hub, under their own licences",
    published=(
        *(Published("emotiontalk", "weighted_f1", seven, f"7 classes, {_TRIO}, {name}", _TABLE)
          for name, (_, seven) in _FUSIONS.items()),
        *(Published("emotiontalk", "weighted_f1", four, f"4 classes, {_TRIO}, {name}", _TABLE)
          for name, (four, _) in _FUSIONS.items()),
        *(Published("emotiontalk", "weighted_f1", own, f"7 classes, labels of that modality, test, {name}", _TABLE)
          for name, (own, _) in _ALONE.items()),
        *(Published("emotiontalk", "weighted_f1", joint, f"7 classes, joint labels, test, {name}", _TABLE)
          for name, (_, joint) in _ALONE.items()),
        Published("emotiontalk", "sentiment_f1", 0.9335, f"sign of sentiment without zeros, {_TRIO}", _TABLE),
    ),
    stages=("caption", "finetune"),
    missing="handled",
    deviations=("the training set is shuffled", "decay of Adam is decoupled", "padding is not read by LSTMs",
                "the metric of the paper is not named; weighted F1 is that of its code",
                "MFN, Graph-MFN, MFM and MCTN are built from their own papers; MFM takes the exact mean over its "
                "prior instead of draws from it"),
    limits=(
        "Words alone cannot tell the joint label: labels from text agree with it in 42 % of utterances (kappa .26).",
        "Character n-grams alone: weighted F1 .39 of the joint label, published RoBERTa-base .46; logistic regression "
        "on the same n-grams .41, always neutral .24 (results/systems/emotiontalk-text.json).",
        "Happy utterances have a mean sentiment of about zero: sentiment is not the sign of the emotion here.",
        "Sentiment from n-grams alone: five levels right .55 (always their mean .43, ridge on the same n-grams .56), "
        "F1 of the sign .892 (always negative .884, ridge .891): results/systems/emotiontalk-text-sentiment.json.",
        "Always saying negative gives a sentiment F1 of .8836. Published validation and test share speakers 02 and 13.",
        "MCTN reads the words alone once it is trained: without them its answer is the same for everybody.",
    ),
)  # fmt: skip

#: Mean sentiment of the classes on [-1, 1]; for synthetic examples alone.
_TONE = np.array([-0.1, 0.6, -0.7, -0.8, 0.1, -0.6, -0.5])


@dataclass(frozen=True)
class Config(FusionSettings):
    """Modalities with the widths of their vectors, how they are fused, and what is asked.

    `features` names the folders of stored vectors (`<name>-UTT` or `-FRA` is looked for). `encoder` reads words (see
    `affectus.nn.text`) in place of stored vectors; the width of the text is then 0. `markup` leaves the tags of
    overlaps and sounds in the words, as published features have them. `aligned` brings frames to the length of the
    text (without text: of the first modality); at most `longest` of them are kept (0: all). `clip` limits gradients
    (0: not).
    """

    modalities: tuple[str, ...] = ("audio", "text", "video")
    sizes: tuple[int, ...] = (768, 4096, 768)
    features: tuple[str, ...] = ("chinese-hubert-base", "Baichuan-7B-base", "clip-vit-large-patch14")
    encoder: str = ""
    length: int = 128
    markup: bool = False
    level: Literal["utterance", "frame"] = "utterance"
    aligned: bool = False
    longest: int = 0
    drop: float = 0.0
    lr: float = 1e-3
    clip: float = 0.0
    task: Literal["emotion", "sentiment", "both"] = "emotion"
    labels: tuple[str, ...] = CARD.labels
    space: str = "emotiontalk7"
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        names = self.modalities
        if not names or len(set(names)) != len(names) or set(names) - set(CARD.modalities):
            raise ConfigError(str(names), "must name audio, text or video, each at most once")
        if len(self.sizes) != len(names) or (self.features and len(self.features) != len(names)):
            raise ConfigError("sizes and features", f"must be one for each of {', '.join(names)}")
        if self.encoder and ("text" not in names or self.level == "frame"):
            raise ConfigError("encoder", "reads the words of an utterance as one vector", "use text, level utterance")
        self.check_fusion(len(names), self.level == "frame", self.aligned)
        if not 0 <= self.drop < 1:
            raise ConfigError("drop", f"{self.drop} is no share below 1")

    @classmethod
    def four(cls) -> Config:
        """The published 4-class task: neutral, happy, sad, angry."""
        return cls(labels=labels.space("emotiontalk4").labels, space="emotiontalk4")

    @classmethod
    def frames(cls) -> Config:
        """Frame vectors through cross-modal transformers."""
        return cls(level="frame", fusion="mult", longest=256, clip=0.8)

    @classmethod
    def aligned_frames(cls) -> Config:
        """Frame vectors, as many of voice and face as of words, through the memory fusion network."""
        return cls(level="frame", aligned=True, fusion="mfn", longest=256)

    @classmethod
    def ngrams(cls) -> Config:
        """Words alone through hashed character n-grams: no tokenizer, no download, half a minute on one core."""
        encoder = "ngrams:1-2,width=32,buckets=16384,length=192"
        return cls(modalities=("text",), sizes=(0,), features=(), encoder=encoder, hidden=64, dropout=0.5)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: small vectors of voice and face, character n-grams, both tasks."""
        return cls(sizes=(12, 0, 20), features=(), encoder="ngrams:1-2,width=8,buckets=512,length=32", fusion="lmf",
                   hidden=16, rank=3, dropout=0.0, task="both")  # fmt: skip

    @classmethod
    def drawn(cls, fusion: str = "lmf", seed: int = 0) -> Config:
        """Settings drawn from the published grid of a fusion; the number of draws is not published."""
        if fusion not in GRID:
            raise ConfigError(fusion, "has no published grid", f"there are {', '.join(GRID)}")
        random = np.random.default_rng(seed)
        drawn = {name: values[int(random.integers(len(values)))] for name, values in GRID[fusion].items()}
        drawn.setdefault("lr", (1e-3, 1e-4)[int(random.integers(2))])
        base = cls.aligned_frames() if fusion in ALIGNED else cls.frames() if fusion == "mult" else cls()
        return replace(base, fusion=fusion, **drawn)  # type: ignore[arg-type]


_Config = Config  # the class below has an attribute of that name


class EmotionTalk(System):
    """The classifiers and the sentiment head."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (60, 1e-2, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.select = {"emotion": "weighted_f1", "sentiment": "sentiment_f1", "both": "joint"}[c.task]
        self.text = SentenceEncoder(c.encoder, "mean", c.length) if c.encoder else None
        widths = dict(zip(c.modalities, c.sizes, strict=True))
        if self.text is not None:
            widths["text"] = self.text.width
        self.widths = widths
        slots = c.modalities if len(c.modalities) > 1 else c.modalities * 3
        self.slots = [c.modalities.index(name) for name in slots]
        self.readers = nn.ModuleList(
            StepReader(widths[name], c.hidden, c.dropout, c.parity == "published") if c.level == "frame"
            else Perceptron(widths[name], c.hidden, c.dropout) for name in slots if c.fusion not in SEQUENTIAL
        )  # fmt: skip
        lead = slots.index("text") if "text" in slots else 0
        self.fusion = build_fusion(c, [widths[name] for name in slots], lead, c.parity == "published")
        width: int = self.fusion.width  # type: ignore[assignment]
        self.emotion = nn.Linear(width, len(c.labels)) if c.task != "sentiment" else None
        self.value = nn.Linear(width, 1) if c.task != "emotion" else None

    def inputs(self) -> dict[str, InputSpec]:
        steps = (-1,) if self.config.level == "frame" else ()
        found: dict[str, InputSpec] = {
            name: ArrayInput((*steps, self.widths[name]), f"{name}_features") for name in self.config.modalities
        }
        return found | ({"text": self.text.spec()} if self.text is not None else {})

    def forward(self, batch: Batch) -> Outputs:
        """`logits` (B, classes), `values` (B, 1), `embedding` (B, F), and `loss:<name>` of the fusion."""
        c = self.config
        present = modalities_present(batch, c.modalities)  # (B, M)
        contents = [self._content(name, batch, len(present), present.device) for name in c.modalities]
        if c.fusion in SEQUENTIAL:
            feature, extra = self.fusion(contents, present)
        else:
            codes = [reader(contents[k]) * present[:, k, None]
                     for reader, k in zip(self.readers, self.slots, strict=True)]  # fmt: skip
            feature, extra = self.fusion(codes)
        outputs = {"embedding": feature} | {f"loss:{name}": value for name, value in extra.items()}
        if self.emotion is not None:
            outputs["logits"] = self.emotion(feature)
        if self.value is not None:
            outputs["values"] = self.value(feature) / 2  # from -2 … 2
        return outputs

    def _content(self, name: str, batch: Batch, count: int, device: torch.device) -> Tensor:
        """Vectors (B, D) or frames (B, L, D) of one modality, zeros where it is missing."""
        x = batch.get(name)
        if x is None:
            steps = (1,) if self.config.level == "frame" else ()
            return torch.zeros(count, *steps, self.widths[name], device=device)
        if not x.is_floating_point():
            if self.text is None:
                raise ConfigError(name, "holds token ids, and there is no encoder", "give vectors, or name an encoder")
            return self.text(x)
        if x.shape[-1] != self.widths[name]:
            raise ConfigError(name, f"has vectors of {x.shape[-1]} numbers; {self.widths[name]} are needed")
        return torch.nan_to_num(x.float())

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`emotion` (cross-entropy), `sentiment` (squared error on -2 … 2), and those of the fusion."""
        found = {name.partition(":")[2]: value for name, value in outputs.items() if name.startswith("loss:")}
        if "logits" in outputs and "label" in batch:
            if int(batch["label"].max()) >= len(self.labels()):
                raise ConfigError("label", f"lies outside of 0 … {len(self.labels()) - 1}", "map labels by name")
            found["emotion"] = known_cross_entropy(outputs["logits"], batch["label"])
        if "values" in outputs and "values" in batch:
            known = ~batch["values"].isnan()
            missed = 4 * (outputs["values"].float() - batch["values"].nan_to_num().float()).square() * known
            found["sentiment"] = missed.sum() / known.sum().clamp(min=1)
        if not {"emotion", "sentiment"} & set(found):
            raise ConfigError("batch", f"has no targets for the task {self.config.task}", "give label or values")
        return found

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Take modalities away at random where the phase or the configuration says so (`drop`)."""
        rate = float(options.get("drop", self.config.drop))
        if not rate:
            return batch
        return batch | {"present": drop_modalities(modalities_present(batch, self.config.modalities), rate)}

    def phases(self) -> list[Phase]:
        """Adam, decay 1e-5, batches of 32, 100 epochs."""
        c = self.config
        return [Phase("fusion", 100, c.lr, 32, weight_decay=1e-5, warmup=0.0, schedule="constant", clip=c.clip)]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """Targets of comma-separated columns: `label:emotiontalk7`, `meta:text_label` (judged from one modality; also
        audio and video) and `dim:sentiment`. Classes beyond the four of the 4-class task become -1."""
        found: dict[str, np.ndarray] = {}
        own = {name: place for place, name in enumerate(self.labels())}
        for name in (part.strip() for part in column.split(",")):
            if name.startswith("dim:"):
                found |= super().targets(corpus, name)
                continue
            given = corpus.column(name)
            known = set(corpus.labels(name) or given) - {None}
            if (missing := sorted(known - set(own))) and self.space() != "emotiontalk4":
                raise ConfigError(name, f"has labels that emotiontalk does not give: {', '.join(missing)}")
            if not known & set(own):
                raise ConfigError(name, "has none of the labels of emotiontalk", f"they are {', '.join(own)}")
            found["label"] = np.array([own.get(value, -1) for value in given], np.int64)
        return found

    def items(self, corpus: Corpus, column: str) -> VectorItems:
        """Rows with their stored vectors and the ids of their words; rows without any modality are left out."""
        c = self.config
        stored = {n: f for n, f in zip(c.modalities, c.features, strict=False) if n != "text" or self.text is None}
        if missing := [name for name in c.modalities if name not in stored and (name != "text" or self.text is None)]:
            raise ConfigError(", ".join(missing), "have no folder of vectors", "name them under features")
        if c.level == "frame":
            read = {n: stored_vectors(corpus, f"{f}-FRA", self.widths[n], True) for n, f in stored.items()}
            lead = "text" if "text" in c.modalities else c.modalities[0]
            vectors = frame_batches(read, self.widths, lead if c.aligned else "", c.longest)
        else:
            vectors = {n: vector_table(corpus, f"{f}-UTT", self.widths[n]) for n, f in stored.items()}
        if self.text is not None:
            spec, words = self.text.spec(), corpus.column("meta:transcript" if c.markup else "text")
            vectors["text"] = np.stack([spec(text or "") for text in words])
        return VectorItems(vectors, self.targets(corpus, column) if column else {}, corpus.column("id"), partial=True)

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Probabilities of the classes, and sentiment within [-1, 1]."""
        if "values" in outputs:
            outputs = {**outputs, "values": outputs["values"].clamp(-1, 1)}
        return super().decode(outputs)

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Weighted F1 of the classes; of sentiment squared error, five levels and sign; `joint` is F1 - MSE / 4."""
        found = super().measure(outputs, targets)
        if "logits" in outputs and "label" in targets:
            kept = targets["label"] >= 0
            found["weighted_f1"] = weighted_f1(targets["label"][kept], outputs["logits"][kept].argmax(1))
        if "values" in outputs and "values" in targets:
            kept = ~np.isnan(targets["values"][:, 0])
            truth, guess = 2 * targets["values"][kept, 0], 2 * outputs["values"][kept, 0]
            found |= sentiment_report(truth, guess)
            found["joint"] = found.get("weighted_f1", 0.0) - found["mse"] / 4
        return found

    def reported(
        self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[Callable[..., float], np.ndarray, np.ndarray]]:
        """Sentiment on the published scale of -2 … 2: squared error, the five levels, and its sign without zeros."""
        if "values" not in outputs or "values" not in targets:
            return {}
        truth, guess = (2 * found["values"][:, 0].astype("f8") for found in (targets, outputs))
        signed: dict[str, Callable[..., float]] = {"sentiment_f1": sentiment_f1, "acc2": acc2}
        metrics = {"mse": mse, "acc5": acc5} | (signed if (np.nan_to_num(truth) != 0).any() else {})
        return {name: (metric, truth, guess) for name, metric in metrics.items()}

    def example(self, count: int, seed: int = 0) -> Batch:
        """Utterances whose voice, face and words share a class, with a sentiment of its own noise."""
        c, classes, random = self.config, np.arange(count) % len(self.labels()), np.random.default_rng(seed)
        steps = (6,) if c.level == "frame" else ()
        shapes = {name: (*steps, width) for name, width in self.widths.items() if name != "text" or self.text is None}
        made = shared_class(shapes, classes, len(self.labels()), seed)
        for x in made.values() if steps else ():
            x[np.arange(6) < random.integers(0, 5, (count, 1))] = 0  # shorter utterances
        if self.text is not None:
            spec, words = self.text.spec(), [chinese_sentence(self.labels()[k], random) for k in classes]
            made["text"] = np.stack([spec(text) for text in words])
        tone = _TONE[classes] + 0.15 * random.normal(size=count)
        targets = {"label": classes, "values": np.clip(tone, -1, 1)[:, None].astype("f4")}
        return {name: torch.from_numpy(x) for name, x in (made | targets).items()}


class SpeechCaption(SpeechCaptioner):
    """Captions of the voice, by aspect."""

    card = CARD


STAGES = {"caption": SpeechCaption, "finetune": EmotionTalk}
