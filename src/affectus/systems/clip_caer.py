"""CLIP-CAER: academic emotions of a student on video, by face and by surroundings, with CLIP and learnt prompts.

One CLIP image tower sees the face and, apart from it, the whole scene of 16 frames. A small transformer per stream sums
up its frames; both summaries are joined and compared with texts that list the cues of each class, whose first eight
words are learnt.

    face    (B, 16, 3, 224, 224) → CLIP image tower → (B, 16, 512) → temporal transformer → (B, 512) ┐
    context (B, 16, 3, 224, 224) → same tower       → (B, 16, 512) → temporal transformer → (B, 512) ┴→ linear → v
    [start] 8 learnt words + cues [end] → CLIP text tower → t (classes, 512)
    logits = cosine(v, t) / 0.01

Pixels are only divided by 255, as in the public code: the published weights expect that (`statistics="clip"` is the
other way). The fusion layer learns at the tiny rate of the image tower although it starts random; the phase says so and
a recipe can change it. Deviations:

- class texts are our own wording of the published cues; the published wording comes with the published weights;
- both streams are turned and mirrored together (`parity="published"`: each by itself), after scaling instead of before;
- biases and norms are not decayed;
- label smoothing by hand-set class weights and Gaussian logit noise, which are off in the public code, are left out.

`streams`, `text`, `contexts`, `specific` and `position` give the ablations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.frame_folders import FrameFolders
from affectus.corpora.synthetic_pictures import student_clip
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import CLIP_STATISTICS, NONE, InputSpec
from affectus.features.segments import SegmentInput, segment_draws, segment_middles
from affectus.nn.clip import (
    ClipSizes,
    ClipText,
    ClipVision,
    openai_text_names,
    openai_vision_names,
    published_names,
    published_sizes,
)
from affectus.nn.clip_tokens import clip_tokenizer
from affectus.nn.frames import turned
from affectus.nn.phase import Phase
from affectus.nn.prompts import LearntPrompts, Position, recovered_ids, with_placeholders
from affectus.nn.temporal import TemporalTransformer, published_temporal_names
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import Published, SystemCard

_PAPER = "arXiv 2507.00586"
_TABLE = "table of the repository zgsfer/CLIP-CAER"

CARD = SystemCard(
    name="clip_caer",
    title="CLIP-CAER: context-aware academic emotion recognition with CLIP",
    year=2025,
    paper=f"Context-Aware Academic Emotion Dataset and Benchmark, ICCV 2025, {_PAPER}",
    code="zgsfer/CLIP-CAER",
    summary="Tells neutrality, enjoyment, confusion, fatigue and distraction of a learning person from face and scene.",
    modalities=("face", "context"),
    perspective="expressed",
    task="academic emotion of one person in a short video",
    space="raer5",
    labels=("Neutrality", "Enjoyment", "Confusion", "Fatigue", "Distraction"),
    licence={"code": "public code without a licence file; built on DFER-CLIP (MIT)",
             "weights": "non-commercial research, no redistribution",
             "data": "RAER: non-commercial research on request, no redistribution"},
    weights="one file linked in the README of zgsfer/CLIP-CAER (non-commercial research)",
    published=(
        Published("RAER", "UAR", 0.6800, "test split; checkpoint chosen on it", _TABLE),
        Published("RAER", "UAR of DFER-CLIP (face only)", 0.6119, "test split; checkpoint chosen on it", _TABLE),
    ),
    deviations=(
        "class texts in our own wording unless the published weights are loaded",
        "both streams are turned and mirrored together unless parity is published",
    ),
    limits=("seven test clips show confusion: one clip is 2.9 points of UAR", "learns rooms and objects too"),
)  # fmt: skip

#: Cues of the classes: face first, then body and surroundings.
CUES: Mapping[str, tuple[str, str]] = {
    "Neutrality": ("mouth at rest, eyes open, level eyebrows, no change of emotion",
                   "study materials at hand, natural posture"),
    "Enjoyment": ("raised corners of the mouth, bright eyes, relaxed eyebrows",
                  "attention on the lesson, nodding now and then"),
    "Confusion": ("drawn eyebrows, mouth slightly open, puzzled or wandering look",
                  "chin in hand, eyes fixed on the materials"),
    "Fatigue": ("yawning, drooping eyelids, head sinking forward", "eyes half on the materials, hand barely writing"),
    "Distraction": ("shifting eyes, restless, unfocused", "looking at the phone, gaze away from the materials"),
}  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Sizes; the default is the published ViT-B/32 model.

    `text` says what describes a class ("cues" of face and scene, those of the "face" alone, its "name", a "sentence"
    with it) unless `texts` gives them. They are tokenised with the file or folder `tokenizer`, by default CLIP's own
    vocabulary; `tokens` holds the result, so that a saved model needs neither.
    """

    labels: tuple[str, ...] = CARD.labels
    space: str = CARD.space
    clip: ClipSizes = field(default_factory=ClipSizes)
    frames: int = 16
    streams: Literal["both", "face", "context"] = "both"
    contexts: int = 8
    specific: bool = True
    position: Position = "end"
    text: Literal["cues", "face", "name", "sentence"] = "cues"
    texts: tuple[str, ...] = ()
    tokenizer: str = ""
    tokens: tuple[tuple[int, ...], ...] = ()
    depth: int = 1
    heads: int = 8
    head_width: int = 64
    hidden: int = 1024
    dropout: float = 0.1
    temperature: float = 0.01
    statistics: Literal["none", "clip"] = "none"
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        if isinstance(self.clip, Mapping):
            object.__setattr__(self, "clip", ClipSizes(**self.clip))
        for name in ("texts", "tokens"):
            if (given := getattr(self, name)) and len(given) != len(self.labels):
                raise ValueError(f"{len(given)} {name} for {len(self.labels)} labels")

    @classmethod
    def base(cls) -> Config:
        """ViT-B/32."""
        return cls()

    @classmethod
    def tiny(cls) -> Config:
        """For tests: a random tower whose tokens are bytes."""
        return cls(clip=ClipSizes.tiny(), frames=4, contexts=4, text="name", heads=2, head_width=8, hidden=32,
                   dropout=0.0)  # fmt: skip


