"""Image encoder and decoder of masked autoencoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affectus.errors import ConfigError
from affectus.nn.image_mae import ImageDecoder, ImageEncoder, own_names, resized_positions, visible_count
from affectus.nn.masking import random_mask


@pytest.mark.parametrize(("ratio", "left"), [(0.75, 49), (0.9, 19), (0.3, 137), (0.999, 1)])
def test_masks_leave_what_mae_leaves(ratio: float, left: int) -> None:
    assert visible_count(196, ratio) == left


def test_a_masked_encoder_equals_itself_on_the_visible_patches() -> None:
    """Without blocks tokens do not mix, so visible ones must be those of the whole picture."""
    torch.manual_seed(0)
    encoder = ImageEncoder(32, 8, 16, 0, 2)
    pixels, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    whole, part = encoder(pixels), encoder(pixels, mask.visible)
    assert part.shape == (2, 5, 16)
    torch.testing.assert_close(part[:, 0], whole[:, 0])
    for row in range(2):
        torch.testing.assert_close(part[row, 1:], whole[row, 1 + mask.visible[row]])


def test_the_decoder_puts_tokens_back_in_place() -> None:
    torch.manual_seed(0)
    decoder = ImageDecoder(32, 8, 16, 8, 0, 2)
    torch.nn.init.normal_(decoder.mask_token)
    x, mask = torch.randn(1, 5, 8), random_mask(1, 16, 12)
    found = decoder(x, mask)
    assert found.shape == (1, 17, 192)
    for place in range(16):
        seen = (mask.visible[0] == place).nonzero()
        token = x[0, 1 + int(seen)] if len(seen) else decoder.mask_token[0, 0]
        expected = decoder.pred(decoder.norm(token + decoder.pos_embed[0, 1 + place]))
        torch.testing.assert_close(found[0, 1 + place], expected)


def test_positions_are_fixed_in_pretraining_and_learnt_when_told() -> None:
    assert not ImageEncoder(32, 8, 16, 0, 2).pos_embed.requires_grad
    assert ImageEncoder(32, 8, 16, 0, 2, learn_positions=True).pos_embed.requires_grad


def test_published_names_are_sorted_into_encoder_and_decoder() -> None:
    names = ("blocks.0.norm1.weight", "cls_token", "pos_embed", "decoder_pos_embed", "mask_token", "norm.bias",
             "decoder_blocks.1.mlp.fc1.bias", "decoder_pred.weight", "decoder_embed.bias", "head.weight")  # fmt: skip
    assert list(own_names({name: torch.zeros(1) for name in names})) == [
        "encoder.blocks.0.norm1.weight", "encoder.cls_token", "encoder.pos_embed", "decoder.pos_embed",
        "decoder.mask_token", "norm.bias", "decoder.blocks.1.mlp.fc1.bias", "decoder.pred.weight", "decoder.embed.bias",
        "head.weight",
    ]  # fmt: skip


def test_resized_positions_keep_class_row_and_constants() -> None:
    table = torch.full((1, 17, 4), 2.0)
    table[0, 0] = torch.arange(4.0)
    found = resized_positions(table, 36)
    assert found.shape == (1, 37, 4)
    assert torch.equal(found[0, 0], table[0, 0])
    np.testing.assert_allclose(found[0, 1:], 2.0, rtol=1e-5)
    assert resized_positions(table, 16) is table


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="32, 32"):
        ImageEncoder(32, 8, 16, 0, 2)(torch.zeros(1, 3, 40, 40))
