"""The run behind `recipes/<system>/*.yaml`: a published system trained on a corpus or on its synthetic examples.

Settings of such a recipe, all under `options`:
`stage` (default: the last one), `config` (name of a constructor of `Config`, or a mapping of settings, whose key
`preset` names the constructor to start from), `items` and `validation_items` (synthetic runs), `column` (target column,
for example `label:ferplus8`), `validation` (a split name, or a share of whole groups held out of the training split),
`start` (folder of an earlier stage whose weights are taken over), `workers` (loader processes).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch.utils.data import Dataset

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.splits import group_split
from affectus.errors import ConfigError
from affectus.systems import registry
from affectus.systems.base import System, read_config
from affectus.training.loop import FitResult, fit
from affectus.training.recipe import Recipe
from affectus.training.system_task import BatchItems, CorpusItems, SystemTask

#: Name under which a recipe asks for the system's own synthetic examples instead of a corpus.
SYNTHETIC = "synthetic"
_KNOWN = {"stage", "config", "items", "validation_items", "column", "validation", "start", "workers", "train"}


def run_system(recipe: Recipe, roots: dict[str, Path], folder: Path) -> FitResult:
    """Train the recipe's system; the kept weights, config and card lie in `folder/model`.

    A recipe without phases takes those the system declares. Raises ConfigError for a setting that is not known.
    """
    options = recipe.options
    if unknown := sorted(set(options) - _KNOWN):
        raise ConfigError("options", f"unknown: {', '.join(unknown)}", f"known are {', '.join(sorted(_KNOWN))}")
    system = build_system(recipe)
    train, validation, split = training_items(recipe, system, roots)
    task = SystemTask(system, train, validation, split, int(options.get("workers", 0)))
    if not len(validation) or options.get("stage", system.stage) != system.stage:  # type: ignore[arg-type]
        task.select = "epoch"
    phases = recipe.phases or system.phases()
    result = fit(task, phases, folder, recipe.seed, recipe.precision)
    system.save(folder / "model")
    record = {"recipe": recipe.model_dump(mode="json"), "metrics": result.metrics, "seconds": result.seconds}
    (folder / "model" / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return result


def build_system(recipe: Recipe) -> System:
    """The system of a recipe, with weights of `start` where it names a folder."""
    config: Any = recipe.options.get("config")
    stage = recipe.options.get("stage")
    if isinstance(config, dict):
        changes = dict(config)
        kind = registry.system_class(recipe.model, stage).Config
        base = getattr(kind, preset)() if (preset := changes.pop("preset", None)) else kind()
        config = read_config(kind, {**asdict(base), **changes}, recipe.model)
    system = registry.build(recipe.model, config, stage, recipe.seed)
    if start := recipe.options.get("start"):
        system.initialise(load_file(Path(start) / "model.safetensors"))
    return system


def training_items(recipe: Recipe, system: System, roots: dict[str, Path]) -> tuple[Dataset, Dataset, str]:
    """Items to learn from, items to validate on, and the name of the validation split."""
    options = recipe.options
    if list(recipe.corpora) == [SYNTHETIC]:
        count, held = int(options.get("items", 64)), int(options.get("validation_items", 32))
        return (
            BatchItems(system.example(count, recipe.seed)),
            BatchItems(system.example(held, recipe.seed + 10_007)),
            "fresh synthetic items",
        )
    if len(recipe.corpora) != 1:
        raise ConfigError("corpora", "a system is trained on one corpus at a time", "name one, or `synthetic`")
    name = next(iter(recipe.corpora))
    corpus = corpora.load(name, roots[name], strict=False)
    learn, held_out, split = split_corpus(corpus, options.get("train"), options.get("validation", 0.1), recipe.seed)
    column = str(options.get("column", ""))
    return CorpusItems(learn, system, column), CorpusItems(held_out, system, column), split


def split_corpus(corpus: Corpus, train: str | None, validation: str | float, seed: int) -> tuple[Corpus, Corpus, str]:
    """Training and validation rows: a named split, or a share of whole groups held out of the training rows."""
    learn = corpus.split(train) if train else corpus
    if isinstance(validation, str):
        return learn, corpus.split(validation), validation
    groups = [c for c in learn.table.column_names if c.startswith("group:") and learn.table[c].null_count == 0]
    wanted = {"train": 1 - validation, "valid": validation}
    if groups:
        rows = group_split(learn.table, groups[:1], wanted, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(learn))
        cut = round(validation * len(learn))
        rows = {"valid": np.sort(order[:cut]), "train": np.sort(order[cut:])}
    unit = groups[0].removeprefix("group:") + "s" if groups else "items"
    return learn.take(rows["train"]), learn.take(rows["valid"]), f"{validation:.0%} of the {unit} of train"
