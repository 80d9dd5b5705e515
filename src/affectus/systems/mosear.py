"""MoSEAR: emotion from a face and a voice that may disagree, by experts per modality and re-allocated attention.

    first frame 448² ─ EVA-ViT-g, frozen ─► 1 + 1024 × 1408 ─┬─ 4 neighbours → Linear ──► 256 tokens ─┐ <VideoHere>
                                                             └─ class token → Linear ───► 1 token  ───┤
    FaceMAE, VideoMAE (1024 each, utterance) ─ Linear each ─────────────────────────────► 2 tokens ───┼ <FeatureHere>
    HuBERT (1024, utterance) ─ Linear ──────────────────────────────────────────────────► 1 token  ───┘
    [INST] <video>…</video> <feature>…</feature> The person in video says: … question [/INST] → LLaMA-2-7b-chat → text

One audio token stands against 259 visual ones, and yet such models lean on the voice when both disagree. Stage
"backbone" is the model itself (Emotion-LLaMA: projections and LoRA r64 on q and v). Stage "finetune" freezes it and
adds to each q and v low-rank experts per modality with gates (`lm.modality_experts`): loss = answer + .1 · (w_v - w_a)²
+ .01 · load balance. While it answers, attention of the writing token is moved from the modality that dominates to the
other one (`lm.reallocation`), with rho .5 beyond a share of .6 in the middle third of the layers. Fresh experts add
nothing, so this stage on a backbone's weights is re-allocation alone, and `rho=0` switches that off as well.

Stage "native" is the same on a video language model of the Qwen family as it comes (`lm.native`): frames and, with
Qwen2.5-Omni, sound go through the model's own encoders, and nothing but the experts is added.

`reliance` tells per clip what the answer rests on: attention on either modality as a whole and per token (they can
differ in sign at 259 : 1), expert weights, and how much likelihood the true answer loses without it.

Deviations and reconstructions. Formulas and settings of experts and re-allocation are not public: they follow the
sheet's reconstruction; tokens of a span go through their own modality's experts only, text through both. The public
chat path of the backbone leaves <FeatureHere> as literal text; both paths use the layout of training here. FaceMAE has
no public weights under a hub id: its vectors come cached ("features"), or `from_media` puts CLIP-L over face crops in
their place and leaves VideoMAE out. Questions are our own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor, nn

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import CLIP_STATISTICS, ArrayInput, ImageInput, InputSpec
from affectus.features.sequences import BandFeatures, CellFeatures, FrameSequence, PlainText, SoundClips
from affectus.lm.config import Branch, Encoder
from affectus.lm.modality_experts import expert_losses, expert_settings
from affectus.lm.reallocation import Reallocation
from affectus.lm.reliance import measure
from affectus.lm.toy import toy_record
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, batch_of, load_strictly, unwrap
from affectus.systems.card import Published, SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase
from affectus.systems.native import NativeBase, NativeSystem

CARD = SystemCard(
    name="mosear",
    title="MoSEAR: modality-specific experts and attention re-allocation for conflicting emotions",
    year=2025,
    paper="ACM MM 2025, arXiv 2508.01181",
    code="github.com/ZhiyuanHan-Aaron/MoSEAR; backbone: github.com/ZebangCheng/Emotion-LLaMA",
    summary="Low-rank experts for picture and sound with regularised gates on a frozen multimodal language model, and "
    "attention moved at inference from the modality that dominates to the neglected one.",
    modalities=("video", "face", "audio", "text"),
    perspective="expressed",
    task="open-vocabulary emotion words and reasoning on clips whose face and voice may disagree",
    space="",
    labels=(),
    licence={
        "code": "BSD-3-Clause (backbone)",
        "weights": "BSD-3-Clause card",
        "data": "MERR and CA-MER: agreement of the MER organisers",
    },
    weights="model hub, AaronHan/MoSEAR (layout not public); backbone: links in the repository of Emotion-LLaMA",
    published=(
        Published("ca_mer", "word_overlap_conflict", 0.615, "single answers over nine classes, third-party re-run",
                  "third-party evaluation"),
        Published("mer2023", "weighted_f1", 0.9036, "backbone Emotion-LLaMA alone", "Emotion-LLaMA paper"),
        Published("dfew", "uar", 0.4559, "backbone Emotion-LLaMA alone, zero-shot", "Emotion-LLaMA paper"),
        Published("dfew", "war", 0.5937, "backbone Emotion-LLaMA alone, zero-shot", "Emotion-LLaMA paper"),
    ),
    stages=("backbone", "native", "finetune"),
    missing="handled",
    deviations=("formulas and settings of experts and re-allocation reconstructed", "questions in own words"),
    limits=("The published table on CA-MER is not public; the number above is a third party's.",
            "Settings of re-allocation must be chosen on other clips than those of CA-MER."),
)  # fmt: skip

#: Weights that experts add to a layer.
_EXPERTS = (".lora_down", ".lora_up", ".lora_gate", ".lora_balance")

#: Branches by modality, in the order of the prompt.
VISUAL, AUDIO = ("frame", "face", "motion", "whole", "video"), ("audio",)


@dataclass(frozen=True)
class ExpertBase(LanguageBase):
    """Settings of experts and re-allocation: `experts` of rank `expert_rank` per modality, `balance` and `load` the
    weights of their losses, `gate` its form; `rho`, `high`, `band` (layers, None: middle third) and `per_token`."""

    experts: int = 3
    expert_rank: int = 32
    expert_alpha: float = 16.0
    gate: Literal["squared", "divergence"] = "squared"
    balance: float = 0.1
    load: float = 0.01
    rho: float = 0.5
    high: float = 0.6
    band: tuple[int, ...] | None = None
    per_token: bool = False


@dataclass(frozen=True)
class Config(ExpertBase):
    """Settings of the backbone: `frame` is "eva" (a BLIP-2 model at `eva`), "features" or "cells"; `face`, `motion` and
    `audio` are "features" (cached utterance vectors), "cells" or "bands" (tests), a hub id or folder (face crops and
    sound), or "" (left out)."""

    base: str = "meta-llama/Llama-2-7b-chat-hf"
    template: str = "inst"
    rank: int = 64
    alpha: float = 16.0
    adapted: tuple[str, ...] = ("q_proj", "v_proj")
    context: int = 1536
    longest: int = 500
    frame: str = "eva"
    eva: str = "Salesforce/blip2-opt-2.7b"
    frame_width: int = 1408
    frames: int = 1
    merge: int = 4
    face: str = "features"
    motion: str = "features"
    audio: str = "features"
    vector_width: int = 1024
    audio_width: int = 1024

    @classmethod
    def emotion_llama(cls) -> Config:
        """The published backbone."""
        return cls()

    @classmethod
    def from_media(cls) -> Config:
        """Encoders that read a clip themselves: CLIP-L over face crops, HuBERT over sound, no VideoMAE."""
        return cls(face="openai/clip-vit-large-patch14", motion="", audio="TencentGameMate/chinese-hubert-large")

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 16-d pictures, 24-d sound, a random language model of width 32 whose output layer learns too."""
        return cls(base="toy:32:mosear", precision="float32", rank=8, lora_dropout=0.0, learn_head=True, context=400,
                   longest=20, frame="cells", frame_width=16, frames=9, face="cells", motion="", audio="bands",
                   vector_width=16, audio_width=24, expert_rank=4, expert_alpha=4.0)  # fmt: skip


