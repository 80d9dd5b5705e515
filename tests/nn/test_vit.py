"""Vision-transformer parts against independent computations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn import vit


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention written out, (B, N, D) each."""
    split = [x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v)]
    weights = (split[0] @ split[1].transpose(-1, -2) / math.sqrt(split[0].shape[-1])).softmax(-1)
    return (weights @ split[2]).transpose(1, 2).reshape(q.shape)


def randomise(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def test_split_bias_leaves_keys_without_one() -> None:
    torch.manual_seed(0)
    layer = vit.Attention(12, 3)
    randomise(layer)
    x = torch.randn(2, 5, 12)
    wq, wk, wv = layer.qkv.weight.split(12)
    wanted = plain_attention(x @ wq.T + layer.q_bias, x @ wk.T, x @ wv.T + layer.v_bias, 3)
    torch.testing.assert_close(layer(x), layer.proj(wanted), rtol=1e-5, atol=1e-5)
    assert set(layer.state_dict()) == {"qkv.weight", "q_bias", "v_bias", "proj.weight", "proj.bias"}


def test_fused_bias_has_the_names_of_mae() -> None:
    names = set(vit.Block(8, 2, bias="fused").state_dict())
    wanted = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    assert names == {f"{part}.{kind}" for part in wanted for kind in ("weight", "bias")}
    assert "attn.qkv.bias" not in vit.Block(8, 2, bias="none").state_dict()


def test_block_equals_its_formula() -> None:
    torch.manual_seed(1)
    block = vit.Block(8, 2, layer_scale=0.1).eval()
    randomise(block)
    x = torch.randn(3, 4, 8)
    norm = lambda y, part: functional.layer_norm(y, (8,), part.weight, part.bias, 1e-6)
    y = x + block.gamma_1 * block.attn(norm(x, block.norm1))
    hidden = block.mlp.fc1(norm(y, block.norm2))
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    torch.testing.assert_close(block(x), y + block.gamma_2 * block.mlp.fc2(hidden), rtol=1e-5, atol=1e-5)


def test_cross_self_block_equals_its_formula() -> None:
    torch.manual_seed(2)
    block = vit.CrossSelfBlock(8, 6, 2).eval()
    randomise(block)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    q = block.cross_norm1(x) @ block.cross_attn.q.weight.T + block.cross_attn.q_bias
    k, v = (block.cross_norm2(context) @ block.cross_attn.kv.weight.T).split(8, -1)
    split = [y.view(2, -1, 2, 4).transpose(1, 2) for y in (q, k, v + block.cross_attn.v_bias)]
    seen = (split[0] @ split[1].transpose(-1, -2) / 2).softmax(-1) @ split[2]
    y = x + block.cross_attn.proj(seen.transpose(1, 2).reshape(2, 5, 8))
    y = y + block.attn(block.norm1(y))
    torch.testing.assert_close(block(x, context), y + block.mlp(block.norm2(y)), rtol=1e-5, atol=1e-5)


def test_masked_keys_are_not_seen() -> None:
    torch.manual_seed(3)
    layer = vit.Attention(8, 2)
    x = torch.randn(1, 4, 8)
    mask = torch.tensor([True, True, True, False]).expand(1, 1, 4, 4)
    changed = x.clone()
    changed[0, 3] += 5
    torch.testing.assert_close(layer(x, mask)[:, :3], layer(changed, mask)[:, :3])


def test_tubelets_equal_the_strided_convolution() -> None:
    torch.manual_seed(4)
    embed = vit.TubeletEmbedding(10, patch=4, tubelet=2)
    clip = torch.randn(2, 3, 4, 8, 12)
    wanted = embed.proj(clip).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(clip), wanted, rtol=1e-5, atol=1e-5)
    seen = torch.tensor([[0, 3, 11], [2, 5, 6]])
    torch.testing.assert_close(embed(clip, seen), wanted.gather(1, seen[..., None].expand(-1, -1, 10)))


def test_mel_patches_are_time_major() -> None:
    torch.manual_seed(5)
    embed = vit.PatchEmbedding(6, patch=4, channels=1)
    mel = torch.randn(2, 1, 12, 8)
    torch.testing.assert_close(embed(mel), embed.proj(mel).flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)
    late = mel.clone()
    late[:, :, 4:] += 1
    moved = (embed(late) - embed(mel)).abs().amax(-1) > 1e-6
    assert moved.tolist() == [[False, False, True, True, True, True]] * 2


@pytest.mark.parametrize(("shape", "word"), [((1, 4, 4, 8, 8), "3 channels"), ((1, 3, 3, 8, 8), "multiples of 2×4×4"),
                                             ((1, 3, 0, 8, 8), "multiples"), ((3, 4, 8, 8), "shape")])  # fmt: skip
def test_clips_that_do_not_fit_are_refused(shape: tuple[int, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        vit.TubeletEmbedding(8, patch=4)(torch.zeros(shape))


def test_pictures_and_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="picture"):
        vit.PatchEmbedding(8, patch=4, channels=1)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="5 heads"):
        vit.Attention(12, 5)


def test_sinusoid_table_values() -> None:
    table = vit.sinusoid_table(50, 6)
    for place in (0, 1, 49):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert table[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sincos_2d_starts_with_the_column() -> None:
    table = vit.sincos_2d(8, 3, 5, class_token=True)
    assert table.shape == (16, 8)
    assert not table[0].any()
    row, column = 2, 4
    cell = table[1 + row * 5 + column]
    wanted = [f(place * w) for place in (column, row) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
    torch.testing.assert_close(cell, torch.tensor(wanted))
    with pytest.raises(ConfigError, match="divide by 4"):
        vit.sincos_2d(6, 2, 2)


def test_positions_stay_out_of_the_state_dict() -> None:
    positions = vit.Positions(vit.sinusoid_table(7, 4))
    assert not positions.state_dict()
    index = torch.tensor([[6, 0], [1, 1]])
    assert torch.equal(positions(index), vit.sinusoid_table(7, 4)[index])
    assert positions().shape == (1, 7, 4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.9))
def test_drop_path_keeps_the_mean_and_drops_whole_samples(rate: float) -> None:
    torch.manual_seed(6)
    layer = vit.DropPath(rate).train()
    out = layer(torch.ones(4000, 3))
    assert ((out == 0).all(1) | ((out - 1 / (1 - rate)).abs() < 1e-3).all(1)).all()
    assert out.mean().item() == pytest.approx(1, abs=6 * math.sqrt(rate / (1 - rate) / 4000))
    assert torch.equal(layer.eval()(torch.ones(2, 2)), torch.ones(2, 2))


def test_drop_path_rates_rise_linearly() -> None:
    assert vit.drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert vit.drop_path_rates(0.3, 1) == [0]


@pytest.mark.parametrize("kind", ["xavier", "normal"])
def test_initialisation(kind: str) -> None:
    torch.manual_seed(7)
    block = vit.Block(64, 4)
    randomise(block)
    vit.initialise(block, kind)
    bound = math.sqrt(6 / (64 + 256)) if kind == "xavier" else 0.04
    assert block.mlp.fc1.weight.abs().max() <= bound
    assert not block.mlp.fc1.bias.any()
    assert torch.equal(block.norm1.weight, torch.ones(64))
