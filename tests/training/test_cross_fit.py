"""Out-of-fold outputs come from systems that have not seen the fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affectus.errors import ConfigError
from affectus.metrics import auc
from affectus.nn.phase import Phase
from affectus.systems import registry
from affectus.training.cross_fit import cross_fit
from affectus.training.system_task import BatchItems

FAST = [Phase("fit", epochs=10, lr=3e-2, batch_size=16, weight_decay=0.0)]


def test_outputs_cover_all_items_and_find_the_cue() -> None:
    batch = registry.build("sns_gap", "tiny").example(48, 2)
    folds = [np.arange(0, 24), np.arange(24, 48)]
    found = cross_fit(lambda fold: registry.build("sns_gap", "tiny", seed=fold), BatchItems(batch), folds, 0, FAST)
    assert found["logits"].shape == (48, 2)
    assert auc(batch["label"].numpy(), found["logits"][:, 1]) > 0.9


def test_random_labels_are_not_recovered() -> None:
    batch = registry.build("sns_gap", "tiny").example(96, 3)
    batch["label"] = torch.from_numpy(np.random.default_rng(0).integers(0, 2, 96))
    folds = [np.arange(k, 96, 2) for k in range(2)]
    found = cross_fit(lambda fold: registry.build("sns_gap", "tiny", seed=fold), BatchItems(batch), folds, 0, FAST)
    assert abs(auc(batch["label"].numpy(), found["logits"][:, 1]) - 0.5) < 0.2


@pytest.mark.parametrize("folds", [[[0, 1, 2, 3]], [[0, 1], [2]], [[0, 1], [1, 2, 3]]])
def test_folds_that_miss_or_repeat_items_are_refused(folds: list[list[int]]) -> None:
    batch = registry.build("sns_gap", "tiny").example(4)
    with pytest.raises(ConfigError, match="once"):
        cross_fit(lambda fold: registry.build("sns_gap", "tiny"), BatchItems(batch), [np.array(f, int) for f in folds])