@dataclass(frozen=True)
class NativeConfig(NativeBase, ExpertBase):
    """Experts on a video language model that hears, without another adapter."""

    rank: int = 0
    adapted: tuple[str, ...] = ("q_proj", "v_proj")

    @classmethod
    def omni(cls) -> NativeConfig:
        """On Qwen2.5-Omni-7B."""
        return cls()

    @classmethod
    def tiny(cls) -> NativeConfig:
        """For tests: a random Omni thinker of width 32 that sees 14 x 14 pixels, whose output layer learns too."""
        return cls(base="toy:omni", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True,
                   context=400, longest=20, frames=4, side=14, seconds=0.4, bins=16, expert_rank=4,
                   expert_alpha=4.0)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class Reallocating(GenerativeSystem):
    """What a model with visual and audio places can be asked about them."""

    def modality(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some branches that this system has."""
        return tuple(name for name in names if name in self.branches())

    def reallocation(self, rho: float | None = None) -> Reallocation:
        """Settings of the re-allocation; ConfigError without sound."""
        c = self.config
        if not self.modality(AUDIO):
            raise ConfigError("attention re-allocation", "needs sound and pictures", "configure audio, or set rho to 0")
        return Reallocation(self.modality(VISUAL), AUDIO, c.rho if rho is None else rho, c.high, c.band, c.per_token)

    def reliance(self, batch: Batch) -> list[dict[str, Any]]:
        """What the answer about each clip rests on: see `affectus.lm.reliance.Reliance.rows`. With records, also
        `loss_without` of either modality: by how much the answer's mean negative log-likelihood rises without it."""
        batch = {**batch, "kind": self.kinds(batch)}
        asked = self.asked(self.conversations(batch, batch["kind"]))
        rows = measure(self.model, asked, self.reallocation(0.0)).rows()
        if batch.get("record") is None:
            return rows
        whole = self(batch)["nll"]
        for name, keys in (("visual", VISUAL), ("audio", AUDIO)):
            less = self({key: value for key, value in batch.items() if key not in keys})["nll"]
            for row, change in zip(rows, (less - whole).tolist(), strict=True):
                row[name]["loss_without"] = change
        return rows


class Backbone(Reallocating):
    """The multimodal language model itself, with one shared low-rank adapter."""

    card = CARD
    Config = Config
    config: _Config
    stage = "backbone"
    overfit = (60, 1e-2, 0.5)
    prompts: ClassVar[Mapping[str, str]] = {
        "onehot": "mosear/emotion", "ovlabel": "mosear/words", "ovlabel_think": "mosear/words",
        "description": "mosear/reason",
    }  # fmt: skip

    def inputs(self) -> dict[str, InputSpec]:
        c, specs = self.config, dict[str, InputSpec]()
        picture = ImageInput(448, statistics=CLIP_STATISTICS, interpolation="pillow-bicubic")
        for key, source, width, of in (
            ("frame", c.frame, c.frame_width, "frames"), ("face", c.face, c.vector_width, "faces"),
            ("motion", c.motion, c.vector_width, "frames"),
        ):  # fmt: skip
            kind: Any = of
            if source == "cells":
                specs[key] = CellFeatures(c.frames, round(width**0.5), kind)
            elif source == "eva":
                specs[key] = FrameSequence(c.frames, picture, kind)
            elif source:
                specs[key] = ArrayInput((-1, width)) if source == "features" else FrameSequence(of=kind)
        if c.audio:
            made: dict[str, InputSpec] = {"features": ArrayInput((-1, c.audio_width)),
                                          "bands": BandFeatures(8, c.audio_width)}  # fmt: skip
            specs["audio"] = made.get(c.audio) or SoundClips()
        return specs | {"text": PlainText()}

    def encoders(self) -> dict[str, Encoder]:
        c, found = self.config, dict[str, Encoder]()
        for key in (k for k in self.inputs() if k != "text"):
            source = getattr(c, key)
            width = {"frame": c.frame_width, "audio": c.audio_width}.get(key, c.vector_width)
            if source in ("features", "cells", "bands"):
                found[key] = Encoder(width)
            elif source == "eva":
                found[key] = Encoder(width, "module")
            elif key == "audio":
                found[key] = Encoder(width, "audio", source, layers=4, pool="mean")
            else:
                found[key] = Encoder(width, "vision", source, pool="mean")
        return found

    def modules_of(self) -> dict[str, nn.Module]:
        return {"frame": EvaFrames(self.config.eva)} if self.config.frame == "eva" else {}

    def branches(self) -> dict[str, Branch]:
        keys, c = self.encoders(), self.config
        frame = {"depth": 1, "merge": c.merge, "skip": 1}
        found = {"frame": Branch(("frame",), "mlp", slot="video", options=frame)}
        found |= {key: Branch((key,), "mean") for key in ("face", "motion", "audio") if key in keys}
        return found | {"whole": Branch(("frame",), "first")}

    def phases(self) -> list[Phase]:
        """MERR-coarse as published: 60,000 clips drawn from 28,618, about two passes; then MERR-fine at a constant
        rate (recipes of that stage take the second phase alone)."""
        shared: dict[str, Any] = {
            "weight_decay": 0.05,
            "train": self.learnt(),
            "options": {"mix": {"description": 1.0}},
        }
        return [Phase("coarse", 2, 1e-5, 2, warmup=1 / 30, final_lr=0.1, **shared),
                Phase("fine", 2, 1e-6, 2, warmup=0.0, schedule="constant", **shared)]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Talking faces that say a sentence; words and reason follow their emotion."""
        random = np.random.default_rng(seed)
        emotions = [EMOTIONS[i % len(EMOTIONS)] for i in range(count)]
        raws = []
        for emotion in emotions:
            clip = talking_face(emotion, random, self.config.frames)
            raws.append(clip | {"frames": clip["faces"], "text": sentence(emotion, random)})
        records = [toy_record(emotion, f"clip{i}") for i, emotion in enumerate(emotions)]
        return batch_of(raws, self.inputs()) | {"record": records}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """Trained parts of an Emotion-LLaMA checkpoint (key `model`) on the base that the config names; what a later
        stage adds stays as it starts. The rank follows the file when no config is given."""
        given = {k: v for k, v in unwrap(state).items() if hasattr(v, "shape")}
        if config is None:
            down = next((v for k, v in given.items() if ".lora_A." in k), None)
            if down is None:
                raise ConfigError(cls.card.name, "this checkpoint holds no adapter", cls.card.weights)
            config = replace(cls.Config(), rank=int(down.shape[0]))
        system = cls(config)
        names = system.earlier_names()
        own = {k: v for k, v in system.state_dict().items() if k not in names.values()}
        renamed = {published_name(k): v for k, v in given.items()}
        load_strictly(system, own | {names.get(k, k): v for k, v in renamed.items()}, "published checkpoint")
        return system

    def earlier_names(self) -> dict[str, str]:
        """Name of a weight in the backbone stage → its name here, for all weights that the backbone has."""
        return {name.replace(".base.", "."): name for name in self.state_dict() if not name.endswith(_EXPERTS)}

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """As every system; weights of the backbone go below the experts."""
        names = self.earlier_names()
        return super().initialise({names.get(k, k): v for k, v in state.items()})


class Experts(Reallocating):
    """Experts on a frozen model, and attention re-allocated while it answers."""

    def experts(self) -> dict[str, Any] | None:
        c, visual, audio = self.config, self.modality(VISUAL), self.modality(AUDIO)
        if not audio:
            raise ConfigError("modality experts", "need sound and pictures", "configure audio, or use stage backbone")
        return expert_settings(visual, audio, c.expert_rank, c.expert_alpha, c.experts, c.lora_dropout, c.adapted)

    def forward(self, batch: Batch) -> Outputs:
        """As the backbone; with answers also `balance` and `load`, the losses of the gates (scalars)."""
        outputs = super().forward(batch)
        return outputs | expert_losses(self, self.config.gate) if "nll" in outputs else outputs

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`answer`, `balance` (modality weights) and `load` (experts of each modality), weighted as configured."""
        found = super().losses(batch, outputs, options)
        return found | {name: getattr(self.config, name) * outputs[name] for name in ("balance", "load")}

    def texts(self, asked: Mapping[str, Any]) -> list[str]:
        """Answers with re-allocated attention."""
        if not self.config.rho:
            return super().texts(asked)
        with self.model.reallocating(self.reallocation()):
            return super().texts(asked)

    def phases(self) -> list[Phase]:
        """Only experts and gates learn, on MERR-fine: 10 epochs, one clip at a time, eight per step."""
        names = "|".join(name.removeprefix(".lora_") for name in _EXPERTS)
        return [Phase("experts", 10, 1e-5, 1, accumulate=8, weight_decay=0.05, train=(rf".*\.lora_({names})$",),
                      options={"mix": {"description": 1.0, "onehot": 1.0}})]  # fmt: skip


class MoSEAR(Experts, Backbone):
    """On the published backbone."""

    stage = "finetune"


class NativeMoSEAR(Experts, NativeSystem):
    """On a video language model as it comes."""

    card = CARD
    Config = NativeConfig
    stage = "native"
    overfit = (60, 1e-2, 0.5)


class EvaFrames(nn.Module):
    """EVA-ViT-g of a BLIP-2 model with its last norm, at 448² by interpolated positions: pictures (n, 3, 448, 448) →
    (n, 1 + 1024, 1408), class token first."""

    def __init__(self, source: str) -> None:
        super().__init__()
        from transformers import Blip2VisionModel

        kind: Any = Blip2VisionModel
        try:
            self.vision = kind.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ModelError(source, f"holds no BLIP-2 picture encoder: {str(error).splitlines()[0]}") from None
        self.tokens_per_item = 1 + (448 // self.vision.config.patch_size) ** 2

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class text."""
        return self.vision(pictures, interpolate_pos_encoding=True).last_hidden_state


def published_name(key: str) -> str:
    """Our name of a weight of an Emotion-LLaMA checkpoint; an unknown key stays as it is, so that loading names it."""
    parts = {"llama_proj": "frame.project.0", "cls_tk_llama_proj": "whole.project", "feats_llama_proj1": "face.project",
             "feats_llama_proj2": "motion.project", "feats_llama_proj3": "audio.project"}  # fmt: skip
    prefix = "llama_model.base_model.model."
    if key.startswith(prefix):
        name = "model.language_model." + key.removeprefix(prefix)
        return re.sub(r"(lora_[AB])\.weight$", r"\1.default.weight", name)
    name, _, rest = key.partition(".")
    return f"model.connectors.{parts[name]}.{rest}" if name in parts else key


STAGES = {"backbone": Backbone, "native": NativeMoSEAR, "finetune": MoSEAR}
