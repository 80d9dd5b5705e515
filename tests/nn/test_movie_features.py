"""Features of films: plain ones, frozen networks, whole files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, ModelError
from affectus.features.colour import COLOUR_NAMES
from affectus.features.flow import MOTION_NAMES
from affectus.nn.movie_features import (
    FrozenNetwork,
    MotionNetwork,
    PictureNetwork,
    movie_features,
    plain_motion,
    plain_pictures,
    plain_sound,
)
from affectus.nn.resnet import resnet


def test_a_film_gives_features_of_every_moment(tmp_path: Path) -> None:
    Tiny(tmp_path).video("film.mp4", "happiness", seconds=1.0)
    makers = {"rgb": plain_pictures, "flow": plain_motion, "audio": plain_sound}
    found = movie_features(tmp_path / "film.mp4", makers, batch=7)
    whole = movie_features(tmp_path / "film.mp4", makers, batch=100)
    assert found["rgb"].shape[1] == len(COLOUR_NAMES)
    assert found["flow"].shape[1] == len(MOTION_NAMES)
    assert found["audio"].shape[1] == 1582
    assert len({len(v) for v in found.values()}) == 1
    assert 13 <= len(found["rgb"]) <= 25  # 10 frames a second on a grid of 25, and windows of sound of 0.4 s
    for name, values in found.items():
        np.testing.assert_allclose(values, whole[name], atol=1e-5, err_msg=name)


def test_motion_of_one_frame_is_none() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    speed, moving = plain_motion([frame])[0, [0, 3]]
    assert speed < 0.01
    assert moving < 0.5


@pytest.mark.slow
def test_frozen_networks_see_what_their_input_says(tmp_path: Path) -> None:
    state = {**resnet("resnet18").state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "pictures.pth")
    frames = list(np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), dtype=np.uint8))
    found = PictureNetwork("resnet18", str(tmp_path / "pictures.pth"))(frames)
    assert found.shape == (3, 512)
    torch.save(resnet("resnet18", 20).state_dict(), tmp_path / "motion.pth")
    assert MotionNetwork("resnet18", str(tmp_path / "motion.pth"), 20)(frames).shape == (3, 512)


def test_missing_and_wrong_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not given"):
        _ = FrozenNetwork("resnet18", "").network
    with pytest.raises(ConfigError, match="no file"):
        _ = FrozenNetwork("resnet18", str(tmp_path / "none.pth")).network
    torch.save({"conv1.weight": resnet("resnet18").conv1.weight.data, "other": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="does not fit"):
        _ = FrozenNetwork("resnet18", str(tmp_path / "w.pth")).network