_Config = Config  # the class below has an attribute of that name


class ClipCaer(System):
    """See the head of the file. Batch keys: `face` and `context` (B, frames, 3, S, S), pixels in [0, 1]."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (60, 1e-3, 0.5)

    def __init__(self, config: _Config) -> None:
        config = replace(config, tokens=config.tokens or class_tokens(config))
        super().__init__(config)
        sizes = config.clip
        self.image, self.text = ClipVision(sizes), ClipText(sizes).requires_grad_(False)
        ids = torch.zeros(len(config.labels), sizes.context, dtype=torch.int64)
        for row, tokens in zip(ids, config.tokens, strict=True):
            row[: len(tokens)] = torch.tensor(tokens)
        self.prompts = LearntPrompts(ids, self.text.embed(ids), config.contexts, config.specific, config.position)
        self.temporal = nn.ModuleDict({
            key: TemporalTransformer(sizes.projection, config.frames, config.depth, config.heads, config.head_width,
                                     config.hidden, config.dropout)
            for key in self.inputs()
        })  # fmt: skip
        both = config.streams == "both"
        self.project = nn.Linear(2 * sizes.projection, sizes.projection) if both else None

    def inputs(self) -> dict[str, InputSpec]:
        """Face crops scaled to squares and whole frames on black, at the middles of equal segments."""
        config, size = self.config, self.config.clip.image
        how = NONE if config.statistics == "none" else CLIP_STATISTICS
        specs: dict[str, InputSpec] = {}
        if config.streams != "context":
            specs["face"] = SegmentInput(config.frames, size, "stretch", how, of="faces")
        if config.streams != "face":
            specs["context"] = SegmentInput(config.frames, size, "letterbox", how, of="frames")
        return specs

    def clip_features(self, key: str, frames: Tensor) -> Tensor:
        """Summary (B, projection) of one stream (B, frames, 3, S, S)."""
        side = self.config.clip.image
        if frames.ndim != 5 or tuple(frames.shape[2:]) != (3, side, side):
            raise ConfigError(key, f"has shape {tuple(frames.shape)}; (B, frames, 3, {side}, {side}) is needed")
        features = self.image(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self.temporal[key](features)

    def class_features(self) -> Tensor:
        """Unit vectors of the class texts (classes, projection)."""
        text = self.text.encode(self.prompts(), self.prompts.read_out)
        return text / text.norm(dim=-1, keepdim=True)

    def forward(self, batch: Batch) -> Outputs:  # face, context → logits (B, classes), embedding (B, projection)
        keys = list(self.inputs())
        require(batch, *keys)
        video = torch.cat([self.clip_features(key, batch[key]) for key in keys], -1)
        if self.project is not None:
            video = self.project(video)
        video = video / video.norm(dim=-1, keepdim=True)
        return {"logits": video @ self.class_features().T / self.config.temperature, "embedding": video}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy."""
        return {"class": functional.cross_entropy(outputs["logits"], batch["label"])}

    def phases(self) -> list[Phase]:
        """As published: SGD, a tenth of the rate for the prompts, a thousandth for image tower and fusion layer."""
        rates = {r"prompts\.": 0.1, r"image\.": 1e-3} | ({r"project\.": 1e-3} if self.project is not None else {})
        return [
            Phase("tune", epochs=20, lr=1e-2, batch_size=8, weight_decay=1e-4, warmup=0.0, clip=0.0, optimizer="sgd",
                  momentum=0.9, schedule="steps", milestones=(10, 15), freeze=(r"text\.",), rates=rates,
                  options={"rotation": 4.0, "flip": 0.5})
        ]  # fmt: skip

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Clips turned by up to ± `options["rotation"]` degrees and mirrored with chance `options["flip"]`."""
        angle, flip = float(options.get("rotation", 0.0)), float(options.get("flip", 0.0))
        keys = [key for key in self.inputs() if key in batch]
        if not keys or not (angle or flip):
            return batch
        count, changed = len(batch[keys[0]]), dict(batch)
        draw = torch.rand(2, count)
        for key in keys:
            changed[key] = turned(batch[key], math.radians(angle) * (2 * draw[0] - 1), draw[1] < flip)
            if self.config.parity == "published":
                draw = torch.rand(2, count)
        return changed

    def items(self, corpus: Corpus, column: str) -> Any:
        """Clips published as folders of frames, cut by the boxes of the corpus where it has them."""
        if any(media is None or not media.endswith("/") for media in corpus.column("media")):
            return None
        return BoxedClips(self, corpus, column)

    def example(self, count: int, seed: int = 0) -> Batch:
        """Clips of all classes in turn: faces tell the first three from each other and from the rest, a lit screen in
        the scene tells the fifth from the fourth."""
        random, config = np.random.default_rng(seed), self.config
        labels = [i % len(self.labels()) for i in range(count)]
        moods = [("neutral", "happiness", "surprise", "sadness", "sadness")[min(label, 4)] for label in labels]
        lit = [label == 4 or (label < 3 and random.random() < 0.5) for label in labels]
        clips = [student_clip(mood, screen, random, config.clip.image, config.frames)
                 for mood, screen in zip(moods, lit, strict=True)]  # fmt: skip
        batch: Batch = {key: torch.from_numpy(np.stack([spec(clip[spec.source]) for clip in clips]))
                        for key, spec in self.inputs().items()}  # fmt: skip
        return {**batch, "label": torch.tensor(labels)}

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Weights of an earlier run, or of a public CLIP in OpenAI's or transformers' layout for both towers."""
        if not any(k.startswith(("visual.", "vision_model.")) for k in state):
            return super().initialise(state)
        named = published_names(state)
        for prefix, tower in (("vision.", self.image), ("text.", self.text)):
            load_strictly(tower, _inside(named, prefix), "CLIP weights")
        self.prompts.take(self.text.embed(self.prompts.ids))
        return sorted(k for k in self.state_dict() if not k.startswith(("image.", "text.", "prompts.token")))

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: _Config | None = None) -> Self:
        """The public model; `state` is its file or the `state_dict` in it.

        The class texts are read off the weights. Sizes come from `config`, or else from the weights (with heads of 64).
        """
        state = {k.removeprefix("module."): v for k, v in state.get("state_dict", state).items()}
        wanted = ("prompt_learner.ctx", "prompt_learner.token_prefix", "prompt_learner.token_suffix")
        if missing := [k for k in (*wanted, "clip_model_.token_embedding.weight") if k not in state]:
            raise ModelError("CLIP-CAER weights", f"lack {', '.join(missing)}", "give the whole public file")
        named = _published_weights(state)
        words = named["text.text_model.embeddings.token_embedding.weight"]
        context, prefix, suffix = (state[k] for k in wanted)
        ids = torch.zeros(len(prefix), 1 + context.shape[-2] + suffix.shape[1], dtype=torch.int64)
        ids[:, :1], ids[:, -suffix.shape[1] :] = recovered_ids(prefix, words), recovered_ids(suffix, words)
        tokens = tuple(tuple(row[: int(row.argmax()) + 1].tolist()) for row in ids)
        system = cls(replace(config or _published_config(named), tokens=tokens))
        load_strictly(system, named, "CLIP-CAER weights")
        return system


