"""Omni-Emotion: a video language model that also looks closely at the face and listens, in three phases.

    frames (B, 8, 3, 384, 384) ── SigLIP-so400m, frozen ──► (B, 8 * 27 * 27, 1152) ── 14 x 14 means ── MLP ──► video
    faces  (B, 8, 3, 224, 224) ── Swin-B, frozen ─────────► (B, 8 * 7 * 7, 1024) ──── 1 mean a frame ─ MLP ──► face
    sound  (B, 1, 128, 3000) ──── Whisper-large-v3 ───────► (B, 1500, 1280) ─ means of three: 500 ──── MLP ──► audio
    video, face and audio tokens, subtitle, question ──► Qwen2.5-7B-Instruct + LoRA ──► text

Stage "pretrain" has the phases audio (the audio projector alone, prompts without faces) and face (both projectors);
stage "finetune" trains all projectors and the language model (adapters, or with `tuning` "full" all of it) on
self-reviewed and human-reviewed descriptions, labels and general questions. Projectors are Linear-GELU-Linear.

The face branch of a clip without a face has no tokens at all, and the prompt says that no face is visible; `tally`
counts such prompts. With `instruction_gate` the question weighs video against face tokens by a softmax, as in the
sibling model HumanOmni. How descriptions are reviewed: `affectus.lm.review`.

Deviations. Neither code nor sizes of this model are public: what is missing is filled in from its open sibling
HumanOmni. The paper's face encoder, FaceXFormer, is a Swin-B with task heads; here a plain Swin-B stands in its place
(`face` takes a folder with other weights of that kind, or "features" made beforehand). Sound beyond 30 s is cut. Frames
are squeezed to a square, not cropped. The gate reads the language model's own embeddings, not BERT's. Prompts are in
our own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.features.inputs import HALF, ArrayInput, ImageInput, InputSpec
from affectus.features.sequences import FacesIfAny, FrameSequence, PlainText, WhisperWindows
from affectus.lm.config import Branch, Encoder
from affectus.lm.toy import toy_record
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, batch_of
from affectus.systems.card import SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase

CARD = SystemCard(
    name="omni_emotion",
    title="Omni-Emotion: a video language model with detailed face and audio modelling",
    year=2025,
    paper="arXiv 2501.09502",
    code="github.com/HumanMLLM/Omni-Emotion (placeholder, no code)",
    summary="A video language model gets a face branch and an audio branch, aligned one after the other, and is tuned "
    "on descriptions of emotion that were reviewed by models and by people.",
    modalities=("video", "face", "audio", "text"),
    perspective="expressed",
    task="emotion labels, open-vocabulary words and reasoning about a clip",
    space="",
    labels=(),
    licence={
        "code": "none published; the sibling HumanOmni: Apache-2.0",
        "weights": "none published; base encoders and language model: Apache-2.0",
        "data": "SRE and HRE are not published; DFEW, MAFW, EMER: their own terms",
    },
    weights="none published",
    published=(),
    stages=("pretrain", "finetune"),
    missing="handled",
    deviations=("sizes from the sibling HumanOmni", "Swin-B in place of FaceXFormer", "prompts in own words"),
    limits=("No published number could be confirmed, so none is claimed.", "It hears the first 30 s of a clip.",
            "Published label parsers of such models reward lists of words; the first match is the default here."),
)  # fmt: skip

_PROMPTS = {"description": "omni_emotion/describe", "ovlabel": "omni_emotion/open_words",
            "onehot": "omni_emotion/one_label"}  # fmt: skip
_MIX = {"description": 1.0, "ovlabel": 1.0, "onehot": 1.0, "question": 1.0}


@dataclass(frozen=True)
class Config(LanguageBase):
    """`vision`, `acoustic` and `face` are hub ids or folders (SigLIP, Whisper, Swin or ViT), "tiny" random ones for
    tests; `face` "features" takes one vector of `face_width` per frame, and a face encoder with a class token in front
    (ViT) needs `face_class_token`. A frame has `grid`² video tokens (0: all patches) and `face_grid`² face tokens.
    `open_vision` lets the vision encoder learn in the last phase, at a tenth of the rate."""

    rank: int = 128
    alpha: float = 256.0
    context: int = 4096
    longest: int = 512
    template: str = "chatml"
    frames: int = 8
    vision: str = "google/siglip-so400m-patch14-384"
    vision_width: int = 1152
    vision_size: int = 384
    grid: int = 14
    face: str = "microsoft/swin-base-patch4-window7-224"
    face_width: int = 1024
    face_size: int = 224
    face_class_token: bool = False
    face_grid: int = 1
    acoustic: str = "openai/whisper-large-v3"
    acoustic_width: int = 1280
    mels: int = 128
    seconds: float = 30.0
    pool: int = 3
    branches: tuple[str, ...] = ("video", "face", "audio")
    instruction_gate: bool = False
    open_vision: bool = False
    tuning: Literal["lora", "full"] = "lora"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.branches or set(self.branches) - {"video", "face", "audio"}:
            raise ValueError(f"branches {', '.join(self.branches)}: some of video, face and audio are needed")

    @classmethod
    def full(cls) -> Config:
        """All of the language model learns in the last phase."""
        return cls(tuning="full")

    @classmethod
    def small(cls) -> Config:
        """On a language model of half a billion parameters, with 49 tokens per frame, as the smallest sibling."""
        return cls(base="Qwen/Qwen2.5-0.5B-Instruct", grid=7)

    @classmethod
    def packaged(cls) -> Config:
        """On the small language model of the library with tiny random encoders: for trying things out anywhere."""
        return cls(base="packaged", precision="float32", template="auto", context=1024, longest=96, rank=16, alpha=32.0,
                   **_TINY)  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests: random encoders of width 32 and 24, a random language model whose output layer learns too."""
        return cls(base="toy:32:omni_emotion", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True,
                   context=400, longest=20, template="human_assistant", **_TINY)  # fmt: skip


