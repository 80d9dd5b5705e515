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

from torch import Tensor

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.systems.base import load_strictly, unwrap
from affectus.systems.branched import BranchedSystem, BranchSettings
from affectus.systems.card import Published, SystemCard

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


@dataclass(frozen=True)
class Config(BranchSettings):
    """Settings of the branches and of the language model; `parity` chooses the rate (see the module text)."""

    parity: Literal["correct", "published"] = "correct"

    @classmethod
    def base_setup(cls) -> Config:
        """The published best set-up."""
        return cls()

    @classmethod
    def qformers(cls) -> Config:
        """Q-Formers in all branches: 32 video, 8 audio and 16 joint tokens."""
        return cls(video_fusion="qformer", audio_fusion="qformer", multi_fusion="qformer", queries=(32, 8, 16))


_Config = Config  # the class below has an attribute of that name


class AffectGPT(BranchedSystem):
    """The one published stage."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (60, 1e-2, 0.5)

    def phases(self) -> list[Phase]:
        """60 epochs of 5000 steps with 3 clips in the paper; an epoch here is one pass over the clips."""
        published = self.config.parity == "published"
        unused = (r"model\.connectors\.image\.",) if self.config.image and "image" not in self.config.mode else ()
        return [Phase("finetune", 60, 1e-5, 3, weight_decay=0.05, betas=(0.9, 0.999), clip=0.0, train=self.learnt(),
                      warmup=0.0 if published else 1 / 60, schedule="constant" if published else "cosine",
                      final_lr=0.1, freeze=unused,
                      options={"mix": {"description": 1.0, "ovlabel": 1.0}})]  # fmt: skip

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
