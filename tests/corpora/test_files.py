"""Folders, archives and archives in folders are one and the same to a reader."""

from __future__ import annotations

import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora import tar
from affectus.corpora.files import Files
from affectus.errors import CorpusError


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    corpora.write_tiny("ferplus", root)
    return root


def _pack(plain: Path, target: Path, parts: tuple[str, ...], mode: str, prefix: str = "") -> Path:
    if mode == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for part in parts:
                for file in sorted((plain / part).iterdir()):
                    packed.write(file, f"{prefix}{part}/{file.name}")
    else:
        with tarfile.open(target, mode) as archive:
            for part in parts:
                archive.add(plain / part, prefix + part)
    return target


@pytest.mark.parametrize(
    ("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.xz", "w:xz"), ("zip", "zip")]
)
def test_archive_as_root_or_in_a_folder(plain: Path, tmp_path: Path, suffix: str, mode: str) -> None:
    path = _pack(plain, tmp_path / f"FER2013Test.{suffix}", ("FER2013Test",), mode)
    reference = corpora.load("ferplus", plain, split="test")
    for root in (path, tmp_path):
        faces = corpora.load("ferplus", root)
        assert faces.column("id") == reference.column("id")
        assert set(faces.column("split")) == {"test"}
        assert faces.table.drop_columns("media").equals(reference.table.drop_columns("media"))
        assert np.array_equal(faces.image(3), reference.image(3))
        assert all(np.array_equal(picture, reference.image(row)) for row, picture in faces.iter_images())


def test_every_place_a_user_may_point_at(plain: Path, tmp_path: Path) -> None:
    nested = _pack(plain, tmp_path / "all.tar", ("FER2013Train", "FER2013Valid"), "w", "some/where/")
    assert len(corpora.load("ferplus", plain / "FER2013Valid", split="valid")) == 8
    files = Files(nested)
    assert len(files.match("FER2013*/label.csv")) == 2
    assert files.match("fer2013valid/LABEL.csv") == ["all.tar::some/where/FER2013Valid/label.csv"]


def test_an_archive_beside_its_unpacked_folder_counts_once(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "data")
    _pack(plain, tmp_path / "data" / "FER2013Test.tar", ("FER2013Test",), "w")
    faces = corpora.load("ferplus", tmp_path / "data")
    assert len(faces) == 24
    assert "second copy" in faces.problems[0].reason


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_dialects_and_long_names(tmp_path: Path, form: int) -> None:
    long = "d" * 60 + "/" + "e" * 60 + "/" + ("f" * 90 if form == tarfile.USTAR_FORMAT else "ü" * 140) + ".txt"
    names = ["a.txt", long, "b/c.txt"]
    source = tmp_path / "source.txt"
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
        for k, name in enumerate(names):
            source.write_text(f"content {k}")
            archive.add(source, name)
    files = Files(tmp_path / "x.tar")
    assert list(files.logical) == [f"x.tar::{n}" for n in names]
    assert [files.text(r) for r in files.logical] == ["content 0", "content 1", "content 2"]
    with tarfile.open(tmp_path / "x.tar") as archive:
        expected = {m.name: (m.offset_data, m.size) for m in archive}
    with (tmp_path / "x.tar").open("rb") as raw:
        assert tar.index(raw) == (expected, "")


def test_wrong_checksum_is_noticed(tmp_path: Path, plain: Path) -> None:
    path = _pack(plain, tmp_path / "FER2013Test.tar", ("FER2013Test",), "w")
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        header = archive.getmembers()[4].offset
    data[header + 3] ^= 0x20
    path.write_bytes(data)
    assert "wrong header checksum" in corpora.check("ferplus", path)[0].reason


def test_references_outside_the_listing_are_refused(plain: Path) -> None:
    files = Files(plain)
    with pytest.raises(CorpusError, match="not among the files"):
        files.read("../../etc/passwd")
    assert files.beside("FER2013Test/label.csv", "../FER2013Train/label.csv") is None