_TINY: dict[str, Any] = {
    "frames": 2, "vision": "tiny", "vision_width": 32, "vision_size": 24, "grid": 2, "face": "tiny", "face_width": 32,
    "face_size": 24, "acoustic": "tiny", "acoustic_width": 24, "mels": 20, "seconds": 0.6,
}  # fmt: skip
_Config = Config  # the classes below have an attribute of that name


class OmniEmotion(GenerativeSystem):
    """Joint instruction tuning, and what answers."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (30, 1e-2, 0.5)
    prompts: ClassVar[Mapping[str, str]] = _PROMPTS

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.unused: tuple[str, ...] = ()
        if config.instruction_gate and {"video", "face"} <= set(config.branches):
            self.model.connectors["face"].gate = self.model.connectors["video"].gate

    def adaptation(self) -> dict[str, Any]:
        return {"lora": None, "train_base": True} if self.config.tuning == "full" else super().adaptation()

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        seen = ImageInput(c.vision_size, statistics=HALF, interpolation="pillow-bicubic")
        near: InputSpec = FacesIfAny(c.frames, ImageInput(c.face_size, interpolation="pillow-bicubic"))
        if c.face == "features":
            near = ArrayInput((c.frames, c.face_width), "face features")
        found: dict[str, InputSpec] = {
            "video": FrameSequence(c.frames, seen, "frames"), "face": near,
            "audio": WhisperWindows(1, c.mels, c.seconds),
        }  # fmt: skip
        return {name: found[name] for name in c.branches} | {"text": PlainText()}

    def encoders(self) -> dict[str, Encoder]:
        c = self.config
        near = Encoder(c.face_width, "vision", c.face, drop_first=c.face_class_token)
        near = Encoder(c.face_width) if c.face == "features" else near
        found = {"video": Encoder(c.vision_width, "vision", c.vision, train=c.open_vision), "face": near,
                 "audio": Encoder(c.acoustic_width, "audio", c.acoustic)}  # fmt: skip
        return {name: found[name] for name in c.branches}

    def modules_of(self) -> dict[str, nn.Module]:
        c = self.config
        wanted = {"video": lambda: picture_encoder(c.vision, c.vision_size),
                  "face": lambda: picture_encoder(c.face, c.face_size, int(c.face_class_token)),
                  "audio": lambda: sound_encoder(c.acoustic, c.acoustic_width, c.mels, c.seconds)}  # fmt: skip
        return {name: wanted[name]() for name in c.branches if not (name == "face" and c.face == "features")}

    def branches(self) -> dict[str, Branch]:
        c = self.config
        visual = "mlp"
        gate: list[dict[str, Any]] = [{}, {}]
        if c.instruction_gate:
            visual, gate = "instructed", [{"place": 0, "branches": 2}, {"place": 1, "branches": 2}]
        face_grid = 0 if c.face == "features" else c.face_grid
        found = {
            "video": Branch(("video",), visual, wrap="<video>{}</video>", options={"grid": c.grid, **gate[0]}),
            "face": Branch(("face",), visual, wrap="<face>{}</face>", options={"grid": face_grid, **gate[1]}),
            "audio": Branch(("audio",), "mlp", wrap="<audio>{}</audio>", options={"pool": c.pool}),
        }
        return {name: found[name] for name in c.branches}

    def branch_names(self, media: Mapping[str, Tensor]) -> list[str]:
        """All but those that the phase leaves out."""
        return [name for name in super().branch_names(media) if name not in self.unused]

    def enter(self, phase: Phase) -> None:
        """Option of a phase: `without`, branches that its prompts do not have."""
        self.unused = tuple(phase.options.get("without", ()))

    def phases(self) -> list[Phase]:
        """Two epochs of batches of 128, projectors and language model; sizes as inferred for the paper."""
        c = self.config
        own: tuple[str, ...] = (r"model\.language_model\.",) if c.tuning == "full" else (r".*\.lora_",)
        own += (r".*\.modules_to_save\.",) if c.tuning == "lora" and c.learn_head else ()
        vision = (r"model\.encoders\.video\.",) if c.open_vision else ()
        return [Phase("joint", 2, 2e-5, 8, accumulate=16, weight_decay=0.0, warmup=0.03, final_lr=0.0,
                      train=(r"model\.connectors\.", *own, *vision), rates=dict.fromkeys(vision, 0.1),
                      options={"mix": _MIX})]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Talking faces that say a sentence; words and reason follow their emotion."""
        random = np.random.default_rng(seed)
        emotions = [EMOTIONS[i % len(EMOTIONS)] for i in range(count)]
        raws = []
        for emotion in emotions:
            clip = talking_face(emotion, random, self.config.frames)
            features = random.standard_normal((self.config.frames, self.config.face_width))
            raws.append(clip | {"frames": clip["faces"], "text": sentence(emotion, random), "face features": features})
        records = [toy_record(emotion, f"clip{i}") for i, emotion in enumerate(emotions)]
        return batch_of(raws, self.inputs()) | {"record": records}


