"""LoRA adapters of a language model through `peft`, several at a time: policy and reference are two adapters of one
base."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from affectus.errors import ConfigError

#: Linear layers of Llama- and Qwen-type blocks.
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora_settings(
    rank: int = 16,
    alpha: float = 32,
    dropout: float = 0.05,
    targets: tuple[str, ...] = ALL_LINEAR,
    saved_modules: tuple[str, ...] = (),
    rank_stabilised: bool = False,
) -> dict[str, Any]:
    """Settings of an adapter as a record; the defaults are AffectGPT's."""
    return {
        "rank": rank,
        "alpha": alpha,
        "dropout": dropout,
        "targets": list(targets),
        "saved_modules": list(saved_modules),
        "rank_stabilised": rank_stabilised,
    }


def add_lora(model: nn.Module, settings: Mapping[str, Any], name: str = "default") -> None:
    """Put an adapter into a model, in place; everything but adapters is frozen. ConfigError when no layer matches.

    Adapters are float32 whatever the base: small steps of the optimiser would be lost in bfloat16.
    """
    from peft import LoraConfig, inject_adapter_in_model

    record = {**lora_settings(), **settings}
    config = LoraConfig(
        r=record["rank"],
        lora_alpha=record["alpha"],
        lora_dropout=record["dropout"],
        target_modules=list(record["targets"]),
        modules_to_save=list(record["saved_modules"]) or None,
        use_rslora=record["rank_stabilised"],
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, model, adapter_name=name)
    except ValueError as error:
        raise ConfigError("LoRA", str(error).splitlines()[0], "name layers of this model as targets") from None
    for key, parameter in model.named_parameters():
        if ".lora_" in key and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()


def adapter_layers(model: nn.Module) -> list[Any]:
    """All adapted layers of a model."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return [module for module in model.modules() if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper))]


def adapter_names(model: nn.Module) -> list[str]:
    """Names of the adapters of a model, in order of their making."""
    names: dict[str, None] = {}
    for module in model.modules():
        own: Any = getattr(module, "lora_A", {})
        names.update(dict.fromkeys(own))
    return list(names)


def copy_adapter(model: nn.Module, settings: Mapping[str, Any], source: str, target: str) -> None:
    """A second adapter with the weights of the first, frozen: the reference of reinforcement learning."""
    if source not in adapter_names(model):
        raise ConfigError(
            f"adapter {source}", "no such adapter", f"there are {', '.join(adapter_names(model)) or 'none'}"
        )
    grads = {name: p.requires_grad for name, p in model.named_parameters()}
    add_lora(model, settings, target)
    own = dict(model.named_parameters())
    for name, parameter in own.items():
        if f".{target}." in name:
            parameter.data.copy_(own[name.replace(f".{target}.", f".{source}.")].data)
    use_adapter(model, source)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(grads.get(name, False))


def use_adapter(model: nn.Module, name: str) -> None:
    """Make one adapter the active one."""
    for layer in adapter_layers(model):
        layer.set_adapter(name)


@contextlib.contextmanager
def with_adapter(model: nn.Module, name: str | None) -> Iterator[None]:
    """Run with another adapter, or with none (name None): the reference by switch. What may train stays as it was."""
    layers = adapter_layers(model)
    before = [list(layer.active_adapters) for layer in layers]
    grads = {n: p.requires_grad for n, p in model.named_parameters()}
    try:
        for layer in layers:
            if name is None:
                layer.enable_adapters(False)
            else:
                layer.set_adapter(name)
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            if name is None:
                layer.enable_adapters(True)
            layer.set_adapter(active if len(active) != 1 else active[0])
        for n, p in model.named_parameters():
            p.requires_grad_(grads[n])
