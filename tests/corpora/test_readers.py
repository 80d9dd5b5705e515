"""What holds for every reader: a tiny folder in its published layout loads, checks clean and speaks known labels."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from affectus import corpora, labels
from affectus.corpora.base import BASE_COLUMNS, column_kind
from affectus.errors import CorpusError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    for name in corpora.names():
        corpora.write_tiny(name, root / name)
    return root


@pytest.mark.parametrize("name", corpora.names())
class TestEveryReader:
    def test_table_follows_the_grammar_of_columns(self, tiny: Path, name: str) -> None:
        corpus = corpora.load(name, tiny / name)
        table = corpus.table
        assert len(corpus) >= 2
        assert table.column_names[: len(BASE_COLUMNS)] == list(BASE_COLUMNS)
        ids = table["id"].to_pylist()
        assert None not in ids
        assert len(set(ids)) == len(ids)
        assert set(table["split"].to_pylist()) <= {"train", "valid", "test", None}
        kinds = {column_kind(c)[0] for c in table.column_names if c not in BASE_COLUMNS}
        assert kinds & {"label", "labels", "dim", "scores", "meta"}
        for field in table.schema:
            if field.name.startswith("dim:"):
                values = [v for v in table[field.name].to_pylist() if v is not None]
                assert values, field.name
                assert min(values) >= -1
                assert max(values) <= 1

    def test_labels_are_those_of_their_space(self, tiny: Path, name: str) -> None:
        table = corpora.load(name, tiny / name).table
        for field in table.schema:
            kind, space, _ = column_kind(field.name)
            if kind not in ("label", "labels", "dist", "scores", "votes") or space in ("openset", "ferplus"):
                continue
            known = tuple(labels.space(space).labels)
            assert tuple(json.loads(field.metadata[b"labels"])) == known
            values = [v for v in table[field.name].to_pylist() if v is not None]
            assert values, f"{field.name} is empty"
            if kind == "label":
                assert set(values) <= set(known)
            elif kind == "labels":
                assert {v for listed in values for v in listed} <= set(known)
            else:
                assert {len(v) for v in values} == {len(known)}

    def test_tiny_folder_checks_clean_but_for_published_counts(self, tiny: Path, name: str) -> None:
        problems = corpora.check(name, tiny / name)
        assert [str(p) for p in problems if "published are" not in p.reason and p.level == "error"] == []

    def test_info_is_complete(self, name: str, tiny: Path) -> None:
        facts = corpora.info(name)
        assert facts.name == name
        for text in (facts.title, facts.licence, facts.obtain, facts.size, facts.layout, facts.citation):
            assert len(text) > 3
        assert facts.perspective in ("expressed", "evoked", "felt", "mixed")
        assert set(facts.modalities) <= {"image", "audio", "video", "text", "eeg"}

    def test_empty_folder_says_what_is_missing(self, name: str, tiny: Path, tmp_path: Path) -> None:
        with pytest.raises(CorpusError) as caught:
            corpora.load(name, tmp_path)
        assert caught.value.remedy
        problems = corpora.check(name, tmp_path)
        assert any(p.level == "error" for p in problems)

    def test_media_references_decode(self, tiny: Path, name: str) -> None:
        corpus = corpora.load(name, tiny / name)
        for index, ref in enumerate(corpus.column("media")):
            if ref is None or ref.endswith("/"):
                continue
            assert ref in corpus.files
            if corpus.files.suffix(ref) in (".png", ".jpg", ".bmp"):
                assert corpus.image(index).ndim == 3
            break


def test_a_column_of_another_type_is_no_surprise(tiny: Path) -> None:
    schema = corpora.load("wrime", tiny / "wrime").table.schema
    assert schema.field("scores:wrime8@felt").type == pa.list_(pa.float32())
    assert schema.field("scores:wrime8@felt").metadata[b"perspective"] == b"felt"
    assert schema.field("scores:wrime8").metadata[b"perspective"] == b"expressed"


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(CorpusError, match="did you mean"):
        corpora.load("ferplsu", ".")
    assert corpora.reader("CMU-MOSI") is corpora.reader("cmu_mosi")
