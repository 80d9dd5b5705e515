"""Systems that hear, see and read a person through branches into one language model: what AffectGPT and those built on
it share, from input modes to the joint token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor, nn

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.features.inputs import ArrayInput, InputSpec
from affectus.features.sequences import BandFeatures, CellFeatures, FrameSequence, PlainText, SoundClips
from affectus.lm.config import Branch, Encoder
from affectus.lm.toy import toy_record
from affectus.systems.base import Batch, batch_of
from affectus.systems.generative import GenerativeSystem, LanguageBase

Fusion = Literal["attention", "mean", "qformer"]


@dataclass(frozen=True)
class BranchSettings(LanguageBase):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        read_mode(self.mode)

    @classmethod
    def packaged(cls) -> Self:
        """On the small language model of the library, float32: for trying things out on any machine."""
        return cls(base="packaged", precision="float32", template="auto", context=1024, longest=96, temperature=0.0)

    @classmethod
    def tiny(cls) -> Self:
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


class BranchedSystem(GenerativeSystem):
    """Face crops or frames, sound, still image and subtitle, as the mode of the configuration says."""

    config: BranchSettings

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
        seen = [key for key in self._sources() if key != "audio"]
        if not seen or self.config.visual in ("features", "cells"):
            return {}
        from transformers import CLIPVisionModelWithProjection

        shared: Any = CLIPVisionModelWithProjection.from_pretrained(self.config.visual)
        return dict.fromkeys(seen, shared)

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
