"""Word norms, their propagation, objects, and pairing sentences with pictures."""

from __future__ import annotations

import numpy as np
import pytest

from affectus.errors import ConfigError
from affectus.features.imageability import (
    mean_imageability,
    object_share,
    pair_with_pictures,
    propagate,
    unit_norms,
    word_attention,
)


def test_means_take_each_word_once_and_unknown_ones_as_zero() -> None:
    norms = {"dog": 0.9, "idea": 0.1}
    assert mean_imageability("A dog, a DOG!", norms) == pytest.approx(0.45)
    assert mean_imageability("A dog", norms, unknown=0.5) == pytest.approx(0.7)
    assert mean_imageability("?!", norms) == 0


def test_share_of_objects() -> None:
    assert object_share("the dog and the cat", {"dog", "cat"}) == 0.5
    assert object_share("", {"dog"}) == 0


def test_norms_are_scaled_by_their_range() -> None:
    assert unit_norms({"Low": 100, "mid": 400, "high": 700}) == {"low": 0, "mid": 0.5, "high": 1}
    with pytest.raises(ConfigError, match="all the same"):
        unit_norms({"a": 3, "b": 3})


def test_norms_go_to_the_most_similar_word() -> None:
    vectors = {"dog": np.array([2.0, 0]), "idea": np.array([0, 1.0]), "puppy": np.array([3.0, 4.0])}
    found = propagate(["puppy", "dog", "xyzzy"], {"dog": 0.9, "idea": 0.2}, vectors)
    assert found == pytest.approx({"puppy": 0.8 * 0.2, "dog": 0.9, "xyzzy": 0.0})
    with pytest.raises(ConfigError, match="none of the words"):
        propagate(["puppy"], {"cat": 1.0}, vectors)


def test_pairs_by_similarity() -> None:
    found = pair_with_pictures(np.array([[0.36, 0.10], [0.17, 0.05], [0.20, 0.30]]))
    assert found.label.tolist() == [1, 0, -1]
    assert found.picture.tolist() == [0, -1, -1]
    with pytest.raises(ConfigError, match="sentences, pictures"):
        pair_with_pictures(np.zeros((2, 0)))


def test_attention_of_words_sums_their_tokens() -> None:
    assert word_attention(np.array([0.1, 0.2, 0.3, 0.4]), [-1, 0, 0, 1]) == pytest.approx([0.5, 0.4])
