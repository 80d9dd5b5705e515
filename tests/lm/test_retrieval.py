from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError, ModelError
from affectus.lm import retrieval
from affectus.lm.retrieval import EmbeddingIndex


def _index(folder: Path, n: int = 500, width: int = 16) -> tuple[EmbeddingIndex, np.ndarray]:
    vectors = np.random.default_rng(0).standard_normal((n, width)).astype(np.float32) * 3
    blocks = [vectors[i : i + 128] for i in range(0, n, 128)]
    return EmbeddingIndex.build(folder, blocks, [f"item{i}" for i in range(n)], "mini"), vectors


def test_search_is_exact_cosine(tmp_path: Path) -> None:
    index, vectors = _index(tmp_path)
    queries = np.random.default_rng(1).standard_normal((70, 16))
    rows, scores = index.search(queries, 5, "mini")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ unit.T
    assert (rows == np.argsort(-cosines, axis=1)[:, :5]).all()
    np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :5], atol=1e-5)
    assert isinstance(EmbeddingIndex.open(tmp_path, "mini").vectors, np.memmap)


def test_an_item_does_not_retrieve_itself(tmp_path: Path) -> None:
    index, vectors = _index(tmp_path)
    rows, _ = index.search(vectors[:4], 3, exclude=[0, 1, None, 3])
    assert rows.shape == (4, 3)
    assert 0 not in rows[0]
    assert 1 not in rows[1]
    assert rows[2, 0] == 2
    assert 3 not in rows[3]


def test_another_model_is_refused(tmp_path: Path) -> None:
    index, _ = _index(tmp_path)
    with pytest.raises(ModelError, match="'mini', not of 'other'"):
        EmbeddingIndex.open(tmp_path, "other")
    with pytest.raises(ModelError, match="'mini', not of 'other'"):
        index.search(np.ones((1, 16)), 1, model="other")
    with pytest.raises(ModelError, match="width 8"):
        index.search(np.ones((1, 8)), 1)


@pytest.mark.parametrize("what", ["ids.json", "vectors.npy", "index.json"])
def test_damage_is_named(tmp_path: Path, what: str) -> None:
    _index(tmp_path)
    (tmp_path / what).unlink()
    with pytest.raises(ConfigError, match="no index"):
        EmbeddingIndex.open(tmp_path, "mini")


def test_ids_that_do_not_belong_are_named(tmp_path: Path) -> None:
    index, _ = _index(tmp_path)
    (tmp_path / "ids.json").write_text(json.dumps([*index.ids[:-1], "changed"]), encoding="utf-8")
    with pytest.raises(ConfigError, match="damaged"):
        EmbeddingIndex.open(tmp_path, "mini")


def test_bad_embeddings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="embedding 1 is zero"):
        EmbeddingIndex.build(tmp_path, [np.array([[1.0, 2], [0, 0]])], ["a", "b"], "m")
    with pytest.raises(ConfigError, match="not finite"):
        EmbeddingIndex.build(tmp_path, [np.array([[np.nan, 2.0]])], ["a"], "m")
    with pytest.raises(ConfigError, match="1 embeddings do not fit 2 ids"):
        EmbeddingIndex.build(tmp_path, [np.ones((1, 2))], ["a", "b"], "m")
    with pytest.raises(ConfigError, match="width 3"):
        EmbeddingIndex.build(tmp_path, [np.ones((1, 2)), np.ones((1, 3))], ["a", "b"], "m")


def _exact(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Brute force in float64 over the stored rows; equal cosines by row number."""
    unit = queries.astype(np.float32)
    unit = np.ascontiguousarray(unit / np.linalg.norm(unit, axis=1, keepdims=True), np.float32)
    cosines = np.stack([(vectors * row.astype(np.float64)).sum(1) for row in unit])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, 1)


@settings(max_examples=40)
@given(
    st.integers(1, 3000),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 5),
    st.sampled_from(["free", "near", "few"]),
)
def test_the_k_best_are_exact_for_any_size_near_ties_and_duplicates(
    n: int, k: int, queries: int, seed: int, kind: str
) -> None:
    """`near` rows differ by less than float32 products can tell, `few` rows are copies of three."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, 24))
    if kind == "near":
        rows = rows[:1] + 1e-7 * rows
    elif kind == "few":
        rows = rows[random.integers(0, min(3, n), n)]
    units = np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    index = EmbeddingIndex(units, tuple(map(str, range(n))), "m")
    asked = random.standard_normal((queries, 24))
    found, scores = index.search(asked, k)
    wanted, cosines = _exact(asked, units, min(k, n))
    assert (found == wanted).all()
    np.testing.assert_array_equal(scores, cosines.astype(np.float32))


def test_batch_mates_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    units = random.standard_normal((5000, 48)).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    index = EmbeddingIndex(units, tuple(map(str, range(5000))), "m")
    asked = random.standard_normal((300, 48))
    rows, scores = index.search(asked, 9)
    for i in (0, 1, 299):
        alone, own = index.search(asked[i : i + 1], 9)
        np.testing.assert_array_equal(alone[0], rows[i])
        np.testing.assert_array_equal(own[0], scores[i])
    monkeypatch.setattr(retrieval, "_SCORES", 64)
    monkeypatch.setattr(retrieval, "_QUERIES", 7)
    again, same = index.search(asked, 9)
    np.testing.assert_array_equal(again, rows)
    np.testing.assert_array_equal(same, scores)
