"""What is peculiar to corpora of clips with free words, layers or conflicts, and to lists of a million posts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora.files import Files
from affectus.corpora.readers import videomind
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda name: corpora.write_tiny(name, tmp_path / name)


def test_mer2025_joins_the_tracks_by_clip(make: Make) -> None:
    root = make("mer2025")
    clips = {row["id"]: row for row in corpora.load("mer2025", root).table.to_pylist()}
    assert clips["sample_00000002"]["label:mer6"] == "worried"
    assert clips["sample_00000006"]["labels:openset"] == ["happy", "joyful"]
    assert clips["sample_00000006"]["meta:reason"] == "She laughs aloud."
    assert clips["sample_00000008"]["labels:openset"] == ["angry", "mad"]
    assert (clips["sample_00000009"]["split"], clips["sample_00000009"]["meta:lists"]) == (
        "test",
        ["track1_test", "candidate"],
    )
    assert clips["sample_00000010"]["split"] is None
    Tiny(root).table("track_all_candidates.csv", ("name",), [("sample_00000001",), ("sample_00000009",)])
    assert "1 candidates of the test are in training lists, such as sample_00000001" in [
        p.reason for p in corpora.check("mer2025", root)
    ]


def test_ca_mer_labels_fit_their_subset(make: Make) -> None:
    root = make("ca_mer")
    clips = corpora.load("ca_mer", root)
    assert clips.column("meta:subset") == ["video-aligned"] * 2 + ["audio-aligned"] * 2 + ["consistent"] * 2
    assert clips.column("label:merr9")[2] == "worry"
    assert clips.column("meta:audio_labels")[2] == ["worry"]
    items = json.loads((root / "video-aligned.json").read_text())
    items[0]["audio_label"] = "happy"
    (root / "video-aligned.json").write_text(json.dumps(items))
    assert any("do not fit video-aligned" in p.reason for p in corpora.check("ca_mer", root))
    (root / "consistent.json").unlink()
    assert any(p.file == "consistent.json" and "missing" in p.reason for p in corpora.check("ca_mer", root))


def test_ca_mer_accepts_lists_of_words_and_paths_of_clips(tmp_path: Path) -> None:
    item = {
        "file_name": "sample_00000007.avi",
        "video": "video-aligned/sample_00000007.avi",
        "gt": "['angry', 'worried']",
    }
    Tiny(tmp_path).json("video-aligned.json", [item, {"label": "sad"}])
    with pytest.raises(CorpusError, match=r"video-aligned\.json:2: item has no file_name"):
        corpora.load("ca_mer", tmp_path)
    row = corpora.load("ca_mer", tmp_path, strict=False).row(0)
    assert (row["id"], row["label:merr9"], row["labels:merr9"]) == (
        "video-aligned/sample_00000007",
        None,
        ["angry", "worry"],
    )
    assert row["meta:video_labels"] is None


def test_emovid_manifest_and_folders(make: Make, tmp_path: Path) -> None:
    root = make("emovid")
    clips = corpora.load("emovid", root)
    assert clips.column("group:source")[:2] == ["film1", "film1"]
    assert clips.media(2) == "animation/amusement_0002.mp4"
    text = (root / "manifest.csv").read_text()
    (root / "manifest.csv").write_text(text.replace("fear,", "happy,"))
    with pytest.raises(CorpusError, match=r"manifest\.csv:2"):
        corpora.load("emovid", root)
    tiny = Tiny(tmp_path / "folders")
    tiny.video("stickers/awe/1.mp4", "awe", 0.2)
    tiny.video("movies/fear/1.mp4", "fear", 0.2)
    rows = corpora.load("emovid", tmp_path / "folders").table.to_pylist()
    assert {(r["id"], r["meta:type"], r["label:mikels8"]) for r in rows} == {
        ("sticker/awe/1.mp4", "sticker", "awe"),
        ("movie/fear/1.mp4", "movie", "fear"),
    }


def test_videomind_layers_and_the_rule_of_intents(make: Make, tmp_path: Path) -> None:
    test = corpora.load("videomind", make("videomind"), "test")
    assert test.row(0)["meta:factual_ocr"] == "FINAL"
    assert test.row(0)["meta:factual_asr"] is None
    assert test.row(1)["meta:tags_place"] == ["pool"]
    parsed = videomind.parse_intent("Phelps aims to maintain his lead in the race by focusing on his stroke.")
    assert parsed == {
        "subject": "Phelps",
        "intent": "maintain his lead in the race",
        "action": "focusing on his stroke",
    }
    assert videomind.parse_intent("The video primarily aims to teach by showing steps")["intent"] == "teach"  # type: ignore[index]
    assert videomind.parse_intent("Phelps aims to win") is None
    flat = {"id": "a", "Factual_Visual": "A dog.", "Abstract": "A dog runs.", "Intent_Uploader": "To amuse."}
    Tiny(tmp_path / "flat").lines("clips_test.jsonl", [json.dumps(flat)])
    row = corpora.load("videomind", tmp_path / "flat").row(0)
    assert (row["text"], row["meta:factual_visual"], row["split"]) == ("A dog runs.", "A dog.", "test")
    assert any("breaks the rule" in p.reason for p in corpora.check("videomind", tmp_path / "flat"))


def test_videomind_faults_are_flagged(make: Make) -> None:
    root = make("videomind")
    items = json.loads((root / "videomind_test.json").read_text())
    items[0]["abstract"] = "None"
    items[0]["factual"]["asr"] = " "
    items[1]["intent"]["character"] = "He wants to win."
    (root / "videomind_test.json").write_text(json.dumps([*items, items[1]]))
    said = [str(problem) for problem in corpora.check("videomind", root)]
    for fault in (
        "videomind_test.json:1: asr is ' '; what is absent should be written \"None\"",
        "test_00000: a layer is empty",
        "test_00001: intent of the character breaks the rule: 'He wants to win.'",
        "second copy of item test_00001",
    ):
        assert sum(fault in line for line in said) == 1, fault
    assert len(said) == 5  # and the test part is not as large as published


def test_face_lists_by_name_and_by_number(make: Make, tmp_path: Path) -> None:
    faces = corpora.load("affectnet_mini", make("affectnet_mini"))
    assert faces.column("label:ekman8") == list(faces.labels("label:ekman8"))
    assert faces.image(0).shape == (48, 48, 3)
    tiny = Tiny(tmp_path / "names")
    tiny.table(
        "labels_all.csv", ("filepath", "class_name", "y"), [("/data/a/b.png", "happy", 9), ("../../etc", "sad", 1)]
    )
    tiny.image("a/b.png")
    rows = corpora.load("affectnet_mini", tmp_path / "names").table.to_pylist()
    assert [(r["label:ekman8"], r["media"]) for r in rows] == [("happiness", None), ("sadness", None)]
    tiny.table("labels_all.csv", ("filepath", "y"), [("a/b.png", 3)])
    with pytest.raises(CorpusError, match="numbers only"):
        corpora.load("affectnet_mini", tmp_path / "names")
    tiny.json("class_map_fer.json", {"3": "Happy"})
    assert corpora.load("affectnet_mini", tmp_path / "names").column("label:ekman8") == ["happiness"]


def _posts(folder: Path, posts: list[tuple[str, ...]]) -> Path:
    tiny = Tiny(folder)
    tiny.table("emotion_categories.csv", ("id", "name"), [(1, "Fear"), (2, "Happiness")])
    emotions = [(1, 1, "Scared", "true"), (2, 2, "Glad", "true"), (3, 9, "Odd", "true")]
    tiny.table("emotions.csv", ("id", "emotion_category_id", "name", "enabled"), emotions)
    tiny.table("vents.csv", ("emotion_id", "user_id", "created_at", "text"), posts)
    return folder


def test_vent_posts_with_line_breaks_and_without_category(tmp_path: Path) -> None:
    posts = [("1", "ann", "2017", 'Two\nlines, "quoted"'), ("3", "bob", "2017", "no group"), ("2", "ann", "2018", "")]
    rows = corpora.load("vent", _posts(tmp_path, posts)).table.to_pylist()
    assert [(r["id"], r["text"], r["meta:emotion"]) for r in rows] == [
        ("0", 'Two\nlines, "quoted"', "Scared"),
        ("2", "", "Glad"),
    ]
    assert rows[0]["group:writer"] == rows[1]["group:writer"] != "ann"


def test_vent_is_read_in_pieces_from_folders_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tarfile
    import zipfile

    posts = [(str(k % 2 + 1), f"user{k % 7}", "2017-01-01", f"post {k} " + "word " * 200) for k in range(9000)]
    folder = _posts(tmp_path / "vent", posts)
    with tarfile.open(tmp_path / "vent.tar", "w") as tar, zipfile.ZipFile(tmp_path / "vent.zip", "w") as packed:
        for file in folder.iterdir():
            tar.add(file, f"vent/{file.name}")
            packed.write(file, f"vent/{file.name}", zipfile.ZIP_DEFLATED)
    whole = Files.read

    def read(self: Files, ref: str) -> bytes:
        assert not ref.endswith("vents.csv"), "the posts must not be read at once"
        return whole(self, ref)

    monkeypatch.setattr(Files, "read", read)
    for root in (folder, tmp_path / "vent.tar", tmp_path / "vent.zip"):
        table = corpora.load("vent", root).table
        assert table["text"].num_chunks > 1
        assert table["id"].to_pylist() == [str(k) for k in range(9000)]
        assert table["text"][8999].as_py().startswith("post 8999 ")
        assert np.unique(table["group:writer"].to_pylist()).size == 7


def test_vent_names_unknown_emotions_and_broken_rows(tmp_path: Path) -> None:
    root = _posts(tmp_path, [("1", "ann", "2017", "a"), ("8", "bob", "2017", "b")])
    with pytest.raises(CorpusError, match=r"vents\.csv:3: unknown emotion '8'"):
        corpora.load("vent", root)
    (root / "vents.csv").write_text("emotion_id,user_id,created_at,text\n1,ann,2017,a\n2,bob\n2,cy,2018,c\n")
    assert corpora.load("vent", root, strict=False).column("text") == ["a", "c"]
    with pytest.raises(CorpusError, match="2 cells instead of 4"):
        corpora.load("vent", root)
    (root / "vents.csv").write_text("emotion_id,text\n1,a\n")
    with pytest.raises(CorpusError, match=r"vents\.csv: malformed"):
        corpora.load("vent", root)
