"""Local binary patterns of batches agree with those of single pictures."""

from __future__ import annotations

import numpy as np
import torch

from affectus.features.texture import lbp
from affectus.nn.texture import grey_levels, lbp_maps


def test_same_codes_as_on_arrays() -> None:
    grey = np.random.default_rng(0).integers(0, 9, (4, 13, 11), dtype=np.uint8)
    found = lbp_maps(torch.from_numpy(grey)[:, None])
    expected = np.stack([lbp(picture) for picture in grey])
    np.testing.assert_array_equal((found[:, 0].numpy() * 255).round(), expected)


def test_grey_levels_are_whole_and_weighted() -> None:
    picture = torch.tensor([255.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert grey_levels(picture).item() == 76
    assert grey_levels(torch.full((1, 1, 1, 1), 7.4)).item() == 7
