"""Groups stay together, and what two parts share is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import corpora
from affectus.corpora.leaks import compare, content_hashes, leak_check, plain_text
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


def test_the_same_row_on_both_sides() -> None:
    assert [leak.kind for leak in leak_check(_table([None, None]), [0, 1], [1])] == ["id"]


def test_check_reports_what_the_official_parts_share(tmp_path: Path) -> None:
    corpora.write_tiny("fi", tmp_path / "fi")
    picture = tmp_path / "fi" / "train" / "awe" / "awe_0001.jpg"
    (tmp_path / "fi" / "test" / "awe" / "awe_0002.jpg").write_bytes(picture.read_bytes())
    problems = [str(p) for p in corpora.check("fi", tmp_path / "fi")]
    assert len(problems) == 1
    assert (
        "test: 1 test items (11.1%) share media with training: train/awe/awe_0001.jpg = test/awe/awe_0002.jpg"
        in problems[0]
    )
    corpora.write_tiny("ravdess", tmp_path / "ravdess")
    assert corpora.check("ravdess", tmp_path / "ravdess") == []


@pytest.mark.corpus
def test_ov_merd_lies_inside_its_extension(shared_data: Path, tmp_path: Path) -> None:
    """The 532 clips of OV-MERD+ contain the 332 of OV-MERD; rebuilt here by adding clips to the real list."""
    small = corpora.load("ov_merd", shared_data / "open_vocabulary" / "mer2024")
    rows = zip(small.column("id"), small.column("labels:openset"), strict=True)
    lines = [f'{name},"{words}"' for name, words in rows] + [f"samplenew_{k:08d},\"['happy']\"" for k in range(200)]
    (tmp_path / "ovmerdplus.csv").write_text("\n".join(["name,openset", *lines]), encoding="utf-8")
    large = corpora.load("ov_merd", tmp_path)
    assert len(large) == 532
    kinds = {leak.kind: leak for leak in compare(large, small)}
    assert kinds["id"].count == 332
    assert kinds["id"].share == 1.0


def test_random_folds_over_frames_of_ckplus_leak_people(tmp_path: Path) -> None:
    for k, label in enumerate(("anger", "fear", "happy", "surprise")):
        for frame in (18, 19, 20):
            path = tmp_path / "CK+48" / label / f"S{10 + k:03d}_00{k}_000000{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_png(frame + 30 * k))
    frames = corpora.load("ckplus", tmp_path)
    assert len(frames) == 12
    order = np.random.default_rng(0).permutation(12)
    assert {leak.kind for leak in leak_check(frames, order[:8], order[8:])} >= {"group:subject"}
    for fold in group_folds(frames.table, "subject", 2):
        rest = np.setdiff1d(np.arange(12), fold)
        assert leak_check(frames, rest, fold, media=False) == []


def _png(seed: int) -> bytes:
    import cv2

    return cv2.imencode(".png", np.random.default_rng(seed).integers(0, 255, (48, 48), np.uint8))[1].tobytes()


@pytest.mark.corpus
def test_people_and_sentences_shared_between_parts_of_emotiontalk(shared_data: Path) -> None:
    talk = corpora.load("emotiontalk", shared_data / "emotiontalk")
    splits = np.array(talk.column("split"))
    train, valid, test = (np.flatnonzero(splits == s) for s in ("train", "valid", "test"))
    assert {leak.kind for leak in leak_check(talk, valid, test, ["speaker"], near=1)} >= {"group:speaker"}
    kinds = {leak.kind: leak for leak in leak_check(talk, train, test, ["session", "speaker"], near=1)}
    assert not any(kind.startswith("group:") for kind in kinds)


def test_scripts_without_blanks() -> None:
    base = "今天我们一起去公园散步然后回家吃晚饭看电视"
    texts = [base, base + "！", base.replace("电视", "电影"), "对对对", "对对对。"]
    table = _table([None] * 5).set_column(2, "text", pa.array(texts))
    found = {leak.kind: leak for leak in leak_check(table, [0, 3], [1, 2, 4], near=0.7)}
    assert found["text"].examples == (("0", "1"),)
    assert found["near text"].examples == (("0", "2"),)


@pytest.mark.corpus
def test_dialogues_are_in_order(shared_data: Path) -> None:
    train = corpora.load("meld", shared_data / "meld", split="train")
    dialogues = train.dialogues()
    assert len(dialogues) == 1038
    turns = train.array("meta:turn")
    assert all((np.diff(turns[rows]) > 0).all() for rows in dialogues.values())
