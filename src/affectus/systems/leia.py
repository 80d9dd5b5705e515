"""LEIA: which emotion does the writer of a short post say to have; encoders that learnt emotion words first.

Stage "pretrain" goes on with masked-word prediction, hiding emotion words far more often than others; stage "finetune"
puts RoBERTa's classification head on the encoder and learns the writers' own labels.

  post → normalised (mentions, links, emoji) → ids (B, L ≤ 128)
  pretrain: half of the emotion words and few others hidden → encoder → states (B, L, D) → tied word scores
  finetune: encoder → state of the first token (B, D) → dropout, dense, tanh, dropout, linear → 5 logits

Deviations: the masking rule is that of the public predecessor eMLM, since LEIA's own was not available, as are the
training settings (proposals). Emotion words come from this library's concepts, or from a file: no lexicon is shipped.
Emoji are named as in the Unicode standard, not by the short names of BERTweet's package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from affectus import labels
from affectus.corpora import Corpus
from affectus.errors import ConfigError, LabelError, ModelError
from affectus.features.inputs import ArrayInput, InputSpec, TextInput
from affectus.metrics import macro_f1
from affectus.nn.phase import Phase
from affectus.nn.post_reading import PostReader, WordReader
from affectus.nn.text import MaskedWordHead, TextEncoder, text_encoder
from affectus.nn.word_masking import IGNORED, hide_words
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import Published, SystemCard

SPACE = "leia5"
_TEST = "five in-domain classes"

CARD = SystemCard(
    name="leia",
    title="LEIA: Linguistic Embeddings for the Identification of Affect",
    year=2023,
    paper="https://arxiv.org/abs/2304.10973",
    code="none published; predecessor of the masking: https://github.com/tsosea2/eMLM",
    summary="Names the emotion that the writer of a short post would label it with; one of five, with no neutral.",
    modalities=("text",),
    perspective="felt",
    task="single-label classification of posts: happiness, affection, sadness, anger, fear",
    space=SPACE,
    labels=("Sadness", "Affection", "Fear", "Happiness", "Anger"),
    licence={"code": "eMLM: MIT", "weights": "MIT", "data": "Vent: by request, no redistribution"},
    weights="Hugging Face LEIA/LEIA-base, LEIA-large, LEIA-LM-base, LEIA-LM-large, LEIA-multilingual",
    published=(
        Published("Vent, unseen posts", "macro F1", 0.73, _TEST, "abstract (about 73 on each in-domain test)"),
        Published("Vent, unseen users", "macro F1", 0.73, _TEST, "abstract (about 73 on each in-domain test)"),
        Published("Vent, later period", "macro F1", 0.73, _TEST, "abstract (about 73 on each in-domain test)"),
    ),
    stages=("pretrain", "finetune"),
    deviations=(
        "masking rule of eMLM; training settings are proposals",
        "emotion words of this library's concepts instead of an emotion lexicon",
        "emoji are named as in the Unicode standard",
    ),
    limits=(
        "labels are what writers chose, not what readers see",
        "every post gets one of five emotions, neutral ones too: use the probability to abstain",
        "English; posts beyond 128 tokens are cut",
    ),
)


@dataclass(frozen=True)
class Config:
    """Encoder (see `affectus.nn.text`), order of the classes, and how words are hidden.

    `masking` is "emotion" or "uniform" (the ablation), `lexicon` a file of emotion words ("" = the library's own),
    `capped` stops hiding beyond `rate` of a post's tokens. `probe` freezes the encoder. `smoothing` is that of labels.
    """

    encoder: str = "vinai/bertweet-base"
    labels: tuple[str, ...] = CARD.labels
    length: int = 128
    dropout: float = 0.1
    smoothing: float = 0.0
    masking: Literal["emotion", "uniform"] = "emotion"
    rate: float = 0.15
    emotion_rate: float = 0.5
    capped: bool = True
    lexicon: str = ""
    normalise: bool = True
    probe: bool = False

    def __post_init__(self) -> None:
        if self.masking not in ("emotion", "uniform"):
            raise ConfigError(self.masking, "is no way of masking", "use emotion or uniform")
        if not 0 < self.rate < 1 or not 0 < self.emotion_rate <= 1:
            raise ConfigError("rate", f"{self.rate} and {self.emotion_rate} are no shares of words")
        known = labels.space(SPACE).labels
        if wrong := [name for name in self.labels if name not in known]:
            raise ConfigError("labels", f"{', '.join(wrong)} not in {SPACE}", f"they are {', '.join(known)}")

    @classmethod
    def base(cls) -> Config:
        """LEIA-base: BERTweet-base, 12 x 768."""
        return cls()

    @classmethod
    def large(cls) -> Config:
        """LEIA-large: BERTweet-large, 24 x 1024."""
        return cls(encoder="vinai/bertweet-large")

    @classmethod
    def multilingual(cls) -> Config:
        """LEIA-multilingual: Bernice, a frozen encoder with a probe, smoothed labels."""
        return cls(encoder="jhu-clsp/bernice", smoothing=0.1, probe=True)

    @classmethod
    def minilm(cls) -> Config:
        """The packaged English encoder (6 x 384) in place of BERTweet, for runs on a processor."""
        return cls(encoder="minilm-l6", length=64)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: two layers of width 32 over hashed words."""
        return cls(encoder="new:roberta,width=32,layers=2,heads=2,vocabulary=1024,positions=40,dropout=0",
                   length=24, dropout=0.0)  # fmt: skip

    @classmethod
    def from_record(cls, record: Mapping[str, Any], tokenizer: str = "") -> Config:
        """The config of a published `config.json`: sizes, and the classes in the order of its `id2label`.

        `tokenizer` names the folder or model id that holds its tokenizer. Raises ConfigError.
        """
        try:
            names = [record["id2label"][key] for key in sorted(record["id2label"], key=int)]
            order = tuple(labels.lookup(SPACE, name) for name in names)
            encoder = _published_encoder(
                record["hidden_size"], record["num_hidden_layers"], record["intermediate_size"], record["vocab_size"],
                record["max_position_embeddings"], tokenizer,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, LabelError) as error:
            raise ConfigError("config.json", f"is not that of a LEIA classifier: {error}") from error
        if sorted(order) != sorted(CARD.labels):
            raise ConfigError("id2label", f"names {', '.join(names)}", f"expected {', '.join(CARD.labels)}")
        return cls(encoder=encoder, labels=order, length=min(512, record["max_position_embeddings"] - 2))


class _LeiaStage(System):
    card = CARD
    Config = Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoder: TextEncoder = text_encoder(config.encoder)

    def _text(self) -> TextInput:
        tokens = self.encoder.tokens
        return TextInput(PostReader(tokens, self.config.length, self.config.normalise), self.config.length, tokens.pad)

    def depth(self, name: str) -> int:
        layers = len(getattr(getattr(self.encoder.net, "encoder", None), "layer", ()))
        if name.startswith("encoder.net.embeddings"):
            return layers + 1
        return layers - int(name.split(".")[4]) if name.startswith("encoder.net.encoder.layer.") else 0

    def _example_posts(self, count: int, seed: int) -> Batch:
        texts, classes = emotional_posts(count, seed)
        batch: Batch = {
            name: torch.from_numpy(np.stack([spec(t) for t in texts])) for name, spec in self.inputs().items()
        }
        place = [self.config.labels.index(CARD.labels[c]) for c in classes]
        return batch | {"label": torch.tensor(place)}


class LeiaWords(_LeiaStage):
    """Continued masked-word prediction with emotion words preferred (LEIA-LM)."""

    stage = "pretrain"
    select = "-loss"
    overfit = (60, 1e-2, 0.9)  # what is hidden changes with every step

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        eps = next(m.eps for m in self.encoder.net.modules() if isinstance(m, nn.LayerNorm))
        self.head = MaskedWordHead(self.encoder.table, eps)

    def inputs(self) -> dict[str, InputSpec]:
        return {
            "text": self._text(),
            "words": ArrayInput((self.config.length,), "text", WordReader(self._reader(), "words", "")),
            "cues": ArrayInput((self.config.length,), "text", WordReader(self._reader(), "cues", self.config.lexicon)),
        }

    def _reader(self) -> PostReader:
        return PostReader(self.encoder.tokens, self.config.length, self.config.normalise)

    def forward(self, batch: Batch) -> Outputs:
        require(batch, "text", "words", "cues")
        ids, words, cues = batch["text"], batch["words"].long(), batch["cues"] > 0  # (B, L) each
        tokens, config = self.encoder.tokens, self.config
        preferred = config.emotion_rate if config.masking == "emotion" else config.rate
        masked = hide_words(ids, words, cues, tokens.mask, tokens.size, config.rate, preferred, config.capped)
        states, _ = self.encoder(masked.ids)  # (B, l, D)
        targets = masked.targets[:, : states.shape[1]]
        hidden = targets != IGNORED
        return {"word_scores": self.head(states[hidden], self.encoder.table), "word_targets": targets[hidden]}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        scores, targets = outputs["word_scores"].float(), outputs["word_targets"]
        total = nn.functional.cross_entropy(scores, targets, reduction="sum")
        return {"words": total / max(1, len(targets))}  # a batch of very short posts may hide nothing

    def phases(self) -> list[Phase]:
        # 100k steps of 512 posts on 6.3 million
        return [Phase("masked words", epochs=8, lr=1e-4, batch_size=64, accumulate=8, weight_decay=0.01, warmup=0.06)]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {}

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        return {}  # every post teaches, labelled or not

    def example(self, count: int, seed: int = 0) -> Batch:
        return self._example_posts(count, seed)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """LEIA-LM: keys `roberta.*` and `lm_head.*`."""
        named = _renamed(state, {"lm_head.dense.": "head.dense.", "lm_head.layer_norm.": "head.norm."})
        named["head.bias"] = named.pop("lm_head.bias", named.pop("lm_head.decoder.bias", torch.zeros(0)))
        for tied in ("lm_head.decoder.weight", "lm_head.decoder.bias"):
            named.pop(tied, None)
        system = cls(config or _inferred(state))
        load_strictly(system, named, "LEIA-LM checkpoint")
        return system


class Leia(_LeiaStage):
    """The classifier."""

    select = "macro_f1"
    overfit = (60, 5e-3, 0.5)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width = self.encoder.width
        self.dropout = nn.Dropout(config.dropout)
        self.dense, self.out = nn.Linear(width, width), nn.Linear(width, len(config.labels))

    def space(self) -> str:
        return SPACE

    def inputs(self) -> dict[str, InputSpec]:
        return {"text": self._text()}

    def forward(self, batch: Batch) -> Outputs:
        require(batch, "text")
        states, _ = self.encoder(batch["text"])  # (B, l, D)
        first = states[:, 0]
        hidden = torch.tanh(self.dense(self.dropout(first)))  # (B, D)
        return {"logits": self.out(self.dropout(hidden)), "embedding": first}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        logits = outputs["logits"].float()
        return {"emotion": nn.functional.cross_entropy(logits, batch["label"], label_smoothing=self.config.smoothing)}

    def phases(self) -> list[Phase]:
        if self.config.probe:
            return [Phase("probe", epochs=3, lr=5e-4, batch_size=128, weight_decay=0.01, freeze=(r"encoder\.",))]
        return [Phase("finetune", epochs=3, lr=2e-5, batch_size=64, weight_decay=0.01, warmup=0.06)]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`label` from a column of any label space that maps to LEIA's five; -1 where none of them, or several, fit.

        Classes outside the five are dropped, so a post of anger and disgust counts as anger. The perspective of the
        column may be another one than the writers': say so with the result.
        """
        known = labels.map_between(column.partition(":")[2].partition("@")[0], SPACE)
        order = [labels.space(SPACE).labels.index(name) for name in self.config.labels]
        reach = (known.matrix > 0)[:, order]  # (n source, 5)
        if column.startswith("labels:"):
            hot = corpus.multi_hot(column)
        else:
            place = corpus.targets(column)
            hot = np.eye(len(reach), dtype=np.float32)[place] * (place >= 0)[:, None]
        found = (hot @ reach) > 0  # (N, 5)
        return {"label": np.where(found.sum(1) == 1, found.argmax(1), -1)}

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The usual metrics, and macro F1 over the classes that occur in the labels, for sets without all five."""
        found = super().measure(outputs, targets)
        kept = targets["label"] >= 0
        truth, guess = targets["label"][kept], outputs["logits"][kept].argmax(1)
        return found | {"macro_f1_present": macro_f1(truth, guess, present_only=True)}

    def example(self, count: int, seed: int = 0) -> Batch:
        return self._example_posts(count, seed)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """LEIA: keys `roberta.*`, `classifier.dense.*`, `classifier.out_proj.*`.

        Without a config the classes are taken in the order of the released multilingual model; better give
        `Config.from_record` of the checkpoint's own `config.json`. Raises ModelError for the weights of LEIA-LM, whose
        classifier would be untrained.
        """
        if not any(key.startswith("classifier.") for key in state):
            remedy = "fine-tune it first, or load it as the pretrain stage"
            raise ModelError("LEIA checkpoint", "holds no classifier, as that of LEIA-LM", remedy)
        named = _renamed(state, {"classifier.dense.": "dense.", "classifier.out_proj.": "out."})
        system = cls(config or _inferred(state))
        load_strictly(system, named, "LEIA checkpoint")
        return system


def _renamed(state: Mapping[str, Tensor], changes: Mapping[str, str]) -> dict[str, Tensor]:
    """Keys of this file; position counters of old checkpoints are left out."""
    named = {}
    for key, value in state.items():
        if key.endswith("embeddings.position_ids"):
            continue
        for theirs, ours in {"roberta.": "encoder.net.", **changes}.items():
            if key.startswith(theirs):
                key = ours + key.removeprefix(theirs)
                break
        named[key] = value
    return named


def _published_encoder(width: int, layers: int, inner: int, words: int, positions: int, tokenizer: str) -> str:
    sizes = f"width={width},layers={layers},heads={max(1, width // 64)},inner={inner}"
    told = f",tokenizer={tokenizer}" if tokenizer else ""
    return f"new:roberta,{sizes},vocabulary={words},positions={positions},eps=1e-5{told}"


def _inferred(state: Mapping[str, Tensor]) -> Config:
    """Sizes of a checkpoint; its tokenizer is that of the BERTweet model with this vocabulary."""
    place: Callable[[str], Tensor] = lambda name: state[f"roberta.{name}"]
    try:
        words, width = place("embeddings.word_embeddings.weight").shape
        positions = len(place("embeddings.position_embeddings.weight"))
        inner = len(place("encoder.layer.0.intermediate.dense.weight"))
    except KeyError as error:
        raise ModelError("LEIA checkpoint", f"lacks {error.args[0]}", "give the weights of a RoBERTa model") from error
    layers = len({key.split(".")[3] for key in state if key.startswith("roberta.encoder.layer.")})
    tokenizer = {64001: "vinai/bertweet-base", 50265: "vinai/bertweet-large", 250002: "jhu-clsp/bernice"}.get(words, "")
    encoder = _published_encoder(width, layers, inner, words, positions, tokenizer)
    return Config(encoder=encoder, length=min(512, positions - 2))


#: Emotion words, and things that come with them, of the synthetic posts; classes as on the card.
CUES = (
    ("sad", "sorrowful", "unhappy"), ("affection", "love", "caring"), ("afraid", "scared", "fearful"),
    ("happy", "joyful", "excited"), ("angry", "furious", "annoyed"),
)  # fmt: skip
_THINGS = (("funeral", "rain", "tears"), ("mother", "hug", "kitten"), ("spider", "night", "cellar"),
           ("party", "sunshine", "gift"), ("traffic", "queue", "tax"))  # fmt: skip
_FILLERS = ("the", "and", "so", "then", "we", "today", "was", "it", "again", "there", "some", "very")


def emotional_posts(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Synthetic posts of five classes in turn: one emotion word, one thing that goes with it, four fillers."""
    random = np.random.default_rng(seed)
    classes, texts = np.arange(count) % len(CUES), []
    for c in classes:
        words = [*random.choice(_FILLERS, 4), random.choice(CUES[c]), random.choice(_THINGS[c])]
        texts.append(" ".join(str(w) for w in random.permutation(words)))
    return texts, classes


STAGES = {"pretrain": LeiaWords, "finetune": Leia}
