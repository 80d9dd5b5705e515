"""Word vectors from tables and from spellings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affectus.errors import ConfigError, MediaError
from affectus.features.word_vectors import read_word_vectors, spelled_vectors


def test_words_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("the 0 0\nSad 1 -2.5\nhappy 3 4\nhappy 9 9\n", encoding="utf-8")
    np.testing.assert_array_equal(read_word_vectors(path, ["happy", "sad"]), [[3, 4], [1, -2.5]])
    with pytest.raises(ConfigError, match="afraid"):
        read_word_vectors(path, ["happy", "afraid"])


@pytest.mark.parametrize("content", [b"\xff\xfe\x00happy", b"happy one two", b"happy 1 2\nsad 1"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.txt"
    path.write_bytes(content)
    with pytest.raises(MediaError):
        read_word_vectors(path, ["happy", "sad"])


def test_spellings_give_fixed_and_different_vectors() -> None:
    vectors = spelled_vectors(["fear", "anger", "Fear"], 300)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert abs(np.corrcoef(vectors[:2])[0, 1]) < 0.3
    assert vectors.std() == pytest.approx(0.4, abs=0.05)
