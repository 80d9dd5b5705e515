"""Published systems on corpora: `affectus evaluate SYSTEM --weights DIR`, and the record of a training run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.base import column_kind
from affectus.errors import ConfigError, CorpusError
from affectus.evaluation import measures
from affectus.evaluation.captioned import CAPTIONS, caption_record
from affectus.evaluation.record import Record, digest, environment, plain
from affectus.evaluation.targets import first_group
from affectus.evaluation.written import word_record

#: Columns per input that the linear baseline sees; wider inputs are averaged over neighbouring values.
_LINEAR_WIDTH = 2048
#: What items hold beside inputs.
_TARGETS = {"label", "values", "labels", "shares"}


def evaluate_system(
    name: str, weights: str | Path, corpus: str, root: str | Path, split: str = "all", column: str = ""
) -> dict[str, Any]:
    """Score a trained system on a corpus folder; returns the fields of a `Record`.

    `column` is the target (`label:…`, `dim:…`, for a system that writes words `labels:…`, for captions `captions`), by
    default that of the recipe it was trained with, else the first the system can give. Where that recipe asks for the
    scores of missing modalities they stand under `parts`. Raises ConfigError, CorpusError or ModelError.
    """
    from affectus.systems import registry

    system = registry.load(name, weights)
    items = corpora.load(corpus, root, strict=False)
    items = items if split == "all" else items.split(split)
    trained = _trained_options(Path(weights))
    column = column or trained.get("column", "") or _fitting_column(system, items)
    options = {"column": column, "missing": trained.get("missing", False)}
    record = _written(system, items, column) or score_rows(system, items, options)
    record.split, record.weights = split, {"model.safetensors": digest(Path(weights) / "model.safetensors")}
    return plain(record.as_dict())


def record_run(recipe_path: Path, roots: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """The record of a finished run of a system: scored on the recipe's `test` or `fold` rows, which chose nothing.

    Beside the trivial baselines stands a linear one (logistic or ridge regression on the same inputs, fitted on the
    training rows); a system that writes words is compared with the one it started from. Written to
    `folder/record.json`.
    """
    from affectus.systems import registry
    from affectus.training.recipe import read_recipe
    from affectus.training.system_run import items_of, split_corpus

    recipe = read_recipe(recipe_path)
    name = next(iter(recipe.corpora))
    fold, test = recipe.options.get("fold"), recipe.options.get("test")
    if fold is None and not test:
        raise ConfigError(recipe_path, "names no test rows", "set options: test to a split or a share of groups")
    system = registry.load(recipe.model, folder / "model")
    parts = split_corpus(corpora.load(name, roots[name], strict=False), recipe.options, recipe.seed)
    assert parts.test is not None
    column, start = str(recipe.options.get("column", "")), recipe.options.get("start")
    if written := _written(system, parts.test, column, folder, start):
        record = written
    else:
        record = score_rows(system, parts.test, recipe.options)
        record.baselines |= linear_baseline(
            items_of(parts.learn, system, recipe.options),
            items_of(parts.test, system, recipe.options),
            system.card.dimensions,
            system.reported,
        )
    record.split = (
        f"test: {test if fold is None else f'fold {fold}'} (trained on {len(parts.learn)}, chosen on {parts.name})"
    )
    record.selection = f"checkpoint by {system.select} on {parts.name} ({len(parts.validation)} items)"
    if not len(parts.validation):
        record.selection = "last weights, nothing was chosen"
    record.weights = {"model.safetensors": digest(folder / "model" / "model.safetensors")}
    training = json.loads((folder / "model" / "training.json").read_text(encoding="utf-8"))
    record.parts["training"] = {"seconds": round(training["seconds"], 1), "recipe": recipe.title}
    found = plain(record.as_dict())
    (folder / "record.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def _answered(truth: np.ndarray, answered: np.ndarray, groups: np.ndarray | None, record: Record) -> dict[str, Any]:
    """Metrics of written answers as class numbers (n,), -1 for one that is no label: counted, and wrong."""
    from affectus.metrics import accuracy, macro_f1, uar, weighted_f1

    record.parts["answers"] = {"n": len(answered), "unreadable": int((answered < 0).sum())}
    found = {
        metric.__name__: measures.entry(metric, truth, answered, groups) for metric in (accuracy, uar, weighted_f1)
    }
    return found | {"macro_f1": measures.entry(macro_f1, truth, answered, groups, present_only=True)}


def _add_reported(record: Record, found: Mapping[str, Any], groups: np.ndarray | None) -> None:
    """Metrics that a system reports of itself, and what the mean of the scored rows would get."""
    for name, (metric, truth, answers) in found.items():
        kept = ~np.isnan(truth)
        truth = truth[kept]
        record.metrics[name] = measures.entry(metric, truth, answers[kept], None if groups is None else groups[kept])
        constant = np.full(len(truth), truth.mean())
        record.baselines.setdefault("mean", {})[name] = float(metric(truth, constant))


def _written(
    system: Any, corpus: Corpus, column: str, folder: Path | None = None, start: str | None = None
) -> Record | None:
    """The record of what a system writes, where word lists or captions are compared; None for all others."""
    if not getattr(system, "generative", False):
        return None
    if column == CAPTIONS:
        return caption_record(system, corpus, folder)
    if not column.startswith("labels:"):
        return None
    from affectus.systems import registry

    before: Any = registry.load(system.card.name, start) if start else None
    return word_record(system, corpus, column, folder, before)


def score_rows(system: Any, corpus: Corpus, options: Mapping[str, Any]) -> Record:
    """A record of a system on corpus rows: metrics with intervals over groups, trivial baselines, and with the option
    `missing` the scores under every condition of missing modalities."""
    from affectus.evaluation.missing import missing_scores
    from affectus.training.system_run import items_of
    from affectus.training.system_task import outputs_of

    system.eval()
    items = items_of(corpus, system, dict(options))
    if not len(items):
        raise CorpusError(corpus.files.root, "holds no item with that target", corpus.info.obtain)
    outputs, targets, _ = outputs_of(system, items)
    record = Record(
        model=system.card.name,
        corpus=corpus.name,
        split="",
        n=len(next(iter(outputs.values()))),  # an item may hold several rows (turns of a conversation)
        metrics={},
        perspective=system.card.perspective,
        target=str(options.get("column", "")),
        labels=list(system.labels()),
        version=str(system.card.year),
        environment=environment(),
        published=[{**p} for p in system.card.as_dict()["published"]],
    )
    grouped = first_group(corpus)
    groups = None
    if grouped and (kept := getattr(items, "kept", None)) is not None:
        groups = np.asarray(corpus.column(grouped), str)[kept]
        record.interval = {"level": measures.LEVEL, "draws": measures.DRAWS, "over": grouped}
    if "answered" in outputs and "label" in targets:
        record.metrics |= _answered(targets["label"], outputs["answered"], groups, record)
        record.baselines |= measures.class_baselines(targets["label"], len(record.labels))
        record.headline = system.select
    if "logits" in outputs and "label" in targets:
        truth, logits = targets["label"], outputs["logits"].astype(np.float64)
        scores = np.exp(logits - logits.max(1, keepdims=True))
        record.metrics |= measures.classification(truth, scores / scores.sum(1, keepdims=True), groups)
        record.baselines |= measures.class_baselines(truth, logits.shape[1])
        record.headline = system.select
    if "values" in outputs and "values" in targets:
        names = system.card.dimensions
        rated = {d: targets["values"][:, i] for i, d in enumerate(names)}
        record.metrics |= measures.dimensions(rated, {d: outputs["values"][:, i] for i, d in enumerate(names)}, groups)
        record.baselines |= measures.dimension_baselines(rated)
    _add_reported(record, system.reported(outputs, targets), groups)
    if system.select in record.metrics:
        record.headline = system.select
    if options.get("missing"):
        record.parts["missing"] = missing_scores(system, items)
    if not record.metrics:
        raise ConfigError(system.card.name, "gives nothing that these targets can be compared with")
    return record


def linear_baseline(
    learn: Any, test: Any, dimensions: tuple[str, ...], reported: Callable[..., dict[str, Any]] | None = None
) -> dict[str, dict[str, float]]:
    """Logistic regression (labels) or ridge regression (values) on the inputs as the system gets them, flattened.

    Inputs wider than 2,048 numbers are averaged over neighbours; at most 6,000 training items are used. Where the only
    input is ids of a text, it sees which of them occur, in all items. `reported` is that of the system (`System`).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from affectus.metrics import accuracy, ccc, macro_f1, pcc, uar, weighted_f1

    texts = _ids_alone(learn[0])
    order = np.random.default_rng(0).permutation(len(learn))[: None if texts else 6000]
    train, held = ([items[int(i)] for i in rows] for items, rows in ((learn, order), (test, range(len(test)))))
    x, z = _occurring([train, held], texts) if texts else (_flat(train), _flat(held))
    if "label" in train[0]:
        y, truth = (np.array([int(item["label"]) for item in part]) for part in (train, held))
        found = LogisticRegression(C=1.0 if texts else 0.01, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline stops where it stands after 200 steps
            guess = (found if texts else make_pipeline(StandardScaler(), found)).fit(x, y).predict(z)
        return {"linear": {metric.__name__: metric(truth, guess)
                           for metric in (uar, accuracy, macro_f1, weighted_f1)}}  # fmt: skip
    if "values" not in train[0]:
        return {}
    y, truth = (np.stack([item["values"] for item in part]) for part in (train, held))
    if texts:
        guessed = _sparse_ridge(x, y).predict(z).reshape(truth.shape)
    else:
        fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11))).fit(x, y)
        guessed = fitted.predict(z).reshape(truth.shape)
    scores = {f"{metric.__name__}_{d}": metric(truth[:, i], guessed[:, i])
              for i, d in enumerate(dimensions) for metric in (pcc, ccc)}  # fmt: skip
    own = reported({"values": guessed}, {"values": truth}) if reported else {}
    return {"linear": scores | {name: float(metric(right, said)) for name, (metric, right, said) in own.items()}}


