"""EMER: from which clues an emotion follows, and the first AffectGPT, a Video-LLaMA that hears, sees and reads at once.

    frames (B, 8, ...) ── EVA ViT-g + BLIP-2 Q-Former, frozen ──► (B, 8, 32, 768) + position of the frame
        ── Q-Former, 2 layers, 32 queries ── linear ──► 32 tokens
    sound (B, 8, ...) ── ImageBind, frozen ──► (B, 8, 1024) + position ── Q-Former, 8 queries ── linear ──► 8 tokens
    sound, video, subtitle, question ──► Vicuna-7B, frozen ──► clues, then the emotion

Both Q-Formers, their queries, positions and linear maps learn, by cross-entropy over the answer. Unlike in Video-LLaMA
the two branches are tuned together, in one prompt.

Deviations. ImageBind has no implementation in the libraries used here: stretches of sound go through HuBERT (the mean
over a stretch, as wide), or features (8, 1024) made beforehand are the input, with those of the frames (8, 32, 768);
checkpoints of the published code need the latter. Frames are only resized, in training too. The wording of the prompt
is our own; order of media, tags and question are the published ones. The mix with general picture and video
instructions is left to recipes.
Clue overlap and label overlap are judged by a language model (`affectus.lm.judge`, prompts judge/clue_overlap and
judge/label_overlap); without one, `label_agreement` compares the concluded words by a dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor, nn

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.errors import ModelError
from affectus.features.inputs import CLIP_STATISTICS, ArrayInput, ImageInput, InputSpec
from affectus.features.sequences import BandFeatures, CellFeatures, FrameSequence, PlainText, SoundClips
from affectus.lm.config import Branch, Encoder
from affectus.lm.extraction import answer_words
from affectus.lm.toy import toy_record
from affectus.metrics import wheel_reward
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, batch_of, load_strictly, unwrap
from affectus.systems.card import Published, SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase

#: A frame as BLIP-2's processor makes it.
_PICTURE = ImageInput(224, statistics=CLIP_STATISTICS, interpolation="pillow-bicubic")

_TABLE = (("VideoChat-Text", 6.42, 3.94), ("Video-LLaMA", 6.64, 4.89), ("Video-ChatGPT", 6.95, 5.74),
          ("PandaGPT", 7.14, 5.51), ("VideoChat-Embed", 7.15, 5.65), ("Valley", 7.24, 5.77))  # fmt: skip

CARD = SystemCard(
    name="emer",
    title="EMER: explainable multimodal emotion reasoning, with the first AffectGPT",
    year=2023,
    paper="arXiv 2306.15401",
    code="github.com/zeroQiaoba/AffectGPT (early commits)",
    summary="Two small Q-Formers bring what is seen and heard into a frozen language model that names the clues of a "
    "clip and concludes which emotions they show.",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    task="explanation of the emotion of a clip by its clues",
    space="",
    labels=(),
    licence={
        "code": "no licence then, Apache-2.0 file today with a non-commercial remark",
        "weights": "starts from Video-LLaMA and Vicuna weights under their own terms",
        "data": "EMER texts: free; clips: MER2023 agreement",
    },
    weights="Video-LLaMA branches (finetune-vicuna7b-v2 and audio branch) as a start; none of this system itself",
    published=tuple(
        Published("emer", metric, value, f"{name}, judged by gpt-3.5-turbo-16k-0613, scale 0 to 10", "arXiv 2306.15401")
        for name, clue, label in _TABLE for metric, value in (("clue_overlap", clue), ("label_overlap", label))
    ),
    missing="handled",
    deviations=("HuBERT in place of ImageBind, unless features are given", "prompt in own words"),
    limits=("The numbers are of other models: the paper's own was not scored.", "Scores depend on the judge.",
            "Version 1 and version 2 have different gold texts; a score must name its version."),
)  # fmt: skip


@dataclass(frozen=True)
class Config(LanguageBase):
    """`features` says what is read: "clips" (frames and sound, through the encoders `visual` and `acoustic`, hub ids or
    folders), "tower" ((frames, 32, 768) and (clips, 1024) made beforehand), or "small" (a few numbers per frame and
    stretch of sound, for tests). `base` is a hub id or folder; the published one is Vicuna of version 0, merged."""

    base: str = "lmsys/vicuna-7b-v1.5"
    template: str = "human_assistant"
    rank: int = 0
    kind: str = "description"
    context: int = 812
    longest: int = 300
    features: Literal["clips", "tower", "small"] = "clips"
    visual: str = "Salesforce/blip2-flan-t5-xxl"
    acoustic: str = "TencentGameMate/chinese-hubert-large"
    frames: int = 8
    patches: int = 32
    seen: int = 768
    clips: int = 8
    heard: int = 1024
    former: int = 768
    heads: int = 12
    queries: tuple[int, int] = (32, 8)
    dropout: float = 0.1

    @classmethod
    def published(cls) -> Config:
        """As published, on features made beforehand; `base` must be a folder with merged weights of Vicuna 0."""
        return cls(base="vicuna-7b-v0", features="tower")

    @classmethod
    def tiny(cls) -> Config:
        """For tests; the random language model gets an adapter and an open output layer, or it could not speak."""
        return cls(base="toy:32", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True, context=400,
                   longest=24, features="small", patches=1, seen=16, heard=24, former=16, heads=2, queries=(4, 2),
                   dropout=0.0)  # fmt: skip


_Config = Config  # the class below has an attribute of that name


class EMER(GenerativeSystem):
    """The one published stage."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (60, 1e-2, 0.5)
    prompts: ClassVar[Mapping[str, str]] = {"description": "emer/clues"}

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        if c.features == "small":
            small: dict[str, InputSpec] = {"video": CellFeatures(c.frames, round(c.seen**0.5))}
            return small | {"audio": BandFeatures(c.clips, c.heard), "text": PlainText()}
        if c.features == "clips":
            raw: dict[str, InputSpec] = {"video": FrameSequence(c.frames, _PICTURE, "frames")}
            return raw | {"audio": SoundClips(c.clips), "text": PlainText()}
        return {
            "video": ArrayInput((c.frames, c.patches, c.seen), "video features"),
            "audio": ArrayInput((c.clips, c.heard), "audio features"),
            "text": PlainText(),
        }

    def encoders(self) -> dict[str, Encoder]:
        c = self.config
        heard = Encoder(c.heard, "audio", c.acoustic, layers=4, pool="mean")
        return {
            "video": Encoder(c.seen, "features" if c.features == "small" else "module"),
            "audio": heard if c.features == "clips" else Encoder(c.heard),
        }

    def modules_of(self) -> dict[str, nn.Module]:
        made = {"clips": lambda: _Tower(self.config.visual), "tower": lambda: _Ready(self.config.patches)}
        return {"video": made[self.config.features]()} if self.config.features in made else {}

    def branches(self) -> dict[str, Branch]:
        c = self.config
        shared = {"layers": 2, "dim": c.former, "heads": c.heads, "dropout": c.dropout}
        seen = {**shared, "limit": max(32, c.frames), "per_frame": True}
        return {
            "audio": Branch(("audio",), "qformer", c.queries[1], wrap="<Audio>{}</Audio>",
                            options={**shared, "limit": c.clips}),
            "video": Branch(("video",), "qformer", c.queries[0], marker="<ImageHere>", wrap="<Video>{}</Video>",
                            options=seen),
        }  # fmt: skip

    def phases(self) -> list[Phase]:
        """100 epochs of 1000 steps with 2 items in the paper, the first of them warm-up; here an epoch is one pass."""
        return [Phase("finetune", 100, 3e-5, 2, weight_decay=0.05, warmup=0.01, final_lr=1 / 3, clip=0.0,
                      train=self.learnt(), options={"mix": {"description": 1.0}})]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Talking faces that say a sentence; the reason names their emotion."""
        random = np.random.default_rng(seed)
        emotions = [EMOTIONS[i % len(EMOTIONS)] for i in range(count)]
        c = self.config
        raws = []
        for emotion in emotions:
            clip = talking_face(emotion, random, c.frames) | {"text": sentence(emotion, random)}
            clip["frames"] = clip["faces"]
            if c.features == "tower":
                clip["video features"] = random.standard_normal((c.frames, c.patches, c.seen))
                clip["audio features"] = random.standard_normal((c.clips, c.heard))
            raws.append(clip)
        records = [toy_record(emotion, f"clip{i}") for i, emotion in enumerate(emotions)]
        return batch_of(raws, self.inputs()) | {"record": records}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """Both branches of a checkpoint of this code (or of Video-LLaMA's two files joined), on the base of the config,
        which gets no adapter."""
        given = {published_name(k): v for k, v in unwrap(state).items()}
        system = cls(replace(config or cls.Config.published(), rank=0, learn_head=False))
        load_strictly(system, given, "published checkpoint")
        return system


class _Tower(nn.Module):
    """Picture encoder and Q-Former of a BLIP-2 checkpoint: pictures (n, 3, size, size) → (n, queries, width)."""

    def __init__(self, source: str) -> None:
        super().__init__()
        from transformers import Blip2VisionModelWithProjection

        try:
            self.blip: Any = Blip2VisionModelWithProjection.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ModelError(source, f"cannot be loaded as BLIP-2: {str(error).splitlines()[0]}") from None
        self.tokens_per_item = int(self.blip.query_tokens.shape[1])

    def forward(self, values: Tensor) -> Tensor:
        """Query outputs of the Q-Former."""
        seen = self.blip.vision_model(values).last_hidden_state
        queries = self.blip.query_tokens.expand(len(values), -1, -1)
        return self.blip.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state


class _Ready(nn.Module):
    """Features (n, patches, width) that need no network."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.tokens_per_item = patches

    def forward(self, values: Tensor) -> Tensor:
        """As they are."""
        return values


def published_name(key: str) -> str:
    """Our name of a weight of the public checkpoint; an unknown key stays as it is, so that loading names it."""
    for prefix, name in (
        ("video_Qformer.bert.", "video.former."), ("audio_Qformer.bert.", "audio.former."),
        ("video_query_tokens", "video.queries"), ("audio_query_tokens", "audio.queries"),
        ("video_frame_position_embedding.", "video.position."), ("audio_position_embedding.", "audio.position."),
        ("llama_proj.", "video.project."), ("audio_llama_proj.", "audio.project."),
    ):  # fmt: skip
        if key.startswith(prefix):
            rest = key.removeprefix(prefix).replace("embeddings.LayerNorm", "layernorm")
            return f"model.connectors.{name}{rest.replace('.self.', '.attention.')}"
    return key


def label_agreement(reference: str, candidate: str) -> float:
    """How far two explanations conclude the same emotions, in [0, 10], without a judge: ten times the F1 of the wheel
    clusters of the words they name, mean over wheels; NaN when the reference names none that a wheel knows."""
    truth, found = answer_words(reference).words, answer_words(candidate).words
    return 10.0 * float(wheel_reward([list(truth)], [list(found)])[0])


STAGES = {"finetune": EMER}
