"""Encoders of landmarks, sound and clips: shapes, published parameter names, references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn.r2plus1d import R2Plus1D
from affectus.nn.st_gcn import EDGES, STGCN, face_graph, normalised
from affectus.nn.tcn import TCN, GlobalNorm


def test_graph_of_the_face() -> None:
    graph = face_graph()
    assert len(EDGES) == 65
    assert graph.sum() == 130
    assert (graph == graph.T).all()
    assert not graph.diagonal().any()
    spectrum = np.linalg.eigvalsh(normalised(graph).astype(float))
    assert spectrum.min() >= -1 - 1e-6
    assert spectrum.max() == pytest.approx(1, abs=1e-6)


def test_isolated_nodes_keep_themselves() -> None:
    np.testing.assert_allclose(normalised(np.zeros((4, 4))), np.eye(4))
    np.testing.assert_allclose(normalised(np.zeros((4, 4)), loops=2.0), np.eye(4))


def test_graph_network_mixes_only_neighbours() -> None:
    torch.manual_seed(0)
    net = STGCN(13, 8, 4, 2).eval()
    x = torch.rand(1, 13, 51, 2)
    changed = x.clone()
    changed[:, :, 0] += 1
    with torch.no_grad():
        moved = (net.nodes(x) - net.nodes(changed)).abs().sum((0, 2)) > 1e-7
    near = {0, 1, 19, 2, 20, 24, 31}  # two graph convolutions reach two steps
    assert set(torch.nonzero(moved)[:, 0].tolist()) <= near
    assert moved[0]


def test_sequences_that_are_too_short_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 10"):
        STGCN(10)
    with pytest.raises(ConfigError, match="51, 2"):
        STGCN(12, 8, 4, 2)(torch.zeros(1, 12, 68, 2))


def test_global_norm_and_any_length() -> None:
    x = torch.randn(2, 5, 7)
    torch.testing.assert_close(GlobalNorm(5)(x), functional.group_norm(x, 1, eps=1e-8), atol=1e-5, rtol=1e-5)
    net = TCN(6, 9, 4, 8).eval()
    assert net(torch.randn(2, 11, 6)).shape == net(torch.randn(2, 90, 6)).shape == (2, 9)
    assert len(net.TCN) == 10
    assert [block.shared_block[3].dilation[0] for block in net.TCN] == [1, 2, 4, 8, 16] * 2


def test_published_size_and_names_of_clip_network() -> None:
    net = R2Plus1D(512)
    state = net.state_dict()
    assert state["stem.0.weight"].shape == (45, 3, 1, 7, 7)
    assert state["layer1.0.conv1.0.0.weight"].shape == (144, 64, 1, 3, 3)
    assert state["layer2.0.conv1.0.3.weight"].shape == (128, 230, 3, 1, 1)
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1, 1)
    body = sum(p.numel() for k, p in net.named_parameters() if not k.startswith("fc."))
    assert body == 31_300_125  # the published network without its 400-way classifier
    small = R2Plus1D(6, 4)
    assert small(torch.zeros(2, 3, 8, 32, 32)).shape == (2, 6)
