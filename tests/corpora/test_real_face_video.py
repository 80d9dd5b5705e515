"""Official lists of face video and audio-visual corpora (no media)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from affectus import corpora
from affectus.corpora.files import Files
from affectus.corpora.readers import crema_d, emoset
from affectus.corpora.splits import official_folds
from affectus.errors import CorpusError
from affectus.metrics import accuracy, uar

pytestmark = pytest.mark.corpus


def test_dfew_folds(shared_data: Path) -> None:
    clips = corpora.load("dfew", shared_data / "face_video_splits" / "DFEW")
    assert len(clips) == 11697
    assert Counter(clips.column("fold")) == {1: 2341, 2: 2341, 3: 2340, 4: 2339, 5: 2336}
    first = clips.filter(pc.equal(clips.table["fold"], 1))
    assert [Counter(first.column("label:dfew7"))[label] for label in clips.labels("label:dfew7")] == [
        489, 379, 534, 435, 294, 29, 181,
    ]  # fmt: skip
    assert next((f, len(a), len(b)) for f, a, b in official_folds(clips.table)) == (1, 9356, 2341)
    assert set(clips.column("media")) == {None}
    assert corpora.check("dfew", shared_data / "face_video_splits" / "DFEW") == []


@pytest.mark.sheet("DFEW csv loader: row counts; WAR/UAR of a constant happy predictor = its class share and 1/7")
def test_constant_answers_on_a_fold_of_dfew(shared_data: Path) -> None:
    clips = corpora.load("dfew", shared_data / "face_video_splits" / "DFEW")
    truth = clips.filter(pc.equal(clips.table["fold"], 1)).targets("label:dfew7")
    happy = np.full(len(truth), clips.labels("label:dfew7").index("happy"))
    assert accuracy(truth, happy, 7) == pytest.approx(489 / 2341)
    assert uar(truth, happy, 7) == pytest.approx(1 / 7)


def test_ferv39k_counts_by_name(shared_data: Path) -> None:
    clips = corpora.load("ferv39k", shared_data / "face_video_splits" / "FERV39K")
    assert (len(clips.split("train")), len(clips.split("test"))) == (31088, 7847)
    assert len(set(clips.column("meta:scene"))) == 22
    assert Counter(clips.split("test").column("label:ferv39k7"))["surprise"] == 638


def test_mafw_folds(shared_data: Path) -> None:
    clips = corpora.load("mafw", shared_data / "face_video_splits" / "MAFW")
    assert len(clips) == 9172
    assert Counter(clips.column("fold")) == {1: 1839, 2: 1837, 3: 1833, 4: 1832, 5: 1831}
    assert Counter(clips.column("label:mafw11"))["contempt"] == 236
    assert corpora.check("mafw", shared_data / "face_video_splits" / "MAFW") == []


def test_a_test_list_used_for_training_is_found(shared_data: Path, tmp_path: Path) -> None:
    for folder, name in (("DFEW", "dfew"), ("MAFW", "mafw")):
        source, root = shared_data / "face_video_splits" / folder, tmp_path / folder
        shutil.copytree(source, root, copy_function=shutil.copyfile)
        tests = sorted(root.rglob("*test*_1.csv")) or sorted(root.rglob("set_1/test.csv"))
        trains = sorted(root.rglob("*train*_1.csv")) or sorted(root.rglob("set_1/train.csv"))
        for path in (trains[0], trains[0].parent, tests[0].parent):
            path.chmod(0o755)
        trains[0].write_bytes(tests[0].read_bytes())
        problems = corpora.check(name, root)
        assert any("in the train and the test list of fold 1" in p.reason for p in problems)
        with pytest.raises(CorpusError, match="fold 1"):
            corpora.load(name, root)


def test_crema_d_lists_give_the_folds_of_the_rule(shared_data: Path) -> None:
    root = shared_data / "audio_visual_splits" / "crema-d"
    clips = corpora.load("crema_d", root)
    assert len(clips) == 7437
    assert len(set(clips.column("group:subject"))) == 91
    assert Counter(clips.column("fold")) == {1: 1463, 2: 1470, 3: 1475, 4: 1474, 5: 1555}
    assert not set(clips.column("id")) & set(crema_d.BROKEN)
    fold = dict(zip(clips.column("id"), clips.column("fold"), strict=True))
    label = dict(zip(clips.column("id"), clips.column("label:cremad6"), strict=True))
    files = Files(root)
    for number in range(1, 6):
        (ref,) = files.match(f"split0{number}/test.csv")
        lines = [line.split(" ") for line in files.text(ref).splitlines()]
        listed = {wav.rpartition("/")[2][:-4]: int(code) for _, wav, code in lines}
        assert {name for name, f in fold.items() if f == number} == set(listed)
        assert all(list(crema_d.EMOTIONS.values())[code] == label[name] for name, code in listed.items())


def test_ravdess_lists_give_the_folds_of_the_rule(shared_data: Path) -> None:
    files = Files(shared_data / "audio_visual_splits" / "ravdess")
    for number in range(1, 7):
        (ref,) = files.match(f"split0{number}/test.csv")
        lines = [line.split(" ") for line in files.text(ref).splitlines()]
        assert len(lines) == 240
        assert {(int(wav[-6:-4]) - 1) // 4 + 1 for _, wav, _ in lines} == {number}
        assert all(int(wav.rpartition("/")[2].split("-")[2]) - 1 == int(code) for _, wav, code in lines)


def test_emoset_vocabularies(shared_data: Path) -> None:
    table = emoset.attributes(Files(shared_data / "emoset"))
    assert {name: len(words) for name, words in table.items()} == {
        "emotion": 8, "brightness": 11, "colorfulness": 11, "scene": 254, "object": 409, "facial_expression": 6,
        "human_action": 264,
    }  # fmt: skip
    assert tuple(table["emotion"]) == corpora.info("emoset").labels["mikels8"]


def test_emoset_reads_lists_with_and_without_ids(tmp_path: Path) -> None:
    corpora.write_tiny("emoset", tmp_path)
    rows = json.loads((tmp_path / "val.json").read_text())
    (tmp_path / "val.json").write_text(json.dumps([[r[0], r[2], r[3]] for r in rows]))
    pictures = corpora.load("emoset", tmp_path)
    assert len(pictures) == 24
    row = pictures.row(9)
    assert (row["meta:scene"], row["meta:object"], row["meta:brightness"]) == ("beach", ["Boat", "Person"], 0.5)
    assert pictures.row(0)["meta:scene"] is None
