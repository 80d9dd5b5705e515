"""Groups stay together, and what two parts share is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import corpora
from affectus.corpora.leaks import content_hashes, leak_check, plain_text
from affectus.corpora.splits import group_folds, group_split, linked_groups, official_folds
from affectus.errors import CorpusError


def _table(groups: list[str | None], **more: list) -> pa.Table:
    n = len(groups)
    columns = {"id": [str(i) for i in range(n)], "media": pa.nulls(n, pa.string()), "text": pa.nulls(n, pa.string())}
    return pa.table({**columns, "group:subject": pa.array(groups, pa.string()), **more})


@given(st.lists(st.sampled_from("abcdefghij"), min_size=30, max_size=120), st.integers(0, 5))
def test_no_group_is_in_two_parts_and_nothing_is_lost(groups: list[str], seed: int) -> None:
    table = _table(list(groups))
    if len(set(groups)) < 3:
        return
    parts = group_split(table, "subject", {"train": 0.6, "valid": 0.2, "test": 0.2}, seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(groups)))
    members = [{groups[i] for i in rows} for rows in parts.values()]
    assert all(members)
    assert not members[0] & members[1]
    assert not members[0] & members[2]
    assert not members[1] & members[2]


def test_shares_are_met_when_groups_are_small() -> None:
    table = _table([f"s{i // 5}" for i in range(1000)])
    parts = group_split(table, "subject", {"train": 0.8, "test": 0.2}, 1)
    assert abs(len(parts["test"]) - 200) <= 5
    again = group_split(table, "subject", {"train": 0.8, "test": 0.2}, 1)
    other = group_split(table, "subject", {"train": 0.8, "test": 0.2}, 2)
    assert np.array_equal(parts["test"], again["test"])
    assert not np.array_equal(parts["test"], other["test"])


def test_several_keys_link_rows() -> None:
    table = _table(["a", "b", "c", "d", None, None], **{"group:video": pa.array(["1", "1", "2", None, "3", None])})
    assert linked_groups(table, "subject").tolist() != linked_groups(table, ["subject", "video"]).tolist()
    linked = linked_groups(table, ["subject", "video"])
    assert linked[0] == linked[1]
    assert len(set(linked.tolist())) == 5


def test_folds_cover_all_rows_once() -> None:
    table = _table([f"s{i % 13}" for i in range(130)])
    folds = group_folds(table, "subject", 5)
    assert sorted(np.concatenate(folds).tolist()) == list(range(130))
    assert max(map(len, folds)) - min(map(len, folds)) <= 10


@pytest.mark.parametrize("fractions", [{"a": 0.5, "b": 0.6}, {"a": 1.0, "b": 0.0}])
def test_bad_fractions(fractions: dict[str, float]) -> None:
    with pytest.raises(CorpusError, match="sum to 1"):
        group_split(_table(["a", "b"]), "subject", fractions)


def test_bad_groups() -> None:
    with pytest.raises(CorpusError, match="only 2 groups"):
        group_folds(_table(["a", "b"]), "subject", 5)
    with pytest.raises(CorpusError, match="group:subject"):
        group_folds(_table(["a", "b"]), "dialogue", 2)
    with pytest.raises(CorpusError, match="no official folds"):
        list(official_folds(_table(["a"], fold=pa.array([None], pa.int32()))))


def test_official_folds(tmp_path: Path) -> None:
    table = _table(list("abcdef"), fold=pa.array([1, 1, 2, 2, 3, None], pa.int32()))
    folds = list(official_folds(table))
    assert [f for f, _, _ in folds] == [1, 2, 3]
    assert folds[1][1].tolist() == [0, 1, 4]
    assert folds[1][2].tolist() == [2, 3]


def test_leaks_of_groups_files_and_texts(tmp_path: Path) -> None:
    corpora.write_tiny("oasis", tmp_path)
    (tmp_path / "images" / "Zebra 2.jpg").write_bytes((tmp_path / "images" / "Acorns 1.jpg").read_bytes())
    pictures = corpora.load("oasis", tmp_path)
    order = pictures.column("id")
    train, test = (
        [order.index("Acorns 1"), order.index("Angry face 1")],
        [order.index("Zebra 2"), order.index("Angry face 2")],
    )
    found = {leak.kind: leak for leak in leak_check(pictures, train, test)}
    assert found["group:theme"].examples == (("Angry face 1", "Angry face 2"),)
    assert found["media"].examples == (("Acorns 1", "Zebra 2"),)
    assert found["media"].share == 0.5
    assert "share media with training: Acorns 1 = Zebra 2" in str(found["media"])
    assert leak_check(pictures, [order.index("Acorns 1")], [order.index("Zebra 1")]) == []


def test_near_duplicate_texts() -> None:
    base = "the quick brown fox jumps over the lazy dog and then it runs far away from here today"
    texts = [base, "Something else entirely happens in this other long sentence of words.", base.upper() + "!!",
             base.replace("today", "now"), "short one", "Short one."]  # fmt: skip
    table = _table([None] * 6).set_column(2, "text", pa.array(texts))
    found = {leak.kind: leak for leak in leak_check(table, [0, 1, 4], [2, 3, 5])}
    assert found["text"].examples == (("0", "2"),)  # two-word texts recur without meaning anything
    assert found["near text"].examples == (("0", "3"),)
    assert leak_check(table, [1], [2, 3]) == []


def test_plain_text_folds_case_width_and_punctuation() -> None:
    assert plain_text("Ｈello,  WORLD!!") == "hello world"


@pytest.mark.corpus
def test_ferplus_validation_repeats_training_pictures(shared_data: Path) -> None:
    faces = corpora.load("ferplus", shared_data / "ferplus")
    split = np.array(faces.column("split"))
    leaks = leak_check(faces, np.flatnonzero(split == "train"), np.flatnonzero(split == "valid"))
    assert [leak.kind for leak in leaks] == ["media"]
    train, test = leaks[0].examples[0]
    ids = faces.column("id")
    assert np.array_equal(faces.image(ids.index(train)), faces.image(ids.index(test)))
    hashes = content_hashes(faces.files, faces.column("media")[:100])
    assert len(hashes) == 100
