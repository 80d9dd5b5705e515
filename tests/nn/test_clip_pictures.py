"""Moves and crops of pictures and clips, correlation as a loss, heads, adapters, exchangeable encoders."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from affectus.errors import ConfigError
from affectus.nn.clip import ClipSizes
from affectus.nn.frames import crops, turned, zoomed
from affectus.nn.heads import MlpHead
from affectus.nn.image_encoders import adapt_encoder, image_encoder
from affectus.nn.lora import adapt, adapter_layers, merged
from affectus.nn.losses.correlation import pearson, pearson_loss


def test_a_clip_turned_by_a_right_angle_and_mirrored() -> None:
    clip = torch.rand(2, 3, 1, 8, 8)
    angle, mirror = torch.tensor([math.pi / 2, 0.0]), torch.tensor([False, True])
    found = turned(clip, angle, mirror)
    quarter = min((found[0] - torch.rot90(clip[0], k, (-2, -1))).abs().max() for k in (1, 3))
    assert quarter < 1e-4
    torch.testing.assert_close(found[1], clip[1].flip(-1), rtol=0, atol=1e-5)
    assert torch.equal(turned(clip, torch.zeros(2), torch.zeros(2, dtype=torch.bool)).round(decimals=4),
                       clip.round(decimals=4))  # fmt: skip


def test_what_comes_from_outside_is_black() -> None:
    found = turned(torch.ones(1, 1, 3, 9, 9), torch.tensor([math.pi / 4]), torch.tensor([False]))
    assert found[0, 0, 0, 0, 0] == 0
    assert found[0, 0, 0, 4, 4] == 1


def test_zoom_keeps_the_whole_picture_at_full_area() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(4, 3, 12, 12)
    whole = zoomed(torch.full((4, 3, 12, 12), 0.5), 0.3, 0.5)
    torch.testing.assert_close(whole, torch.full_like(whole, 0.5))
    parts = zoomed(pictures, 0.3)
    assert parts.shape == pictures.shape
    assert not torch.allclose(parts, pictures)
    # A ramp stays a ramp, and a part of it spans less of it.
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32)
    span = zoomed(ramp, 0.25)[:, 0, 0]
    width = span[:, -1] - span[:, 0]
    assert (span.diff(dim=1) >= -1e-5).all()
    assert (width < 1.001).all()
    assert width.min() < 0.7


def test_crops_are_slices() -> None:
    pictures = torch.arange(2 * 3 * 6 * 5).view(2, 3, 6, 5)
    corners = torch.tensor([[0, 2], [3, 1]])
    found = crops(pictures, 3, corners)
    assert torch.equal(found[0], pictures[0, :, 0:3, 2:5])
    assert torch.equal(found[1], pictures[1, :, 3:6, 1:4])


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 30), st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_correlation_against_numpy(count: int, seed: int, scale: float, shift: float) -> None:
    random = np.random.default_rng(seed)
    p, y = random.normal(size=(2, count, 2))
    wanted = [np.corrcoef(p[:, i], y[:, i])[0, 1] for i in range(2)]
    found = pearson(torch.from_numpy(p), torch.from_numpy(y))
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
    moved = pearson_loss(torch.from_numpy(scale * p + shift), torch.from_numpy(y))
    assert float(moved) == pytest.approx(float((1 - np.mean(wanted)) / 2), abs=1e-6)


def test_batches_without_a_correlation_give_nothing() -> None:
    for outputs, targets in (
        (torch.ones(1, 1), torch.ones(1, 1)),
        (torch.rand(4, 1), torch.ones(4, 1)),
        (torch.rand(3, 1), torch.tensor([[1.0], [float("nan")], [float("nan")]])),
    ):
        outputs.requires_grad_()
        loss = pearson_loss(outputs, targets)
        loss.backward()
        assert float(loss.detach()) == 0
        assert outputs.grad is not None
        assert float(outputs.grad.abs().sum()) == 0


def test_constant_outputs_have_a_finite_gradient() -> None:
    outputs = torch.zeros(4, 1, requires_grad=True)
    loss = pearson_loss(outputs, torch.tensor([[1.0], [2], [3], [4]]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.5)
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_head() -> None:
    head = MlpHead((4, 3, 2), 0.0)
    x = torch.randn(5, 4)
    first, last = head.fc1, head.fc2
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    torch.testing.assert_close(head(x), last(first(x).relu()))
    probe = MlpHead((4, 2), 0.5)
    assert [name for name, _ in probe.named_parameters()] == ["fc1.weight", "fc1.bias"]


def test_adapters_are_the_formula_and_can_be_merged() -> None:
    torch.manual_seed(0)
    net = nn.ModuleDict({"query": nn.Linear(6, 5), "other": nn.Linear(6, 5)})
    weight, bias = (p.detach().clone() for p in net["query"].parameters())
    adapt(net, ("query",), rank=2, alpha=3.0)
    assert {n for n, p in net.named_parameters() if p.requires_grad} == {
        "query.lora_A.default.weight", "query.lora_B.default.weight"}  # fmt: skip
    (layer,) = adapter_layers(net)
    nn.init.normal_(layer.lora_B["default"].weight)
    low = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    x = torch.randn(3, 6)
    wanted = x @ (weight + 1.5 * low).T + bias
    torch.testing.assert_close(net["query"](x), wanted, rtol=1e-5, atol=1e-5)
    with merged(net):
        torch.testing.assert_close(layer.base_layer.weight, weight + 1.5 * low)
        torch.testing.assert_close(net["query"](x), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.base_layer.weight, weight, rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="no layer named nothing"):
        adapt(nn.ModuleDict({"a": nn.Linear(2, 2)}), ("nothing",), 1, 1.0)


@pytest.mark.parametrize("backbone", ["clip", "efficientnet-tiny"])
def test_encoders_give_the_width_they_say(backbone: str) -> None:
    encoder, width = image_encoder(backbone, ClipSizes.tiny())  # type: ignore[arg-type]
    encoder.eval()
    pixels = torch.randn(2, 3, 32, 32)
    before = encoder(pixels)
    assert before.shape == (2, width)
    adapt_encoder(encoder, ("q_proj",), 2, 2.0, 0.0, first_block=2)
    encoder.eval()
    torch.testing.assert_close(encoder(pixels), before)
    found = {name.split(".lora_")[0] for name, p in encoder.named_parameters() if p.requires_grad}
    if backbone == "clip":
        assert found == {f"vision_model.encoder.layers.{i}.self_attn.q_proj" for i in range(2)}
    else:
        assert "head.0" in found
        assert all(name == "head.0" or int(name.split(".")[1]) >= 2 for name in found)


def test_wrong_encoders_are_named() -> None:
    with pytest.raises(ConfigError, match="no package holds CLIP's weights"):
        image_encoder("clip", ClipSizes.tiny(), pretrained=True)
    with pytest.raises(ConfigError, match="is no EfficientNet-Lite variant"):
        image_encoder("efficientnet-huge", ClipSizes.tiny())  # type: ignore[arg-type]
