"""Emotion wheels: parser, own tables, published tables with their known counts and mappings, damaged files."""

from __future__ import annotations

import csv
import io
import pickle
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import LabelError
from affectus.labels import restricted, wheels

REFERENCE = {
    "happy": "happy happy joyful joy powerful joy", "joyful": "happy happy joyful joy powerful joy",
    "excited": "surprised happy joyful genius joyful manic", "relaxed": "- - peaceful joy peaceful calm",
    "calm": "happy happy peaceful joy peaceful calm", "surprised": "surprised surprised powerful fear - amazed",
    "surprise": "surprised surprised powerful fear - amazed", "angry": "mad angry mad anger mad anger",
    "frustrated": "sad sad mad sad mad disappointed", "annoyed": "mad angry mad anger mad angry",
    "worried": "scared fearful scared fear scared anxious", "helpless": "sad fearful scared - scared helpless",
    "confused": "surprised surprised scared sad scared bewildered",
    "shocked": "disgusted disgusted powerful fear - appalled", "contempt": "- angry - - - dismissive",
    "doubtful": "mad angry mad anger mad sceptical", "sad": "sad sad sad sad sad depressed",
    "lonely": "sad sad sad sad sad lonely", "embarrassed": "sad sad sad disgust sad ashamed",
    "love": "happy happy peaceful joy joyful love", "serious": "- - - sad - heavy", "neutral": "- - - - - -",
    "joyous": "- - - - - -", "resigned": "- - - - - -",
}  # fmt: skip


@pytest.fixture(scope="module")
def published(shared_data: Path) -> wheels.WheelTables:
    pytest.importorskip("openpyxl")
    return wheels.load(shared_data / "emotion_wheels")


def test_list_parser() -> None:
    assert wheels.parse_words("['happy', 'Relaxed ']") == ["happy", "relaxed"]
    assert wheels.parse_words('["let down", sad]') == ["let down", "sad"]
    assert wheels.parse_words("[]") == wheels.parse_words("") == wheels.parse_words(None) == []
    assert wheels.parse_words(float("nan")) == []
    assert wheels.parse_words(["Angry", "", " sad"]) == ["angry", "sad"]
    assert wheels.parse_words("don't care") == ["don", "t care"]
    assert wheels.parse_words("don’t care") == ["don't care"]


@given(st.lists(st.from_regex(r"[a-z]+( [a-z]+)?", fullmatch=True)))
def test_parser_reads_back_a_printed_list(words: list[str]) -> None:
    assert wheels.parse_words(str(words)) == words


def test_own_tables_are_closed() -> None:
    tables = wheels.load()
    assert tables.version == "builtin-1"
    assert len(tables.digest) == 64
    assert wheels.load() is tables
    assert tables.n_wheels == 3
    assert len(list(tables.modes())) == 8
    families = set(tables.synonyms)
    for wheel in tables.wheels:
        assert set(wheel.level1) == set(wheel.level2) == families
        assert len(set(zip(wheel.level2.values(), wheel.level1.values(), strict=True))) == len(
            set(wheel.level2.values())
        )
    for form, bases in tables.forms.items():
        assert form == form.strip().lower()
        assert all(base in families for base in bases)
    for mode in tables.modes():
        assert set(tables.dictionary(*mode)) == set(tables.forms)


@pytest.mark.parametrize(
    ("word", "clusters"),
    [
        ("Happiness", ("joy", "joy", "pleasant and active")),
        ("worried", ("fear", "fear", "unpleasant and active")),
        ("furious", ("anger", "anger", "unpleasant and active")),
        ("lonely", ("sadness", "sadness", "unpleasant and quiet")),
        ("calm", ("joy", "joy", "pleasant and quiet")),
        ("let down", ("sadness", "sadness", "unpleasant and quiet")),
        ("neutral", ("", "", "")),
    ],
)
def test_own_tables_map_common_words(word: str, clusters: tuple[str, ...]) -> None:
    tables = wheels.load()
    assert tuple(tables.cluster(word, "M3", wheel, 1) for wheel in (1, 2, 3)) == clusters


def test_own_tables_keep_opposites_apart() -> None:
    tables = wheels.load()
    for wheel in (1, 2, 3):
        found = [tables.cluster(word, "M3", wheel, 1) for word in ("happy", "sad", "angry")]
        assert len(set(found)) == 3
    assert tables.cluster("joyful", "M2") == tables.cluster("happy", "M2")


@given(st.lists(st.sampled_from(["happy", "SAD", "angry", "neutral", "unheard-of", "calm"])))
def test_clusters_ignore_order_case_repeats_and_neutral(words: list[str]) -> None:
    tables = wheels.load()
    expected = tables.clusters(words)
    assert tables.clusters(words[::-1]) == expected
    assert tables.clusters([w.upper() for w in words]) == expected
    assert tables.clusters([*words, *words, "neutral"]) == expected


