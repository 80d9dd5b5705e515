"""Pairwise contrast: closed forms, agreement with a direct computation, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn.losses.contrastive import info_nce
from affectus.nn.losses.pairwise import joined_contrast, pairwise_contrast, view_contrast


def direct(a: Tensor, b: Tensor, temperature: float = 0.07) -> float:
    """The published loss, written out for one pair of modalities (N, 2, D)."""
    count = len(a)
    rows = [(i, v) for v in range(2) for i in range(count)]
    unit = lambda x, key: functional.normalize(x[key[0], key[1]].double(), dim=0)
    losses = []
    for anchor in rows:
        score = {other: float(unit(a, anchor) @ unit(b, other)) / temperature for other in rows if other != anchor}
        log_sum = math.log(sum(math.exp(s) for s in score.values()))
        losses.append(-0.5 * (score[anchor[0], 1 - anchor[1]] - log_sum))
    return sum(losses) / len(losses)


def test_equals_the_written_out_loss() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 2, 7), torch.randn(5, 2, 7)
    assert float(view_contrast(a, b)) == pytest.approx(direct(a, b), abs=1e-5)
    assert float(pairwise_contrast([a, b])) == pytest.approx((direct(a, b) + direct(b, a)) / 2, abs=1e-5)


def test_same_view_reading_is_info_nce() -> None:
    a, b = torch.randn(6, 1, 9), torch.randn(6, 1, 9)
    wanted = info_nce(a[:, 0], b[:, 0], symmetric=False)
    torch.testing.assert_close(view_contrast(a, b, positives="same_view"), wanted)


def test_all_views_as_positives() -> None:
    point = torch.ones(3, 2, 4)
    assert float(view_contrast(point, point, positives="both")) == pytest.approx(math.log(6), abs=1e-5)


def test_labels_make_items_alike() -> None:
    codes = functional.one_hot(torch.tensor([0, 0, 1, 1]), 2).float()[:, None].repeat(1, 2, 1)
    by_label = view_contrast(codes, codes, labels=torch.tensor([0, 0, 1, 1]))
    # Three positives of equal score share the softmax: -3/4 · log(1/3).
    assert float(by_label) == pytest.approx(0.75 * math.log(3), abs=1e-4)
    several = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
    torch.testing.assert_close(view_contrast(codes, codes, labels=several), by_label)


def test_joined_modalities_and_single_ones() -> None:
    a, b = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    both = torch.cat([a, b], -1)
    torch.testing.assert_close(joined_contrast([a, b]), view_contrast(both, both))
    with pytest.raises(ConfigError, match="needs two"):
        pairwise_contrast([a])
