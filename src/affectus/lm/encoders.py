"""From media tensors to token sequences: cached features, models of `transformers`, our own modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.config import Encoder


@dataclass(frozen=True)
class Tokens:
    """A padded batch of token sequences: values (B, N, D), mask (B, N) true where there is a token.

    `grid` (T, rows, columns) is set where N tokens are the patches of T frames in that order, `items` (T) where they
    are equally many tokens for each of T frames or clips, patches or not.
    """

    values: Tensor
    mask: Tensor
    grid: tuple[int, int, int] | None = None
    items: int = 0

    @property
    def present(self) -> Tensor:
        """Which rows have any token, (B,)."""
        return self.mask.any(1)

    def mean(self) -> Tensor:
        """Mean over the tokens that are there, (B, D); zero where there is none."""
        weight = self.mask.unsqueeze(-1).to(self.values.dtype)
        return (self.values * weight).sum(1) / weight.sum(1).clamp(min=1)


class MediaEncoder(nn.Module):
    """One encoder of the chassis: valid items (frames, clips) of a padded batch → `Tokens`.

    Input (B, T, ...) with mask (B, T); padding never reaches the network. A frozen encoder keeps its weights out of the
    gradient and itself in evaluation mode.
    """

    def __init__(self, spec: Encoder, module: nn.Module | None) -> None:
        super().__init__()
        self.spec = spec
        self.module = module
        if module is not None:
            module.requires_grad_(spec.train)
            if not spec.train:
                module.eval()

    def train(self, mode: bool = True) -> MediaEncoder:
        """As usual, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.module is not None and not self.spec.train:
            self.module.eval()
        return self

    def forward(self, values: Tensor, mask: Tensor) -> Tokens:
        """(B, T, ...) and (B, T) → tokens (B, T * patches, width)."""
        if self.module is None:
            if values.ndim != 3 or values.shape[-1] != self.spec.width:
                raise ModelError(
                    "cached features", f"have the shape {tuple(values.shape)}, (B, T, {self.spec.width}) is needed"
                )
            return Tokens(values, mask, items=values.shape[1])
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.spec.train):
            found = self._encode(values[mask])
        if found.ndim == 2:
            found = found.unsqueeze(1)
        if found.shape[-1] != self.spec.width:
            raise ModelError("encoder", f"gives width {found.shape[-1]}, the configuration says {self.spec.width}")
        rows, items = mask.shape
        patches = found.shape[1]
        out = found.new_zeros(rows, items, patches, found.shape[2])
        out[mask] = found
        side = int(patches**0.5)
        grid = (items, side, side) if side * side == patches and patches > 1 else None
        return Tokens(out.flatten(1, 2), mask.repeat_interleave(patches, 1), grid, items)

    def _encode(self, items: Tensor) -> Tensor:
        assert self.module is not None
        if (weight := next(self.module.parameters(), None)) is not None and items.is_floating_point():
            items = items.to(weight.dtype)
        if self.spec.kind == "module":
            found = self.module(items)
        else:
            inputs = {"pixel_values" if self.spec.kind == "vision" else self._audio_name(): items}
            wanted = self.spec.layers > 1
            outputs = self.module(**inputs, output_hidden_states=wanted)
            if wanted:
                found = torch.stack(outputs.hidden_states[-self.spec.layers :]).mean(0)
            else:
                found = getattr(outputs, self.spec.output)
        if found.ndim == 3 and self.spec.drop_first:
            found = found[:, 1:]
        return found.mean(1) if found.ndim == 3 and self.spec.pool == "mean" else found

    def _audio_name(self) -> str:
        return str(getattr(self.module, "main_input_name", "input_values"))


def build_encoder(name: str, spec: Encoder, module: nn.Module | None = None) -> MediaEncoder:
    """An encoder from its specification; `module` overrides what `source` would load.

    Only weights are loaded: code of a repository is never run.
    """
    if spec.kind == "features":
        return MediaEncoder(spec, None)
    if module is None and spec.kind == "module":
        raise ConfigError(f"encoder {name}", "is a module of yours", f"give it as modules={{{name!r}: ...}}")
    return MediaEncoder(spec, module if module is not None else _load(name, spec))


def _load(name: str, spec: Encoder) -> Any:
    from transformers import AutoModel

    if not spec.source:
        raise ConfigError(f"encoder {name}", "has no source", "give the hub id or folder of a model")
    try:
        model = AutoModel.from_pretrained(spec.source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(spec.source, f"cannot be loaded as encoder {name}: {str(error).splitlines()[0]}") from None
    # A two-tower model holds the wanted tower under this name.
    return getattr(model, "vision_model", model) if spec.kind == "vision" and spec.output != "image_embeds" else model
