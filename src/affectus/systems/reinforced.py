"""Systems that write and learn from rewards: groups of answers to one prompt are drawn, scored and compared (GRPO).

A phase whose options hold `group` draws that many answers per prompt (in `augment`); a phase without it learns from the
true answers as every generative system does, so a cold start and the rewarded stage are phases of one class.

| option | meaning | default |
|---|---|---|
| `group` | answers per prompt | |
| `rewards` | name → weight, or kind → (name → weight); names of `affectus.lm.rewards.NAMED` | that of the system |
| `scale` | divide advantages by the standard deviation of the group | true |
| `beta` | weight of the k3 divergence from the weights at the start of the phase; 0 is off | 0.04 |
| `clip` | bound of the ratio | 0.2 |
| `average` | "answer" or "token" | answer |
| `longest`, `temperature` | of the drawn answers | those of the configuration, 1 |
| `mask_cut` | give no gain or loss to answers that were cut off | false |
| `blocks` | reward → tag: its share of the loss counts on the tokens of that block alone | all tokens |

One step is taken per draw, so the ratio is 1 and the bound idle, as in the published runs this follows. Prompts whose
truth no wheel knows would teach nothing: they are left out where records come from a corpus, and counted. A record may
hold a `utility`, which multiplies the advantages of its group.

Language models without media can be trained by the same options through trl (`affectus.training.reinforce`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from affectus.corpora import Corpus
from affectus.errors import ConfigError
from affectus.lm import rewards as functions
from affectus.lm.drawing import log_probabilities, shared_weights
from affectus.lm.extraction import answer_words
from affectus.nn.losses.policy import group_advantages, k3, masked_average, policy_loss
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs
from affectus.systems.generative import GenerativeSystem

_LOG = logging.getLogger(__name__)


class ReinforcedSystem(GenerativeSystem):
    """See the module text. `rewarded` are the default rewards; `watched` collects what draws looked like."""

    select = "reward"
    rewarded: ClassVar[Mapping[str, Any]] = {"ew": 1.0, "format": 0.1}

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.reference = nn.Module()
        self.watched: dict[str, list[float]] = defaultdict(list)
        self.register_load_state_dict_pre_hook(_forget_reference)

    def rewards(self) -> dict[str, functions.Reward]:
        """Rewards by name."""
        return functions.NAMED

    def reward(self, options: Mapping[str, Any]) -> functions.Reward:
        """The weighted reward of a phase, routed by kind where its options say so; ConfigError for unknown names."""
        return functions.weighted(options.get("rewards") or self.rewarded, self.rewards())

    def utility(self, records: list[Mapping[str, Any]], rewards: Tensor) -> Tensor:
        """How much each prompt (B,) counts, from its record and the rewards (B, group) of its answers: the column
        `utility`, 1 without."""
        return torch.tensor([float(record.get("utility", 1.0)) for record in records], device=rewards.device)

    def enter(self, phase: Phase) -> None:
        """The weights at the start of a rewarded phase are the reference of its divergence."""
        super().enter(phase)
        self.reference = nn.Module()
        if phase.options.get("group") and phase.options.get("beta", 0.04):
            own = self.model.state_dict()
            for name in self.model.saved_names():
                self.reference.register_buffer(name.replace(".", "/"), own[name].detach().clone())

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """In a rewarded phase: the prompts of a batch with drawn answers and their advantages."""
        batch = super().augment(batch, options)
        return self.draw(batch, options) if options.get("group") else batch

    def draw(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """`asked` (prompts, B), `completion` and `mask` (B * group, L), `advantages` (B * group,), `weight` (B * group,
        L) of tokens in the loss, with a divergence also `reference` (B * group, L); `reward` and `texts` for whoever
        watches."""
        group, kinds = int(options["group"]), self.kinds(batch)
        if group < 2:
            raise ConfigError("group", f"is {group}", "compare at least two answers per prompt")
        asked = self.asked(self.conversations(batch, kinds))
        was = self.training
        self.eval()
        ids, mask = self.sample(asked, int(options.get("longest", 0)), float(options.get("temperature", 1.0)), group)
        texts = self.processor.decode(ids)
        values = self.score(texts, batch, kinds, options, group)
        rewards = torch.tensor(values, dtype=torch.float32, device=ids.device).view(-1, group)
        gains = group_advantages(rewards, bool(options.get("scale", True)))
        gains = gains * self.utility(list(batch["record"]), rewards).unsqueeze(1)
        found = {"asked": asked, "completion": ids, "mask": mask, "advantages": gains.flatten(), "texts": texts,
                 "reward": rewards, "weight": self.token_weights(ids, mask, options)}  # fmt: skip
        if options.get("beta", 0.04):
            with torch.no_grad():
                found["reference"] = log_probabilities(self._before(), asked, ids, mask)
        self.train(was)
        self._watch(texts, rewards, ids, mask)
        return found

    def token_weights(self, ids: Tensor, mask: Tensor, options: Mapping[str, Any]) -> Tensor:
        """How much every token (B, L) of drawn answers counts: see the options `blocks` and `mask_cut`."""
        weight = mask.float()
        if blocks := options.get("blocks"):
            names = list(options.get("rewards") or self.rewarded)
            weight = shared_weights(self.processor.tokenizer, ids, mask, [blocks.get(name, "") for name in names])
        return weight * ~self.cut(ids, mask).unsqueeze(1) if options.get("mask_cut") else weight

    def score(
        self, texts: list[str], batch: Batch, kinds: list[str], options: Mapping[str, Any], group: int = 1
    ) -> list[float]:
        """Rewards of answers, `group` per item in a row; what records know goes to the rewards as columns."""
        records = [record for record in batch["record"] for _ in range(group)]
        asked = [kind for kind in kinds for _ in range(group)]
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: [record.get(name) for record in records] for name in names}
        columns |= {"kind": asked, "think": [kind.endswith("_think") for kind in asked]}
        return self.reward(options)(texts, **columns)

    def cut(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Which answers (B,) fill the whole length without an end."""
        ends = torch.tensor(self.processor.stops(), device=ids.device)
        stop = self.processor.template.stop.strip()
        ended = (torch.isin(ids, ends) & mask.bool()).any(1)
        texts = self.processor.tokenizer.batch_decode(ids, skip_special_tokens=True) if stop else []
        named = torch.tensor([stop in text for text in texts] or [False] * len(ids), device=ids.device)
        return mask.bool().all(1) & ~ended & ~named

    def forward(self, batch: Batch) -> Outputs:
        """Log-probabilities (B * group, L) of drawn answers; otherwise as every generative system, and in evaluation
        with records also the `reward` (B,) of an answer and its `length` in words."""
        if "completion" in batch:
            return {"drawn": log_probabilities(self.model, batch["asked"], batch["completion"], batch["mask"])}
        found = super().forward(batch)
        if not self.training and "record" in batch and "nll" in found:
            answers = self.answer(batch)
            kinds = self.kinds(batch)
            values = self.score([answer.text for answer in answers], batch, kinds, {})
            found["reward"] = torch.tensor(values, device=found["nll"].device)
            found["length"] = torch.tensor([float(len(a.words)) for a in answers], device=found["nll"].device)
        return found

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`policy`, and `divergence` where it has a weight; without drawn answers `answer`."""
        if "drawn" not in outputs:
            return super().losses(batch, outputs, options)
        own = options or {}
        drawn, mask, average = outputs["drawn"], batch["weight"], own.get("average", "answer")
        found = {"policy": policy_loss(drawn, batch["advantages"], mask, None, own.get("clip", 0.2), average)}
        if (beta := own.get("beta", 0.04)) and "reference" in batch:
            found["divergence"] = beta * masked_average(k3(batch["reference"], drawn), mask, average)
        return found

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Mean reward and words of answers to held-out prompts, and of the draws since the last time."""
        found = super().measure(outputs, targets)
        found |= {name: float(outputs[name].mean()) for name in ("reward", "length") if name in outputs}
        found |= {f"drawn_{name}": float(np.mean(values)) for name, values in self.watched.items()}
        self.watched.clear()
        return found

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """As in the base class, without clips that are named in the file `config.evaluated`, and without those whose
        words no wheel knows; both are counted in `tally` and told."""
        found = super().targets(corpus, column)["record"]
        banned = read_names(getattr(self.config, "evaluated", ""))
        for i, record in enumerate(found):
            if record is None:
                continue
            reason = "is in the evaluation list" if record["name"] in banned else ""
            if not reason and "openset" in record and not functions.scorable(record["openset"]):
                reason = "has no word that a wheel knows"
            if reason:
                found[i] = None
                self.tally[f"left out: {reason}"] += 1
        for reason, count in self.tally.items():
            if reason.startswith("left out"):
                _LOG.warning("%s: %d clips %s", self.card.name, count, reason)
        return {"record": found}

    def saved_state(self) -> dict[str, Tensor]:
        """Without the reference, which belongs to a run and not to what was learnt."""
        return {k: v for k, v in super().saved_state().items() if not k.startswith("reference.")}

    def _before(self) -> Callable[..., Any]:
        """The model with the weights it had at the start of the phase."""
        found = {name.replace("/", "."): value for name, value in self.reference.named_buffers()}
        if not found:
            raise ConfigError("reference", "is missing: the phase has not been entered", "set beta to 0, or call enter")
        return lambda **inputs: functional_call(self.model, found, (), inputs)

    def _watch(self, texts: list[str], rewards: Tensor, ids: Tensor, mask: Tensor) -> None:
        lengths = [len(answer_words(text).words) for text in texts]
        self.watched["reward"].append(float(rewards.mean()))
        self.watched["words"].append(float(np.mean(lengths)))
        self.watched["equal_groups"].append(float((rewards == rewards[:, :1]).all(1).float().mean()))
        self.watched["cut"].append(float(self.cut(ids, mask).float().mean()))


def _forget_reference(module: Any, state: dict[str, Any], prefix: str, *_others: Any) -> None:
    """The reference of a phase that is over is not taken over."""
    own = set(dict(module.reference.named_buffers()))
    for name in [n for n in state if n.startswith(f"{prefix}reference.")]:
        if name.removeprefix(f"{prefix}reference.") not in own:
            del state[name]


def read_names(path: str) -> set[str]:
    """Names of a text or CSV file, the first cell of each line; none for an empty path."""
    if not path:
        return set()
    if not Path(path).is_file():
        raise ConfigError(path, "is no file with the names of evaluated clips", "one name per line")
    return {line.split(",")[0].strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()} - {""}