class BoxedClips:
    """Clips of a corpus as items: face and scene cut out of the frames by published boxes.

    While the system trains one frame is drawn from each segment, otherwise its middle is taken.
    """

    def __init__(self, system: ClipCaer, corpus: Corpus, column: str) -> None:
        self.system, self.corpus, self.folders = system, corpus, FrameFolders(corpus)
        self.targets = system.targets(corpus, column) if column else {}
        known = [values >= 0 for values in self.targets.values()]
        self.kept = np.flatnonzero(known[0] if known else np.ones(len(corpus), bool))

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.kept[index])
        count, wanted = len(self.folders.refs(row)), self.system.config.frames
        if self.system.training:
            chosen = segment_draws(count, wanted, lambda high, n: torch.randint(high, (n,)).numpy())
        else:
            chosen = segment_middles(count, wanted)
        item: dict[str, Any] = {"id": str(self.corpus.table["id"][row].as_py())}
        for key, spec in self.system.inputs().items():
            cut = self.folders.faces(row, chosen) if key == "face" else self.folders.bodies(row, chosen)
            item[key] = spec(cut)
        return item | {name: values[row] for name, values in self.targets.items()}


def class_texts(config: _Config) -> tuple[str, ...]:
    """What describes each class; raises ConfigError for cues of a class that has none."""
    if config.texts:
        return config.texts
    if config.text in ("name", "sentence"):
        form = "{}" if config.text == "name" else "an expression of {} in learning state"
        return tuple(form.format(label) for label in config.labels)
    if unknown := [label for label in config.labels if label not in CUES]:
        raise ConfigError("texts", f"no cues are known of {', '.join(unknown)}", "give texts, or text: name")
    return tuple("; ".join(CUES[label]) if config.text == "cues" else CUES[label][0] for label in config.labels)


