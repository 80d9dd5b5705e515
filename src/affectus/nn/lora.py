"""Low-rank adapters (Hu et al., "LoRA", ICLR 2022) through the `peft` package, kept inside the adapted module.

W x + b becomes W x + b + (alpha / rank) · B A dropout(x), with A random and B zero at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from affectus.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def adapt(module: nn.Module, targets: Sequence[str], rank: int, alpha: float, dropout: float = 0.0) -> nn.Module:
    """Put adapters into the linear layers of `module` whose name ends in one of `targets`, and freeze all the rest.

    The module is changed in place and returned; its layers are then called `….q_proj.base_layer`,
    `….q_proj.lora_A.default` and `….q_proj.lora_B.default`. Raises ConfigError when no layer has such a name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none")  # type: ignore[arg-type]
    try:
        inject_adapter_in_model(config, module)
    except ValueError as error:
        raise ConfigError("LoRA", f"finds no layer named {', '.join(targets)}") from error
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return module


def adapter_layers(module: nn.Module) -> list[Any]:
    """The adapted layers of a module."""
    from peft.tuners.lora import LoraLayer

    return [layer for layer in module.modules() if isinstance(layer, LoraLayer)]


@contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """Adapters folded into their weights while the context lasts: the same outputs without their extra cost."""
    layers = adapter_layers(module)
    for layer in layers:
        layer.merge()
    try:
        yield
    finally:
        for layer in layers:
            layer.unmerge()
