from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError, ModelError
from affectus.lm.retrieval import EmbeddingIndex, _best


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


@settings(max_examples=40)
@given(st.integers(1, 700), st.integers(1, 12), st.integers(0, 5), st.booleans())
def test_the_k_best_for_any_size_and_with_ties(n: int, k: int, seed: int, ties: bool) -> None:
    scores = np.random.default_rng(seed).standard_normal((3, n)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    k = min(k, n)
    rows, values = _best(scores, k)
    assert (rows == np.argsort(-scores, axis=1, kind="stable")[:, :k]).all()
    assert (values == np.take_along_axis(scores, rows, 1)).all()
