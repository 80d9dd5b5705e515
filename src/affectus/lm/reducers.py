"""Connectors that ask with learnt queries: Q-Former over one source or over several together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from affectus.errors import ModelError
from affectus.lm.connectors import Connector, register
from affectus.lm.encoders import Tokens


@register("qformer")
class QFormer(Connector):
    """Learnt queries in a small BERT with cross-attention in every layer, then a linear map (Video-LLaMA, EMER,
    AffectGPT).

    Sources are laid end to end at the largest width (narrower ones through a linear map); every token gets a learnt
    position: its own number, or with `per_frame` that of its frame (`items` of the source). Queries start from N(0,
    .02), weights so that a linear layer passes on as much as one of width 768 with that deviation would: narrow ones
    would start deaf. The text branch of BLIP-2 is not there. `limit` is the largest position.
    """

    sources: ClassVar[int | None] = None

    def __init__(
        self,
        widths: Sequence[int],
        width: int,
        tokens: int = 32,
        layers: int = 2,
        dim: int = 768,
        heads: int = 12,
        limit: int = 32,
        per_frame: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(widths, width, tokens)
        from transformers import Blip2QFormerConfig
        from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel

        common = max(widths)
        self.limit, self.per_frame = limit, per_frame
        self.widen = nn.ModuleList(nn.Identity() if own == common else nn.Linear(own, common) for own in widths)
        self.position = nn.Embedding(limit, common)
        self.queries = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        self.former = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=dim,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * dim,
                encoder_hidden_size=common,
                cross_attention_frequency=1,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                initializer_range=0.02 * (768 / dim) ** 0.5,
            )
        )
        self.project = nn.Linear(dim, width)

    def forward(self, sources: Sequence[Tokens], question: Tokens | None = None) -> Tokens:
        """Sources (B, N_i, D_i) → (B, tokens, width)."""
        values = torch.cat([widen(s.values) for widen, s in zip(self.widen, sources, strict=True)], 1)
        mask = torch.cat([source.mask for source in sources], 1)
        values = values + self.position(self._positions(sources, mask)).to(values.dtype)
        # A row without any token would have nothing to attend to; it is masked out below.
        seen = mask | ~mask.any(1, keepdim=True)
        asked = self.former(
            query_embeds=self.queries.expand(len(values), -1, -1),
            encoder_hidden_states=values,
            encoder_attention_mask=seen.long(),
        ).last_hidden_state
        return self.fixed(self.project(asked), sources)

    def _positions(self, sources: Sequence[Tokens], mask: torch.Tensor) -> torch.Tensor:
        if self.per_frame:
            items = sources[0].items or (sources[0].grid or (0,))[0]
            if not items or len(sources) > 1:
                raise ModelError("Q-Former", "per_frame needs one source with a known number of frames")
            places = torch.arange(items, device=mask.device).repeat_interleave(mask.shape[1] // items)
        else:
            places = torch.arange(mask.shape[1], device=mask.device)
        if int(places[-1]) >= self.limit:
            raise ModelError("Q-Former", f"{int(places[-1]) + 1} positions are more than its {self.limit}")
        return places
