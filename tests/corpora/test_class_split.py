"""Seeded division of every class."""

from __future__ import annotations

import numpy as np
import pytest

from affectus.corpora.splits import class_split
from affectus.errors import CorpusError


def test_class_split_is_the_seeded_one_of_scikit_learn() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    random = np.random.default_rng(0)
    labels = [str(v) for v in random.choice(["anger", "joy"], 121)]
    names = [f"{k:03d}.jpg" for k in random.permutation(121)]
    parts = class_split([*labels, None], [*names, "x.jpg"], (0.7, 0.1, 0.2), seed=42)
    for label in ("anger", "joy"):
        files = sorted(n for n, v in zip(names, labels, strict=True) if v == label)
        train, rest = selection.train_test_split(files, train_size=0.7, random_state=42)
        valid, test = selection.train_test_split(rest, train_size=0.1 / (0.1 + 0.2), random_state=42)
        for part, wanted in (("train", train), ("valid", valid), ("test", test)):
            assert sorted(names[i] for i in parts[part] if labels[i] == label) == sorted(wanted)
    assert 121 not in np.concatenate(list(parts.values()))


def test_class_split_refuses_shares_that_do_not_add_up() -> None:
    with pytest.raises(CorpusError, match="shares"):
        class_split(["a"], ["1"], (0.5, 0.1, 0.1))
