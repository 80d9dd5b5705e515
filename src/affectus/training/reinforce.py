"""GRPO of language models that read text alone, through trl, with the rewards and options of this library.

    records = [{"prompt": "…", "openset": ["happy"]}, …]
    phase = Phase("rl", 2, 2e-6, 1, accumulate=4, options={"group": 8, "beta": 0.04, "rewards": {"ew": 1.0}})
    reinforce(model, tokenizer, records, phase, folder)

A phase means what it means for multimodal systems (`affectus.systems.reinforced`, with the table of its options). They
take the same step in the shared loop: their loss (`affectus.nn.losses.policy`) is tested against trl's. To trl's
trainer are added token masks per reward (`blocks`) and utilities per record; records are routed by their `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from affectus.errors import ConfigError
from affectus.lm import rewards as functions
from affectus.lm.drawing import shared_weights
from affectus.lm.instructions import without_leaks
from affectus.nn.phase import Phase

try:
    from trl import GRPOConfig, GRPOTrainer
except ImportError as error:
    raise ConfigError("trl", f"cannot be used: {error}", "pip install 'affectus[train]'") from error

_SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine"}


class GroupTrainer(GRPOTrainer):
    """trl's trainer, where a reward may count on the tokens of one block alone (`tags`, one per reward, "" for all) and
    the column `utility` of a record multiplies the advantages of its group. `left_out` says why records were refused,
    and how many."""

    def __init__(self, *args: Any, tags: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tags = list(tags)
        self.left_out: dict[str, int] = {}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        gains = found["advantages"]
        worth = [1.0 if (own := row.get("utility")) is None else float(own) for row in inputs]
        found["advantages"] = gains * torch.tensor(worth, device=gains.device, dtype=gains.dtype)
        if any(self.tags):
            ids, mask = found["completion_ids"], found["completion_mask"]
            found["tool_mask"] = shared_weights(self.processing_class, ids, mask, self.tags)
        return found


def group_trainer(
    model: Any,
    tokenizer: Any,
    records: Sequence[Mapping[str, Any]],
    phase: Phase,
    folder: str | Path,
    evaluated: Sequence[str] = (),
    seed: int = 0,
    **settings: Any,
) -> GroupTrainer:
    """A trainer of a causal language model of `transformers` (or of `peft`: a divergence, `beta` above 0, is from its
    adapter as given; for a plain model it needs one loaded from a folder or hub).

    `records` hold `prompt` (text or messages) and the columns of the rewards. Those named in `evaluated` are refused,
    and so are those whose `openset` no wheel knows; ConfigError when none is left, or for a group below two. `settings`
    go to trl's configuration (`max_steps`, `logging_steps` …).
    """
    from datasets import Dataset

    options = phase.options
    group = int(options.get("group", 8))
    if group < 2:
        raise ConfigError("group", f"is {group}", "compare at least two answers per prompt")
    kept, dropped = without_leaks([{"name": "", **record} for record in records], evaluated)
    useful = [r for r in kept if "openset" not in r or functions.scorable(r["openset"])]
    if not useful:
        raise ConfigError(
            "records", f"none is left: {len(dropped)} are evaluated, {len(kept)} have no word that a wheel knows"
        )
    wanted = dict(options.get("rewards") or {"ew": 1.0, "format": 0.1})
    functions.weighted(wanted)  # names what is unknown
    routed = all(isinstance(value, Mapping) for value in wanted.values())
    given = [functions.weighted(wanted)] if routed else [functions.NAMED[name] for name in wanted]
    weights = [1.0] if routed else [float(weight) for weight in wanted.values()]
    blocks = options.get("blocks") or {}
    trainer = GroupTrainer(
        model=model,
        reward_funcs=given,
        args=_configuration(phase, group, folder, seed, {"reward_weights": weights, **settings}),
        train_dataset=Dataset.from_list(useful),
        processing_class=tokenizer,
        tags=[] if routed else [blocks.get(name, "") for name in wanted],
    )
    trainer.left_out = {"in the evaluation list": len(dropped), "no word that a wheel knows": len(kept) - len(useful)}
    return trainer


def reinforce(
    model: Any,
    tokenizer: Any,
    records: Sequence[Mapping[str, Any]],
    phase: Phase,
    folder: str | Path,
    **settings: Any,
) -> list[dict[str, float]]:
    """Train a model in place (see `group_trainer`); the log, one entry per `logging_steps` with `reward`, `kl` …"""
    trainer = group_trainer(model, tokenizer, records, phase, folder, **settings)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def _configuration(phase: Phase, group: int, folder: str | Path, seed: int, settings: Mapping[str, Any]) -> Any:
    """trl's settings from a phase; its batches count answers, ours prompts."""
    options = phase.options
    own: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": phase.batch_size * group,
        "gradient_accumulation_steps": phase.accumulate,
        "num_train_epochs": phase.epochs,
        "learning_rate": phase.lr,
        "lr_scheduler_type": _SCHEDULES[phase.schedule],
        "warmup_steps": phase.warmup,
        "weight_decay": phase.weight_decay,
        "adam_beta1": phase.betas[0],
        "adam_beta2": phase.betas[1],
        "max_grad_norm": phase.clip,
        "num_generations": group,
        "max_completion_length": int(options.get("longest", 256)),
        "temperature": float(options.get("temperature", 1.0)),
        "top_k": 0,
        "beta": float(options.get("beta", 0.04)),
        "use_bias_correction_kl": False,  # the plain k3 estimate
        "epsilon": float(options.get("clip", 0.2)),
        "scale_rewards": "group" if options.get("scale", True) else "none",
        "loss_type": {"answer": "grpo", "token": "bnpo"}[options.get("average", "answer")],
        "mask_truncated_completions": bool(options.get("mask_cut", False)),
        "gradient_checkpointing": False,
        "bf16": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
    }
    return GRPOConfig(**{**own, **settings})
