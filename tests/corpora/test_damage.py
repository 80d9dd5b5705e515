"""`check` names the damage done to a copy of each real corpus, and `load` refuses what would spoil the table."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from affectus import corpora
from affectus.errors import CorpusError


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(p for p in target.rglob("*") if p.is_dir())):
        folder.chmod(0o755)
    return target


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        text = path.read_bytes().decode("utf-8")
        assert old in text
        path.write_bytes(text.replace(old, new, 1).encode("utf-8"))

    return damage


def _cut(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2] = b"\xff\xfe"
    path.write_bytes(data)


def _remove(path: Path) -> None:
    path.unlink()


DFEW_LIST = "EmoLabel_DataSplit/test(single-labeled)/test_set_1.csv"
MAFW_LIST = "anno/single/no_caption/set_1/test.csv"
CREMA = "audio_visual/split01/test.csv"
CASES = [
    ("goemotions", "goemotions", "train.tsv", _edit("\t27\t", "\t99\t"), "train.tsv:1: unknown label '99'"),
    ("goemotions", "goemotions", "labels.txt", _edit("amusement", "amusment"), "amusement, amusment"),
    ("goemotions", "goemotions", "train.tsv", _garble, "0xff is not utf-8"),
    ("emobank", "emobank", "emobank.csv", _edit("train,3.0,3.0,3.2", "train,3.0,x,3.2"), "A is 'x'"),
    ("emobank", "emobank", "emobank.csv", _edit("train,3.0,3.0,3.2", "train,30,3.0,3.2"), "V is 30"),
    ("emobank", "emobank", "emobank.csv", _remove, "no emobank.csv"),
    ("meld", "meld", "dev_sent_emo.csv", _edit("sadness", "sadnes5"), "dev_sent_emo.csv:2: 'sadnes5'"),
    ("meld", "meld", "dev_sent_emo.csv", _edit("00:20:57,256", "noon"), "times 'noon'"),
    ("emorynlp", "emorynlp", "emorynlp_dev_final.csv", _edit("['Rachel Green']", "Rachel Green"), "speaker is no list"),
    ("emocontext", "emocontext", "valid.txt", _edit("\tangry\r\n", "\tcross\r\n"), "valid.txt:2: 'cross'"),
    ("semeval2018", "semeval2018_ec", "2018-E-c-En-dev.txt", _edit("\t1\t0", "\t2\t0"), "2018-E-c-En-dev.txt:2"),
    ("wrime", "wrime", "dev.tsv", _edit("Writer_Trust", "Writer_Tru"), "'Writer_Trust' is missing"),
    ("wrime", "wrime", "dev.tsv", _edit("\tdev\t0\t3", "\tdev\t0\t7"), "dev.tsv:2: Writer_Sadness is 7"),
    ("warriner", "warriner", "Ratings_Warriner_et_al.csv", _edit("6.26", "62.6"), "V.Mean.Sum is 62.6"),
    ("emer", "emer", "gt-eng.csv", _edit(",angry,", ",angri,"), "gt-eng.csv:2"),
    ("ov_merd", "open_vocabulary/mer2024", "check-openset.csv", _edit("\"['pleas", "\"'pleas"), "not a list of words"),
    ("emotiontalk", "emotiontalk", "mm_label.npz", _cut(0.5), "not a whole npz file"),
    ("emotiontalk", "emotiontalk", "mm_label.npz", _remove, "no mm_label.npz"),
    ("cmu_mosi", "open_vocabulary/labels", "cmumosi_label.npz", _cut(0.9), "not a whole npz file"),
    ("charades_sta", "charades_sta", "charades_test.json", _cut(0.5), "charades_test.json:1: not JSON"),
    ("charades_sta", "charades_sta", "charades_test.json", _edit("[24.3, 30.4], ", ""), "3MSZA: spans and sentences"),
    (
        "charades_cg",
        "charades_sta",
        "Charades-CG_novel_word.json",
        _cut(0.5),
        "Charades-CG_novel_word.json:1: not JSON",
    ),
    ("charades_cd", "charades_sta", "Charades-CD_charades_test_ood.json", _cut(0.9), "test_ood.json:1: not JSON"),
    ("cmu_mosei", "open_vocabulary/labels", "cmumosei_label.npz", _cut(0.5), "not a whole npz file"),
    ("dfew", "face_video_splits/DFEW", DFEW_LIST, _edit("00001,1", "00001,9"), "test_set_1.csv:2: no label has"),
    ("dfew", "face_video_splits/DFEW", DFEW_LIST, _remove, "fold 1: has no test list"),
    ("ferv39k", "face_video_splits/FERV39K", "Annotation/test.csv", _edit("0118,3", "0118,7"), "test.csv:2: happ"),
    ("mafw", "face_video_splits/MAFW", MAFW_LIST, _edit("00025,0", "00025,x"), "set_1/test.csv:2: "),
    (
        "crema_d",
        "audio_visual_splits/crema-d",
        CREMA,
        _edit("AudioWAV/1001_DFA_ANG", "AudioWAV/1001_DFA_ANY"),
        "is not actor_",
    ),
    ("oasis", "oasis", "OASIS_train.tar", _cut(0.5), "archive is cut off within"),
    ("ravdess", "ravdess", "Audio_Speech_Actors_01-18.tar", _cut(0.5), "archive is cut off within"),
    ("ferplus", "ferplus", "FER2013Valid.tar.gz", _cut(0.5), "compressed data is damaged or cut off"),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "folder", "file", "damage", "named"), CASES)
def test_check_names_the_damage(
    shared_data: Path, tmp_path: Path, name: str, folder: str, file: str, damage: Callable[[Path], None], named: str
) -> None:
    if file.endswith((".tar", ".gz")):
        root = tmp_path / "copy"
        root.mkdir()
        shutil.copyfile(shared_data / folder / file, root / file)
    else:
        root = _copy(shared_data / folder, tmp_path / "copy")
    damage(root / file)
    problems = [str(p) for p in corpora.check(name, root, decode=False)]
    assert any(named in p for p in problems), problems[:5]
    with pytest.raises(CorpusError):
        corpora.load(name, root)


@pytest.mark.corpus
def test_a_list_cut_at_a_line_end_shows_in_the_counts(shared_data: Path, tmp_path: Path) -> None:
    root = _copy(shared_data / "goemotions", tmp_path / "copy")
    whole = (root / "dev.tsv").read_bytes().splitlines(keepends=True)
    (root / "dev.tsv").write_bytes(b"".join(whole[:-7]))
    problems = [str(p) for p in corpora.check("goemotions", root, decode=False)]
    assert problems == ["goemotions: valid holds 5419 items, published are 5426"]


@pytest.mark.corpus
def test_damaged_members_are_named(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ravdess" / "Audio_Speech_Actors_01-18.tar"
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, members=[m for m in archive if m.name.startswith("Actor_03")], filter="data")
    first, second, third = sorted((tmp_path / "Actor_03").glob("*.flac"))[:3]
    first.write_bytes(b"")
    second.write_bytes(b"not sound at all")
    third.rename(third.with_name("clip.flac"))
    problems = {p.file: str(p) for p in corpora.check("ravdess", tmp_path)}
    assert "empty file (0 bytes)" in problems[f"Actor_03/{first.name}"]
    assert "content is not FLAC" in problems[f"Actor_03/{second.name}"]
    assert "seven two-digit numbers" in problems["Actor_03/clip.flac"]
    assert "1 of 60 speech recordings missing" in problems["Actor_03"]


def test_missing_and_damaged_pictures(tmp_path: Path) -> None:
    corpora.write_tiny("ferplus", tmp_path)
    corpora.write_tiny("oasis", tmp_path / "oasis")
    gone = tmp_path / "FER2013Test" / "fer0020003.png"
    gone.unlink()
    cut = tmp_path / "FER2013Test" / "fer0020004.png"
    cut.write_bytes(cut.read_bytes()[:300])
    problems = {p.file: p for p in corpora.check("ferplus", tmp_path)}
    assert problems["fer0020003"].reason == "listed in the annotations, but its file is missing"
    assert problems["FER2013Test/fer0020004.png"].reason == "PNG is cut off"
    faces = corpora.load("ferplus", tmp_path)
    assert len(faces) == 23
    assert [p.file for p in faces.problems] == ["fer0020003"]
    jpeg = tmp_path / "oasis" / "images" / "Acorns 1.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:-400])
    assert any(p.reason == "JPEG is cut off" for p in corpora.check("oasis", tmp_path / "oasis"))


def test_a_malformed_row_can_be_left_out(tmp_path: Path) -> None:
    corpora.write_tiny("goemotions", tmp_path)
    with (tmp_path / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("only text\nwrong label\t28\tx1\n")
    with pytest.raises(CorpusError, match=r"test\.tsv:13"):
        corpora.load("goemotions", tmp_path)
    comments = corpora.load("goemotions", tmp_path, strict=False)
    assert len(comments) == 36
    assert [(p.file, p.row) for p in comments.problems] == [("test.tsv", 13), ("test.tsv", 14)]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_that_point_outside_are_refused(tmp_path: Path, kind: str) -> None:
    corpora.write_tiny("oasis", tmp_path / "plain")
    path = tmp_path / f"OASIS.{kind}"
    files = [p for p in (tmp_path / "plain").rglob("*") if p.is_file()]
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            for file in files:
                archive.add(file, file.relative_to(tmp_path / "plain").as_posix())
            stray = tarfile.TarInfo("../../etc/cron.d/evil")
            stray.size = 4
            archive.addfile(stray, io.BytesIO(b"evil"))
    else:
        with zipfile.ZipFile(path, "w") as packed:
            for file in files:
                packed.write(file, file.relative_to(tmp_path / "plain").as_posix())
            packed.writestr("../../etc/cron.d/evil", "evil")
    problems = corpora.check("oasis", path)
    assert any("points outside the archive" in p.reason for p in problems)
    with pytest.raises(CorpusError, match="points outside"):
        corpora.load("oasis", path)
    assert len(corpora.load("oasis", path, strict=False)) == 6


def test_no_such_folder_and_wrong_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        corpora.load("meld", tmp_path / "absent")
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(CorpusError, match="neither a folder nor"):
        corpora.load("meld", tmp_path / "note.txt")
    (tmp_path / "OASIS.tar").write_bytes(b"")
    assert any("archive is empty" in p.reason for p in corpora.check("oasis", tmp_path / "OASIS.tar"))