def test_wrong_modes_are_refused() -> None:
    tables = wheels.load()
    for arguments in (("M4", 1, 1), ("M3", 0, 1), ("M3", 4, 1), ("M3", 1, 3)):
        with pytest.raises(LabelError):
            tables.dictionary(*arguments)
    assert tables.dictionary("case1") is tables.dictionary("M1", 3, 2)


def test_published_counts(published: wheels.WheelTables) -> None:
    assert published.version in ("mer2025", "mer2026")
    expected = {"mer2026": (7356, {1: 6495, 2: 703, 3: 148, 4: 10}), "mer2025": (7386, None)}[published.version]
    assert len(published.forms) == expected[0]
    if expected[1]:
        assert Counter(len(bases) for bases in published.forms.values()) == expected[1]
    assert len({base for bases in published.forms.values() for base in bases}) == 1255
    assert len(published.synonyms) == 1255
    sizes = Counter(len(targets) for targets in published.synonyms.values())
    assert [sizes[n] for n in (1, 2, 3, 4)] == [824, 208, 105, 52]
    assert max(sizes) == 12
    assert [len(wheel.level1) for wheel in published.wheels] == [114, 126, 78, 102, 77]
    assert len(set().union(*(wheel.level1 for wheel in published.wheels))) == 253
    found = [(len(set(w.level1.values())), len(set(w.level2.values()))) for w in published.wheels]
    assert found == [(6, 36), (7, 41), (6, 36), (6, 48), (6, 36)]
    assert len(list(published.modes())) == 12


def test_published_mappings(published: wheels.WheelTables) -> None:
    for word, line in REFERENCE.items():
        expected = ["" if cell == "-" else cell for cell in line.split()]
        found = [published.cluster(word, "M3", wheel, 1) for wheel in range(1, 6)]
        assert [*found, published.cluster(word, "M2")] == expected, word


def test_published_quirks(published: wheels.WheelTables) -> None:
    second = published.wheels[1]
    last_row = {"overwhelmed": "stressed", "inferior": "depressed", "embarrassed": "hurt", "disappointed": "hurt"}
    for word, parent in last_row.items():
        assert second.level2[word] == parent
    assert published.cluster("joyful", "M3", 1, 2) == "accepted"
    assert published.wheels[0].level2["happy"] == "accepted"
    for wheel in published.wheels:
        parents: dict[str, set[str]] = {}
        for word in wheel.level1:
            parents.setdefault(wheel.level2[word], set()).add(wheel.level1[word])
        assert all(len(found) == 1 for found in parents.values())


def test_worked_example(published: wheels.WheelTables) -> None:
    truth = ["joyful", "surprised"], ["worried", "sad"], ["angry", "frustrated", "helpless"], ["neutral"], ["calm"]
    assert [published.clusters(words, "M3", 1, 1) for words in truth] == [
        {"happy", "surprised"}, {"scared", "sad"}, {"mad", "sad"}, frozenset(), {"happy"},
    ]  # fmt: skip
    assert published.clusters(["happy", "excited"], "M3", 2, 1) == {"happy"}
    assert published.clusters(["joyful", "surprised"], "M3", 5, 1) == {"powerful"}
    assert published.clusters(["frustrated", "helpless"], "M3", 3, 1) == {"mad", "scared"}


def test_open_set_pair_scores_as_published(published: wheels.WheelTables, shared_data: Path) -> None:
    def read(name: str) -> dict[str, str]:
        with (shared_data / "open_vocabulary" / "mer2024" / name).open(encoding="utf-8-sig") as stream:
            return {row["name"]: row["openset"] for row in csv.DictReader(stream)}

    truth, predicted = read("check-openset.csv"), read("predict-openset.csv")
    precision, recall, n = [], [], []
    for wheel in range(1, 6):
        pairs = [
            (published.clusters(truth[k], "M3", wheel), published.clusters(predicted[k], "M3", wheel)) for k in truth
        ]
        kept = [(g, p) for g, p in pairs if g]
        precision.append(np.mean([len(g & p) / len(p) if p else 0.0 for g, p in kept]))
        recall.append(np.mean([len(g & p) / len(g) for g, p in kept]))
        n.append(len(kept))
    assert n == [327, 328, 324, 327, 316]
    known = {"mer2026": (0.56052395, 0.54918725, 5e-9), "mer2025": (0.559395213821158, 0.5485155879797873, 1e-12)}
    p, r, tolerance = known[published.version]
    assert np.mean(precision) == pytest.approx(p, abs=tolerance)
    assert np.mean(recall) == pytest.approx(r, abs=tolerance)


def as_npz(tables: wheels.WheelTables, path: Path) -> Path:
    names = [f"wheel{i + 1}" for i in range(len(tables.wheels))]
    whole = {n: {"level1": dict(w.level1), "level2": dict(w.level2)} for n, w in zip(names, tables.wheels, strict=True)}
    arrays = {
        "format_mapping": {form: list(bases) for form, bases in tables.forms.items()},
        "raw_mapping": {word: list(targets) for word, targets in tables.synonyms.items()},
        "wheel_map_whole": whole,
    }
    np.savez(path, **{name: np.array(value, dtype=object) for name, value in arrays.items()})
    return path