def test_loops_of_links_end(tmp_path: Path) -> None:
    corpora.write_tiny("oasis", tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert len(corpora.load("oasis", tmp_path / "a")) == 6


def test_local_path_of_a_member(plain: Path, tmp_path: Path) -> None:
    path = _pack(plain, tmp_path / "FER2013Test.tar.gz", ("FER2013Test",), "w:gz")
    packed, folder = corpora.load("ferplus", path), corpora.load("ferplus", plain, split="test")
    with packed.local(2) as a, folder.local(2) as b:
        assert a.suffix == ".png"
        assert a.read_bytes() == b.read_bytes()
    assert not a.exists()
    assert b.exists()


def test_sound_is_resampled_and_cut(tmp_path: Path) -> None:
    corpora.write_tiny("ravdess", tmp_path)
    speech = corpora.load("ravdess", tmp_path)
    assert len(speech) == 120
    assert len(speech.audio(0)) == 1600
    assert abs(len(speech.audio(0, rate=8000)) - 800) <= 1
    assert speech.audio(0).dtype == np.float32


def test_a_corpus_travels_to_another_process(plain: Path, tmp_path: Path) -> None:
    path = _pack(plain, tmp_path / "FER2013Test.tar.gz", ("FER2013Test",), "w:gz")
    faces = corpora.load("ferplus", path)
    again = pickle.loads(pickle.dumps(faces))
    assert again.table.equals(faces.table)
    assert np.array_equal(again.image(1), faces.image(1))


def test_huge_compressed_archives_are_left_alone(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(plain / "FER2013Test", tmp_path / "FER2013Test")
    _pack(plain, tmp_path / "FER2013Train.tar.gz", ("FER2013Train",), "w:gz")
    monkeypatch.setattr("affectus.corpora.files._LIMIT", 100)
    faces = corpora.load("ferplus", tmp_path)
    assert set(faces.column("split")) == {"test"}
    assert "too big to be read in place" in faces.problems[0].reason


def test_held_out_parts_with_other_items_than_anywhere_else(tmp_path: Path) -> None:
    """Only the published names decide, never counts: parts that hold other actors, pictures, rows or splits."""
    for name in ("ravdess", "oasis", "goemotions", "emobank"):
        corpora.write_tiny(name, tmp_path / name)
    for actor in (1, 2):
        for file in sorted((tmp_path / "ravdess" / f"Actor_0{actor}").iterdir()):
            target = (
                tmp_path / "held" / f"Actor_{18 + actor}" / file.name.replace(f"-0{actor}.wav", f"-{18 + actor}.wav")
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    with tarfile.open(tmp_path / "Audio_Speech_Actors_19-24.tar", "w") as archive:
        archive.add(tmp_path / "held", ".")
    speech = corpora.load("ravdess", tmp_path / "Audio_Speech_Actors_19-24.tar", split="all")
    assert set(speech.column("speaker")) == {"actor19", "actor20"}
    assert set(speech.column("fold")) == {5}

    rows = (tmp_path / "oasis" / "OASIS.csv").read_text().splitlines()
    (tmp_path / "oasis" / "OASIS.csv").write_text("\n".join([rows[0], *rows[4:]]))
    with tarfile.open(tmp_path / "OASIS_test.tar", "w") as archive:
        archive.add(tmp_path / "oasis", "")
    pictures = corpora.load("oasis", tmp_path / "OASIS_test.tar", split="all")
    assert pictures.column("id") == ["Angry face 2", "Zebra 1", "Zebra 2"]

    for file in ("train.tsv", "dev.tsv", "labels.txt"):
        (tmp_path / "goemotions" / file).unlink()
    assert len(corpora.load("goemotions", tmp_path / "goemotions", split="test")) == 12

    rows = (tmp_path / "emobank" / "emobank.csv").read_text().splitlines()
    kept = [rows[0], *(row for row in rows if ",test," in row)]
    (tmp_path / "emobank" / "emobank.csv").write_text("\n".join(kept))
    for side in ("reader.csv", "writer.csv"):
        (tmp_path / "emobank" / side).unlink()
    sentences = corpora.load("emobank", tmp_path / "emobank", split="test")
    assert len(sentences) == 4
    with pytest.raises(CorpusError, match="has no split 'train'"):
        corpora.load("emobank", tmp_path / "emobank", split="train")


def test_tab_separated_lines_keep_their_numbers_and_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes('\ufeffid\ttext\r\n\r\n1\tsay "what\n\n2\t\n'.encode())
    files = Files(tmp_path)
    assert list(files.cells("a.tsv")) == [(1, ["id", "text"]), (3, ["1", 'say "what']), (5, ["2", ""])]


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name, english\nx,y\n")
    ((line, row),) = Files(tmp_path).records("a.csv")
    assert (line, row["name"], row["english"], row.get("chinese")) == (2, "x", "y", None)
    with pytest.raises(CorpusError, match=r"^a\.csv:1: has no column 'chinese' \(its columns are 'name', 'english'\)"):
        row["chinese"]


@pytest.mark.parametrize("file", ["gt-eng.csv", "final-EMER-reason.csv"])
def test_unknown_columns_of_a_corpus_are_a_clear_error(tmp_path: Path, file: str) -> None:
    root = corpora.write_tiny("emer", tmp_path)
    path = root / file
    header, _, rest = path.read_text(encoding="utf-8").partition("\n")
    path.write_text(header.upper() + "\n" + rest, encoding="utf-8")
    with pytest.raises(CorpusError, match=rf"{file}:1: has no column"):
        corpora.load("emer", root)
    assert any("has no column" in problem.reason for problem in corpora.check("emer", root))
