"""AffectGPT: what a face, a voice and words tell about emotion, in free words, with a token that joins the modalities.

    face crops or frames (B, 8, 3, 224, 224) ── CLIP ViT-L/14, frozen ──► V (B, 8, 768) ─┬─► video branch → (B, 1, w)
    sound (B, 8, 32000), 8 stretches of 2 s ── HuBERT-L, frozen ────────► A (B, 8, 1024) ┼─► audio branch → (B, 1, w)
                                                  V and A ───────────────────────────────┴─► pre-fusion   → (B, 1, w)
    ###Human: multi, audio, video, subtitle, question ###Assistant: → Qwen2.5-7B-Instruct + LoRA r16 → text ###

Branches, best set-up ("attention"): a = V w + b, x = sum_t a_t V_t without scale or softmax, then a linear map of width
w; pre-fusion maps both means to 1024 and weighs them by a linear function of both, so the joint token holds products
between modalities. "mean" and "qformer" are the published alternatives, "none" leaves the joint token out (ablation).
Encoders and base are frozen; connectors and adapters learn by cross-entropy over the answer and the `###` after it.

`mode` names the inputs as published: `multi` + face or frame for the joint token, then audio, face or frame, image,
text, with "_" between (`multiface_audio_face_text`, `audio_text`, `frame_text` …). A branch whose media are missing is
dropped and the prompt says so.

Deviations. Questions and block sentences are our own words; tags, order and markers are the published ones. The places
of a branch are reserved by modality ids, not by added special tokens. Published rate: constant 1e-5, because the
warm-up branch of the code never runs (`parity="published"`); "correct" warms up over one epoch and follows a cosine.
The published answers are drawn (temperature 1, top-p .9), as here by default; temperature 0 gives the same words every
time. Frames reach CLIP uncropped, since the published random crop never did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor, nn

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.errors import ConfigError
from affectus.features.inputs import ArrayInput, InputSpec
from affectus.features.sequences import BandFeatures, CellFeatures, FrameSequence, PlainText, SoundClips
from affectus.lm.config import Branch, Encoder
from affectus.lm.toy import toy_record
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, batch_of, load_strictly, unwrap
from affectus.systems.card import Published, SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase

_PAPER = "arXiv 2501.16566, MER-UniBench table"
_SETS = (
    ("mer2023", "hit_rate", 0.7854), ("mer2024", "hit_rate", 0.7880), ("meld", "hit_rate", 0.5565),
    ("iemocap", "hit_rate", 0.6054), ("cmu_mosi", "weighted_f1", 0.8130), ("cmu_mosei", "weighted_f1", 0.8090),
    ("ch_sims", "weighted_f1", 0.8849), ("ch_sims_v2", "weighted_f1", 0.8618), ("ov_merd", "f1", 0.6252),
)  # fmt: skip

CARD = SystemCard(
    name="affectgpt",
    title="AffectGPT: a multimodal language model for emotion understanding with pre-fusion",
    year=2025,
    paper="ICML 2025, arXiv 2501.16566",
    code="github.com/zeroQiaoba/AffectGPT",
    summary="Frozen picture and voice encoders, one token per branch and one that joins both, spliced into an adapted "
    "language model that describes a clip's emotion in free words.",
    modalities=("face", "audio", "text"),
    perspective="expressed",
    task="open-vocabulary emotion words and descriptions of a clip",
    space="",
    labels=(),
    licence={
        "code": "Apache-2.0 file, README: research preview, non-commercial",
        "weights": "non-commercial",
        "data": "MER-Caption+: CC BY-NC 4.0 and agreement; benchmarks: their own terms",
    },
    weights="model hub, MERChallenge/AffectGPT: trained parts only (from_published), on Qwen2.5-7B-Instruct",
    published=tuple(Published(corpus, metric, value, "MER-UniBench, audio + video + text, best epoch on the test set",
                              _PAPER) for corpus, metric, value in _SETS),
    stages=("finetune",),
    missing="handled",
    deviations=("questions in own words", "warm-up and cosine unless parity is published"),
    limits=("Published numbers are the best epoch per test set.", "OV-MERD clips lie inside the OV-MERD+ test set.",
            "Neutral clips are never scored by the hit rate."),
)  # fmt: skip

Fusion = Literal["attention", "mean", "qformer"]


@dataclass(frozen=True)
class Config(LanguageBase):
    """Settings beside those of the language model.

    `visual` and `acoustic` are hub ids or folders of the encoders, or "features" (cached, given as tensors), or "cells"
    and "bands" (a few numbers per frame and stretch, for tests). `queries` are the tokens of the video, audio and joint
    branch; `image` builds the still-image branch even where `mode` does not use it (published checkpoints hold it).
    """

    template: str = "human_assistant"
    context: int = 2224
    longest: int = 1200
    temperature: float = 1.0
    top_p: float = 0.9
    mode: str = "multiface_audio_face_text"
    visual: str = "openai/clip-vit-large-patch14"
    visual_width: int = 768
    acoustic: str = "TencentGameMate/chinese-hubert-large"
    acoustic_width: int = 1024
    frames: int = 8
    clips: int = 8
    video_fusion: Fusion = "attention"
    audio_fusion: Fusion = "attention"
    multi_fusion: Literal["attention", "mean", "qformer", "none"] = "attention"
    queries: tuple[int, int, int] = (1, 1, 1)
    qformer_width: int = 768
    image: bool = False
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        super().__post_init__()
        read_mode(self.mode)

    @classmethod
    def base_setup(cls) -> Config:
        """The published best set-up."""
        return cls()

    @classmethod
    def qformers(cls) -> Config:
        """Q-Formers in all branches: 32 video, 8 audio and 16 joint tokens."""
        return cls(video_fusion="qformer", audio_fusion="qformer", multi_fusion="qformer", queries=(32, 8, 16))

    @classmethod
    def packaged(cls) -> Config:
        """On the small language model of the library, float32: for trying things out on any machine."""
        return cls(base="packaged", precision="float32", template="auto", context=1024, longest=96, temperature=0.0)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: visual 16-d, audio 24-d, a random language model of width 32 whose output layer learns too."""
        return cls(base="toy:32", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True, context=400,
                   longest=20, temperature=0.0, visual="cells", visual_width=16, acoustic="bands", acoustic_width=24,
                   qformer_width=24)  # fmt: skip


