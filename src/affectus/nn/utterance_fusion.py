"""Encoders of utterance vectors and of frame sequences, and fusions of the codes of several modalities.

These are the baselines of the MER toolkits (MERBench, EmotionTalk). Every fusion takes a list of codes (B, H), one per
modality, and gives a feature (B, `width`) and its own loss terms by name, weighted (none for most).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from affectus.errors import ConfigError

#: A fused feature and weighted loss terms by name.
Fused = tuple[Tensor, dict[str, Tensor]]


class VectorPerceptron(nn.Sequential):
    """Vectors (B, inputs) → codes (B, width): dropout, then three linear layers with ReLU."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__(
            nn.Dropout(dropout), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
        )  # fmt: skip


class StepReader(nn.Module):
    """Front-padded steps (B, L, inputs) → codes (B, width): LSTM, its last state, dropout, linear.

    Padding is left out, so that it changes nothing; `padded` runs over it as well, as the public code does.
    """

    def __init__(self, inputs: int, width: int, dropout: float, padded: bool = False) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, width, batch_first=True)
        self.dropout, self.linear, self.padded = nn.Dropout(dropout), nn.Linear(width, width), padded

    def forward(self, x: Tensor) -> Tensor:
        """One code per sequence."""
        if self.padded:
            last = self.rnn(x)[1][0][-1]
        else:
            lengths = steps_present(x).sum(1).clamp(min=1)
            rows = from_first_step(x, lengths)
            packed = pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
            last = self.rnn(packed)[1][0][-1]
        return self.linear(self.dropout(last))


def steps_present(x: Tensor) -> Tensor:
    """Which steps of front-padded sequences (B, L, D) are real, (B, L) bool: all from the first that is not zero."""
    return (x != 0).any(-1).cumsum(1) > 0


def from_first_step(x: Tensor, lengths: Tensor) -> Tensor:
    """Front-padded sequences (B, L, D) of which the last `lengths` (B,) steps are real, with the padding behind."""
    length = x.shape[1]
    place = (torch.arange(length, device=x.device) + (length - lengths)[:, None]) % length
    return x.gather(1, place[..., None].expand_as(x))


def with_one(code: Tensor) -> Tensor:
    """Codes (B, H) with a 1 in front: (B, H + 1)."""
    return torch.cat([code.new_ones(len(code), 1), code], -1)


class WeighedSum(nn.Module):
    """Sum of the codes with weights that a perceptron reads from all of them together.

    The weights are unbounded, as published; `softmax` makes them shares, which is another model.
    """

    def __init__(self, width: int, count: int, dropout: float, softmax: bool = False) -> None:
        super().__init__()
        self.weigh = nn.Sequential(VectorPerceptron(width * count, width, dropout), nn.Linear(width, count))
        self.width, self.softmax = width, softmax

    def forward(self, codes: Sequence[Tensor]) -> Fused:
        """Codes (B, H) → (B, H)."""
        weights = self.weigh(torch.cat(list(codes), -1))  # (B, count)
        weights = weights.softmax(-1) if self.softmax else weights
        return (torch.stack(list(codes), 1) * weights[..., None]).sum(1), {}