def class_tokens(config: _Config) -> tuple[tuple[int, ...], ...]:
    """Token ids of the class texts behind their placeholders, from start to end token."""
    usual = (config.labels, config.text, config.texts, config.tokenizer) == (CARD.labels, "cues", (), "")
    if usual and config.clip.vocabulary == _END + 1:
        return tuple((_START, *[_X] * config.contexts, *cues, _END) for cues in CUE_TOKENS)
    tokenizer = clip_tokenizer(config.tokenizer, config.clip.vocabulary)
    ids = tokenizer(with_placeholders(class_texts(config), config.contexts), config.clip.context)
    return tuple(tuple(row[: int(row.argmax()) + 1].tolist()) for row in ids)


#: Ids of `CUES` in CLIP's vocabulary, so that the published size builds without its file.
CUE_TOKENS = (
    (4932, 536, 2539, 267, 3095, 1488, 267, 2931, 19923, 267, 871, 1799, 539, 17464, 282, 3123, 8161, 536, 2463, 267,
     3288, 29681),
    (6027, 19584, 539, 518, 4932, 267, 4852, 3095, 267, 18999, 19923, 282, 4936, 525, 518, 7714, 267, 578, 8974, 692,
     537, 1594),
    (8893, 19923, 267, 4932, 8456, 1488, 267, 19760, 912, 541, 22597, 1012, 282, 8979, 530, 2463, 267, 3095, 9393, 525,
     518, 8161),
    (31989, 762, 267, 1494, 676, 519, 1541, 1018, 646, 267, 1375, 27949, 2342, 282, 3095, 2349, 525, 518, 8161, 267,
     2463, 12684, 2979),
    (21992, 3095, 267, 36724, 267, 569, 9319, 282, 1312, 536, 518, 1951, 267, 23212, 1520, 633, 518, 8161),
)  # fmt: skip
_START, _X, _END = 49406, 343, 49407


