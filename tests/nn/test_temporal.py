"""The temporal transformer: size, published names, order of frames."""

from __future__ import annotations

import pytest
import torch

from affectus.errors import ConfigError
from affectus.nn.temporal import TemporalTransformer, published_temporal_names


def test_published_parameter_count() -> None:
    assert sum(p.numel() for p in TemporalTransformer(512).parameters()) == 2_110_464


def test_frames_have_an_order_and_short_clips_fit() -> None:
    torch.manual_seed(0)
    net = TemporalTransformer(16, frames=6, heads=2, head_width=4, hidden=20, dropout=0.5).eval()
    x = torch.randn(3, 6, 16)
    assert net(x).shape == (3, 16)
    assert not torch.allclose(net(x), net(x.flip(1)))
    assert net(x[:, :2]).shape == (3, 16)
    with pytest.raises(ConfigError, match="7 frames; 6 fit"):
        net(torch.zeros(1, 7, 16))


def test_dropout_only_in_training() -> None:
    torch.manual_seed(0)
    net = TemporalTransformer(16, frames=4, heads=2, head_width=8, hidden=20, dropout=0.5)
    x = torch.randn(2, 4, 16)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_published_names_cover_the_module_and_keep_strangers() -> None:
    net = TemporalTransformer(16, frames=4, depth=2, heads=2, head_width=8, hidden=20)
    old = {"norm1": "0.fn.norm", "qkv": "0.fn.fn.to_qkv", "out": "0.fn.fn.to_out.0", "norm2": "1.fn.norm",
           "fc1": "1.fn.fn.net.0", "fc2": "1.fn.fn.net.3"}  # fmt: skip
    state = {}
    for key, value in net.state_dict().items():
        if key.startswith("layers."):
            _, number, part, kind = key.split(".")
            key = f"temporal_transformer.layers.{number}.{old[part]}.{kind}"
        state[key] = value
    assert set(published_temporal_names(state)) == set(net.state_dict())
    strange = "temporal_transformer.layers.0.2.fn.weight"
    assert strange in published_temporal_names({strange: torch.zeros(1)})
