"""Recipes: those that ship parse and fit their nets; wrong ones are refused with the setting named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.training.embedded import face_run, voice_run
from affectus.training.embedded.shipping import card_fields
from affectus.training.optimisation import select_parameters
from affectus.training.recipe import Recipe, read_recipe
from affectus.training.run import EMBEDDED, train
from affectus.types import Card

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
GOOD: dict[str, Any] = {
    "model": "face",
    "title": "A face model",
    "corpora": {"ferplus": "train"},
    "phases": [{"name": "all", "epochs": 1, "lr": 0.1, "batch_size": 8}],
}


def write(path: Path, record: Any) -> Path:
    path.write_text(record if isinstance(record, str) else yaml.safe_dump(record), encoding="utf-8")
    return path


def test_there_are_recipes_for_all_shipped_models() -> None:
    assert {read_recipe(path).model for path in RECIPES} >= set(EMBEDDED)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recipe_parses_and_lies_with_its_model(path: Path) -> None:
    recipe = read_recipe(path)
    assert path.parent.name == recipe.model
    assert all(phase.epochs > 0 and phase.lr > 0 for phase in recipe.phases)


@pytest.mark.parametrize("path", [p for p in RECIPES if p.parent.name in EMBEDDED], ids=lambda path: path.parent.name)
def test_recipes_of_shipped_models_are_complete(path: Path) -> None:
    recipe = read_recipe(path)
    assert set(recipe.corpora) >= EMBEDDED[recipe.model]
    if "teacher" not in recipe.options:
        assert set(recipe.corpora) == EMBEDDED[recipe.model]
    measured = {} if recipe.card.get("labels") else {"labels": ("joy",)}
    card = Card(**card_fields(recipe, **measured))
    assert card.modality == recipe.model
    assert card.limits
    assert card.split
    assert card.selection
    assert {entry["name"] for entry in card.data} == set(recipe.corpora)
    assert all(entry["licence"] and entry["citation"] for entry in card.data)
    assert card.licence["weights"]
    assert card.backbone["licence"]


@pytest.mark.parametrize(("name", "build"), [("face/ferplus", face_run.build), ("voice/ravdess", voice_run.build)])
def test_patterns_of_shipped_recipes_match_parameters_of_their_nets(name: str, build: Any) -> None:
    recipe = read_recipe(FOLDER / f"{name}.yaml")
    net = build(recipe.model_copy(update={"options": recipe.options | {"pretrained": False}}))
    for phase in recipe.phases:
        select_parameters(net, phase)
        learning = [parameter.requires_grad for parameter in net.parameters()]
        assert any(learning)
        assert all(learning) == (not phase.train and not phase.freeze)


def test_a_recipe_gives_typed_phases(tmp_path: Path) -> None:
    # YAML reads 1e-3 as text; it is a number all the same.
    phase = {"name": "all", "epochs": 2, "lr": "1e-3", "batch_size": 8, "freeze": ["stem"], "betas": [0.8, 0.9]}
    recipe = read_recipe(write(tmp_path / "r.yaml", GOOD | {"phases": [phase]}))
    assert isinstance(recipe, Recipe)
    assert recipe.phases == [Phase("all", 2, 0.001, 8, freeze=("stem",), betas=(0.8, 0.9))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "epochs: Extra inputs"),
        ({"model": 3}, "model: Input should be a valid string"),
        ({"precision": "fp8"}, "precision: Input should be 'no' or 'bf16'"),
        ({"corpora": ["ferplus"]}, "corpora: Input should be a valid dictionary"),
        ({"phases": 3}, "phases: Input should be a valid list"),
        ({"phases": ["all"]}, r"phases\.0"),
        ({"phases": [GOOD["phases"][0] | {"learning_rate": 1}]}, r"unknown phase settings \['learning_rate'\].*lr"),
        ({"phases": [{"name": "all", "epochs": 1, "batch_size": 8}]}, r"phases\.0\.lr: "),
        ({"phases": [GOOD["phases"][0] | {"lr": "fast"}]}, r"phases\.0\.lr: .*number"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "wrong.yaml", GOOD | change)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fingerprint_is_that_of_what_makes_the_weights(tmp_path: Path) -> None:
    def mark(**change: Any) -> str:
        return read_recipe(write(tmp_path / "r.yaml", GOOD | change)).fingerprint

    longer = [*GOOD["phases"], GOOD["phases"][0] | {"name": "more"}]
    assert mark() == mark(title="Renamed") == mark(phases=longer) == mark(corpora={"ferplus": "said otherwise"})
    changes: list[dict[str, Any]] = [{"seed": 1}, {"options": {"trunk": "lite0"}}, {"precision": "bf16"}]
    assert len({mark(), *(mark(**change) for change in changes)}) == 4


@pytest.mark.parametrize("key", ["model", "title", "corpora"])
def test_missing_settings_are_named(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "short.yaml", {k: v for k, v in GOOD.items() if k != key})
    with pytest.raises(ConfigError, match=f"{key}: Field required"):
        read_recipe(path)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_recipe(write(tmp_path / "broken.yaml", "phases: [1, 2"))
    with pytest.raises(ConfigError, match="recipe: Input should be a valid dictionary"):
        read_recipe(write(tmp_path / "empty.yaml", ""))
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_recipe(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError):
        read_recipe(tmp_path / "bytes.yaml")


def test_training_refuses_what_it_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trains 'smell', which is not known"):
        train(write(tmp_path / "a.yaml", GOOD | {"model": "smell"}), {}, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"names the corpora rafdb \(face learns from ferplus\)"):
        train(write(tmp_path / "b.yaml", GOOD | {"corpora": {"rafdb": "all"}}), {}, tmp_path / "out")
    with pytest.raises(ConfigError, match="has no phases"):
        train(write(tmp_path / "d.yaml", GOOD | {"phases": []}), {}, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"ferplus: has no folder \(pass --root ferplus=DIR\)"):
        train(write(tmp_path / "c.yaml", GOOD), {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
