"""What is peculiar to single corpora, on tiny folders in their published layouts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.files import Files
from affectus.corpora.readers import fer2013
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda name: corpora.write_tiny(name, tmp_path / name)


def _load(make: Make, name: str) -> Corpus:
    return corpora.load(name, make(name))


def test_rafdb_numbers_from_one_and_numbered_folders(make: Make, tmp_path: Path) -> None:
    faces = _load(make, "rafdb")
    assert faces.split("test").column("label:rafdb7") == list(faces.labels("label:rafdb7"))
    assert faces.media(0).endswith("train_00001_aligned.jpg")
    tiny = Tiny(tmp_path / "sorted")
    for code in range(1, 8):
        tiny.image(f"train/{code}/train_{code:05d}_aligned.jpg")
    assert corpora.load("rafdb", tmp_path / "sorted").column("label:rafdb7")[4] == "sadness"
    (tmp_path / "rafdb" / "basic" / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 8\n")
    with pytest.raises(CorpusError, match=r"list_patition_label\.txt:1: no label has the number '8'"):
        corpora.load("rafdb", tmp_path / "rafdb")


def test_affectnet_three_releases(make: Make, tmp_path: Path) -> None:
    first = _load(make, "affectnet")
    assert first.row(8)["label:affectnet8"] is None
    assert first.row(8)["dim:valence"] is None
    assert len(first.row(0)["meta:landmarks"]) == 136
    tiny = Tiny(tmp_path / "later")
    for k, name in enumerate(("11", "12")):
        tiny.image(f"train_set/images/{name}.jpg")
        for key, value in (("exp", str(k + 1)), ("val", "0.25"), ("aro", "-2")):
            path = tmp_path / "later" / "train_set" / "annotations" / f"{name}_{key}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.array(value))
    later = corpora.load("affectnet", tmp_path / "later")
    assert later.column("label:affectnet8") == ["happiness", "sadness"]
    assert (later.row(0)["dim:valence"], later.row(0)["dim:arousal"]) == (0.25, None)
    tiny = Tiny(tmp_path / "reduced")
    tiny.image("train_class/class001/a.jpg")
    tiny.image("valid_class/class008/a.jpg")
    reduced = corpora.load("affectnet", tmp_path / "reduced")
    assert reduced.column("label:affectnet8") == ["neutral", "contempt"]
    assert reduced.column("split") == ["train", "valid"]


def test_ckplus_sequences_apex_and_units(make: Make) -> None:
    people = _load(make, "ckplus")
    row = people.row(0)
    assert row["media"].endswith("_00000003.png")
    assert row["meta:first"].endswith("_00000001.png")
    assert row["meta:aus"] == ["AU4:3", "AU7"]
    assert len(people.frames(0)) == 3
    assert np.array_equal(people.frames(0)[-1], people.image(0))
    assert len(people) == 7  # the sequence without a label is left out


def test_iemocap_votes_merges_and_sessions(make: Make) -> None:
    talks = _load(make, "iemocap")
    assert Counter(talks.column("fold")) == dict.fromkeys(range(1, 6), 11)
    rows = {r["label:iemocap10"]: r for r in talks.table.to_pylist()}
    assert rows[None]["label:iemocap4"] is None
    assert (rows["excited"]["label:iemocap4"], rows["excited"]["label:iemocap6"]) == ("happy", "excited")
    order = talks.labels("votes:iemocap10")
    votes = dict(zip(order, rows["sadness"]["votes:iemocap10"], strict=True))
    assert {k: v for k, v in votes.items() if v} == {"neutral": 1.0, "sadness": 1.0, "anger": 1.0}
    assert (rows["anger"]["raw:valence"], rows["anger"]["dim:valence"]) == (2.5, -0.25)
    assert talks.row(0)["text"]
    assert talks.row(0)["speaker"] == "Ses01F"
    assert talks.row(1)["speaker"] == "Ses01M"
    assert len(talks.audio(0)) == 3200


def test_msp_improv_consensus_and_intention(make: Make) -> None:
    turns = _load(make, "msp_improv")
    assert turns.column("label:msp_improv4")[:5] == ["anger", "happiness", "neutral", "sadness", None]
    assert turns.row(0)["raw:arousal"] == 2.6
    assert set(turns.column("fold")) == {1, 2}
    assert all(turns.column("media"))


def test_sims_from_csv_and_from_the_label_archive(make: Make, tmp_path: Path) -> None:
    clips = _load(make, "ch_sims")
    assert clips.row(0)["meta:text_score"] == -0.2
    assert clips.media(1) == "Raw/video_0001/0002.mp4"
    tiny = Tiny(tmp_path / "npz")
    tiny.npz("sims_label.npz", {"test_corpus": {"video_0001_0001": {"emo": 0, "val": -0.4}}})
    tiny.table("transcription.csv", ("name", "chinese"), [("video_0001_0001", "好")])
    row = corpora.load("ch_sims", tmp_path / "npz").row(0)
    assert (row["group:video"], row["dim:sentiment"], row["text"]) == ("video_0001", -0.4, "好")


def test_fer2013_pixels(make: Make) -> None:
    root = make("fer2013")
    faces = corpora.load("fer2013", root)
    pictures = dict(fer2013.pixels(Files(root)))
    assert list(pictures) == faces.column("id")
    assert pictures["fer0000000"].shape == (48, 48)
    content = (root / "fer2013.csv").read_text().replace("Training", "Train", 1)
    (root / "fer2013.csv").write_text(content)
    with pytest.raises(CorpusError, match=r"fer2013\.csv:2"):
        corpora.load("fer2013", root)


def test_emotion6_label_is_the_largest_share_not_the_search_word(make: Make) -> None:
    root = make("emotion6")
    truth = root / "ground_truth.txt"
    truth.write_text(truth.read_text().replace("\t0.6\t", "\t0.3\t", 1).replace("\t0.4\n", "\t0.7\n", 1))
    row = corpora.load("emotion6", root).row(0)
    assert (row["label:emotion6"], row["label:emotion6_7"]) == ("anger", "neutral")


def test_abstract_votes_and_ties(make: Make) -> None:
    paintings = _load(make, "abstract")
    assert paintings.column("label:mikels8") == ["amusement", None, "sadness"]
    order = paintings.labels("votes:mikels8")
    assert paintings.row(0)["votes:mikels8"][order.index("contentment")] == 3


def test_dfew_numbering_is_told_by_numbers_then_names(make: Make) -> None:
    root = make("dfew")
    published = dict(zip(*(corpora.load("dfew", root).column(c) for c in ("id", "label:dfew7")), strict=True))
    assert published["00001"] == "happy"
    assert len(corpora.load("dfew", root).frames(0)) == 2
    for path in sorted((root / "EmoLabel_DataSplit").rglob("set_*.csv")):
        head, *rows = path.read_text().split()
        shifted = [f"{name},{int(code) - 1}" for name, code in (row.split(",") for row in rows)]
        part = path.parent.name.partition("(")[0]
        path.with_name(f"{part}_{path.name}").write_text("\n".join([head, *shifted]))
        path.unlink()
    copied = corpora.load("dfew", root)
    assert dict(zip(*(copied.column(c) for c in ("id", "label:dfew7")), strict=True)) == published


def test_crema_d_votes_and_sentences(make: Make) -> None:
    clips = _load(make, "crema_d")
    assert Counter(clips.column("fold")) == {1: 6, 2: 6, 5: 6}
    assert clips.row(0)["meta:voice_vote"] == "A"
    assert clips.row(0)["text"] == "Don't forget a jacket"


def test_c_expr_validation_list_is_the_test_list(make: Make) -> None:
    root = make("c_expr_db")
    reasons = [p.reason for p in corpora.check("c_expr_db", root)]
    assert reasons.count("the validation list is the test list") == 5
    segments = corpora.load("c_expr_db", root)
    assert segments.row(0)["end"] - segments.row(0)["start"] == pytest.approx(2.5)
    assert segments.row(0)["text"] == "well, look at that"
    assert len(segments.audio(0)) > 0
    assert any("group:video are in several official folds" in reason for reason in reasons)


def test_dailydialog_conversation_whose_lines_disagree(make: Make) -> None:
    root = make("dailydialog")
    path = root / "train" / "dialogues_emotion_train.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + " 0", lines[1]]) + "\n")
    talks = corpora.load("dailydialog", root)
    assert [str(p) for p in talks.problems] == [
        "train/dialogues_train.txt:1: 4 turns, 5 emotions (the conversation is left out)"
    ]
    assert len(talks.split("train")) == 5


def test_isear_broken_lines_and_empty_reports(make: Make, tmp_path: Path) -> None:
    reports = _load(make, "isear")
    assert len(reports) == 7
    assert reports.row(1)["text"] == "During the holidays we met again."
    assert set(reports.column("group:writer")) == {"1_1_1", "1_1_2"}
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "isear.csv").write_text('joy,"We won, at last."\nguilt,NO RESPONSE.\nshame,I fell.\n')
    assert corpora.load("isear", tmp_path / "pairs").column("label:isear7") == ["joy", "shame"]


def test_lamem_scores_must_agree_between_splits(make: Make) -> None:
    root = make("lamem")
    pictures = corpora.load("lamem", root)
    assert Counter(pictures.column("split")) == {"train": 3, "valid": 1, "test": 1}
    assert pictures.row(0)["meta:split_5"] == "train"
    path = root / "splits" / "test_3.txt"
    path.write_text(path.read_text().replace(" 0.", " 0.9"))
    with pytest.raises(CorpusError, match="another score"):
        corpora.load("lamem", root)


def test_vce_label_is_the_strongest(make: Make) -> None:
    videos = _load(make, "vce")
    scores, order = videos.array("scores:vce27"), videos.labels("scores:vce27")
    assert [order[k] for k in scores.argmax(1)] == videos.column("label:vce27")
    assert all(len(top) == 3 for top in videos.column("labels:vce27"))


def test_raer_students_and_boxes(make: Make) -> None:
    clips = _load(make, "raer")
    assert clips.column("label:raer5")[:5] == list(clips.labels("label:raer5"))
    assert not set(clips.split("train").column("group:subject")) & set(clips.split("test").column("group:subject"))
    assert clips.row(0)["meta:body_box"] == [1.0, 2.0, 40.0, 47.0]
    assert len(clips.frames(0)) == 2


def test_charades_text_form(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.lines("charades_sta_test.txt", ["3MSZA 24.3 31.4##person turn a light on.", "3MSZA 5.0 5.0##empty."])
    tiny.table("Charades_v1_test.csv", ("id", "length"), [("3MSZA", 30.96)])
    sentences = corpora.load("charades_sta", tmp_path)
    assert [(r["start"], r["end"], r["text"]) for r in sentences.table.to_pylist()] == [
        (24.3, 30.96, "person turn a light on.")
    ]


def test_class_folders_with_one_more_level(make: Make) -> None:
    pictures = _load(make, "unbiased_emo")
    assert len(pictures) == 18
    assert pictures.row(0)["id"].count("/") == 3


def test_same_seed_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        corpora.write_tiny("oasis", tmp_path / folder, seed=3)
    corpora.write_tiny("oasis", tmp_path / "c", seed=4)
    content = [(tmp_path / f / "images" / "Zebra 1.jpg").read_bytes() for f in "abc"]
    assert content[0] == content[1] != content[2]


def test_mer2023_csv_and_archive_numbering(make: Make, tmp_path: Path) -> None:
    clips = _load(make, "mer2023")
    assert clips.media(0) == "train/sample_00000000.avi"
    tiny = Tiny(tmp_path / "npz")
    parts = {
        "train_corpus": {"sample_00000001": {"emo": 1, "val": 0.5}},
        "test1_corpus": {"sample_00000002": {"emo": 4, "val": -10}},
    }
    tiny.npz("label-6way.npz", parts)
    rows = corpora.load("mer2023", tmp_path / "npz").table.to_pylist()
    assert [(r["label:mer6"], r["split"], r["meta:part"], r["raw:valence"]) for r in rows] == [
        ("angry", "train", "train", 0.5),
        ("worried", "test", "MER-MULTI", None),
    ]


@pytest.mark.parametrize("column", ["discrete", "emo"])
@pytest.mark.parametrize("emotions", [("neutral", "Happy", "worry"), ("0", "2", "4"), (0, 2, 4.0)])
def test_mer_emotions_by_name_or_number(tmp_path: Path, column: str, emotions: tuple) -> None:
    tiny, expected = Tiny(tmp_path), ["neutral", "happy", "worried"]
    names = [f"sample_{k:08d}" for k in range(3)]
    rows = list(zip(names, emotions, strict=True))
    tiny.table("a/train-label.csv", ("name", column), rows)
    assert corpora.load("mer2023", tmp_path / "a").column("label:mer6") == expected
    tiny.npz("b/label-6way.npz", {"test1_corpus": {name: {"emo": emo, "val": -10} for name, emo in rows}})
    assert corpora.load("mer2023", tmp_path / "b").column("label:mer6") == expected
    tiny.table("c/reference-semi.csv", ("name", column), rows)
    assert corpora.load("mer2024", tmp_path / "c").column("label:mer6") == expected


@pytest.mark.parametrize("emotion", ["furious anger", "6", -1, 0.5])
def test_unknown_mer_emotions_name_file_and_row(tmp_path: Path, emotion: object) -> None:
    tiny = Tiny(tmp_path)
    tiny.npz("label-6way.npz", {"test1_corpus": {"sample_00000000": {"emo": emotion, "val": 0.0}}})
    (problem,) = [p for p in corpora.check("mer2023", tmp_path) if p.row]
    assert (problem.file, problem.row) == ("label-6way.npz", 1)
    assert str(emotion) in problem.reason


def test_word_lists_with_and_without_quotes(make: Make) -> None:
    clips = _load(make, "mer_caption_plus")
    assert clips.column("labels:openset")[1:3] == [["sad", "tired"], ["angry", "mad"]]
    assert clips.column("meta:annotation") == ["machine"] * 3 + ["human"] * 2
    assert clips.row(4)["meta:reason"] is None


def test_referring_expressions_and_boxes(make: Make) -> None:
    root = make("refcoco")
    expressions = corpora.load("refcoco", root)
    assert Counter(expressions.column("meta:part")) == {"train": 3, "val": 3, "testA": 3, "testB": 3}
    assert Counter(expressions.column("split")) == {"train": 3, "valid": 3, "test": 6}
    path = root / "data" / "annotations" / "refcoco-unc" / "instances.json"
    path.write_text(path.read_text().replace("[4.0, 5.5, 20.0, 30.0]", "[4.0, 5.5, 200.0, 30.0]", 1))
    with pytest.raises(CorpusError, match="is not within 64×64"):
        corpora.load("refcoco", root)


def test_expressions_for_several_targets_or_none(make: Make) -> None:
    root = make("grefcoco")
    expressions = corpora.load("grefcoco", root, "train")
    assert [len(boxes) for boxes in expressions.column("meta:boxes")] == [1, 2, 0]
    assert expressions.row(1)["meta:boxes"][1] == [30.0, 0.0, 34.0, 64.5]
    assert expressions.image(2).shape == (64, 64, 3)
    path = root / "data" / "annotations" / "grefcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["val"][0]["bbox"][1][0][0] = 60.0
    del content["testA"][0]["annotations"]
    path.write_text(json.dumps(content))
    problems = [(p.row, p.reason.partition(":")[0]) for p in corpora.check("grefcoco", root) if p.level == "error"]
    assert problems == [(1, "val"), (1, "testA")]


def test_artemis_escaped_names_and_histograms(make: Make, tmp_path: Path) -> None:
    reasons = _load(make, "artemis")
    assert all(reasons.column("media"))
    assert reasons.row(8)["group:painting"] == "Impressionism/édouard-manet_olympia"
    tiny = Tiny(tmp_path / "json")
    item = {
        "emotions": ["awe", "fear"], "explanations": ["It is vast.", "It is dark."],
        "image_name": "Baroque/a_b.jpg", "origin_emotion_distribution": [0, 3, 0, 0, 0, 0, 1, 0, 0],
    }  # fmt: skip
    tiny.json("artEmisX_val.json", {"12": item})
    row = corpora.load("artemis", tmp_path / "json").row(0)
    assert (row["label:artemis9"], row["split"]) == ("awe", "valid")
    assert row["dist:artemis9"][1] == 0.75


def test_vent_groups_of_leia(make: Make) -> None:
    posts = _load(make, "vent")
    assert Counter(v for v in posts.column("label:leia5") if v) == dict.fromkeys(posts.labels("label:leia5"), 1)
    assert not any("user" in writer for writer in posts.column("group:writer"))


def test_cognimuse_median_of_traces_cut_to_the_shortest(make: Make) -> None:
    films = _load(make, "cognimuse")
    row = films.row(0)
    assert (row["meta:raters"], row["meta:steps"]) == (3, 26)
    assert row["dim:valence"] == pytest.approx(-row["dim:arousal"])
    assert -0.1 < row["dim:valence"] < 0.4  # the middle rater's curve
    assert films.column("fold") == [5, 6]


def test_mer2024_tracks_share_their_clips(make: Make) -> None:
    clips = _load(make, "mer2024")
    assert len(clips) == 12
    assert len(set(clips.column("group:clip"))) == 6


def test_visualness_verdicts_need_five_of_nine(make: Make) -> None:
    sentences = _load(make, "visualness")
    assert sentences.column("meta:verdict") == ["visual", "non-visual", "neutral", "ambiguous"]
    assert sentences.row(0)["raw:visualness"] == pytest.approx(5.0)
    assert sentences.column("split") == ["train", "valid", "test", "test"]


def test_liris_accede_films_group_excerpts(make: Make) -> None:
    excerpts = _load(make, "liris_accede")
    assert excerpts.column("group:film") == ["Film0", "Film0", "Film1", "Film1"]
    assert excerpts.column("meta:set") == ["0", "1", "2", "0"]


def test_mvei_statements_and_sri_adv_questions(make: Make) -> None:
    statements = _load(make, "mvei")
    assert statements.column("meta:correct") == [True, False, True, False]
    questions = _load(make, "sri_adv")
    assert Counter(questions.column("meta:part")) == {"subjective": 4, "objective": 4}
    assert questions.row(0)["end"] == 0.2
