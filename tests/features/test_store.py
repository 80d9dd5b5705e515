"""The feature cache: identity, resuming after a kill, refusal of stale or damaged features, concurrent writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affectus.errors import ConfigError, MediaError
from affectus.features.store import FeatureStore, media_id


def opened(folder: Path, version: str = "1", **params: object) -> FeatureStore:
    return FeatureStore(folder, "probe", version, params)


@given(
    array=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=st.floats(-1, 1, width=32),
    )
)
@settings(max_examples=30, deadline=None)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("store")
    with opened(folder) as store:
        store.add("a", array)
        store.add("b", np.arange(6).reshape(2, 3))
    again = opened(folder)
    np.testing.assert_array_equal(again.get("a"), array)
    assert again.get("a").shape == array.shape
    np.testing.assert_array_equal(again.get("b"), [[0, 1, 2], [3, 4, 5]])
    assert again.get("b").dtype == np.float32


def test_reads_are_mapped_and_read_only(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add("a", np.ones(1000))
    for where in (store, opened(tmp_path)):
        with pytest.raises(ValueError, match="read-only"):
            where.get("a")[0] = 2
    # The array is a view of the mapped file, not a copy.
    assert not store.get("a").flags.owndata


def test_computes_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.full(3, len(calls))

    with opened(tmp_path) as store:
        first = store.get_or_compute("a", compute)
        second = store.get_or_compute("a", compute)
    assert opened(tmp_path).get_or_compute("a", compute).tolist() == first.tolist() == second.tolist()
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("extractor", "version", "params", "dtype", "named"),
    [
        ("other", "1", {"bins": 8}, "float32", "extractor"),
        ("probe", "2", {"bins": 8}, "float32", "version"),
        ("probe", "1", {"bins": 9}, "float32", "params"),
        ("probe", "1", {"bins": 8}, "float16", "dtype"),
    ],
)
def test_a_store_of_something_else_is_refused(
    tmp_path: Path, extractor: str, version: str, params: dict[str, int], dtype: str, named: str
) -> None:
    opened(tmp_path, bins=8)
    opened(tmp_path, bins=8)
    with pytest.raises(ConfigError, match=f"holds features with {named} .*another folder"):
        FeatureStore(tmp_path, extractor, version, params, dtype)


def test_keys_cover_medium_version_and_parameters(tmp_path: Path) -> None:
    one = opened(tmp_path / "a", bins=8)
    assert one.key("x") == opened(tmp_path / "b", bins=8).key("x")
    others = {opened(tmp_path / "c", bins=9).key("x"), opened(tmp_path / "d", version="2", bins=8).key("x")}
    assert len({one.key("x"), one.key("y"), *others}) == 4


def test_tuples_in_parameters_survive_the_manifest(tmp_path: Path) -> None:
    opened(tmp_path, size=(2, 3))
    assert len(opened(tmp_path, size=(2, 3))) == 0


def test_media_are_known_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "b.wav").write_bytes(b"sound")
    (tmp_path / "c.wav").write_bytes(b"Sound")
    a, b, c = (media_id(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav"))
    assert a == b != c
    assert len(a) == 32
    with pytest.raises(MediaError, match=r"missing\.wav: cannot be read"):
        media_id(tmp_path / "missing.wav")


def test_flushes_by_size_and_lists_what_is_left(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "probe", "1", flush_bytes=4000)
    for i in range(5):
        store.add(str(i), np.zeros(500))
    assert len(list(tmp_path.glob("part-*.arrow"))) == 2
    assert len(store) == 5
    # What was not flushed is lost with the process; the rest is there.
    assert list(FeatureStore(tmp_path, "probe", "1").missing(str(i) for i in range(7))) == ["4", "5", "6"]


def test_stack_and_compact(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for i in range(4):
        store.add(str(i), np.full((2, 3), i))
        store.flush()
    held = store.get("1")
    store.compact()
    assert len(list(tmp_path.glob("part-*.arrow"))) == 1
    np.testing.assert_array_equal(held, np.full((2, 3), 1))
    for where in (store, opened(tmp_path)):
        assert where.stack(["3", "0"]).tolist() == [np.full((2, 3), 3).tolist(), np.zeros((2, 3)).tolist()]
    store.add("odd", np.zeros(5))
    with pytest.raises(MediaError, match="different shapes"):
        store.stack(["0", "odd"])
    with pytest.raises(KeyError):
        store.get("never")


def test_two_writers_share_a_store(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.add("a", np.zeros(2))
    two.add("b", np.ones(2))
    one.flush()
    two.flush()
    one.refresh()
    assert one.get("b").tolist() == [1, 1]
    assert "b" in opened(tmp_path)


def test_damaged_file_is_named(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add("a", np.zeros(1000))
    part = next(tmp_path.glob("part-*.arrow"))
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(MediaError, match=rf"{part.name}: damaged feature file: .*delete it"):
        opened(tmp_path)
    part.unlink()
    assert len(opened(tmp_path)) == 0


def test_broken_manifest_and_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "extractor.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used as a feature store"):
        opened(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used as a feature store"):
        opened(tmp_path / "file")


def test_resumes_after_a_kill(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys, numpy as np
        from affectus.features.store import FeatureStore
        store = FeatureStore(sys.argv[1], "probe", "1", flush_bytes=40000)
        for i in range(10**9):
            store.add(str(i), np.full(1000, i))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("part-*.arrow"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    store = FeatureStore(tmp_path, "probe", "1")
    assert len(store) >= 50
    assert len(store) % 10 == 0
    for i in range(len(store)):
        assert (store.get(str(i)) == i).all()
    store.add("more", np.zeros(1))
    store.flush()
    assert "more" in FeatureStore(tmp_path, "probe", "1")
