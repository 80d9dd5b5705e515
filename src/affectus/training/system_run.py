"""The run behind `recipes/<system>/*.yaml`: a published system trained on a corpus or on its synthetic examples.

Settings of such a recipe, all under `options`:
`stage` (default: the last one), `config` (name of a constructor of `Config`, or a mapping of settings, whose key
`preset` names the constructor to start from), `items` and `validation_items` (synthetic runs), `column` (target column,
for example `label:ferplus8`), `train` (split to learn from; all rows by default), `validation` and `test` (each a split
name, a share of whole groups held out of what is learnt from, or groups held out by name, `{session: [G1, G2]}`;
validation 0 for none: the last weights are kept), `limit` (at most so many training rows, drawn at random;
`validation_limit` and `test_limit` likewise), `division` (`shares` of train, validation and test of every class, with a
`seed` of its own, in place of these three), `fold` (number of the official fold that is not learnt from), `start`
(folder of an earlier stage whose weights are taken over), `workers` (loader processes), `missing` (true: the record
also scores the test rows with modalities taken away, see `affectus.evaluation.missing`).

A run on several corpora learns from the first one, called by `source`, and those of `sources`: name → `corpus`,
`column`, `train` (split), `validation` (share of whole groups held out and validated on beside the rows of the first
corpus) and `balanced` (draw its classes equally often). What an epoch takes of each source is said by
the phase (see `affectus.training.mixing`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from safetensors.torch import load_file
from torch.utils.data import ConcatDataset, Dataset

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.leaks import pair_hashes
from affectus.corpora.splits import class_split, group_split
from affectus.errors import ConfigError
from affectus.systems import registry
from affectus.systems.base import System, read_config
from affectus.training.leak_guard import Parts, guard_splits
from affectus.training.loop import FitResult, fit
from affectus.training.mixing import Sources
from affectus.training.recipe import Recipe
from affectus.training.system_task import BatchItems, CorpusItems, SystemTask

#: Name under which a recipe asks for the system's own synthetic examples instead of a corpus.
SYNTHETIC = "synthetic"
_KNOWN = {"stage", "config", "items", "validation_items", "column", "start", "workers"}
_KNOWN |= {"train", "validation", "test", "limit", "fold", "division", "source", "sources"}
_KNOWN |= {"validation_limit", "test_limit", "missing"}


def run_system(recipe: Recipe, roots: dict[str, Path], folder: Path) -> FitResult:
    """Train the recipe's system; the kept weights, config and card lie in `folder/model`.

    A recipe without phases takes those the system declares. Raises ConfigError for a setting that is not known.
    """
    options = recipe.options
    if unknown := sorted(set(options) - _KNOWN):
        raise ConfigError("options", f"unknown: {', '.join(unknown)}", f"known are {', '.join(sorted(_KNOWN))}")
    system = build_system(recipe)
    train, validation, split = training_items(recipe, system, roots, folder)
    task = SystemTask(system, train, validation, split, int(options.get("workers", 0)))
    if not len(validation):  # type: ignore[arg-type]
        task.select = "epoch"
    phases = recipe.phases or system.phases()
    result = fit(task, phases, folder, recipe.seed, recipe.precision, fingerprint=recipe.fingerprint)
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
        weights = Path(start) / "model.safetensors"
        if not weights.is_file():
            raise ConfigError(f"start: {weights}", "does not exist", "set start to a folder with weights")
        system.initialise(load_file(weights))
    return system


def training_items(
    recipe: Recipe, system: System, roots: dict[str, Path], folder: Path
) -> tuple[Dataset, Dataset, str]:
    """Items to learn from, items to validate on, and the name of the validation split; checked for leaks."""
    options = recipe.options
    if list(recipe.corpora) == [SYNTHETIC]:
        count, held = int(options.get("items", 64)), int(options.get("validation_items", 32))
        return (
            BatchItems(system.example(count, recipe.seed)),
            BatchItems(system.example(held, recipe.seed + 10_007)),
            "fresh synthetic items",
        )
    others = options.get("sources", {})
    if len(recipe.corpora) != 1 + len(others):
        raise ConfigError(
            "corpora", "all but the first corpus must be named under `sources`", "name one, or `synthetic`"
        )
    name = next(iter(recipe.corpora))
    parts = split_corpus(corpora.load(name, roots[name], strict=False), options, recipe.seed)
    pool = parts.pool or parts.learn
    shared: dict[str, Parts] = {name: (pool, parts.validation)} if len(parts.validation) else {}
    if parts.test is not None:
        shared[f"{name} test"] = (pool, parts.test)
    guard_splits(shared, folder, recipe.accept_leaks)
    system.prepare(pool, str(options.get("column", "")))
    learn, held = items_of(parts.learn, system, options), items_of(parts.validation, system, options)
    return *with_sources(learn, held, system, recipe, roots), parts.name


def with_sources(
    learn: Dataset, held: Dataset, system: System, recipe: Recipe, roots: dict[str, Path]
) -> tuple[Dataset, Dataset]:
    """The items of the first corpus together with those of the other sources of a recipe, and the validation items with
    what these hold out."""
    if not recipe.options.get("sources"):
        return learn, held
    parts, balanced = {str(recipe.options.get("source", "main")): learn}, {}
    validated = [held]
    for name, settings in recipe.options["sources"].items():
        corpus = corpora.load(settings["corpus"], roots[settings["corpus"]], strict=False)
        corpus = corpus.split(settings["train"]) if settings.get("train") else corpus
        if share := float(settings.get("validation", 0.0)):
            corpus, own, _ = hold_out(corpus, share, recipe.seed)
            validated.append(items_of(own, system, settings))
        parts[name] = items = items_of(corpus, system, settings)
        if settings.get("balanced"):
            balanced[name] = torch.from_numpy(next(iter(items.targets.values()))[items.kept])
    return Sources(parts, balanced), ConcatDataset(validated) if len(validated) > 1 else held


def items_of(corpus: Corpus, system: System, options: dict[str, Any]) -> Any:
    """Items of corpus rows: the system's own way of reading them, else row by row through its inputs."""
    column = str(options.get("column", ""))
    found = system.items(corpus, column)
    return CorpusItems(corpus, system, column) if found is None else found


