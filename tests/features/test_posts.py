"""Posts as tweet encoders expect them, and lists of emotion words."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectus.errors import LabelError
from affectus.features.posts import emotion_words, normalise_post


@pytest.mark.parametrize(("post", "normalised"), [
    ("hi @anna_1, see https://x.io/a?b=1 and www.y.com", "hi @USER, see HTTPURL and HTTPURL"),
    ("so happy 😊😊", "so happy :smiling_face_with_smiling_eyes: :smiling_face_with_smiling_eyes:"),
    ("I ❤️ it", "I :heavy_black_heart: it"), ("mail a@b.c", "mail a@b.c"), ("it’s", "it's"), ("  ", ""),
])  # fmt: skip
def test_posts(post: str, normalised: str) -> None:
    assert normalise_post(post) == normalised


def test_normalising_twice_changes_nothing_more() -> None:
    once = normalise_post("@a http://b 😊 text")
    assert normalise_post(once) == once


def test_own_words_include_inflected_forms() -> None:
    words = emotion_words()
    assert all(w in words for w in ("angry", "#Furious", "saddened", "happier", "scared"))
    assert "table" not in words


def test_files_of_both_layouts(tmp_path: Path) -> None:
    plain, published = tmp_path / "a.txt", tmp_path / "b.txt"
    plain.write_text("Glad\n\nsad\n", encoding="utf-8")
    published.write_text("glad\tjoy\t1\nglad\tfear\t0\ntable\tjoy\t0\n", encoding="utf-8")
    assert "glad" in emotion_words(str(plain))
    assert "#SAD" in emotion_words(str(plain))
    assert "glad" in emotion_words(str(published))
    assert "table" not in emotion_words(str(published))


def test_unreadable_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="nowhere"):
        emotion_words(str(tmp_path / "nowhere.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(LabelError, match="no words"):
        emotion_words(str(tmp_path / "empty.txt"))
