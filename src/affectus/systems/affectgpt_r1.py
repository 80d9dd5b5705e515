"""AffectGPT-R1: AffectGPT taught by reinforcement to name the words that the emotion-wheel metric rewards.

    cold start   clip + question → <think> reason </think> <answer> words </answer>   cross-entropy, as AffectGPT
    rl           clip + question → 8 drawn answers → rewards → advantages inside the group → GRPO on the same weights
                   ew       F1 of the wheel clusters of answer and truth, mean over five wheels (one answer at a time)
                   format   the tags, to the letter
                   dual, alignment   words of the reasoning against the truth, against the answer
                   length_*          against lists that grow because recall does

`evidence` names models of the library whose measurements are told in the prompt as text (`words`: of what is said,
`voice`: of how), which lets a small language model learn from few clips. `think` asks for the reasoning or leaves it
out (better in the paper's ablation). The network, its inputs and modes are AffectGPT's; the reference of the divergence
is a copy of the trained weights at the start of the rewarded phase.

Only the abstract and reading notes of the paper are public: structure and results are from there, the formulas of
alignment, dual and length rewards, the weights and the schedule are proposals of this library after open siblings
(R1-Omni and a third-party reward). Emotion words of the reasoning come from a dictionary, not from a language model.
The reward is the mean F1 of single answers; the metric of the tables is an F of averages: they must not be compared.
Clips whose truth no wheel knows are left out of the rewarded phase, as are those named in the file `evaluated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from affectus import models
from affectus.features.inputs import InputSpec
from affectus.nn.phase import Phase
from affectus.systems.base import Batch
from affectus.systems.branched import BranchedSystem, BranchSettings
from affectus.systems.card import Published, SystemCard
from affectus.systems.reinforced import ReinforcedSystem

_SOURCE = "arXiv 2508.01318v3, reading notes"

CARD = SystemCard(
    name="affectgpt_r1",
    title="AffectGPT-R1: reinforcement learning for open-vocabulary emotion recognition",
    year=2025,
    paper="arXiv 2508.01318",
    code="none public",
    summary="AffectGPT after a cold start on tagged answers, trained by group-relative policy optimisation with the "
    "emotion-wheel metric as reward, with or without written reasoning.",
    modalities=("face", "audio", "text"),
    perspective="expressed",
    task="open-vocabulary emotion words of a clip, optionally with reasoning",
    space="",
    labels=(),
    licence={
        "code": "none public",
        "weights": "none published",
        "data": "MER-Caption+, MER2025-OV: CC BY-NC 4.0 and agreement",
    },
    weights="none published",
    published=(
        Published("ov_merd", "f1", 0.6839, "OV-MERD+, without reasoning", _SOURCE),
        Published("ov_merd", "f1", 0.6649, "OV-MERD+, accuracy and format, with reasoning", _SOURCE),
        Published("ov_merd", "f1", 0.6335, "OV-MERD+, accuracy only", _SOURCE),
        Published("ov_merd", "f1", 0.5953, "OV-MERD+, all five rewards", _SOURCE),
        Published("ov_merd", "f1", 0.6252, "OV-MERD+, supervised only", _SOURCE),
        Published("mer_unibench", "mean", 0.7948, "mean of nine sets", _SOURCE),
    ),
    stages=("cold_start", "rl"),
    missing="handled",
    deviations=("formulas of four rewards, weights and schedule are proposals",),
    limits=("A reward is not the metric of the tables.", "OV-MERD lies inside OV-MERD+ and must not be learnt from."),
)


#: What is measured, by the model that does it.
MEASURES = {"words": "text", "voice": "audio"}


@lru_cache(maxsize=2)
def _loaded(name: str) -> Any:
    return models.load(name)


@dataclass(frozen=True)
class Measured(InputSpec):
    """The likeliest labels of a model of the library with their probabilities, as text: "joy .81, love .22"."""

    model: str
    most: int = 3

    @property
    def source(self) -> str:
        """ "text" or "audio"."""
        return MEASURES[self.model]

    @property
    def shape(self) -> tuple[int, ...]:
        """()."""
        return ()

    def __call__(self, raw: Any) -> Any:
        (found,) = _loaded(self.model).predict([raw])
        order = np.argsort(-np.asarray(found.scores))[: self.most]
        return ", ".join(f"{found.labels[i]} {found.scores[i]:.2f}".replace(" 0.", " .") for i in order)


@dataclass(frozen=True)
class Config(BranchSettings):
    """`think` asks for reasoning before the words. `evidence` names models of the library (words, voice) whose
    measurements stand in the prompt. `evaluated` is a file with the names of clips that no rewarded phase may learn
    from, one per line."""

    think: bool = False
    evidence: tuple[str, ...] = ()
    evaluated: str = ""
    longest: int = 512
    context: int = 1536
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(self.evidence) - set(MEASURES)):
            raise ValueError(f"evidence {', '.join(unknown)}: there are {', '.join(MEASURES)}")

    @classmethod
    def reasoning(cls) -> Config:
        """With `<think>`."""
        return cls(think=True)

    @classmethod
    def words(cls) -> Config:
        """On the small language model of the library, from a text and what the library's word model measures in it."""
        return cls(base="packaged", precision="float32", lora_dropout=0.0, context=320, longest=24, mode="text",
                   evidence=("words",))  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class _AffectGPTR1(ReinforcedSystem, BranchedSystem):
    card = CARD
    Config = Config
    config: _Config  # type: ignore[assignment]
    overfit = (60, 1e-2, 0.5)
    prompts: ClassVar[Mapping[str, str]] = dict.fromkeys(("ovlabel", "ovlabel_think"), "affectgpt_r1/answer")
    rewarded: ClassVar[Mapping[str, Any]] = {"ew": 1.0, "format": 0.1, "length_linear": 1.0}

    def inputs(self) -> dict[str, InputSpec]:
        return super().inputs() | {f"{name} evidence": Measured(name) for name in self.config.evidence}

    def told(self, batch: Batch, row: int) -> dict[str, Any]:
        found = {name: batch.get(f"{name} evidence") for name in self.config.evidence}
        parts = [f"{name}: {values[row]}" for name, values in found.items() if values]
        return {"evidence": "; ".join(parts)} if parts else {}

    @property
    def question(self) -> str:
        """What is asked: words, with reasoning or without."""
        return "ovlabel_think" if self.config.think else "ovlabel"

    def kinds(self, batch: Batch) -> list[str]:
        return list(batch["kind"]) if "kind" in batch else [self.question] * len(next(iter(batch.values())))


class ColdStart(_AffectGPTR1):
    """Stage 1: the tags and the task, from true answers."""

    stage = "cold_start"
    select = "-loss"

    def phases(self) -> list[Phase]:
        return [Phase("cold_start", 1, 1e-5, 3, warmup=0.03, schedule="constant", train=self.learnt(),
                      options={"mix": {self.question: 1.0}})]  # fmt: skip


class Reinforced(_AffectGPTR1):
    """Stage 2: drawn answers and rewards."""

    stage = "rl"

    def phases(self) -> list[Phase]:
        rewards = {**self.rewarded, **({"dual": 0.5} if self.config.think else {})}
        longest = self.config.longest if self.config.think else min(64, self.config.longest)
        return [Phase("rl", 2, 2e-6, 1, accumulate=4, warmup=0.03, schedule="constant", weight_decay=0.0,
                      train=self.learnt(),
                      options={"mix": {self.question: 1.0}, "group": 8, "beta": 0.04, "clip": 0.2, "scale": True,
                               "longest": longest, "temperature": 1.0, "rewards": rewards})]  # fmt: skip


STAGES = {"cold_start": ColdStart, "rl": Reinforced}
