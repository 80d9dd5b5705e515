"""Masking of whole words: chances, drawing, cap, replacement."""

from __future__ import annotations

import torch

from affectus.nn.word_masking import IGNORED, draw_words, hide_words, mask_chances, word_table


def chances(words: int, emotional: int) -> torch.Tensor:
    flags = torch.arange(words)[None] < emotional
    return mask_chances(flags, torch.ones(1, words, dtype=torch.bool))[0]


def test_words_and_flags_from_tokens() -> None:
    words = torch.tensor([[-1, 0, 0, 1, 2, -1, -1]])
    pieces, flagged = word_table(words, torch.tensor([[1, 0, 1, 0, 0, 0, 1]]))
    assert pieces[0, :4].tolist() == [2, 1, 1, 0]
    assert flagged[0, :4].tolist() == [True, False, False, False]


def test_padding_has_no_chance() -> None:
    real = torch.tensor([[True, True, False]])
    assert mask_chances(torch.tensor([[True, False, True]]), real)[0, 2] == 0


def test_uniform_masking_gives_every_word_the_rate() -> None:
    flags = torch.tensor([[True, False, False, False]])
    found = mask_chances(flags, torch.ones(1, 4, dtype=torch.bool), 0.15, 0.15)
    torch.testing.assert_close(found, torch.full((1, 4), 0.15))


def test_cap_stops_after_the_word_that_exceeds_it() -> None:
    torch.manual_seed(0)
    pieces = torch.full((200, 10), 2)
    drawn = draw_words(torch.ones(200, 10), pieces, torch.full((200,), 3))
    assert drawn.sum(1).tolist() == [2] * 200  # 2 tokens are not above 3, 4 are
    assert (drawn.float().mean(0) > 0.1).all()  # in random order, not the first ones


def test_no_word_is_hidden_in_an_empty_post() -> None:
    found = hide_words(torch.tensor([[0, 2, 1]]), torch.full((1, 3), -1), torch.zeros(1, 3), 3, 50)
    assert (found.targets == IGNORED).all()
    assert found.ids.tolist() == [[0, 2, 1]]
