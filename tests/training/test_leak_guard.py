"""What training and validation share is written down where it is known, and stops the run where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from affectus import corpora
from affectus.corpora.corpus import Corpus
from affectus.errors import ConfigError, CorpusError
from affectus.training.leak_guard import guard_splits
from affectus.training.recipe import read_recipe
from affectus.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes"


def pictures(root: Path) -> tuple[Corpus, Corpus]:
    """Training and validation of a tiny corpus, of which one picture is a copy."""
    corpora.write_tiny("affectnet", root)
    corpus = corpora.load("affectnet", root)
    train, valid = corpus.split("train"), corpus.split("valid")
    copy, original = valid.files.path(valid.media(0)), train.files.path(train.media(0))
    assert copy is not None
    assert original is not None
    copy.write_bytes(original.read_bytes())
    return train, valid


def test_nothing_shared_is_recorded_and_said_nothing_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = corpora.load("goemotions", corpora.write_tiny("goemotions", tmp_path / "data"))
    guard_splits({"goemotions": (corpus.split("train"), corpus.split("valid"))}, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "leaks.json").read_text())
    assert record == {"goemotions": {"train": 12, "against": "12 of validation", "leaks": []}}
    assert capsys.readouterr().err == ""


def test_a_leak_nobody_accounts_for_stops_the_run(tmp_path: Path) -> None:
    parts = pictures(tmp_path / "data")
    with pytest.raises(
        CorpusError, match=r"^affectnet: 1 validation items .* share media .*accept_leaks: \{media: why"
    ):
        guard_splits({"affectnet": parts}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_recipe_accepts_a_named_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = pictures(tmp_path / "data")
    with pytest.raises(CorpusError, match="share media"):
        guard_splits({"affectnet": parts}, tmp_path / "run", {"text": "captions recur in all parts"})
    guard_splits({"affectnet": parts}, tmp_path / "run", {"media": "copies get no weight"})
    (leak,) = json.loads((tmp_path / "run" / "leaks.json").read_text())["affectnet"]["leaks"]
    assert (leak["kind"], leak["count"], leak["reason"]) == ("media", 1, "copies get no weight")
    assert leak["examples"] == [[parts[0].column("id")[0], parts[1].column("id")[0]]]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"known leaks between training and validation: affectnet: 1 items share media (see {tmp_path}/run/leaks.json)"
    ]


def test_a_published_fact_is_excused_unless_the_split_claims_otherwise(tmp_path: Path) -> None:
    corpus = corpora.load("meld", corpora.write_tiny("meld", tmp_path / "data"))
    parts = {"meld": (corpus.split("train"), corpus.split("valid"))}
    guard_splits(parts, tmp_path / "run")
    leaks = json.loads((tmp_path / "run" / "leaks.json").read_text())["meld"]["leaks"]
    assert {leak["kind"]: leak["reason"] for leak in leaks} == dict(list(corpus.info.leaks.items())[:2])
    with pytest.raises(CorpusError, match="share group:speaker"):
        guard_splits(parts, tmp_path / "run", apart=["speaker"])


def test_a_row_on_both_sides_is_never_excused(tmp_path: Path) -> None:
    corpus = corpora.load("goemotions", corpora.write_tiny("goemotions", tmp_path / "data"))
    with pytest.raises(CorpusError, match=r"share id .*a row must not be on both sides"):
        guard_splits({"goemotions": (corpus, corpus.split("valid"))}, tmp_path / "run", {"text": "as in any overlap"})


def test_folds_by_group_share_no_file(tmp_path: Path) -> None:
    root = corpora.write_tiny("oasis", tmp_path / "data")
    corpus = corpora.load("oasis", root)
    guard_splits({"oasis": (corpus, "theme")}, tmp_path / "run")
    (root / "images" / "Acorns 2.jpg").write_bytes((root / "images" / "Acorns 1.jpg").read_bytes())
    guard_splits({"oasis": (corpus, "theme")}, tmp_path / "run")  # they are in one group, and so in one fold
    (root / "images" / "Zebra 1.jpg").write_bytes((root / "images" / "Acorns 1.jpg").read_bytes())
    with pytest.raises(CorpusError, match=r"share media with training: Acorns 1 = Zebra 1 "):
        guard_splits({"oasis": (corpus, "theme")}, tmp_path / "run")


@pytest.mark.parametrize(("name", "root"), [("face/ferplus", "ferplus"), ("scene/oasis", "oasis")])
def test_training_is_guarded(tmp_path: Path, name: str, root: str) -> None:
    folder = corpora.write_tiny(root, tmp_path / "data")
    files = sorted(folder.rglob("*Train/*.png")) + sorted(folder.rglob("Acorns 1.jpg"))
    others = sorted(folder.rglob("*Valid/*.png")) + sorted(folder.rglob("Zebra 1.jpg"))
    others[0].write_bytes(files[0].read_bytes())
    record = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    path = tmp_path / "recipe.yaml"
    if root == "oasis":
        path.write_text(yaml.safe_dump(record))
        with pytest.raises(CorpusError, match="share media"):
            train(path, {root: folder}, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    else:  # accepted by the recipe and the corpus: the run goes on to where it meets the unknown trunk
        path.write_text(yaml.safe_dump(record | {"options": {"trunk": "lite9", "pretrained": False, "held_out": 3}}))
        with pytest.raises((ConfigError, KeyError, ValueError)):
            train(path, {root: folder}, tmp_path / "run")
        leaks = json.loads((tmp_path / "run" / "leaks.json").read_text())["ferplus"]["leaks"]
        assert [(leak["kind"], leak["reason"]) for leak in leaks] == [("media", record["accept_leaks"]["media"])]


@pytest.mark.parametrize(
    ("accept", "message"),
    [({"id": "they are the same"}, "accept_leaks"), ({"text": "because"}, "accept_leaks.text"), (["text"], "dict")],
)
def test_what_a_recipe_accepts_needs_a_known_kind_and_a_reason(tmp_path: Path, accept: object, message: str) -> None:
    record = yaml.safe_load((RECIPES / "face/ferplus.yaml").read_text()) | {"accept_leaks": accept}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "recipe.yaml")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("goemotions", {"text": 86, "near text": 1}),
        ("emobank", {"group:document": 882, "text": 13, "near text": 10}),
        ("ferplus", {"media": 279}),
    ],
)
def test_published_splits_and_what_they_share(
    shared_data: Path, tmp_path: Path, name: str, found: dict[str, int]
) -> None:
    corpus = corpora.load(name, shared_data / name)
    guard_splits({name: (corpus.split("train"), corpus.split("valid"))}, tmp_path)
    leaks = json.loads((tmp_path / "leaks.json").read_text())[name]["leaks"]
    assert {leak["kind"]: leak["count"] for leak in leaks} == found
