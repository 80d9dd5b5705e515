"""Character and word n-grams: folding, hashing, tables of expressions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.features.ngrams import NgramInput, bucket, count_ngrams, fold, ngrams


def test_ngrams_of_characters_keep_marks_and_drop_outer_blanks() -> None:
    assert ngrams("ab c", (1, 2)) == ["a", "b", "c", "ab"]
    assert ngrams("怒w…", (2,)) == ["怒w", "w.", "..", ".."]  # NFKC writes an ellipsis as three points


def test_ngrams_of_words() -> None:
    assert ngrams("Don't  go!! 😊", (1, 2), "word") == ["don't", "go", "!!", "😊", "don't go", "go !!", "!! 😊"]


def test_folding_joins_widths_and_blanks() -> None:
    assert fold(" ＡＢ\t\nｶﾞ ") == "ab ガ"


def test_known_bucket_is_the_same_everywhere() -> None:
    assert bucket("abc", 1 << 15) == 1 + 0x352441C2 % ((1 << 15) - 1)


@settings(deadline=None)
@given(st.text(max_size=40), st.integers(2, 50))
def test_buckets_never_hit_the_padding(text: str, buckets: int) -> None:
    assert 1 <= bucket(text, buckets) < buckets


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 40))
def test_ids_are_different_sorted_and_padded(text: str, length: int) -> None:
    ids = NgramInput(length=length)(text)
    kept = ids[ids > 0]
    assert ids.shape == (length,)
    assert (np.diff(kept) > 0).all()
    assert not ids[len(kept) :].any()
    assert len(kept) == min(length, len({bucket(g, 1 << 15) for g in ngrams(text)}))


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text_has_no_ngram(text: str) -> None:
    assert not NgramInput(length=4)(text).any()


def test_table_counts_texts_not_occurrences_and_is_closed() -> None:
    table = count_ngrams(["xyxy", "xy", "zz"], (1, 2), least=2)
    assert table.names == ("xy",)  # x and y occur in the very same texts
    assert table.rows[0].tolist() == [0, 1]
    assert table.texts == 3
    every = count_ngrams(["xyxy", "xy", "zz"], (1, 2), least=2, closed=False)
    assert set(every.names) == {"x", "y", "xy"}
    assert every.counts.tolist() == [2, 2, 2]
