"""Moving attention between modalities at inference, and measuring how much each one gets (MoSEAR, arXiv 2508.01181).

Per layer of a band and per head, the attention mass of the last query on the tokens of two groups of branches is
compared: R = M_second / (M_first + M_second). Beyond `high` a share `rho` of the excess moves to the other group, in
proportion inside each group; below 1 - `high` the other way. Text keeps its mass and rows keep summing to one. Adding
log of the factors to the scores gives the same (`factors`), which is how fused kernels could do it; here the weights
are visible.

The chassis switches its language model to this attention inside `model.reallocating(...)` and `model.watching(...)`;
a model whose attention cannot be replaced is refused, never silently left as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError

NAME = "affectus_spans"


@dataclass(frozen=True)
class Reallocation:
    """Settings: two groups of branch names, share moved, threshold, layers (None: the middle third).

    `per_token` compares mean attention per token instead of total mass, for backbones in which one modality has far
    more tokens; the two can disagree in sign. `rho=0` changes nothing and only measures.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    rho: float = 0.5
    high: float = 0.6
    layers: tuple[int, ...] | None = None
    per_token: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rho <= 1 or not 0.5 <= self.high <= 1:
            raise ConfigError("attention re-allocation", "needs rho in [0, 1] and high in [0.5, 1]")
        if not self.first or not self.second or set(self.first) & set(self.second):
            raise ConfigError("attention re-allocation", "needs two groups of branches without common members")

    def band(self, layers: int) -> frozenset[int]:
        """Numbers of the layers that are changed."""
        if self.layers is None:
            return frozenset(range(layers // 3, max(layers // 3 + 1, 2 * layers // 3)))
        if wrong := [layer for layer in self.layers if not 0 <= layer < layers]:
            raise ConfigError("attention re-allocation", f"there is no layer {wrong[0]} of {layers}")
        return frozenset(self.layers)


@dataclass
class SpanState:
    """What the attention of one language model knows about the sequence it is in.

    `ids` (B, K) are the modality numbers of all keys, `cached` says that the prompt has gone through before. `masses`
    collects (layer, (B, 2)) of every pass: attention of the last query on both groups, mean over heads, before anything
    is moved.
    """

    ids: Tensor | None = None
    cached: bool = False
    settings: Reallocation | None = None
    groups: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    layers: frozenset[int] = frozenset()
    calls: int = 0
    masses: list[tuple[int, Tensor]] = field(default_factory=list)


def group_masses(weights: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mass of attention rows (..., K) on two groups of keys (broadcastable masks): two tensors (...)."""
    return (weights * first).sum(-1), (weights * second).sum(-1)


def factors(weights: Tensor, first: Tensor, second: Tensor, settings: Reallocation) -> tuple[Tensor, Tensor]:
    """Factors (...) for the attention of rows (..., K) on the first and the second group; 1 where nothing moves."""
    mass_1, mass_2 = group_masses(weights, first, second)
    total = mass_1 + mass_2
    size_1 = first.sum(-1).to(weights.dtype) if settings.per_token else torch.ones_like(mass_1)
    size_2 = second.sum(-1).to(weights.dtype) if settings.per_token else torch.ones_like(mass_2)
    tiny = torch.finfo(weights.dtype).tiny
    mean_1, mean_2 = mass_1 / size_1.clamp(min=1), mass_2 / size_2.clamp(min=1)
    share = mean_2 / (mean_1 + mean_2).clamp(min=tiny)
    limit = torch.where(share > settings.high, settings.high, torch.where(share < 1 - settings.high, 1 - settings.high,
                                                                          share))  # fmt: skip
    # Mass of the second group at which the compared share equals the limit, the common mass being fixed.
    target = total * limit * size_2 / (limit * size_2 + (1 - limit) * size_1).clamp(min=tiny)
    both = (mass_1 > tiny) & (mass_2 > tiny)
    moved = torch.where(both & (limit != share), settings.rho * (mass_2 - target), torch.zeros_like(total))
    one = torch.ones_like(total)
    return (torch.where(both, 1 + moved / mass_1.clamp(min=tiny), one),
            torch.where(both, 1 - moved / mass_2.clamp(min=tiny), one))  # fmt: skip


def reallocate(weights: Tensor, first: Tensor, second: Tensor, settings: Reallocation) -> Tensor:
    """Attention rows (..., K) with mass moved between two groups of keys; see the module text."""
    factor_1, factor_2 = factors(weights, first, second, settings)
    return weights * (1 + first * (factor_1 - 1).unsqueeze(-1) + second * (factor_2 - 1).unsqueeze(-1))


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention with visible weights that re-allocates the last query; the signature is that of `transformers`.

    Query (B, H, Q, d), key and value (B, H_kv, K, d) → output (B, Q, H, d) and weights (B, H, Q, K).
    """
    repeats = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[2]]
    weights = scores.softmax(-1, dtype=torch.float32)
    state: SpanState | None = getattr(module, "span_state", None)
    if state is not None:
        weights = _changed(weights, state, int(module.layer_idx))
    weights = nn.functional.dropout(weights.to(query.dtype), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def _changed(weights: Tensor, state: SpanState, layer: int) -> Tensor:
    state.calls += 1
    if state.ids is None or state.settings is None:
        return weights
    ids = state.ids[:, : weights.shape[-1]]
    if ids.shape[1] < weights.shape[-1]:
        ids = nn.functional.pad(ids, (0, weights.shape[-1] - ids.shape[1]))
    first, second = (torch.isin(ids, ids.new_tensor(group)).unsqueeze(1).float() for group in state.groups)
    last = weights[:, :, -1]
    masses = torch.stack(group_masses(last, first, second), -1)
    state.masses.append((layer, masses.mean(1).detach()))
    if layer not in state.layers or state.settings.rho == 0:
        return weights
    changed = reallocate(last, first, second, state.settings)
    return torch.cat([weights[:, :, :-1], changed.unsqueeze(2)], 2)


def install(language_model: Any, state: SpanState) -> int:
    """Give the state to every attention of a language model; how many there are."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    found = 0
    for module in language_model.modules():
        if hasattr(module, "layer_idx") and hasattr(module, "q_proj"):
            module.span_state = state
            found += 1
    return found


def numbers(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Modality numbers of branch names; ConfigError for an unknown one."""
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(f"branch {unknown[0]}", "no such branch", f"there are {', '.join(names)}")
    return tuple(names.index(name) + 1 for name in wanted)


class SpanAttention:
    """What a model with modality spans can do with its attention: measure how much each modality gets, and move it.

    It has `spans`, a `config` with `branch_names` and `text_config`, and a `text_model`.
    """

    config: Any
    spans: SpanState

    def text_model(self) -> Any:
        """The part that reads embeddings and writes text."""
        return self.language_model  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def reallocating(self, settings: Reallocation) -> Iterator[SpanState]:
        """Re-allocate attention between branches inside this context; the state tells what happened.

        ModelError when the language model's attention cannot be replaced, also when it turns out unused on leaving.
        """
        model, state = self.text_model(), self.spans
        before = model.config._attn_implementation
        if not install(model, state):
            raise ModelError("attention re-allocation", "found no attention it knows in this language model")
        names = self.config.branch_names
        state.groups = (numbers(names, settings.first), numbers(names, settings.second))
        state.layers = settings.band(self.config.text_config.num_hidden_layers)
        state.settings, state.calls, state.masses = settings, 0, []
        seen = _count_forwards(model)
        try:
            model.set_attn_implementation(NAME)
            with seen as forwards:
                yield state
        finally:
            model.set_attn_implementation(before)
            state.settings = None
        if forwards[0] and not state.calls:
            raise ModelError("attention re-allocation", "had no effect: this language model uses another attention")

    def watching(self, first: tuple[str, ...], second: tuple[str, ...]) -> Any:
        """As `reallocating`, but nothing is moved: only the masses are collected."""
        return self.reallocating(Reallocation(first, second, rho=0.0))


@contextlib.contextmanager
def _count_forwards(module: nn.Module) -> Iterator[list[int]]:
    count = [0]

    def add(*_args: Any) -> None:
        count[0] += 1

    handle = module.register_forward_pre_hook(add)
    try:
        yield count
    finally:
        handle.remove()