class LowRankFusion(nn.Module):
    """Tensor fusion whose weight is a sum of `rank` products of one factor per modality (Liu et al., ACL 2018).

    With F_m (rank, H + 1, H / 2): feature = Σ_r w_r · Π_m ([1, code_m] F_m,r) + bias.
    """

    def __init__(self, width: int, count: int, rank: int) -> None:
        super().__init__()
        self.width = max(1, width // 2)
        self.factors = nn.ParameterList(nn.Parameter(torch.empty(rank, width + 1, self.width)) for _ in range(count))
        self.weights = nn.Parameter(torch.empty(1, rank))
        self.bias = nn.Parameter(torch.zeros(1, self.width))
        for factor in (*self.factors, self.weights):
            nn.init.xavier_normal_(factor)

    def forward(self, codes: Sequence[Tensor]) -> Fused:
        """Codes (B, H) → (B, H / 2)."""
        parts = [
            torch.einsum("bi,rio->bro", with_one(code), factor)
            for code, factor in zip(codes, self.factors, strict=True)
        ]
        product = reduce(torch.mul, parts)  # (B, rank, H / 2)
        return torch.einsum("xr,bro->bo", self.weights, product) + self.bias, {}

    def dense(self) -> Tensor:
        """The weight it stands for: (H + 1, …, H + 1, H / 2), one axis per modality."""
        total = self.weights[0, :, None].expand(-1, self.width)  # (rank, H / 2), then one axis more per modality
        for factor in self.factors:
            total = total.unsqueeze(-2) * factor.reshape(len(factor), *[1] * (total.ndim - 2), -1, self.width)
        return total.sum(0)


class TensorFusion(nn.Module):
    """Outer product of all codes with a 1 in front (Zadeh et al., EMNLP 2017), then two linear layers with ReLU."""

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__()
        if (width + 1) ** count > 1 << 22:
            raise ConfigError("hidden", f"{width} to the power of {count} modalities is too wide for tensor fusion")
        self.width = width
        self.first, self.second = nn.Linear((width + 1) ** count, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def product(codes: Sequence[Tensor]) -> Tensor:
        """Codes (B, H) → (B, (H + 1)^count), the first modality varying slowest."""
        return reduce(
            lambda left, right: torch.einsum("bi,bj->bij", left, right).flatten(1), [with_one(code) for code in codes]
        )

    def forward(self, codes: Sequence[Tensor]) -> Fused:
        """Codes (B, H) → (B, H)."""
        hidden = torch.relu(self.first(self.dropout(self.product(codes))))
        return torch.relu(self.second(hidden)), {}


class _Density(nn.Module):
    """Gaussian with learnt mean and variance of one code given another: the lower bound of MMIM."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.spread = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh())

    def forward(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Mean over the batch of Σ -(μ(given) - wanted)² / (2 exp(log σ²(given)))."""
        return (-((self.mean(given) - wanted) ** 2) / (2 * self.spread(given).exp())).sum(-1).mean()


class InfoMaxFusion(nn.Module):
    """MMIM (Han et al., EMNLP 2021): the fusion must let every modality be told apart from those of batch mates.

    `lead` is the place of the text, from which the other codes are foretold. Losses: `alpha` · InfoNCE of every code
    given the fusion (unit sphere, no temperature) and -`beta` · log-likelihood of the other codes given the text.
    """

    def __init__(
        self, width: int, count: int, dropout: float, lead: int, layers: int = 1, alpha: float = 0.1, beta: float = 0.1
    ) -> None:
        super().__init__()
        self.width, self.lead, self.alpha, self.beta = width, lead, alpha, beta
        self.join = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width * count, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
        )  # fmt: skip
        self.densities = nn.ModuleList(_Density(width) for place in range(count) if place != lead)
        self.foretell = nn.ModuleList(_linear_stack(width, layers) for _ in range(count))

    def forward(self, codes: Sequence[Tensor]) -> Fused:
        """Codes (B, H) → (B, H)."""
        feature = self.join(torch.cat(list(codes), -1))
        others = [code for place, code in enumerate(codes) if place != self.lead]
        pairs = zip(self.densities, others, strict=True)
        likely = torch.stack([density(codes[self.lead], code) for density, code in pairs]).sum()
        contrast = torch.stack(
            [_foretold(code, net(feature)) for code, net in zip(codes, self.foretell, strict=True)]
        ).sum()
        return feature, {"nce": self.alpha * contrast, "likelihood": -self.beta * likely}


def _linear_stack(width: int, layers: int) -> nn.Module:
    parts: list[nn.Module] = []
    for place in range(layers):
        parts += [nn.Linear(width, width)] + ([nn.Tanh()] if place < layers - 1 else [])
    return nn.Sequential(*parts)


def _foretold(code: Tensor, prediction: Tensor) -> Tensor:
    """InfoNCE of codes and what was foretold of them, both scaled to length 1."""
    scores = functional.normalize(code, dim=-1) @ functional.normalize(prediction, dim=-1).T
    return functional.cross_entropy(scores, torch.arange(len(code), device=code.device))