class OmniEmotionPretrain(OmniEmotion):
    """Alignment of the new branches, audio first."""

    stage = "pretrain"

    def phases(self) -> list[Phase]:
        """One epoch each of batches of 256, as inferred; a recipe says by `shares` which sources a phase takes."""
        names = self.config.branches
        audio, face = (rf"model\.connectors\.{name}\." for name in ("audio", "face"))
        found = []
        if "audio" in names:
            found.append(Phase("audio", 1, 1e-3, 8, accumulate=32, weight_decay=0.0, warmup=0.03, final_lr=0.0,
                               train=(audio,), options={"mix": _MIX, "without": ["face"]}))  # fmt: skip
        if "face" in names:
            train = (face, audio) if "audio" in names else (face,)
            found.append(Phase("face", 1, 1e-3, 8, accumulate=32, weight_decay=0.0, warmup=0.03, final_lr=0.1,
                               train=train, options={"mix": _MIX}))  # fmt: skip
        return found


def picture_encoder(source: str, size: int, first: int = 0) -> nn.Module:
    """SigLIP's vision tower, a Swin or a ViT by hub id or folder; it tells its patches per picture, without the `first`
    tokens that are none. "tiny" is a random SigLIP of width 32 on 4-pixel patches, always the same."""
    from transformers import AutoModel, SiglipVisionConfig, SiglipVisionModel

    if source == "tiny":
        settings = SiglipVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                                      image_size=size, patch_size=4)  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = SiglipVisionModel(settings).eval()
    else:
        model = AutoModel.from_pretrained(source, trust_remote_code=False)
        model = getattr(model, "vision_model", model)
    with torch.no_grad():
        found = model(pixel_values=torch.zeros(1, 3, size, size, dtype=next(model.parameters()).dtype))
    model.tokens_per_item = found.last_hidden_state.shape[1] - first
    return model


def sound_encoder(source: str, width: int, mels: int, seconds: float) -> nn.Module:
    """The encoder of a Whisper model by hub id or folder; it tells its states per window. "tiny" is a random one of one
    layer on windows of the given length, always the same, with weights large enough to hear over its positions."""
    from transformers import WhisperConfig, WhisperModel

    if source == "tiny":
        settings = WhisperConfig(d_model=width, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=2 * width,
                                 decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=width, num_mel_bins=mels,
                                 max_source_positions=round(50 * seconds), vocab_size=8, pad_token_id=0,
                                 bos_token_id=1, eos_token_id=1, decoder_start_token_id=1, init_std=0.3)  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = WhisperModel(settings).eval()
    else:
        model = WhisperModel.from_pretrained(source)
    encoder: Any = model.encoder
    encoder.tokens_per_item = int(encoder.config.max_source_positions)
    return encoder


STAGES = {"pretrain": OmniEmotionPretrain, "finetune": OmniEmotion}
