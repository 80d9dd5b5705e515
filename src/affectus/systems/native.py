"""Systems on a video language model of the Qwen family as it comes (`affectus.lm.native`), behind the same interface.

    class Mine(NativeSystem):
        card, Config, stage = CARD, Config, "native"     # a Config that extends NativeBase
        def phases(self) -> list[Phase]: ...

The model's own vision tower sees `frame`, and its own audio encoder hears `audio` where it has one (Omni). Questions,
answers, drawing, saving and scoring are those of `GenerativeSystem`; only adapters are learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from affectus.corpora.synthetic import EMOTIONS, sentence, talking_face
from affectus.errors import ConfigError
from affectus.features.inputs import InputSpec
from affectus.features.mel_frames import MelFrames
from affectus.features.sequences import FramePairs, PlainText
from affectus.lm.adapters import lora_settings
from affectus.lm.config import Branch, Encoder
from affectus.lm.native import NativeLM, NativeProcessor, load_native
from affectus.lm.processor import Processor
from affectus.lm.toy import toy_record
from affectus.systems.base import Batch, batch_of
from affectus.systems.generative import GenerativeSystem, LanguageBase


@dataclass(frozen=True)
class NativeBase(LanguageBase):
    """Settings beside those of the language model, whose `base` is a model of `lm.native.FAMILIES`.

    `frames` pictures of `side` pixels, spread over the clip, `apart` seconds between two pairs of them; `seconds` of
    sound in `bins` log-mel bins, where `hears` says that the model takes sound.
    """

    base: str = "Qwen/Qwen2.5-Omni-7B"
    context: int = 8192
    frames: int = 16
    side: int = 224
    apart: float = 1.0
    hears: bool = True
    seconds: float = 10.0
    bins: int = 128
    of: Literal["frames", "image"] = "frames"


class NativeSystem(GenerativeSystem):
    """See the module text."""

    config: Any

    def assemble(self) -> tuple[Any, Processor]:
        """The model of the hub with adapters, and what prepares its batches."""
        c = self.config
        base, tokenizer = load_native(c.base, c.precision)
        lora = lora_settings(c.rank, c.alpha, c.lora_dropout, c.adapted) if c.rank else None
        if lora and c.learn_head:
            lora["saved_modules"] = ["lm_head"]
        model = NativeLM(base, tokenizer, c.base, lora, self.experts(), c.apart)
        return model, NativeProcessor(tokenizer, model, c.template, self.budget())

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        specs: dict[str, InputSpec] = {"frame": FramePairs(c.frames, c.side, c.side, of=c.of)}
        if c.hears:
            specs["audio"] = MelFrames(c.seconds, c.bins)
        return specs | {"text": PlainText()}

    def encoders(self) -> dict[str, Encoder]:
        """None beside the model's own."""
        return {}

    def branches(self) -> dict[str, Branch]:
        """`video`, and `audio` where the model hears."""
        return {"video": Branch(("frame",))} | ({"audio": Branch(("audio",))} if self.config.hears else {})

    def learnt(self) -> tuple[str, ...]:
        """Adapters, experts, and the output layer where it is opened; ConfigError when there is nothing to learn."""
        names = [name for name, _ in self.named_parameters()]
        own = (r".*\.lora_",) if any(".lora_" in name for name in names) else ()
        if not own:
            raise ConfigError("adapter", "rank 0 leaves nothing to learn", "give a rank")
        return (*own, r".*\.lm_head\.") if self.config.learn_head else own

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
