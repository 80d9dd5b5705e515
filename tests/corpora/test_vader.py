"""VADER: four sources, their raters, and a split that keeps documents and made-up variants together."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora.readers.vader import SOURCES
from affectus.corpora.splits import group_folds
from affectus.errors import CorpusError

TRUTH, RATINGS = "tweets_GroundTruth.txt", "tweets_anonDataRatings.txt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in the published layout, the files of which lie in `hutto_ICWSM_2014`."""
    return corpora.write_tiny("vader", tmp_path / "vader") / "hutto_ICWSM_2014"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def test_means_ratings_and_sources(folder: Path) -> None:
    texts = corpora.load("vader", folder)
    assert Counter(texts.column("meta:source")) == dict.fromkeys(SOURCES, 20)
    row = texts.row(4)
    assert (row["id"], row["raw:valence"], row["dim:valence"]) == ("tweets/5", 0.5, 0.125)
    assert (row["meta:ratings"], row["meta:ratings_mean"], row["meta:valence_n"]) == ([2, 1, -2, 1], 0.5, 4)
    assert row["meta:valence_sd"] == pytest.approx(np.std([2, 1, -2, 1]), abs=1e-5)
    assert texts.table.schema.field("raw:valence").metadata[b"unit"] == "-4…4".encode()
    assert texts.table.schema.field("dim:valence").metadata[b"perspective"] == b"expressed"


def test_documents_and_variants_stay_together(folder: Path) -> None:
    texts = corpora.load("vader", folder)
    groups = dict(zip(texts.column("id"), texts.column("group:document"), strict=True))
    assert (groups["tweets/1"], groups["tweets/10"]) == ("tweets/1", "tweets/1")
    assert groups["amazon/10_1"] == groups["amazon/10_2"] == "amazon/10"
    parts = dict(zip(texts.column("id"), texts.column("split"), strict=True))
    assert [parts[f"nyt/{k}_2"] for k in range(1, 11)] == ["train"] * 4 + ["valid"] + ["train"] * 4 + ["test"]
    assert {parts["tweets/1"], parts["tweets/10"]} == {"train"}
    assert [len({groups[i] for i in texts.split(part).column("id")}) for part in ("valid", "test")] == [6, 5]


def test_sources_can_be_left_out_as_groups(folder: Path) -> None:
    texts = corpora.load("vader", folder)
    folds = group_folds(texts.table, "meta:source", 4)
    assert [len(set(texts.take(rows).column("meta:source"))) for rows in folds] == [1] * 4


def test_a_shared_sentence_links_two_reviews(folder: Path) -> None:
    path = folder / "amazonReviewSnippets_GroundTruth.txt"
    lines = path.read_bytes().decode().split("\r\n")
    lines[0], lines[19] = (f"{line.rpartition(chr(9))[0]}\tWell worth the money{end}"
                           for line, end in ((lines[0], "."), (lines[19], "!!")))  # fmt: skip
    path.write_bytes("\r\n".join(lines).encode())
    rows = [r for r in corpora.load("vader", folder).table.to_pylist() if r["id"] in ("amazon/1_2", "amazon/10_1")]
    assert [(row["group:document"], row["split"]) for row in rows] == [("amazon/1", "train")] * 2


def test_marks_of_web_pages_become_characters(folder: Path) -> None:
    replace(folder / TRUTH, "\n2\t0.0\t", "\n2\t0.0\tWe &amp; them &lt;3 ")
    assert corpora.load("vader", folder).row(1)["text"].startswith("We & them <3 ")


def test_an_archive_is_read_in_place_and_a_nested_one_named(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(inner, "w:gz") as bundle:
        bundle.add(folder, "hutto_ICWSM_2014")
    assert corpora.load("vader", inner).table.equals(corpora.load("vader", folder).table)
    with tarfile.open(tmp_path / "vaderSentiment.tar.gz", "w:gz") as bundle:
        bundle.add(inner, f"vaderSentiment/additional_resources/{inner.name}")
    with pytest.raises(CorpusError, match=r"lies in an archive within the archive \(unpack the outer archive\)"):
        corpora.load("vader", tmp_path / "vaderSentiment.tar.gz")


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (TRUTH, "\n3\t", "\n3 ", rf"{TRUTH}:3: expected id, mean and text, found 2 field"),
        (TRUTH, "\n3\t0.75", "\n3\t5.0", rf"{TRUTH}:3: mean is 5"),
        (TRUTH, "\n3\t0.75", "\n3\tgood", rf"{TRUTH}:3: mean is 'good', not a number"),
        (TRUTH, "\n3\t", "\nthree\t", rf"{TRUTH}:3: malformed id 'three'"),
        (TRUTH, "\n3\t", "\n99\t", rf"{TRUTH}:3: no ratings of item 99"),
        (RATINGS, "[0, 2, 0, 1]", "[0, 2, 0, 7]", rf"{RATINGS}:3: expected id, mean, SD and a list of ratings"),
        (RATINGS, "[0, 2, 0, 1]", "[0, 2, 0", rf"{RATINGS}:3: expected id, mean, SD and a list of ratings"),
        (RATINGS, "[0, 2, 0, 1]", "[0, 2, 0, 2]", rf"{RATINGS}:3: mean is 0.75, but the 4 ratings average 1.0000"),
    ],
)
def test_damage_is_named_by_file_and_line(folder: Path, file: str, old: str, new: str, reason: str) -> None:
    replace(folder / file, old, new)
    with pytest.raises(CorpusError, match=reason):
        corpora.load("vader", folder)
    found = [str(problem) for problem in corpora.check("vader", folder)]
    assert any(problem.startswith(f"{file}:3: ") for problem in found)
    kept = corpora.load("vader", folder, strict=False)
    assert len(kept) == 79


def test_missing_files_and_counts_are_told(folder: Path) -> None:
    (folder / RATINGS).unlink()
    (folder / "nytEditorialSnippets_GroundTruth.txt").unlink()
    texts = corpora.load("vader", folder)
    assert texts.row(0)["meta:ratings"] is None
    assert len(texts) == 60
    found = [str(problem) for problem in corpora.check("vader", folder)]
    assert any(f"no {RATINGS} beside it" in problem for problem in found)
    assert any("nytEditorialSnippets_GroundTruth.txt: is missing" in problem for problem in found)
    assert any("20 texts were read, published are 4200" in problem for problem in found)


@pytest.mark.corpus
def test_the_published_files(shared_data: Path) -> None:
    if not (shared_data / "vader").exists():
        pytest.skip("the shared corpora hold no vader")
    texts = corpora.load("vader", shared_data / "vader")
    assert Counter(texts.column("meta:source")) == {source: count for source, (_, count) in SOURCES.items()}
    assert Counter(texts.column("split")) == {"train": 19004, "valid": 2365, "test": 2334}
    assert corpora.check("vader", shared_data / "vader") == []  # nor do the parts share any text
    differs = np.abs(texts.array("raw:valence") - texts.array("meta:ratings_mean")) > 1e-6
    assert Counter(texts.filter(differs).column("meta:source")) == {"tweets": 199}
    sizes = Counter(texts.column("group:document"))
    assert min(sizes[group] for group in texts.filter(differs).column("group:document")) == 6
    assert (texts.array("meta:valence_n") >= 15).all()
