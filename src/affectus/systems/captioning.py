"""Systems that describe in a sentence how somebody speaks: soft tokens of the sound in front of a language model.

    sound → clips (B, T, samples) → encoder, frozen → (B, T, D) → Linear → (B, T, w) → prompt with the name of an aspect
    → causal language model, adapted → caption

Captions have four aspects: speaker, style, emotion, overall (`affectus.lm.instructions`, kinds `caption_…`). A record
holds those that are known as `caption_<aspect>`; training draws one of them per clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectus.corpora import Corpus
from affectus.corpora.synthetic import EMOTIONS, tone
from affectus.errors import ConfigError
from affectus.features.inputs import ArrayInput, InputSpec
from affectus.features.sequences import BandFeatures, SoundClips
from affectus.lm.config import Branch, Encoder
from affectus.lm.instructions import CAPTIONED
from affectus.metrics import bleu, cider, rouge
from affectus.metrics.captions import characters_of
from affectus.metrics.word_alignment import meteor
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, batch_of
from affectus.systems.generative import GenerativeSystem, LanguageBase

#: What the drawn emotions sound like; for synthetic examples alone.
_SOUNDS = ("平静", "欢快", "惊讶", "低沉", "激烈", "厌烦", "颤抖")
_FORMS = {"speaker": "{}的人", "style": "语气{}", "emotion": "情绪{}", "overall": "听来{}"}


@dataclass(frozen=True)
class CaptionConfig(LanguageBase):
    """`acoustic` is the hub id or folder of the sound encoder, "features" (vectors made beforehand) or "bands" (a few
    numbers per stretch, for tests); `clips` stretches of 2 s, one soft token each. `kind` is asked where a batch does
    not say."""

    base: str = "Qwen/Qwen2-1.5B-Instruct"
    kind: str = "caption_overall"
    context: int = 512
    longest: int = 96
    acoustic: str = "TencentGameMate/chinese-hubert-base"
    acoustic_width: int = 768
    clips: int = 8

    @classmethod
    def gpt2(cls) -> CaptionConfig:
        """A Chinese GPT-2 as the decoder, all of it frozen but the soft tokens."""
        return cls(base="uer/gpt2-chinese-cluecorpussmall", precision="float32", rank=0, template="chatml")

    @classmethod
    def tiny(cls) -> CaptionConfig:
        """For tests: bands of the sound, a random language model of width 32 whose output layer learns too."""
        return cls(base="toy:32:emotiontalk", precision="float32", rank=8, alpha=16, lora_dropout=0.0, learn_head=True,
                   context=200, longest=30, acoustic="bands", acoustic_width=24, clips=4)  # fmt: skip


class SpeechCaptioner(GenerativeSystem):
    """Subclasses set `card`."""

    Config = CaptionConfig
    config: CaptionConfig
    stage = "caption"
    overfit = (60, 1e-2, 0.5)

    def inputs(self) -> dict[str, InputSpec]:
        c = self.config
        makers: dict[str, InputSpec] = {"features": ArrayInput((-1, c.acoustic_width), "audio_features"),
                                        "bands": BandFeatures(c.clips, c.acoustic_width)}  # fmt: skip
        return {"audio": makers.get(c.acoustic) or SoundClips(c.clips)}

    def encoders(self) -> dict[str, Encoder]:
        c = self.config
        heard = Encoder(c.acoustic_width, "audio", c.acoustic, layers=4, pool="mean")
        return {"audio": Encoder(c.acoustic_width) if c.acoustic in ("features", "bands") else heard}

    def branches(self) -> dict[str, Branch]:
        return {"audio": Branch(("audio",), "mlp", wrap="<Audio>{}</Audio>", options={"depth": 1})}

    def phases(self) -> list[Phase]:
        """The sheet gives no settings: AdamW at 1e-4, 10 epochs, aspects drawn alike."""
        mix = {f"caption_{aspect}": 1.0 for aspect in CAPTIONED}
        return [Phase("caption", 10, 1e-4, 16, weight_decay=0.01, train=self.learnt(), options={"mix": mix})]

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`record` of the rows that have a caption: columns `meta:caption_<aspect>`; `column` is "captions"."""
        held = [aspect for aspect in CAPTIONED if f"meta:caption_{aspect}" in corpus.table.column_names]
        if column != "captions" or not held:
            raise ConfigError(column, "is no target of speech captions", 'use "captions", on a corpus that has them')
        columns = {f"caption_{aspect}": corpus.column(f"meta:caption_{aspect}") for aspect in held}
        found = np.full(len(corpus), None, object)
        for i, name in enumerate(corpus.column("id")):
            known = {key: values[i] for key, values in columns.items() if values[i]}
            found[i] = {"name": name, **known} if known else None
        return {"record": found}

    def captions(self, batch: Batch, aspect: str = "overall") -> list[str]:
        """One sentence per clip about an aspect: speaker, style, emotion or overall. Raises ConfigError."""
        if aspect not in CAPTIONED:
            raise ConfigError(aspect, "is no aspect of captions", f"they are {', '.join(CAPTIONED)}")
        return [answer.text for answer in self.answer(batch, f"caption_{aspect}")]

    def example(self, count: int, seed: int = 0) -> Batch:
        """Tones whose captions name their emotion, in four forms."""
        random = np.random.default_rng(seed)
        numbers = [i % len(EMOTIONS) for i in range(count)]
        raws = [{"audio": tone(EMOTIONS[k], random)} for k in numbers]
        if self.config.acoustic == "features":
            raws = [{"audio_features": random.normal(size=(4, self.config.acoustic_width))} for _ in numbers]
        records = [
            {"name": f"clip{i}", **{f"caption_{a}": form.format(_SOUNDS[k]) for a, form in _FORMS.items()}}
            for i, k in enumerate(numbers)
        ]
        return batch_of(raws, self.inputs()) | {"record": records}


#: Metrics of captions that need no model of their own: of the published table SPICE, FENSE, BERTScore and CLAPScore do.
CAPTION_METRICS: dict[str, Callable[..., float]] = {"bleu4": bleu, "rouge_l": rouge, "meteor": meteor, "cider": cider}


def caption_scores(truth: Sequence[Any], sentences: Sequence[str]) -> dict[str, float]:
    """BLEU-4, ROUGE-L, METEOR and CIDEr of Chinese captions cut into characters; `truth` has a reference or a list of
    them per row."""
    return {name: metric(truth, sentences, tokenize=characters_of) for name, metric in CAPTION_METRICS.items()}
