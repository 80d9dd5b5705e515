"""Pickles are read as plain data or not at all."""

from __future__ import annotations

import collections
import datetime
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.corpora import safe
from affectus.errors import CorpusError
from affectus.labels import restricted

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


class _Runs:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@given(plain, st.integers(0, 5))
def test_plain_data_round_trips(value: Any, protocol: int) -> None:
    assert safe.load_pickle(pickle.dumps(value, protocol), "x.pkl") == value


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_scalars_round_trip(protocol: int) -> None:
    value = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([{"emo": 1}, None], object),
        "c": np.float64(2.5),
        "d": collections.OrderedDict(x=np.array(["ab", "c"])),
    }
    found = safe.load_pickle(pickle.dumps(value, protocol), "x.pkl")
    assert np.array_equal(found["a"], value["a"])
    assert found["b"][0] == {"emo": 1}
    assert found["c"] == 2.5
    assert found["d"]["x"].tolist() == ["ab", "c"]


def test_code_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    with pytest.raises(CorpusError, match="no plain data"):
        safe.load_pickle(pickle.dumps(_Runs(target)), "evil.pkl")
    assert not target.exists()


@pytest.mark.parametrize("value", [datetime.date(2020, 1, 1), eval, np.random.default_rng(0)])
def test_other_objects_are_refused(value: Any) -> None:
    with pytest.raises(CorpusError, match=r"odd\.pkl: refused"):
        safe.load_pickle(pickle.dumps(value), "odd.pkl")


def test_refused_inside_an_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", labels=np.array({"a": _Runs(tmp_path / "ran")}, object))
    with pytest.raises(CorpusError, match="labels"):
        safe.load_npz((tmp_path / "x.npz").read_bytes(), "x.npz")
    assert not (tmp_path / "ran").exists()


def test_npz_of_dictionaries_and_arrays(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", corpus=np.array({"a": {"emo": 1, "val": -1.5}}, object), names=["a", "b"])
    found = safe.load_npz((tmp_path / "x.npz").read_bytes(), "x.npz")
    assert found["corpus"] == {"a": {"emo": 1, "val": -1.5}}
    assert found["names"].tolist() == ["a", "b"]


@pytest.mark.parametrize("new", [True, False])
def test_torch_files_without_torch(new: bool) -> None:
    torch = pytest.importorskip("torch")
    value = {"w": torch.arange(6.0).reshape(2, 3).t(), "n": [torch.tensor([1, 2]), torch.ones(2, dtype=torch.bfloat16)]}
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=new)
    found = safe.load_pickle(buffer.getvalue(), "x.pt")
    assert np.array_equal(found["w"], value["w"].numpy())
    assert found["n"][0].tolist() == [1, 2]
    assert found["n"][1].tolist() == [1.0, 1.0]


@given(st.binary(max_size=60))
def test_noise_is_an_error_not_a_crash(data: bytes) -> None:
    with pytest.raises(CorpusError, match=r"noise\.pkl"):
        safe.load_pickle(b"\xff" + data, "noise.pkl")


def test_oversized_archives_and_default_dictionaries() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=np.zeros(100_000), votes=np.array(collections.defaultdict(list, a=[1]), object))
    assert safe.load_npz(buffer.getvalue(), "x.npz")["votes"] == {"a": [1]}
    with pytest.raises(CorpusError, match=r"x\.npz: unpacks to more than the allowed size"):
        safe.load_npz(buffer.getvalue(), "x.npz", max_bytes=1000)


def test_cut_off_pickle_and_tensor_beyond_its_storage() -> None:
    with pytest.raises(CorpusError):
        safe.load_pickle(pickle.dumps({"a": 1})[:-3], "x.pkl")
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
        restricted._tensor(restricted._Storage("<f4", 4), 0, (100,), (1,))
