"""TIP-CLIP: does a sentence call up a picture? Read off its distance to the picture of nothing.

Both CLIP towers are trained as usual on sentence-picture pairs, except that every non-visual sentence is paired with
one and the same NULL picture of random pixels. Afterwards the text alone is scored:

  sentence → ids (B, 77) → text tower → unit vector (B, P) → S = 1 - <NULL, text> in [0, 2]; visual above a threshold
  training: pictures (B, 3, 224, 224), NULL for non-visual rows → picture tower → unit vectors → symmetric contrast

A batch with m NULL rows keeps a loss of (m/N) ln m however good the model is; `dedupe_null` takes those cells out of
the negatives. `pairing="shared"` is the paper's ablation, in which all visual sentences share one picture.

Deviations: batch size (128) and weight decay (0) are proposals. The probability is a logistic function around the
threshold, whose slope is fitted by `calibrate`; before that it is a guess and only the score S means something.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.errors import ConfigError
from affectus.features.inputs import CLIP_STATISTICS, ImageInput, InputSpec, TextInput
from affectus.metrics import auc, macro_f1
from affectus.nn.clip import Clip, ClipSizes
from affectus.nn.clip_tokens import ClipTokenizer, clip_tokenizer
from affectus.nn.losses.contrastive import info_nce
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import Published, SystemCard

_TABLE = "results table of the paper"

CARD = SystemCard(
    name="visualness",
    title="TIP-CLIP: learning the visualness of text",
    year=2023,
    paper="https://arxiv.org/abs/2305.10434",
    code="none published; project page gaurav22verma.github.io/text-visualness",
    summary="Scores how strongly a sentence evokes a picture, from its text alone.",
    modalities=("text", "image"),
    perspective="evoked",
    task="visual or non-visual sentence, and a visualness score",
    space="",
    labels=("non-visual", "visual"),
    licence={"code": "none published", "weights": "base weights: OpenAI CLIP, MIT", "data": "research use"},
    weights="none published; base weights openai/clip-vit-base-patch32",
    published=(
        Published("TImeD", "macro F1", 0.865, "human test part, 1,445 sentences", _TABLE),
        Published("TImeD", "accuracy", 0.871, "human test part, 1,445 sentences", _TABLE),
        Published("TImeD", "macro F1", 0.694, "the same, CLIP without tuning", _TABLE),
        Published("Twitter", "macro F1", 0.696, "14,992 posts, out of domain", _TABLE),
        Published("TImeD", "MRR", 0.937, "retrieval over 515 pairs", _TABLE),
    ),
    stages=("automatic", "human"),
    deviations=("batch size 128 and weight decay 0 are proposals",),
    limits=(
        "scores lie in a narrow band: calibrate the threshold on labelled sentences of your own domain",
        "English; sentences beyond 77 tokens are cut, with a warning",
        "the sentences of its corpus were selected by CLIP, which favours CLIP models",
    ),
)


@dataclass(frozen=True)
class Config:
    """Sizes of the towers, tokenizer file ("" = CLIP's own), threshold, NULL picture and objective."""

    clip: ClipSizes = field(default_factory=ClipSizes)
    tokenizer: str = ""
    threshold: float = 0.79
    null_seed: int = 0
    dedupe_null: bool = False
    pairing: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        if isinstance(self.clip, Mapping):
            object.__setattr__(self, "clip", ClipSizes(**self.clip))
        if self.pairing not in ("own", "shared"):
            raise ConfigError(self.pairing, "is no way of pairing", "use own or shared")

    @classmethod
    def base(cls) -> Config:
        """ViT-B/32, as published."""
        return cls()

    @classmethod
    def tiny(cls) -> Config:
        """For tests: two layers of width 32, bytes for tokens."""
        return cls(clip=ClipSizes.tiny(), threshold=0.9)


class TipClip(System):
    """Both stages: the second learns from human labels with the same objective."""

    card = CARD
    Config = Config
    stage = "human"
    select = "auc"
    null: Tensor
    threshold: Tensor
    slope: Tensor
    overfit = (80, 3e-3, 0.6)  # half of the rows are NULL, which leaves 0.5 ln 4 of ln 8

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.clip = Clip(config.clip)
        null = self._picture()(null_picture(config.clip.image, config.null_seed))
        self.register_buffer("null", torch.from_numpy(null))
        self.register_buffer("threshold", torch.tensor(float(config.threshold)))
        self.register_buffer("slope", torch.tensor(30.0))

    def _picture(self) -> ImageInput:
        return ImageInput(self.config.clip.image, fit="shorter", statistics=CLIP_STATISTICS, interpolation="bicubic")

    def inputs(self) -> dict[str, InputSpec]:
        """Text alone: pictures are needed to learn, not to predict (see `items`)."""
        sizes = self.config.clip
        encode = SentenceIds(clip_tokenizer(self.config.tokenizer, sizes.vocabulary), sizes.context)
        return {"text": TextInput(encode, sizes.context)}

    def null_features(self) -> Tensor:
        """Unit vector of the NULL picture by the present weights, (P,)."""
        return functional.normalize(self.clip.vision(self.null[None]), dim=-1)[0]

    def forward(self, batch: Batch) -> Outputs:
        require(batch, "text")
        text = functional.normalize(self.clip.text(batch["text"]), dim=-1)  # (B, P)
        null = self.null_features()
        score = visualness(text, null)  # (B,)
        chance = self.slope * (score - self.threshold)
        outputs = {"embedding": text, "visualness": score, "logits": torch.stack([torch.zeros_like(chance), chance], 1)}
        if batch.get("image") is not None and batch.get("label") is not None:
            visual = batch["label"] == 1
            pictures = batch["image"][visual]
            if self.config.pairing == "shared":
                pictures = self.null.flip(-1).expand(len(pictures), -1, -1, -1)  # one other picture of random pixels
            features = null.expand(len(text), -1).clone()
            if len(pictures):
                features[visual] = functional.normalize(self.clip.vision(pictures), dim=-1).to(features.dtype)
            outputs["pictures"] = features  # (B, P)
        return outputs

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        require(batch, "image")
        temperature = torch.exp(-self.clip.logit_scale.clamp(max=4.6052))  # CLIP keeps 1/temperature below 100
        same = None
        if self.config.dedupe_null:
            null = batch["label"] != 1
            same = null[:, None] & null[None, :]
        return {"contrast": info_nce(outputs["pictures"], outputs["embedding"], temperature, same)}

    def phases(self) -> list[Phase]:
        return [Phase("human", epochs=2, lr=5e-5, batch_size=128, weight_decay=0.0, warmup=0.0, schedule="constant")]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`label` 1 visual, 0 non-visual, -1 neither, from `column` "meta:verdict"."""
        names = {"visual": 1, "non-visual": 0}
        return {"label": np.array([names.get(value, -1) for value in corpus.column(column)], np.int64)}

    def items(self, corpus: Corpus, column: str) -> Any:
        """Sentences with their picture; visual ones without a picture cannot be learnt from and are left out."""
        return SentencePictures(self, corpus, column)

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Area under the ROC curve of the score, and macro F1 at the threshold."""
        kept = targets["label"] >= 0
        truth, score = targets["label"][kept], outputs["visualness"][kept]
        guess = (score > float(self.threshold)).astype(np.int64)
        found = {"macro_f1": macro_f1(truth, guess, 2), "accuracy": float((truth == guess).mean())}
        return found | {"auc": auc(truth, score) if 0 < truth.sum() < len(truth) else 0.5}

    @torch.no_grad()
    def calibrate(self, score: np.ndarray, label: np.ndarray) -> dict[str, float]:
        """Set threshold (best macro F1) and slope (least log loss around it) from labelled sentences (N,).

        Never use sentences that are scored afterwards. Raises ConfigError unless both classes occur.
        """
        truth = np.asarray(label)
        if set(np.unique(truth)) != {0, 1}:
            raise ConfigError("labels", "need both visual and non-visual sentences", "give 0 and 1")
        ordered = np.unique(score)
        cuts = np.r_[ordered[0] - 1e-6, (ordered[1:] + ordered[:-1]) / 2]
        values = [macro_f1(truth, (score > cut).astype(np.int64), 2) for cut in cuts]
        threshold = float(cuts[int(np.argmax(values))])
        slopes = np.geomspace(1, 1000, 61)
        margins = slopes[:, None] * (score - threshold) * np.where(truth == 1, 1, -1)
        slope = float(slopes[np.logaddexp(0, -margins).mean(1).argmin()])
        self.threshold.fill_(threshold)
        self.slope.fill_(slope)
        return {"threshold": threshold, "slope": slope, "macro_f1": float(max(values))}

    def example(self, count: int, seed: int = 0) -> Batch:
        sentences, pictures, label = pictured_sentences(count, seed, self.config.clip.image)
        spec = self.inputs()["text"]
        return {
            "text": torch.from_numpy(np.stack([spec(s) for s in sentences])),
            "image": torch.from_numpy(np.stack([self._picture()(p) for p in pictures])),
            "label": torch.from_numpy(label),
        }

    def attention(self, ids: Tensor) -> Tensor:
        """Attention that each token receives in the last layer of the text tower, (B, L): mean over heads and over the
        tokens up to the end token, which can only look back."""
        model = self.clip.text.text_model
        length = ids.shape[1]
        future = torch.full((length, length), float("-inf"), device=ids.device).triu(1)
        hidden = model.embeddings(inputs_embeds=self.clip.text.embed(ids))
        *layers, last = model.encoder.layers
        for layer in layers:
            found = layer(hidden, future[None, None])
            hidden = found[0] if isinstance(found, tuple) else found
        attend, normed = last.self_attn, last.layer_norm1(hidden)
        heads = self.config.clip.text_heads
        query, key = (p(normed).unflatten(-1, (heads, -1)).transpose(1, 2) for p in (attend.q_proj, attend.k_proj))
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + future).softmax(-1)  # (B, H, L, L)
        seen = torch.arange(length, device=ids.device) <= ids.argmax(-1, keepdim=True)  # (B, L)
        return (weights.mean(1) * seen[:, :, None]).sum(1) / seen.sum(1, keepdim=True)

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """The towers of a public CLIP checkpoint, from which training starts; nothing of TIP-CLIP itself is public."""
        towers = Clip.from_published(state)
        system = cls(config or Config(clip=towers.sizes))
        load_strictly(system.clip, towers.state_dict(), "CLIP checkpoint")
        return system


