"""Low-rank experts per modality: one shared way down, K ways up for each of two groups of branches, gates over both
(MoSEAR, arXiv 2508.01181; formulas and defaults are a reconstruction).

    y = W x + alpha / r * sum over m of  w_m g_{m,k*} B_{m,k*} A x          m in {visual, audio}
    g_m = softmax(G_m mean(x over span m)),  k* = argmax g_m,  w = softmax(U [mean over visual; mean over audio])

The tokens of a span pass through the experts of their own modality, all other tokens (text, joint tokens) through both.
The multiplier g_{m,k*} lets the gate learn. A modality that an item lacks has the weight 0 and the other one 1; an item
without either keeps the frozen layer. Gates see the prompt only, whose spans are those of the chassis
(`model.spans.ids`); while an answer is generated from the cache, the routing of its prompt holds on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.reallocation import SpanState, numbers
from affectus.nn.experts import balance_loss

#: Modalities in the order of all tensors here.
MODALITIES = ("visual", "audio")


def expert_settings(
    visual: Sequence[str],
    audio: Sequence[str],
    rank: int = 32,
    alpha: float = 16.0,
    experts: int = 3,
    dropout: float = 0.05,
    targets: Sequence[str] = ("q_proj", "v_proj"),
) -> dict[str, Any]:
    """Settings as a record: names of the visual and of the audio branches, sizes, and the layers that get experts."""
    if rank < 1 or experts < 1:
        raise ConfigError("modality experts", f"cannot have rank {rank} and {experts} experts", "give at least 1")
    if not visual or not audio or set(visual) & set(audio):
        raise ConfigError("modality experts", "need two groups of branches without common members")
    return {"visual": list(visual), "audio": list(audio), "rank": rank, "alpha": alpha, "experts": experts,
            "dropout": dropout, "targets": list(targets)}  # fmt: skip


@dataclass(frozen=True)
class Routing:
    """How the items of a batch are routed in one layer: `weights` (B, 2) of the modalities, `shares` (B, 2, K) of the
    gates, `chosen` (B, 2) numbers of the experts, `present` (B, 2)."""

    weights: Tensor
    shares: Tensor
    chosen: Tensor
    present: Tensor


class ModalityExperts(nn.Module):
    """A frozen linear layer with experts on top; see the module text. At first the experts add nothing (B = 0)."""

    def __init__(
        self, base: Any, settings: Mapping[str, Any], spans: SpanState, groups: Sequence[tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.base = base
        self.spans, self.groups = spans, tuple(groups)
        inner, outer = int(base.in_features), int(base.out_features)
        rank, experts = int(settings["rank"]), int(settings["experts"])
        self.scale = float(settings["alpha"]) / rank
        self.drop = nn.Dropout(float(settings["dropout"]))
        self.lora_down = nn.Parameter(torch.empty(rank, inner))
        self.lora_up = nn.Parameter(torch.zeros(2, experts, rank, outer))
        self.lora_gate = nn.Parameter(torch.zeros(2, experts, inner))
        self.lora_balance = nn.Parameter(torch.zeros(2, 2 * inner))
        nn.init.kaiming_uniform_(self.lora_down, a=5**0.5)
        self.routing: Routing | None = None

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return int(self.base.in_features)

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return int(self.base.out_features)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(B, L, in) → (B, L, out)."""
        found: Tensor = self.base(x, *args, **kwargs)
        if self.spans.ids is None:
            return found
        tokens = x.to(self.lora_down.dtype)
        inside = None if self.spans.cached else self._inside(tokens)
        if inside is not None:
            self.routing = self._routed(tokens, inside)
        routing = self._routing_for(len(x))
        used = self._used(inside, x.shape[1], routing)
        down = nn.functional.linear(self.drop(tokens), self.lora_down)  # (B, L, r)
        both = (down.unsqueeze(2) * used.unsqueeze(-1)).flatten(2)  # (B, L, 2 r)
        up = self.lora_up[torch.arange(2, device=x.device), routing.chosen].flatten(1, 2)  # (B, 2 r, out)
        return found + (both @ up).to(found.dtype)

    def _routing_for(self, rows: int) -> Routing:
        """The routing of these rows: that of the last prompts, repeated where each of them has several answers."""
        known = self.routing
        if known is None or rows % len(known.weights):
            raise ModelError("modality experts", "a cached step follows no prompt of this batch")
        if (group := rows // len(known.weights)) == 1:
            return known
        return Routing(*(part.repeat_interleave(group, 0)
                         for part in (known.weights, known.shares, known.chosen, known.present)))  # fmt: skip

    def _inside(self, x: Tensor) -> Tensor:
        """Which tokens belong to each modality (B, 2, L); what follows a prompt is text."""
        ids = self.spans.ids
        assert ids is not None
        ids = nn.functional.pad(ids, (0, x.shape[1] - ids.shape[1]))
        return torch.stack([torch.isin(ids, ids.new_tensor(group)) for group in self.groups], 1)

    def _routed(self, x: Tensor, inside: Tensor) -> Routing:
        counts = inside.sum(2, keepdim=True)
        means = inside.to(x.dtype) @ x / counts.clamp(min=1)  # (B, 2, in)
        present = counts.squeeze(2) > 0
        shares = torch.einsum("bmi,mki->bmk", means, self.lora_gate).softmax(-1)
        scores = (means.flatten(1) @ self.lora_balance.T).masked_fill(~present, torch.finfo(x.dtype).min)
        return Routing(scores.softmax(-1) * present, shares, shares.argmax(-1), present)

    def _used(self, inside: Tensor | None, length: int, routing: Routing) -> Tensor:
        """Factor of each modality's expert for every token (B, L, 2)."""
        best = routing.shares.gather(2, routing.chosen.unsqueeze(2)).squeeze(2)
        factors = (self.scale * routing.weights * best).unsqueeze(1)
        if inside is None:
            return factors.expand(-1, length, -1)
        return factors * (~inside.flip(1)).mT.to(factors.dtype)


def add_experts(model: Any, settings: Mapping[str, Any]) -> None:
    """Put experts into the language model of a chassis, in place; ConfigError when no layer or branch has the name."""
    names = model.config.branch_names
    groups = [numbers(names, settings[modality]) for modality in MODALITIES]
    wanted = tuple(settings["targets"])
    places = [
        (parent, name)
        for parent in list(model.text_model().modules())
        for name, child in parent.named_children()
        if name in wanted and hasattr(child, "in_features")
    ]
    if not places:
        raise ConfigError("modality experts", f"find no layer named {', '.join(wanted)}", "name layers of this model")
    for parent, name in places:
        setattr(parent, name, ModalityExperts(getattr(parent, name), settings, model.spans, groups))


def expert_layers(model: nn.Module) -> list[ModalityExperts]:
    """All layers with experts of a model, in order."""
    return [module for module in model.modules() if isinstance(module, ModalityExperts)]


def weight_gap(weights: Tensor, form: Literal["squared", "divergence"] = "squared") -> Tensor:
    """How unequal modality weights (B, 2) are: the mean of (w_v - w_a)², 0 for equal and 1 for one-sided ones, or the
    divergence of the mean weights from equal ones (nats), which leaves single items free."""
    if form == "squared":
        return (weights[:, 0] - weights[:, 1]).square().mean()
    mean = weights.mean(0)
    return torch.special.xlogy(mean, 2 * mean).sum()


def expert_losses(model: nn.Module, form: Literal["squared", "divergence"] = "squared") -> dict[str, Tensor]:
    """`balance` (`weight_gap`) and `load` (K · sum over experts of share routed · mean gate) of the last forward pass,
    each a mean over layers; items that lack a modality do not count where it matters."""
    layers = [layer for layer in expert_layers(model) if layer.routing is not None]
    if not layers:
        raise ModelError("modality experts", "nothing has been routed yet", "run a forward pass first")
    gaps, loads = [], []
    for layer in layers:
        routing = layer.routing
        assert routing is not None
        both = routing.present.all(1)
        if bool(both.any()):
            gaps.append(weight_gap(routing.weights[both], form))
        for m in range(2):
            rows = routing.present[:, m]
            if bool(rows.any()):
                shares, chosen = routing.shares[rows, m], routing.chosen[rows, m]
                loads.append(balance_loss(shares, nn.functional.one_hot(chosen, shares.shape[1])))
    nothing = layers[0].lora_balance.sum() * 0.0
    return {"balance": torch.stack(gaps).mean() if gaps else nothing,
            "load": torch.stack(loads).mean() if loads else nothing}  # fmt: skip


def parameter_count(inner: int, outer: int, rank: int, experts: int) -> int:
    """Weights that experts add to one layer: r · in + 2 K r · out, and the gates 2 K · in + 4 · in."""
    return rank * inner + 2 * experts * rank * outer + (2 * experts + 4) * inner
