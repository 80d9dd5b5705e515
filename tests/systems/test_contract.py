"""What every system must do, whatever it is: one suite over the registry, on tiny configurations."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectus import labels
from affectus.errors import AffectusError, ConfigError, ModelError
from affectus.systems import registry
from affectus.systems.base import Batch, System, load_strictly, read_config
from affectus.systems.card import SystemCard
from affectus.training.optimisation import select_parameters
from affectus.training.recipe import read_recipe
from affectus.training.run import train

CASES = [(name, stage) for name in registry.names() for stage in registry.stages(name)]
IDS = [f"{name}-{stage}" for name, stage in CASES]
RECIPES = Path(__file__).parents[2] / "recipes"
#: Outputs of an item that must not depend on the others of its batch; `nll` is what systems that write give.
COMPARED = ("logits", "values", "embedding", "nll")

WRITERS = [
    (name, stage) for name, stage in CASES if getattr(registry.stages(name)[stage], "generative", False)
]  # fmt: skip

every_stage = pytest.mark.parametrize(("name", "stage"), CASES, ids=IDS)
every_system = pytest.mark.parametrize("name", registry.names())


def tiny(name: str, stage: str) -> System:
    return registry.build(name, "tiny", stage, seed=1)


def total(system: System, batch: Batch) -> torch.Tensor:
    options = system.phases()[0].options
    parts = system.losses(batch, system(batch), options)
    assert parts, "no losses"
    for key, part in parts.items():
        assert part.ndim == 0, f"loss {key} is no scalar"
        assert torch.isfinite(part), f"loss {key} is {part}"
    return torch.stack([part.float() for part in parts.values()]).sum()


def rows(batch: Batch, which: list[int]) -> Batch:
    return {k: v[which] if torch.is_tensor(v) else [v[i] for i in which] for k, v in batch.items()}


@every_stage
def test_builds_and_gives_outputs_per_item(name: str, stage: str) -> None:
    system = tiny(name, stage).eval()
    batch = system.example(3)
    assert all(len(value) == 3 for value in batch.values())
    with torch.no_grad():
        outputs = system(batch)
    assert outputs
    if "logits" in outputs:
        assert outputs["logits"].shape == (3, len(system.labels()))
    if "values" in outputs:
        assert outputs["values"].shape == (3, len(system.card.dimensions))


@every_stage
def test_inputs_say_the_shape_they_give(name: str, stage: str) -> None:
    system = tiny(name, stage)
    batch = system.example(2)
    for key, spec in system.inputs().items():
        assert key in batch, f"the example lacks {key}"
        if torch.is_tensor(batch[key]):
            assert all(want in (-1, got) for want, got in zip(spec.shape, batch[key].shape[1:], strict=True)), key
        assert repr(spec)
        if spec.source == "turns":
            assert callable(getattr(system, "follow", None)), "what takes conversations follows them, see `prediction`"


@every_stage
def test_gradients_reach_what_trains_and_nothing_frozen(name: str, stage: str) -> None:
    system = tiny(name, stage).train()
    phases = system.phases()
    assert phases
    batch = system.example(4)
    for phase in phases:
        system.enter(phase)
        select_parameters(system, phase)
        system.zero_grad()
        options = phase.options
        changed = system.augment(dict(batch), options)
        sum(system.losses(changed, system(changed), options).values()).backward()  # type: ignore[union-attr]
        for key, parameter in system.named_parameters():
            if not parameter.requires_grad:
                assert parameter.grad is None, f"{phase.name}: {key} is frozen and has a gradient"
            else:
                assert parameter.grad is not None, f"{phase.name}: no gradient reaches {key}"


@every_stage
def test_overfits_eight_items(name: str, stage: str) -> None:
    torch.manual_seed(0)
    system = tiny(name, stage)
    steps, rate, share = system.overfit
    batch = system.example(8)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], rate, weight_decay=0.0)
    system.train()
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = total(system, batch)
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert np.mean(values[-3:]) < share * values[0], f"loss went from {values[0]:.3f} to {np.mean(values[-3:]):.3f}"


@every_stage
def test_saved_weights_give_the_same_numbers(name: str, stage: str, tmp_path: Path) -> None:
    system = tiny(name, stage).eval()
    system.save(tmp_path)
    again = registry.load(name, tmp_path)
    assert type(again) is type(system)
    assert again.config == system.config
    batch = system.example(2)
    torch.manual_seed(5)
    first = system(batch)
    torch.manual_seed(5)
    second = again(batch)
    for key, value in first.items():
        if torch.is_tensor(value):
            torch.testing.assert_close(second[key], value, rtol=0, atol=0)


@every_stage
def test_batch_mates_change_nothing(name: str, stage: str) -> None:
    system = tiny(name, stage).eval()
    batch = system.example(4)
    with torch.no_grad():
        torch.manual_seed(3)
        together = system(batch)
        for key in COMPARED:
            if key in together:
                alone = torch.cat([system(rows(batch, [i]))[key] for i in range(4)])
                torch.testing.assert_close(alone, together[key], rtol=1e-4, atol=1e-5)
        swapped = system(rows(batch, [2, 0, 3, 1]))
        for key in COMPARED:
            if key in together:
                torch.testing.assert_close(swapped[key], together[key][[2, 0, 3, 1]], rtol=1e-4, atol=1e-5)


@every_stage
def test_same_seed_same_numbers(name: str, stage: str) -> None:
    first, second = tiny(name, stage), tiny(name, stage)
    for (key, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    batches = first.example(3, seed=4), second.example(3, seed=4)
    for key, value in batches[0].items():
        same = torch.equal(value, batches[1][key]) if torch.is_tensor(value) else value == batches[1][key]
        assert same, key
    losses = []
    for system, batch in zip((first, second), batches, strict=True):
        torch.manual_seed(9)
        losses.append(float(total(system.train(), batch)))
    assert losses[0] == losses[1]


@every_stage
def test_a_missing_modality_is_handled_or_refused_by_name(name: str, stage: str) -> None:
    system = tiny(name, stage).eval()
    batch = system.example(2)
    keys = list(system.inputs())
    for key in keys:
        part = {k: v for k, v in batch.items() if k != key}
        if system.card.missing == "handled" and len(keys) > 1:
            with torch.no_grad():
                outputs = system(part)
            assert all(
                torch.isfinite(v).all() for v in outputs.values() if torch.is_tensor(v) and v.is_floating_point()
            )
        else:
            with pytest.raises(ConfigError, match=key):
                system(part)


@every_stage
def test_decoded_probabilities_sum_to_one_in_label_order(name: str, stage: str) -> None:
    system = tiny(name, stage).eval()
    with torch.no_grad():
        outputs = system(system.example(3))
    if not {"logits", "values"} & set(outputs):
        with pytest.raises(AffectusError):
            system.decode(outputs)
        return
    for i, prediction in enumerate(system.decode(outputs)):
        assert prediction.perspective == system.card.perspective
        if "logits" in outputs:
            assert prediction.labels == system.labels()
            assert np.isfinite(prediction.scores).all()
            assert (prediction.scores >= 0).all()
            if getattr(system, "multi_label", False):
                assert (prediction.scores <= 1).all()
            else:
                assert prediction.scores.sum() == pytest.approx(1, abs=1e-5)
            assert prediction.top()[0] == system.labels()[int(outputs["logits"][i].argmax())]


@pytest.mark.parametrize(
    ("name", "stage"), WRITERS or [pytest.param("", "", marks=pytest.mark.skip("no system writes"))]
)
def test_systems_that_write_give_word_lists(name: str, stage: str) -> None:
    """Without a truth they generate: the same text alone and in a batch, a word list per item, no look at truths."""
    system = tiny(name, stage).eval()
    batch = system.example(3)
    asked = {key: value for key, value in batch.items() if key in system.inputs()}
    torch.manual_seed(2)
    texts: Any = system(asked)["texts"]
    assert len(texts) == 3
    assert all(isinstance(text, str) for text in texts)
    assert [system(rows(asked, [i]))["texts"][0] for i in range(3)] == list(texts)
    assert [answer.text for answer in system.answer(batch)] == list(texts)  # type: ignore[operator]
    lists = system.decode({"texts": ["<answer>happy, calm</answer>", "", "He is not angry but sad."]})  # type: ignore
    assert [prediction.labels for prediction in lists] == [("happy", "calm"), (), ("sad",)]
    assert all(prediction.perspective == system.card.perspective for prediction in lists)


@every_stage
def test_wrong_weights_and_settings_are_named(name: str, stage: str) -> None:
    system = tiny(name, stage)
    state = system.state_dict()
    key = next(iter(state))
    with pytest.raises(ModelError, match="1 missing"):
        load_strictly(system, {k: v for k, v in state.items() if k != key}, "here")
    with pytest.raises(ModelError, match="unexpected"):
        load_strictly(system, {**state, "not.a.key": torch.zeros(1)}, "here")
    with pytest.raises(ConfigError, match="unknown settings no_such"):
        read_config(type(system.config), {"no_such": 1})


@every_system
def test_card_is_complete(name: str) -> None:
    found = registry.stages(name)
    card: SystemCard = next(iter(found.values())).card
    assert card.name == name
    assert card.title
    assert card.summary
    assert card.paper
    assert 2000 < card.year < 2030
    assert card.modalities
    assert card.task
    assert card.weights
    assert set(card.licence) >= {"code", "weights", "data"}
    assert all(card.licence.values())
    assert card.stages == tuple(found)
    assert card.published or any("No published number" in text for text in card.limits), "no published results"
    assert all(p.corpus and p.metric and p.source for p in card.published)
    if card.space and card.space != "va":
        assert sorted(labels.space(card.space).labels) == sorted(card.labels) or set(card.labels) <= set(
            labels.space(card.space).labels
        )
    assert card.labels or card.dimensions or card.space == ""
    assert SystemCard.from_dict(json.loads(json.dumps(card.as_dict()))).as_dict() == card.as_dict()
    for kind in found.values():
        assert kind.card is card
        assert inspect.getdoc(inspect.getmodule(kind)), "the file of a system starts with its idea"


@every_system
def test_index_equals_the_cards(name: str) -> None:
    assert registry.cards()[name].as_dict() == registry.system_class(name).card.as_dict(), "run registry.write_index()"


@every_system
def test_tiny_recipe_trains_and_predicts(name: str, tmp_path: Path) -> None:
    path = RECIPES / name / "tiny.yaml"
    assert path.is_file(), f"recipes/{name}/tiny.yaml is missing"
    recipe = read_recipe(path)
    assert recipe.model == name
    assert list(recipe.corpora) == ["synthetic"]
    train(path, {}, tmp_path)
    system = registry.load(name, tmp_path / "model")
    records: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(records) == sum(phase.epochs for phase in recipe.phases or system.phases())
    with torch.no_grad():
        assert system(system.example(2))


@every_system
def test_all_its_recipes_parse(name: str) -> None:
    for path in (RECIPES / name).glob("*.yaml"):
        assert read_recipe(path).model == name


@every_system
def test_it_has_sheet_tests_and_learning_tests(name: str) -> None:
    """A system without a test derived from its sheet, or without a learning test against its ablation, is not done."""
    files = list(Path(__file__).parent.glob(f"test_{name}*.py"))
    assert files, f"tests/systems/test_{name}.py is missing"
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert "@pytest.mark.sheet(" in text, "no test is marked with the sheet line it shows"
    assert "@pytest.mark.learning" in text, "no learning test against an ablation"


def test_unknown_names_are_named() -> None:
    with pytest.raises(ConfigError, match="no_such_system"):
        registry.card("no_such_system")