@dataclass(frozen=True)
class Split:
    """Rows to learn from, to choose the checkpoint on (`name` says which these are) and to report on; `pool` holds all
    rows to learn from where `learn` is a part of them."""

    learn: Corpus
    validation: Corpus
    test: Corpus | None
    name: str
    pool: Corpus | None = None


def split_corpus(corpus: Corpus, options: dict[str, Any], seed: int) -> Split:
    """Divide by the `train`, `validation`, `test` and `limit` settings of a recipe.

    With `fold` the rows of that official fold are the test rows. Shares are of whole groups (subjects, themes,
    dialogues …) where the corpus has them. Training rows whose file has the same content as one held out are dropped.
    """
    if division := options.get("division"):
        names, shares = corpus.column("id"), tuple(division["shares"])
        rows = class_split(corpus.column(options["column"]), names, shares, int(division.get("seed", 42)))
        learn, held, tested = (corpus.take(rows[part]) for part in ("train", "valid", "test"))
        return Split(without_copies(without_copies(learn, held), tested), held, tested, "seeded share of every class")
    learn = corpus.split(options["train"]) if options.get("train") else corpus
    test: Corpus | None = None
    if (fold := options.get("fold")) is not None:
        tested = pc.fill_null(pc.equal(learn.table["fold"], int(fold)), False)
        learn, test = learn.filter(pc.invert(tested)), learn.filter(tested)
    elif isinstance(wanted := options.get("test"), str):
        test = corpus.split(wanted)
    elif isinstance(wanted, dict):
        learn, test, _ = named_groups(learn, wanted)
    elif wanted:
        learn, test, _ = hold_out(learn, float(wanted), seed + 1)
    chosen = options.get("validation", 0.1)
    if not chosen:
        held, name = learn.take([]), "none"
    elif isinstance(chosen, str):
        held, name = corpus.split(chosen), chosen
    elif isinstance(chosen, dict):
        learn, held, name = named_groups(learn, chosen)
    else:
        learn, held, name = hold_out(learn, float(chosen), seed)
    for other in (held, test):
        learn = without_copies(learn, other) if other is not None and len(other) else learn
    few, held = (_limited(learn, options.get("limit"), seed), _limited(held, options.get("validation_limit"), seed))
    return Split(few, held, None if test is None else _limited(test, options.get("test_limit"), seed), name, learn)


def _limited(part: Corpus, limit: Any, seed: int) -> Corpus:
    """At most `limit` rows, drawn at random."""
    if not limit or int(limit) >= len(part):
        return part
    return part.take(np.sort(np.random.default_rng(seed).permutation(len(part))[: int(limit)]))


def hold_out(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus, str]:
    """The rest, a share of whole groups held out of it, and what that is called."""
    groups = [c for c in corpus.table.column_names if c.startswith("group:") and corpus.table[c].null_count == 0]
    wanted = {"train": 1 - share, "held": share}
    if groups:
        rows = group_split(corpus.table, groups[:1], wanted, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(corpus))
        cut = round(share * len(corpus))
        rows = {"held": np.sort(order[:cut]), "train": np.sort(order[cut:])}
    unit = groups[0].removeprefix("group:") + "s" if groups else "items"
    return corpus.take(rows["train"]), corpus.take(rows["held"]), f"{share:.0%} of the {unit}"


def named_groups(corpus: Corpus, wanted: dict[str, list[Any]]) -> tuple[Corpus, Corpus, str]:
    """The rest, the rows of the named groups (column → values), and what these are called."""
    held = np.zeros(len(corpus), bool)
    for column, values in wanted.items():
        given = corpus.column(f"group:{column}")
        if missing := sorted({str(v) for v in values} - {str(v) for v in given}):
            raise ConfigError(column, f"has no {', '.join(missing)} among these rows")
        held |= np.isin(np.array(given, str), [str(v) for v in values])
    name = "; ".join(f"{column} {', '.join(map(str, values))}" for column, values in wanted.items())
    return corpus.filter(~held), corpus.filter(held), name


def without_copies(learn: Corpus, held: Corpus) -> Corpus:
    """Training rows without those whose file also lies among the held-out rows under another name."""
    hashes, others = pair_hashes(learn, held)
    known = set(others) - {None}
    return learn.filter([key is None or key not in known for key in hashes])