def read_mode(mode: str) -> tuple[str, ...]:
    """Parts of an input mode in the order of the prompt: multiface or multiframe, audio, face or frame, image, text.

    ValueError for unknown or repeated parts and for face and frame together, which would share their place.
    """
    parts = mode.split("_")
    order = ("multiface", "multiframe", "audio", "face", "frame", "image", "text")
    kinds = [part.removeprefix("multi") for part in parts]
    if set(parts) - set(order) or len(set(parts)) < len(parts) or {"face", "frame"} <= set(kinds):
        raise ValueError(f"mode {mode}: parts of {', '.join(order)} with '_' between, face or frame but not both")
    return tuple(part for part in order if part in parts)


_Config = Config  # the class below has an attribute of that name


class AffectGPT(GenerativeSystem):
    """The one published stage."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (60, 1e-2, 0.5)

    def _sources(self) -> dict[str, str]:
        """Encoder key → face, frame, image or audio, for what the mode takes."""
        parts = read_mode(self.config.mode)
        needed = [part.removeprefix("multi") for part in parts if part != "text"]
        needed += ["audio"] if parts[0].startswith("multi") else []
        needed += ["image"] if self.config.image else []
        return {key: key for key in ("face", "frame", "image", "audio") if key in needed}

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        kinds: dict[str, Any] = {"face": "faces", "frame": "frames", "image": "image"}
        specs: dict[str, InputSpec] = {}
        for key in self._sources():
            if key == "image" and "image" not in read_mode(c.mode):
                continue
            if key == "audio":
                makers: dict[str, InputSpec] = {"features": ArrayInput((-1, c.acoustic_width)),
                                                "bands": BandFeatures(c.clips, c.acoustic_width)}  # fmt: skip
                specs[key] = makers.get(c.acoustic) or SoundClips(c.clips)
            else:
                length = 1 if key == "image" else c.frames
                cells = CellFeatures(length, round(c.visual_width**0.5), kinds[key])
                makers = {"features": ArrayInput((-1, c.visual_width)), "cells": cells}
                specs[key] = makers.get(c.visual) or FrameSequence(length, of=kinds[key])
        return specs | ({"text": PlainText()} if "text" in read_mode(c.mode) else {})

    def encoders(self) -> dict[str, Encoder]:
        c = self.config
        found = {}
        for key in self._sources():
            if key == "audio":
                ready = c.acoustic in ("features", "bands")
                heard = Encoder(c.acoustic_width, "audio", c.acoustic, layers=4, pool="mean")
                found[key] = Encoder(c.acoustic_width) if ready else heard
            else:
                seen = Encoder(c.visual_width, "vision", c.visual, output="image_embeds")
                found[key] = Encoder(c.visual_width) if c.visual in ("features", "cells") else seen
        return found

    def modules_of(self) -> dict[str, nn.Module]:
        """One picture encoder for faces, frames and still images."""
        if self.config.visual in ("features", "cells"):
            return {}
        from transformers import CLIPVisionModelWithProjection

        shared: Any = CLIPVisionModelWithProjection.from_pretrained(self.config.visual)
        return {key: shared for key in self._sources() if key != "audio"}

    def branches(self) -> dict[str, Branch]:
        c, parts = self.config, read_mode(self.config.mode)
        found = {}
        if parts[0].startswith("multi") and c.multi_fusion != "none":
            sources = (parts[0].removeprefix("multi"), "audio")
            joint = {"attention": "prefusion", "mean": "joint_mean", "qformer": "qformer"}[c.multi_fusion]
            found["multi"] = Branch(sources, joint, c.queries[2], wrap="<Multi>{}</Multi>",
                                    options=self._options(joint, 264))  # fmt: skip
        for key, fusion, tokens, limit, tag, slot in (
            ("audio", c.audio_fusion, c.queries[1], c.clips, "Audio", "audio"),
            ("face", c.video_fusion, c.queries[0], 32, "Video", "video"),
            ("frame", c.video_fusion, c.queries[0], 32, "Video", "video"),
            ("image", "mean", 1, 1, "Image", "video"),
        ):
            if key in parts or (key == "image" and c.image):
                options = self._options(fusion, limit)
                found[key] = Branch((key,), fusion, tokens, slot=slot, wrap=f"<{tag}>{{}}</{tag}>", options=options)
        return found

    def _options(self, connector: str, limit: int) -> dict[str, Any]:
        width = self.config.qformer_width
        heads = 12 if width % 12 == 0 and width >= 96 else 4
        return {"layers": 2, "dim": width, "heads": heads, "limit": limit} if connector == "qformer" else {}

    def branch_names(self, media: Mapping[str, Tensor]) -> list[str]:
        """As the mode says: a still image only where it asks for one and there is no clip."""
        parts = read_mode(self.config.mode)
        still = "image" in parts and not {"face", "frame"} & set(media)
        return [name for name in self.model.config.branch_names if (name != "image" or still)
                and not (still and name in ("face", "frame"))]  # fmt: skip

    def phases(self) -> list[Phase]:
        """60 epochs of 5000 steps with 3 clips in the paper; an epoch here is one pass over the clips."""
        published = self.config.parity == "published"
        unused = (r"model\.connectors\.image\.",) if self.config.image and "image" not in self.config.mode else ()
        return [Phase("finetune", 60, 1e-5, 3, weight_decay=0.05, betas=(0.9, 0.999), clip=0.0, train=self.learnt(),
                      warmup=0.0 if published else 1 / 60, schedule="constant" if published else "cosine",
                      final_lr=0.1, freeze=unused,
                      options={"mix": {"description": 1.0, "ovlabel": 1.0}})]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Talking faces that say a sentence; words and reason follow their emotion."""
        random = np.random.default_rng(seed)
        emotions = [EMOTIONS[i % len(EMOTIONS)] for i in range(count)]
        raws = []
        for emotion in emotions:
            clip = talking_face(emotion, random, self.config.frames)
            raws.append(clip | {"frames": clip["faces"], "image": clip["faces"][:1], "text": sentence(emotion, random)})
        records = [toy_record(emotion, f"clip{i}") for i, emotion in enumerate(emotions)]
        return batch_of(raws, self.inputs()) | {"record": records}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """Trained parts of a public checkpoint (key `model`), on the base that the config names; the rank of the
        adapter and the still-image branch follow the file when no config is given."""
        given = {k: v for k, v in unwrap(state).items() if hasattr(v, "shape")}
        if config is None:
            down = next((v for k, v in given.items() if ".lora_A." in k), None)
            if down is None:
                raise ConfigError(cls.card.name, "this checkpoint holds no adapter", cls.card.weights)
            config = replace(cls.Config(), rank=int(down.shape[0]), alpha=2.0 * int(down.shape[0]))
        config = replace(config, image="image_llama_proj.weight" in given or config.image)
        system = cls(config)
        load_strictly(system, {published_name(k, config.mode): v for k, v in given.items()}, "published checkpoint")
        return system


def published_name(key: str, mode: str) -> str:
    """Our name of a weight of the public checkpoint; an unknown key stays as it is, so that loading names it."""
    seen = "frame" if "frame" in mode else "face"
    parts = {
        "video_attention_mlp": f"{seen}.weight", "affectgpt_proj": f"{seen}.project",
        "audio_attention_mlp": "audio.weight", "audio_llama_proj": "audio.project",
        "multi_video_embs": "multi.embed.0", "multi_audio_embs": "multi.embed.1", "attention_mlp": "multi.mix",
        "fc_att": "multi.weigh", "multi_llama_proj": "multi.project", "image_llama_proj": "image.project",
    }  # fmt: skip
    prefix = "llama_model.base_model.model."
    if key.startswith(prefix):
        return "model.language_model." + key.removeprefix(prefix)
    name, _, rest = key.partition(".")
    return f"model.connectors.{parts[name]}.{rest}" if name in parts else key


STAGES = {"finetune": AffectGPT}
