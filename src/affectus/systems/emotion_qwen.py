"""Emotion-Qwen: one compressor for what is seen in general, one for emotion, and a gate that weighs them per clip.

    frames (B, T, 2, 3, 448, 448) ── tower of Qwen2.5-VL, frozen ──► patches (B, T * 1024, 1280)
        ── general compressor ── 2 x 2 merged ── (B, T * 256, w) ── times g_0 ──┐
        ── emotion compressor, same shape ────── (B, T * 256, w) ── times g_1 ──┴ sum ──► visual tokens
        ── mean token ── gate: self-attention, MLP, softmax ──► (g_0, g_1), one pair per clip
    system, visual tokens, subtitle, question ──► Qwen2.5-7B-Instruct + LoRA ──► text

Stage "pretrain" has three phases: the general compressor alone on general pictures; the emotion compressor alone,
started as a copy of the general one, on emotional material; gate, both compressors and adapters on both, one to one.
Stage "finetune" is the published one: `tuning` "full" trains language model and emotion compressor, "lora" adapters on
the attention, the token table and the gate (with `tune_compressors` also the compressors). The frozen general
compressor is what keeps general skill, and it is measured: validation tells likelihood, sure answers and the gate apart
for general and emotion items (`measure`), `affectus.training.forgetting` compares them over the phases of a run.

Speech comes as text (the subtitle). With `highlight` faces are detected on every frame and everything else brightened;
the tower sees the mean of both pictures (Facial Emotion Capture).

Deviations. The modelling code is not public: inner layers of compressors and gate, highlighting, and the phases of
pre-training are as inferred from its figures. Frames are spread over the clip, `frames` of them, not drawn at 2 per
second, and squeezed to one size, pictures too; two frames are one step in time, a picture is doubled. Positions in the
language model are those of text, in one dimension. Prompts are our own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor, nn

from affectus.corpora import Corpus
from affectus.corpora.synthetic import EMOTIONS, face_image, sentence
from affectus.features.inputs import InputSpec
from affectus.features.sequences import FramePairs, PlainText
from affectus.lm.adapters import lora_settings
from affectus.lm.config import Branch, Encoder
from affectus.lm.qwen_vision import QwenVision, load_tower
from affectus.lm.toy import toy_record
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, batch_of, load_strictly, unwrap
from affectus.systems.card import SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase

CARD = SystemCard(
    name="emotion_qwen",
    title="Emotion-Qwen: hybrid experts for emotion and general understanding of pictures and videos",
    year=2025,
    paper="arXiv 2505.06685",
    code="github.com/24DavidHuang/Emotion-Qwen (fine-tuning and evaluation only)",
    summary="A general and an emotion compressor behind one gate bring what a frozen vision tower sees into a language "
    "model, so that learning emotion does not cost general skill.",
    modalities=("video", "text"),
    perspective="expressed",
    task="emotion words, labels and reasoning about a video or picture, and general questions",
    space="",
    labels=(),
    licence={
        "code": "Apache-2.0",
        "weights": "on a file share, terms not stated; base models: Apache-2.0",
        "data": "VER is not published; DFEW, MER2024, EMER, EmoSet: their own terms",
    },
    weights="linked in the repository, with code that is not run here (from_published maps the weights)",
    published=(),
    stages=("pretrain", "finetune"),
    missing="handled",
    deviations=("inner layers and pre-training as inferred from figures", "frames spread and squeezed to one size",
                "prompts in own words"),
    limits=("No published number could be confirmed, so none is claimed.", "It does not hear: speech enters as text.",
            "Published parsers take 'worried' for no answer and reward lists of words; strict ones are the default."),
)  # fmt: skip

_MIX = {"description": 1.0, "ovlabel": 1.0, "onehot": 1.0, "question": 1.0}
_PROMPTS = {"description": "emotion_qwen/describe", "ovlabel": "emotion_qwen/open_words",
            "onehot": "emotion_qwen/one_label"}  # fmt: skip


@dataclass(frozen=True)
class Config(LanguageBase):
    """`vision` is a hub id or folder of a Qwen2.5-VL model, or "tiny" (random, 7-pixel patches). `size` is (height,
    width) of a frame in pixels, `inner_experts` mappings lie in each compressor, `gate_weight` > 0 tells the gate what
    kind an item is. `language` "zh" asks for and learns Chinese descriptions."""

    context: int = 14336
    longest: int = 1024
    rank: int = 64
    alpha: float = 64.0
    adapted: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    template: str = "chatml"
    vision: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    vision_width: int = 1280
    size: tuple[int, int] = (448, 448)
    frames: int = 16
    highlight: bool = False
    gate_heads: int = 8
    gate_hidden: tuple[int, int] = (512, 128)
    temperature_gate: float = 1.0
    inner_experts: int = 1
    gate_weight: float = 0.0
    tuning: Literal["lora", "full"] = "lora"
    tune_compressors: bool = False
    language: Literal["en", "zh"] = "en"

    @classmethod
    def full(cls) -> Config:
        """The published full tuning."""
        return cls(tuning="full")

    @classmethod
    def packaged(cls) -> Config:
        """On the small language model of the library, with the tiny tower: for trying things out on any machine."""
        return cls(base="packaged", precision="float32", template="auto", context=1024, longest=96, vision="tiny",
                   vision_width=32, size=(56, 56), frames=4, gate_hidden=(32, 16))  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 4 x 4 patches of width 32 per step, a random language model whose output layer learns too."""
        return cls(base="toy:32:emotion_qwen", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True,
                   context=400, longest=20, template="human_assistant", vision="tiny", vision_width=32, size=(28, 28),
                   frames=2, gate_heads=4, gate_hidden=(16, 8))  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class EmotionQwen(GenerativeSystem):
    """Fine-tuning, and what answers."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (30, 1e-2, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        spoken = {"description": "emotion_qwen/describe_zh"} if config.language == "zh" else {}
        self.prompts = _PROMPTS | spoken  # type: ignore[misc]

    @property
    def compressor(self) -> Any:
        """The hybrid compressor."""
        return self.model.connectors["video"]

    def adaptation(self) -> dict[str, Any]:
        c = self.config
        if c.tuning == "full":
            return {"lora": None, "train_base": True}
        saved = ("embed_tokens", "lm_head") if c.learn_head else ("embed_tokens",)
        return {"lora": lora_settings(c.rank, c.alpha, c.lora_dropout, c.adapted, saved)}

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        return {"video": FramePairs(c.frames, *c.size, highlight=c.highlight), "text": PlainText()}

    def inputs_for(self, corpus: Corpus) -> dict[str, InputSpec]:
        """Corpora of pictures give a picture in place of frames."""
        found = self.inputs()
        modalities = corpus.info.modalities
        if "video" not in modalities and {"image", "face"} & set(modalities):
            found["video"] = replace(found["video"], of="image")  # type: ignore[type-var]
        return found

    def encoders(self) -> dict[str, Encoder]:
        return {"video": Encoder(self.config.vision_width, "module")}

    def modules_of(self) -> dict[str, nn.Module]:
        return {"video": QwenVision(load_tower(self.config.vision, self.config.precision), *self.config.size)}

    def branches(self) -> dict[str, Branch]:
        c = self.config
        options = {"heads": c.gate_heads, "hidden": list(c.gate_hidden), "grouped": True, "inner": c.inner_experts,
                   "temperature": c.temperature_gate}  # fmt: skip
        return {"video": Branch(("video",), "hybrid", marker="<|video_pad|>", options=options,
                                wrap="<|vision_start|>{}<|vision_end|>")}  # fmt: skip

    def forward(self, batch: Batch) -> Outputs:
        """As every system that writes; with answers also `gate` (B, 2) and `general` (B,), 1 where the item is a
        general one, if there is something to see."""
        self.compressor.shares = None
        found = super().forward(batch)
        if "nll" in found and "record" in batch and self.compressor.shares is not None:
            found["gate"] = self.compressor.shares
            found["general"] = found["nll"].new_tensor([is_general(record) for record in batch["record"]])
        return found

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`answer`, and where the phase has the option `gate_loss` the cross-entropy of the gate against the kind of
        each item, times it."""
        found = super().losses(batch, outputs, options)
        weight = float((options or {}).get("gate_loss", 0.0))
        if weight and "gate" in outputs:
            wanted = (1 - outputs["general"]).long()
            found["gate"] = weight * nn.functional.nll_loss(outputs["gate"].clamp(min=1e-6).log(), wanted)
        return found

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """For `general` and `emotion` items apart: `nll_*` per token; `sure_*`, the share of items whose whole answer
        has a probability above one half, so that the likeliest tokens are that answer; `gate_*`, the mean share of the
        emotion compressor; `gate_entropy_*` in bits (near 0 on both: the gate has settled on one expert)."""
        found: dict[str, float] = {}
        if "general" not in outputs:
            return found
        gate = np.clip(outputs["gate"].astype(np.float64), 1e-12, 1)
        entropy = -(gate * np.log2(gate)).sum(1)
        for name, rows in (("general", outputs["general"] > 0), ("emotion", outputs["general"] == 0)):
            if rows.any():
                nll = outputs["nll"][rows]
                found[f"nll_{name}"] = float(nll.mean())
                found[f"sure_{name}"] = float((np.exp(-nll * outputs["tokens"][rows]) > 0.5).mean())
                found[f"gate_{name}"] = float(gate[rows, 1].mean())
                found[f"gate_entropy_{name}"] = float(entropy[rows].mean())
        return found

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """As every system that writes; Chinese descriptions (`meta:reason_chinese`) where the language is "zh"."""
        found = super().targets(corpus, column)
        if self.config.language == "zh" and "meta:reason_chinese" in corpus.table.column_names:
            for record, reason in zip(found["record"], corpus.column("meta:reason_chinese"), strict=True):
                if record is not None:
                    record["reason"] = reason
        return found

    def enter(self, phase: Phase) -> None:
        """Options of a phase: `shares_of` (general, emotion) in place of the gate, `copy` starts the emotion compressor
        from the general one."""
        fixed = phase.options.get("shares_of")
        self.compressor.force = None if fixed is None else (float(fixed[0]), float(fixed[1]))
        if phase.options.get("copy"):
            self.compressor.emotion.load_state_dict(self.compressor.general.state_dict())

    def phases(self) -> list[Phase]:
        """As published: 3 epochs of batches of 6 (three machines with 2 x 1), cosine without an end value."""
        c = self.config
        if c.tuning == "full":
            lr, train = 1e-6, (r"model\.language_model\.", _part("emotion"))
        else:
            opened = (_part("general"), _part("emotion")) if c.tune_compressors else ()
            lr, train = 1e-4, (r".*\.lora_", r".*\.modules_to_save\.", _part("gate"), *opened)
        return [Phase("finetune", 3, lr, 1, weight_decay=0.1, betas=(0.9, 0.95), warmup=0.01, final_lr=0.0,
                      accumulate=6, train=train, options={"mix": _MIX})]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Drawn faces that say a sentence; every other item asks a general question, whether the picture is bright."""
        random = np.random.default_rng(seed)
        raws, records = [], []
        for i in range(count):
            emotion = EMOTIONS[i // 2 % len(EMOTIONS)]
            dark = bool(random.integers(2))
            frames = [(face_image(emotion, random) * (0.4 if dark else 1.0)).astype(np.uint8)
                      for _ in range(self.config.frames)]  # fmt: skip
            raws.append({"frames": frames, "text": sentence(emotion, random)})
            general = {"question": "Is it bright or dark?", "answer": "dark" if dark else "bright", "task": "general"}
            records.append({"name": f"clip{i}", **general} if i % 2 else toy_record(emotion, f"clip{i}"))
        return batch_of(raws, self.inputs()) | {"record": records}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """A checkpoint with the children vpm, llm, generalcompressor, emotioncompressor, gatenet, lm_head, or an
        adapter on it (keys of `peft`), or both together. A part of which no key is given keeps the weights of the base
        that the config names; a part of which some are given must be whole. Inner names are inferred (see the module
        text), so a real file may name some that are not known here."""
        given = {k: v for k, v in unwrap(state).items() if hasattr(v, "shape")}
        if config is None:
            down = next((v for k, v in given.items() if ".lora_A." in k), None)
            config = cls.Config.full() if down is None else replace(
                cls.Config(), rank=int(down.shape[0]), alpha=float(down.shape[0]))  # fmt: skip
        system = cls(config)
        own = system.model.state_dict()
        placed = {published_name(key, set(own)): value for key, value in given.items()}
        parts = {_child(name) for name in placed}
        kept = {name: value for name, value in own.items() if _child(name) not in parts}
        load_strictly(system.model, {**kept, **placed}, "published checkpoint")
        return system


class EmotionQwenPretrain(EmotionQwen):
    """Three-stage pre-training, with the same layers."""

    stage = "pretrain"

    def phases(self) -> list[Phase]:
        """Learning rates, order and what trains as inferred; a recipe says by `shares` which sources a phase takes."""
        told: dict[str, Any] = {"mix": _MIX}
        told |= {"gate_loss": self.config.gate_weight} if self.config.gate_weight else {}
        taught = (_part("gate"),) if self.config.gate_weight else ()
        joint: tuple[str, ...] = (
            _part("general"),
            _part("emotion"),
            _part("gate"),
            r".*\.lora_",
            r".*\.modules_to_save\.",
        )
        if self.config.tuning == "full":
            joint = (r"model\.connectors\.", r"model\.language_model\.")
        return [
            Phase("general", 1, 1e-3, 8, accumulate=32, weight_decay=0.0, warmup=0.03, train=(_part("general"),),
                  options={"mix": _MIX, "shares_of": (1.0, 0.0)}),
            Phase("emotion", 1, 1e-3, 8, accumulate=32, weight_decay=0.0, warmup=0.03, final_lr=0.1,
                  train=(_part("emotion"), *taught), options={**told, "shares_of": (0.0, 1.0), "copy": True}),
            Phase("joint", 1, 2e-5, 8, accumulate=16, weight_decay=0.0, warmup=0.03, train=joint, options=told),
        ]  # fmt: skip


def is_general(record: Mapping[str, Any]) -> bool:
    """Whether an item is of the general kind: as its record says (`task`), else when all it holds is a question."""
    return record.get("task", "general" if "question" in record else "emotion") == "general"


def _part(name: str) -> str:
    return rf"model\.connectors\.video\.{name}\."


def published_name(key: str, own: set[str]) -> str:
    """Our name, among `own`, of a weight of the public checkpoint; an unknown key stays as it is, so that loading names
    it."""
    adapter, bare = key.startswith("base_model.model."), key.removeprefix("base_model.model.")
    child, _, rest = bare.partition(".")
    inner = {"ln_q.": "norm.", "mlp.": "merge.", "attention.": "attend.", "mlp_gate.": "score."}
    if child in ("generalcompressor", "emotioncompressor", "gatenet"):
        for old, new in inner.items():
            rest = new + rest.removeprefix(old) if rest.startswith(old) else rest
        part = {"generalcompressor": "general", "emotioncompressor": "emotion", "gatenet": "gate"}[child]
        return f"connectors.video.{part}.{rest}"
    if child == "vpm":
        return f"encoders.video.module.tower.{rest}"
    if child not in ("llm", "lm_head"):
        return key
    name = bare if child == "lm_head" else rest
    if not name.startswith(("model.", "lm_head.")):
        name = f"model.{name}"
    stem, _, kind = f"language_model.{name}".rpartition(".")
    if stem.endswith((".lora_A", ".lora_B")):
        return f"{stem}.default.{kind}"
    choices = (f"{stem}.modules_to_save.default.{kind}",) if adapter else (
        f"{stem}.{kind}", f"{stem}.base_layer.{kind}", f"{stem}.original_module.{kind}")  # fmt: skip
    return next((choice for choice in choices if choice in own), key)


def _child(name: str) -> str:
    """The part of a checkpoint that a name of ours belongs to."""
    if ".lora_" in name or ".modules_to_save." in name:
        return "adapter"
    return name.split(".")[2] if name.startswith("connectors.") else name.split(".")[0]


STAGES = {"pretrain": EmotionQwenPretrain, "finetune": EmotionQwen}
