"""EfficientNet-Lite: published sizes and names, TensorFlow padding, resolution of the stem, drop-path."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from affectus.errors import ConfigError
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig, MBConv, SamePad, round_channels

#: Our layer → name in the public port, for its convolution and its normalisation.
PUBLISHED = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "stem": ("_conv_stem", "_bn0"),
    "head": ("_conv_head", "_bn1"),
}


def tiny(seed: int = 0, stem_stride: int = 2) -> EfficientNetLite:
    """A tiny net whose normalisations are not trivial either."""
    torch.manual_seed(seed)
    net = EfficientNetLite(LiteConfig.tiny(), stem_stride).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return net


def published(net: EfficientNetLite) -> dict[str, Tensor]:
    """The weights under the names of the public port, with a classification layer."""
    state: dict[str, Tensor] = {"_fc.weight": torch.zeros(1000, net.width), "_fc.bias": torch.zeros(1000)}
    for name, module in net.named_modules():
        if not isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            continue
        *place, part, _ = name.split(".")
        prefix = f"_blocks.{place[1]}." if place else ""
        for kind, value in module.state_dict().items():
            state[f"{prefix}{PUBLISHED[part][isinstance(module, nn.BatchNorm2d)]}.{kind}"] = value.clone()
    return state


def test_shapes_of_maps_and_features() -> None:
    net = tiny()
    images = torch.randn(3, 3, 33, 47)
    with torch.no_grad():
        maps = net.maps(images)
        features = net(images)
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 17, 24), (16, 9, 12), (16, 9, 12), (24, 5, 6),
                                                  (32, 5, 6)]  # fmt: skip
    assert features.shape == (3, net.width)
    torch.testing.assert_close(features, maps[-1].mean((2, 3)))


@pytest.mark.parametrize(("name", "with_classes"), [("lite0", 4_652_008), ("lite1", 5_416_680), ("lite2", 6_092_072)])
def test_parameter_counts_are_the_published_ones(name: str, with_classes: int) -> None:
    with torch.device("meta"):
        net = EfficientNetLite(LiteConfig.named(name))
    assert sum(p.numel() for p in net.parameters()) + 1280 * 1000 + 1000 == with_classes


def test_unknown_variant_is_named() -> None:
    with pytest.raises(ConfigError, match=r"lite7: is no EfficientNet-Lite variant .*lite0"):
        LiteConfig.named("lite7")


def test_unstrided_stem_doubles_the_resolution_with_the_same_weights() -> None:
    net, fine = tiny(), tiny(stem_stride=1)
    fine.load_published(published(net))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        coarse_maps, fine_maps = net.maps(images), fine.maps(images)
    for a, b in zip(coarse_maps, fine_maps, strict=True):
        assert (2 * a.shape[2], 2 * a.shape[3]) == tuple(b.shape[2:])
    first, first_fine = net.stem[1].weight, fine.stem[0].weight
    assert torch.equal(first, first_fine)


def test_published_weights_give_the_same_outputs() -> None:
    net, other = tiny(0), tiny(1)
    images = torch.randn(2, 3, 31, 40)
    with torch.no_grad():
        assert not torch.allclose(net(images), other(images))
        other.load_published(published(net))
        torch.testing.assert_close(net(images), other(images))


@pytest.mark.parametrize(
    "key",
    ["_conv_stem.weight", "_bn0.running_var", "_blocks.0._depthwise_conv.weight", "_blocks.3._bn0.bias",
     "_conv_head.weight"],
)  # fmt: skip
def test_a_missing_key_is_refused(key: str) -> None:
    state = published(tiny())
    del state[key]
    with pytest.raises(RuntimeError, match="Missing key"):
        tiny().load_published(state)


@pytest.mark.parametrize(
    "key",
    ["_swish", "_attention.weight", "_blocks.1._se_reduce.weight", "_blocks.0._expand_conv.weight",
     "_blocks.99._project_conv.weight", "_bn2.weight", "_conv_stem.bias"],
)  # fmt: skip
def test_an_unknown_key_is_refused(key: str) -> None:
    state = published(tiny()) | {key: torch.zeros(1)}
    with pytest.raises(RuntimeError, match=r"Unexpected key|unknown key"):
        tiny().load_published(state)


def test_a_wrong_shape_is_refused() -> None:
    state = published(tiny()) | {"_conv_stem.weight": torch.zeros(8, 3, 5, 5)}
    with pytest.raises(RuntimeError, match="size mismatch"):
        tiny().load_published(state)


@settings(deadline=None)
@given(size=st.integers(1, 40), kernel=st.sampled_from([1, 3, 5, 7]), stride=st.integers(1, 3))
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    """Output i is the window that starts at i·stride - before, with the smaller half of the padding before."""
    signal = torch.arange(1.0, size + 1)
    padded = SamePad(kernel, stride)(signal.view(1, 1, 1, size).expand(1, 1, size, size))[0, 0]
    length = math.ceil(size / stride)
    before = max((length - 1) * stride + kernel - size, 0) // 2
    windows = padded[padded.shape[0] // 2].unfold(0, kernel, stride)
    assert len(windows) == length
    for i, window in enumerate(windows):
        wanted = [signal[j].item() if 0 <= (j := i * stride - before + k) < size else 0.0 for k in range(kernel)]
        assert window.tolist() == wanted


@pytest.mark.parametrize(("size", "kernel", "pads"), [(5, 3, (1, 1)), (6, 3, (0, 1)), (7, 5, (2, 2)), (6, 5, (1, 2))])
def test_same_padding_known_values(size: int, kernel: int, pads: tuple[int, int]) -> None:
    padded = SamePad(kernel, 2)(torch.ones(1, 1, size, size))[0, 0]
    inside = padded.amax(1).nonzero()[:, 0]
    assert (int(inside[0]), len(padded) - 1 - int(inside[-1])) == pads
    assert torch.equal(padded, padded.T)


@settings(deadline=None)
@given(channels=st.integers(1, 400), width=st.floats(0.2, 3.0))
def test_rounded_channels_are_multiples_that_lose_little(channels: int, width: float) -> None:
    rounded = round_channels(channels, width)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels * width)
    assert rounded <= 1.1 * channels * width + 8


def test_drop_path_leaves_out_whole_samples_and_only_in_training() -> None:
    torch.manual_seed(0)
    block = MBConv(8, 8, 1, 3, 1, drop=0.5)
    x = torch.randn(64, 8, 4, 4)
    block.eval()
    with torch.no_grad():
        change = block(x) - x
        block.drop = 0.999
        torch.testing.assert_close(block(x) - x, change)
        block.drop = 0.5
        block.training = True  # the layers inside keep their evaluation behaviour
        dropped = block(x) - x
    kept = dropped.abs().amax((1, 2, 3)) > 0
    assert 16 < int(kept.sum()) < 48
    torch.testing.assert_close(dropped[kept], 2 * change[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.assets
def test_public_weights_load_strictly(asset: Callable[[str], Path]) -> None:
    state = torch.load(asset("efficientnet-lite0"), map_location="cpu", weights_only=True)
    net = EfficientNetLite(LiteConfig.named("lite0")).eval()
    net.load_published(state)
    torch.testing.assert_close(net.stem[1].weight, state["_conv_stem.weight"])
    with torch.no_grad():
        # A smooth light spot: trained normalisations keep real pictures in range, untrained ones do not see any.
        spot = torch.exp(-((torch.arange(64.0) - 32) ** 2) / 300)
        features = net((spot[:, None] * spot).expand(1, 3, 64, 64) * 1.6 - 0.8)
    assert torch.isfinite(features).all()
    assert 0 < float(features.mean()) < 6
