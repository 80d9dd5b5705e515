"""Masks: exact counts, no token lost, order kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.nn import masking


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(2, 40), st.data())
def test_random_masks_part_the_sequence(batch: int, tokens: int, data: st.DataObject) -> None:
    hidden = data.draw(st.integers(0, tokens - 1))
    mask = masking.random_mask(batch, tokens, hidden)
    assert mask.hidden.shape == (batch, hidden)
    assert mask.tokens == tokens
    both = torch.cat([mask.visible, mask.hidden], 1).sort(1).values
    assert torch.equal(both, torch.arange(tokens).expand(batch, -1))
    for part in (mask.visible, mask.hidden):
        assert bool((part[:, 1:] > part[:, :-1]).all())


def test_tubes_repeat_in_every_slot() -> None:
    mask = masking.tube_mask(3, 8, 100, 90)
    flags = mask.as_bool().view(3, 8, 100)
    assert torch.equal(flags, flags[:, :1].expand(-1, 8, -1))
    assert flags.sum((1, 2)).tolist() == [720] * 3
    assert not torch.equal(flags[0], flags[1])


def test_rows_are_drawn_uniformly() -> None:
    torch.manual_seed(0)
    share = masking.random_mask(4000, 10, 8).as_bool().float().mean(0)
    assert (share - 0.8).abs().max() < 0.04  # six standard errors


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 20), st.data())
def test_flags_and_indices_are_the_same_mask(batch: int, tokens: int, data: st.DataObject) -> None:
    mask = masking.random_mask(batch, tokens, data.draw(st.integers(0, tokens - 1)))
    again = masking.mask_from_bool(mask.as_bool())
    assert torch.equal(again.visible, mask.visible)
    assert torch.equal(again.hidden, mask.hidden)


def test_gathered_and_scattered_tokens_come_back() -> None:
    torch.manual_seed(1)
    tokens, mask = torch.randn(3, 12, 4), masking.random_mask(3, 12, 7)
    full = masking.scatter(masking.gather(tokens, mask.visible), torch.full((1, 1, 4), 9.0), mask)
    flags = mask.as_bool()
    assert torch.equal(full[~flags], tokens[~flags])
    assert (full[flags] == 9).all()


def test_gradients_reach_visible_tokens_only() -> None:
    tokens, mask = torch.randn(2, 6, 3, requires_grad=True), masking.random_mask(2, 6, 4)
    masking.gather(tokens, mask.visible).sum().backward()
    assert tokens.grad is not None
    assert torch.equal(tokens.grad.sum(-1) == 0, mask.as_bool())


@pytest.mark.parametrize(("tokens", "ratio", "count"), [(100, 0.9, 90), (128, 0.8, 102), (800, 0.95, 760),
                                                        (196, 0.75, 147), (4, 0.99, 3), (5, 0, 0)])  # fmt: skip
def test_published_counts(tokens: int, ratio: float, count: int) -> None:
    assert masking.hidden_count(tokens, ratio) == count


def test_impossible_masks_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        masking.random_mask(1, 4, 4)
    with pytest.raises(ConfigError, match="ratio"):
        masking.hidden_count(10, 1.0)
    with pytest.raises(ConfigError, match="same number"):
        masking.mask_from_bool(torch.tensor([[True, False], [False, False]]))