class TipClipAutomatic(TipClip):
    """First stage: 48,077 sentences labelled by their CLIP similarity to the pictures of their page."""

    stage = "automatic"

    def phases(self) -> list[Phase]:
        return [Phase("automatic", epochs=5, lr=5e-5, batch_size=128, weight_decay=0.0, warmup=0.0,
                      schedule="constant")]  # fmt: skip


class SentencePictures(Sequence[dict[str, Any]]):
    """Labelled rows of a corpus: text, picture (zeros for non-visual sentences, which are paired with NULL), label."""

    def __init__(self, system: TipClip, corpus: Corpus, column: str) -> None:
        self.corpus, self.text, self.picture = corpus, system.inputs()["text"], system._picture()
        self.label = system.targets(corpus, column)["label"]
        pictured = np.array([value is not None for value in corpus.column("media")])
        self.kept = np.flatnonzero((self.label == 0) | ((self.label == 1) & pictured))

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: Any) -> Any:
        row = int(self.kept[index])
        visual = self.label[row] == 1
        picture = self.picture(self.corpus.image(row)) if visual else np.zeros(self.picture.shape, np.float32)
        words = self.corpus.table["text"][row].as_py() or ""
        return {"text": self.text(words), "image": picture, "label": self.label[row]}


@dataclass(frozen=True)
class SentenceIds:
    """Sentence → CLIP ids of at most `length`; warns when it had to cut."""

    tokenizer: ClipTokenizer
    length: int

    def __call__(self, text: str) -> list[int]:
        count = len(self.tokenizer.encode(text))
        if count > self.length:
            warnings.warn(f"a sentence of {count} tokens was cut to {self.length}: {text[:40]!r} …", stacklevel=2)
        return self.tokenizer([text], self.length, cut=True)[0].tolist()