def _sparse_ridge(x: Any, y: np.ndarray) -> Any:
    """Ridge regression on many sparse columns, its strength chosen on a tenth of the rows: leaving single rows out, as
    for few columns, would need a square matrix of all rows."""
    from sklearn.linear_model import Ridge

    order = np.random.default_rng(0).permutation(len(y))
    held, kept = order[: len(y) // 10], order[len(y) // 10 :]
    missed = {}
    for strength in np.logspace(0, 4, 9):
        guess = Ridge(strength, solver="sparse_cg").fit(x[kept], y[kept]).predict(x[held])
        missed[strength] = float(np.square(guess.reshape(y[held].shape) - y[held]).mean())
    return Ridge(min(missed, key=lambda strength: missed[strength]), solver="sparse_cg").fit(x, y)


def _inputs_of(item: Mapping[str, Any]) -> list[str]:
    """Names of the arrays of an item that are no targets."""
    return [k for k, v in item.items() if isinstance(v, np.ndarray) and v.ndim >= 1 and k not in _TARGETS]


def _ids_alone(item: Mapping[str, Any]) -> str:
    """Name of the only input where that holds ids, else ""."""
    names = _inputs_of(item)
    return names[0] if len(names) == 1 and item[names[0]].dtype.kind == "i" and item[names[0]].ndim == 1 else ""


def _occurring(parts: list[list[dict[str, Any]]], name: str) -> list[Any]:
    """Which ids occur in each item of the parts, as sparse matrices; padding is in all of them and tells nothing."""
    from scipy.sparse import csr_matrix

    present = [[np.unique(item[name]) for item in items] for items in parts]
    width = 1 + max(int(ids[-1]) for items in present for ids in items)
    return [
        csr_matrix((np.ones(sum(map(len, items)), np.float32), np.concatenate(items), np.cumsum([0, *map(len, items)])),
                   (len(items), width)) for items in present
    ]  # fmt: skip


def _flat(items: list[dict[str, Any]]) -> np.ndarray:
    """Inputs of items as one matrix, zero where a modality is missing; targets, ids and texts stay out."""
    parts = []
    for name in _inputs_of(items[0]):
        values = np.nan_to_num(np.stack([np.asarray(item[name], np.float32).reshape(-1) for item in items]))
        if values.shape[1] > _LINEAR_WIDTH:
            step = -(-values.shape[1] // _LINEAR_WIDTH)
            width = values.shape[1] // step * step
            values = values[:, :width].reshape(len(values), -1, step).mean(2)
        parts.append(values)
    return np.concatenate(parts, 1)


def _trained_options(weights: Path) -> dict[str, Any]:
    path = weights / "training.json"
    return json.loads(path.read_text(encoding="utf-8"))["recipe"]["options"] if path.is_file() else {}


def _fitting_column(system: Any, corpus: Corpus) -> str:
    for column in corpus.table.column_names:
        if column_kind(column)[0] != "label":
            continue
        try:
            system.targets(corpus, column)
        except ConfigError:
            continue
        return column
    wanted = [f"dim:{name}" for name in system.card.dimensions]
    if wanted and all(column in corpus.table.column_names for column in wanted):
        return ",".join(wanted)
    raise ConfigError(f"{system.card.name} × {corpus.name}", "no column fits what it gives", "name one with --column")