def _inside(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _published_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the public file under our names; what has no place in it keeps its name.

    The file holds both towers twice, the second time under `clip_model_`; both must be the same.
    """
    text = {**_inside(state, "text_encoder."), "token_embedding.weight": state["clip_model_.token_embedding.weight"]}
    named = {f"image.{k}": v for k, v in openai_vision_names(_inside(state, "image_encoder.")).items()}
    named |= {f"text.{k}": v for k, v in openai_text_names(text).items()}
    for key, value in published_names(_inside(state, "clip_model_.")).items():
        own = key.replace("vision.", "image.", 1) if key.startswith("vision.") else key
        if own != "logit_scale" and (own not in named or not torch.equal(named[own], value)):
            named[f"clip_model_: {key}"] = value
    for ours, theirs in (("face", "temporal_net."), ("context", "temporal_net_body.")):
        named |= {f"temporal.{ours}.{k}": v for k, v in published_temporal_names(_inside(state, theirs)).items()}
    named |= {f"project.{k}": v for k, v in _inside(state, "project_fc.").items()}
    named |= {f"prompts.{'context' if k == 'ctx' else k}": v for k, v in _inside(state, "prompt_learner.").items()}
    known = ("clip_model_.", "text_encoder.", "image_encoder.", "temporal_net.", "temporal_net_body.", "project_fc.",
             "prompt_learner.")  # fmt: skip
    return named | {k: v for k, v in state.items() if not k.startswith(known)}


def _published_config(named: Mapping[str, Tensor]) -> _Config:
    """Sizes of the weights under our names, with eight heads in time as in the public code."""
    sizes = published_sizes({k.replace("image.", "vision.", 1): v for k, v in named.items()})
    context, first = named["prompts.context"], "temporal.face.layers.0."
    if len(named["prompts.token_prefix"]) != len(CARD.labels):
        raise ModelError("CLIP-CAER weights", f"have {len(named['prompts.token_prefix'])} classes", "give a config")
    try:
        frames, qkv = named["temporal.face.pos_embedding"].shape[1] - 1, named[first + "qkv.weight"].shape[0]
        hidden = named[first + "fc1.weight"].shape[0]
    except KeyError as error:
        raise ModelError(
            "CLIP-CAER weights", f"lack what gives {error.args[0]}", "give the whole public file"
        ) from error
    depth = sum(k.startswith("temporal.face.layers.") and k.endswith("qkv.weight") for k in named)
    return Config(clip=sizes, frames=frames, contexts=context.shape[-2], specific=context.ndim == 3, depth=depth,
                  head_width=qkv // 24, hidden=hidden)  # fmt: skip


STAGES: dict[str, type[System]] = {"finetune": ClipCaer}