def visualness(text: Tensor, null: Tensor) -> Tensor:
    """S = 1 - cosine of text (B, P) and NULL (P,): 0 the same direction, 1 orthogonal, 2 opposite."""
    return 1 - functional.normalize(text, dim=-1) @ functional.normalize(null, dim=-1)


def null_picture(size: int, seed: int = 0) -> np.ndarray:
    """The NULL picture, RGB uint8 (size, size, 3): every value drawn at random once; the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


#: Words of the synthetic sentences: things with a look (one colour per word), and things without.
SEEN = {"apple": (220, 30, 30), "grass": (30, 200, 40), "ocean": (30, 60, 220), "lemon": (230, 220, 40)}
UNSEEN = ("policy", "theory", "budget", "reason")


def pictured_sentences(count: int, seed: int, size: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Synthetic sentences, their pictures (N, size, size, 3) uint8 and labels; visual and non-visual take turns."""
    random = np.random.default_rng(seed)
    label = 1 - np.arange(count) % 2
    sentences, pictures = [], np.zeros((count, size, size, 3), np.uint8)
    for i, visual in enumerate(label):
        word = str(random.choice(list(SEEN) if visual else UNSEEN))
        first, last = random.choice(("so", "the", "my", "our")), random.choice(("is", "was"))
        sentences.append(f"{first} {word} {last}")
        colour = np.array(SEEN.get(word, (128, 128, 128))) + random.normal(0, 15, (size, size, 3))
        pictures[i] = np.clip(colour, 0, 255)
    return sentences, pictures, label


STAGES = {"automatic": TipClipAutomatic, "human": TipClip}