def test_npz_cache_and_csv_copies_equal_the_tables(
    published: wheels.WheelTables, shared_data: Path, tmp_path: Path
) -> None:
    cached = wheels.load(as_npz(published, tmp_path / "wheel_mapping.npz"))
    assert cached.digest == published.digest
    assert wheels.load(tmp_path).digest == published.digest
    folder = tmp_path / "csv"
    folder.mkdir()
    shutil.copy(shared_data / "emotion_wheels" / "format.csv", folder)
    import openpyxl

    for name in ("synonym", *(f"wheel{i}" for i in range(1, 6))):
        sheet = openpyxl.load_workbook(shared_data / "emotion_wheels" / f"{name}.xlsx").worksheets[0]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([[c or "" for c in row] for row in sheet.iter_rows(values_only=True)])
    copied = wheels.load(folder)
    assert copied.digest == published.digest
    assert copied.version == f"user-{published.digest[:8]}"


def small_folder(path: Path) -> Path:
    path.mkdir()
    (path / "format.csv").write_text('name,format\nGlad,"gladly, gladness"\nsad,sadness\n', encoding="utf-8")
    header = ",".join(f"word_run{i},synonym_run{i}" for i in range(1, 9))
    row = ",".join(['Happy,"glad, merry"'] * 8)
    (path / "synonym.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    for i in range(1, 6):
        (path / f"wheel{i}.csv").write_text("level1,level2,level3\nGood,Happy,Merry\n,,Jolly\n", encoding="utf-8")
    return path


def test_small_user_folder(tmp_path: Path) -> None:
    tables = wheels.load(small_folder(tmp_path / "own"))
    assert tables.cluster("Gladness", "M1") == "glad"
    assert tables.cluster("gladly", "M2") == "happy"
    assert tables.cluster("glad", "M3", 5, 1) == "good"
    assert tables.cluster("sadness", "M1") == "sad"
    assert tables.cluster("sadness", "M3", 1, 1) == ""
    assert tables.wheels[0].level1["jolly"] == "good"
    assert tables.version.startswith("user-")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: (d / "wheel3.csv").unlink(), "wheel3"),
        (lambda d: (d / "wheel3.csv").write_text("level1,level3\na,b\n"), "level2"),
        (lambda d: (d / "wheel3.csv").write_text("level1,level2,level3\n,b,c\n"), "blank"),
        (lambda d: (d / "format.csv").write_text(""), "empty"),
        (lambda d: (d / "format.csv").write_bytes(b"name,format\n\xff\xfe,x\n"), "UTF-8"),
        (lambda d: (d / "wheel1.xlsx").write_bytes(b"not a workbook"), "xlsx"),
    ],
)
def test_damaged_tables_are_named(damage: object, reason: str, tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "own")
    damage(folder)  # type: ignore[operator]
    with pytest.raises(LabelError, match=reason) as caught:
        wheels.load(folder)
    assert str(folder) in str(caught.value)


def test_missing_folder() -> None:
    with pytest.raises(LabelError, match="no such folder"):
        wheels.load("/nowhere/at/all")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must never run",))


def test_pickles_that_name_functions_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "bomb.npz", payload=np.array([Bomb()], dtype=object))
    with pytest.raises(LabelError, match=r"builtins\.print"):
        restricted.load_npz(tmp_path / "bomb.npz")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"plain text"])
def test_damaged_npz(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(LabelError, match=r"x\.npz"):
        restricted.load_npz(tmp_path / "x.npz")


def test_truncated_pickle_and_oversize(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(tmp_path / "cut.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue() + pickle.dumps({"a": 1})[:-3])
    with pytest.raises(LabelError):
        restricted.load_npz(tmp_path / "cut.npz")
    np.savez(tmp_path / "big.npz", a=np.zeros(1000))
    with pytest.raises(LabelError, match="size"):
        restricted.load_npz(tmp_path / "big.npz", max_bytes=100)


def test_plain_content_comes_back(tmp_path: Path) -> None:
    record = {"train": {"clip": {"emo": 3, "val": np.float64(-10.0)}}, "names": {"a", "b"}}
    np.savez(
        tmp_path / "x.npz", table=np.array(record, dtype=object), numbers=np.arange(3), words=np.array(["a", "bc"])
    )
    found = restricted.load_npz(tmp_path / "x.npz")
    assert found["table"] == record
    assert found["numbers"].tolist() == [0, 1, 2]
    assert found["words"].tolist() == ["a", "bc"]


def test_real_label_files(shared_data: Path) -> None:
    found = restricted.load_npz(shared_data / "emotiontalk" / "mm_label.npz")
    assert sum(len(found[f"{split}_corpus"]) for split in ("train", "val", "test")) == 19250
