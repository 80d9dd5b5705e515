"""Residual, face-residual and dense networks: published sizes, parameter names and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from affectus.errors import ConfigError
from affectus.nn.densenet import DenseNetFeatures
from affectus.nn.face_resnet import FaceBlock, FaceResNet
from affectus.nn.resnet import BasicBlock, ResNet, resnet


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet101", 44_549_160)],
)
def test_published_sizes_with_thousand_classes(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert size(resnet(name, classes=1000)) == parameters


def test_torchvision_names() -> None:
    with torch.device("meta"):
        keys = set(resnet("resnet50", classes=10).state_dict())
    for key in ("conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight", "layer1.0.downsample.1.bias",
                "layer4.2.conv3.weight", "layer3.5.bn2.num_batches_tracked", "fc.bias"):  # fmt: skip
        assert key in keys
    assert "layer1.1.downsample.0.weight" not in keys


def test_maps_of_a_picture_of_224_and_of_48_pixels() -> None:
    net = resnet("resnet18", base=4).eval()
    with torch.no_grad():
        assert [tuple(m.shape[1:]) for m in net.maps(torch.randn(1, 3, 224, 224))] == [
            (4, 56, 56), (8, 28, 28), (16, 14, 14), (32, 7, 7)]  # fmt: skip
        small = ResNet(blocks=(1, 1), base=4, stem="3x3", channels=1).eval()
        assert [tuple(m.shape[1:]) for m in small.maps(torch.randn(1, 1, 48, 48))] == [(4, 48, 48), (8, 24, 24)]
        assert small(torch.randn(2, 1, 48, 48)).shape == (2, small.width)


def test_a_block_adds_its_input() -> None:
    block = BasicBlock(4, 4).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), x.relu())


def test_unknown_networks_are_named() -> None:
    with pytest.raises(ConfigError, match="resnet7"):
        resnet("resnet7")
    with pytest.raises(ConfigError, match="IR-7"):
        FaceResNet(7)


def test_face_network_size_names_and_shapes() -> None:
    with torch.device("meta"):
        plain, squeezed = FaceResNet(50), FaceResNet(50, squeeze=True)
    assert size(plain) == 43_574_976
    assert size(squeezed) == 43_797_696
    keys = set(squeezed.state_dict())
    for key in ("input_layer.2.weight", "body.0.res_layer.5.fc1.weight", "body.3.shortcut_layer.1.running_mean",
                "body.23.res_layer.4.bias", "output_layer.3.weight", "output_layer.4.running_var"):  # fmt: skip
        assert key in keys
    small = FaceResNet(side=32, width=8, base=4, blocks=(1, 1, 1, 1)).eval()
    with torch.no_grad():
        assert small(torch.randn(2, 3, 32, 32)).shape == (2, 8)
        assert small.maps(torch.randn(2, 3, 40, 40)).shape == (2, 32, 3, 3)


def test_a_strided_identity_shortcut_picks_pixels() -> None:
    block = FaceBlock(4, 4, 2, squeeze=False).eval()
    nn.init.zeros_(block.res_layer[3].weight)  # type: ignore[arg-type]
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), x[:, :, ::2, ::2])


def test_dense_network_size_names_and_shapes() -> None:
    with torch.device("meta"):
        published = DenseNetFeatures()
    assert size(published) == 6_953_856  # 7,978,856 of DenseNet-121 less its classifier
    assert published.width == 1024
    keys = set(published.state_dict())
    for key in ("conv0.weight", "norm0.running_mean", "denseblock4.denselayer16.conv2.weight", "norm5.bias",
                "transition3.conv.weight"):  # fmt: skip
        assert key in keys
    small = DenseNetFeatures((2, 2, 2, 2), growth=4, stem=8).eval()
    with torch.no_grad():
        assert small(torch.randn(1, 3, 227, 227)).shape == (1, small.width, 7, 7)
        assert small(torch.randn(1, 3, 112, 112)).shape == (1, small.width, 3, 3)
