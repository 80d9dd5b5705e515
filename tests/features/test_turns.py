"""Turns with their neighbours as ids, and voices as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import MediaError
from affectus.features.turns import MelPicture, TurnsInput
from affectus.types import Turn


def spelled(text: str, length: int) -> list[int]:
    """1, code points, 2."""
    return [1, *[ord(c) for c in text][: length - 2], 2]


def test_before_turn_after() -> None:
    spec = TurnsInput(spelled, 10)
    found = spec([Turn("a"), Turn("b"), Turn("")])
    assert found.tolist() == [
        [1, 2, 97, 2, 98, 2, 0, 0, 0, 0],
        [1, 97, 2, 98, 2, 2, 0, 0, 0, 0],
        [1, 98, 2, 2, 2, 0, 0, 0, 0, 0],
    ]
    assert spec("a").tolist() == [[1, 2, 97, 2, 2, 0, 0, 0, 0, 0]]
    causal = TurnsInput(spelled, 10, causal=True)(["a", "b"])
    assert causal[0].tolist()[:5] == [1, 2, 97, 2, 2]
    assert TurnsInput(spelled, 10, neighbours=False)(["a", "b"])[1].tolist()[:5] == [1, 2, 98, 2, 2]
    with pytest.raises(MediaError, match="no turn"):
        spec([])


@given(st.lists(st.text("abc", max_size=30), min_size=1, max_size=4), st.integers(8, 24))
@settings(max_examples=80, deadline=None)
def test_the_turn_itself_comes_first(texts: list[str], length: int) -> None:
    found = TurnsInput(spelled, length)(texts)
    for row, text in zip(found, texts, strict=True):
        ids = row[row != 0].tolist()
        assert ids.count(2) == 3
        own = ids[ids.index(2) + 1 :]
        assert own[: own.index(2)] == [ord(c) for c in text[: length - 4]]


def test_neighbours_share_what_is_left_and_keep_their_near_end() -> None:
    found = TurnsInput(spelled, 10)(["abcdef", "xy", "uvwxyz"])[1]
    assert found.tolist() == [1, *map(ord, "ef"), 2, *map(ord, "xy"), 2, *map(ord, "uv"), 2]


def test_voice_as_picture() -> None:
    time = np.arange(8000) / 16000
    spec = MelPicture(64, 32)
    low, high = (spec(np.sin(2 * np.pi * f * time).astype("f4")) for f in (200, 3000))
    for picture in (low, high):
        assert picture.shape == spec.shape == (64, 32)
        assert (picture.min(), picture.max()) == (0, 1)
        assert not picture[48:].any()
    assert low[:48].mean(0).argmax() < high[:48].mean(0).argmax()
    quiet = spec((0.01 * np.sin(2 * np.pi * 200 * time)).astype("f4"))
    np.testing.assert_allclose(quiet, low, atol=1e-3)
    assert np.isfinite(spec(np.zeros(8000, np.float32))).all()
    assert spec(np.ones(10, np.float32)).shape == (64, 32)
    with pytest.raises(MediaError, match="no sample"):
        spec(np.zeros(0, np.float32))
