"""`affectus score`: a predictions file against a benchmark, without any model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from affectus.errors import AffectusError, ConfigError
from affectus.evaluation.items import read_items
from affectus.evaluation.measures import DRAWS, LEVEL
from affectus.evaluation.pairing import Pairs, pair
from affectus.evaluation.presets import Benchmark, benchmark
from affectus.evaluation.record import Entry, Record, digest, environment, plain
from affectus.evaluation.scored import Context, Scored

#: Task of a benchmark → module and function that scores it.
_TASKS = {
    "wheels": ("task_words", "wheel_sets"),
    "hit": ("task_words", "hit_rate"),
    "sentiment": ("task_words", "sentiment"),
    "word_sets": ("task_words", "word_sets"),
    "classes": ("task_labels", "classes"),
    "verdicts": ("task_labels", "verdicts"),
    "subtasks": ("task_labels", "subtasks"),
    "values": ("task_values", "values"),
    "judged": ("task_values", "judged"),
    "several": ("task_values", "several"),
    "top_labels": ("task_values", "top_labels"),
    "hidden": ("task_values", "hidden"),
    "spans": ("task_places", "spans"),
    "boxes": ("task_places", "boxes"),
    "retrieval": ("task_places", "retrieval"),
}
#: A folder with one of these names, beside or above the scored files, is taken for the published wheel tables.
_WHEEL_FOLDERS = ("emotion_wheels", "emotion_wheel")
_SUFFIXES = (".npz", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet")


def score(
    benchmark_name: str,
    predictions: str | Path,
    labels: str | Path | None = None,
    variant: str = "published",
    *,
    tables: str | Path | None = None,
) -> dict[str, Any]:
    """Score predictions on a benchmark; returns the fields of a `Record`, of the same shape as `evaluate`'s.

    `predictions` is a file (shapes: `evaluation.items`) or a folder with one file per checkpoint, fold or set; `labels`
    the file or corpus folder with the truth, None where the predictions file holds it too. `variant` is `published`
    (files in published shapes are mostly held against published tables) or `strict`. `tables` is a folder with
    emotion-wheel tables; without it AFFECTUS_WHEELS is used, then a folder `emotion_wheels` beside or above the files,
    then the library's own tables.

    Raises ConfigError, CorpusError or LabelError naming the file and what is wrong.
    """
    chosen = benchmark(benchmark_name)
    chosen.protocol(variant)
    guesses = Path(predictions)
    truth = None if labels is None else Path(labels)
    if not guesses.exists():
        raise ConfigError(guesses, "no such file or folder")
    if truth is not None and not truth.exists():
        raise ConfigError(truth, "no such file or folder")
    if chosen.members:
        record = _suite(chosen, guesses, truth, variant, tables)
    elif guesses.is_dir():
        record = _folder(chosen, guesses, truth, variant, tables)
    else:
        record = _single(chosen, guesses, truth, variant, tables)
    return plain(record.as_dict())


def _single(
    chosen: Benchmark,
    predictions: Path,
    labels: Path | None,
    variant: str,
    tables: str | Path | None,
    part: bool = False,
) -> Record:
    """One predictions file, or `part` of one: then items it does not hold are those of other folds."""
    protocol = chosen.protocol(variant)
    guesses = read_items(predictions)
    truth = None if labels is None else read_items(labels, chosen.corpus, chosen.split)
    place = wheel_folder(tables, [path for path in (labels, predictions) if path is not None])
    context = Context(chosen, protocol, guesses, truth, place)
    scored = scorer(chosen)(_pairs(chosen, context, "published" if part else variant), context)
    return _record(chosen, variant, scored, predictions.name, [predictions, *([labels] if labels else [])])


def _pairs(chosen: Benchmark, context: Context, variant: str) -> Pairs:
    missing = "wrong" if variant == "strict" else "drop"
    return pair(context.predictions, context.labels, chosen.parts, chosen.place, missing)


def scorer(chosen: Benchmark) -> Callable[[Pairs, Context], Scored]:
    """The function behind a benchmark's task; errors of metrics come out as ConfigError."""
    module, name = _TASKS[chosen.task]
    function = getattr(import_module(f"affectus.evaluation.{module}"), name)

    def run(pairs: Pairs, context: Context) -> Scored:
        try:
            scored: Scored = function(pairs, context)
        except AffectusError:
            raise
        except ValueError as error:
            raise ConfigError(context.predictions.source, f"cannot be scored: {error}") from None
        scored.left_out = pairs.left_out | scored.left_out
        scored.notes = [*pairs.notes, *scored.notes]
        return scored

    return run


def _record(chosen: Benchmark, variant: str, scored: Scored, name: str, inputs: Iterable[Path]) -> Record:
    protocol = chosen.protocol(variant)
    notes = [protocol.rule, *scored.notes]
    if chosen.n and scored.n != chosen.n:
        notes.append(f"scored {scored.n} items; published scores rest on {chosen.n}")
    return Record(
        model=name,
        corpus=chosen.corpus,
        split=chosen.split,
        n=scored.n,
        metrics={k: _finite(v) for k, v in scored.metrics.items() if np.isfinite(v.value)},
        benchmark=chosen.name,
        variant="published" if variant == "published" else "strict",
        headline=str(protocol.options.get("headline", chosen.headline)),
        perspective=chosen.perspective,
        target=chosen.space or chosen.task,
        labels=scored.labels,
        baselines=scored.baselines,
        confusion=scored.confusion,
        left_out=scored.left_out,
        notes=notes,
        selection=protocol.selection or "none: one predictions file was given",
        interval={"level": LEVEL, "draws": DRAWS, "method": "percentile bootstrap", "seed": 0},
        tables=scored.tables,
        inputs={path.name: digest(path) for path in inputs if path.is_file()},
        parts={name: dict(part) for name, part in scored.parts.items()},
        published=[dict(entry) for entry in chosen.results if entry.get("variant", "published") == variant],
        environment=environment(),
    )


def _finite(entry: Entry) -> Entry:
    bounds = [bound if bound is not None and np.isfinite(bound) else None for bound in (entry.low, entry.high)]
    return Entry(value=entry.value, low=bounds[0], high=bounds[1])


def files_in(folder: Path) -> list[Path]:
    """Predictions files of a folder and of the folders in it, by name."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    )


def _folder(chosen: Benchmark, folder: Path, labels: Path | None, variant: str, tables: str | Path | None) -> Record:
    """A folder of checkpoints, or of folds.

    Checkpoints: the published variant takes the best one on the test set, as printed tables do; the strict one the
    last, which no test score chose. Folds: one joint score, or the mean of the folds' scores.
    """
    found = [path for path in files_in(folder) if _fits(chosen, path)]
    if not found:
        raise ConfigError(folder, f"holds no predictions for {chosen.name}", f"files end in {', '.join(_SUFFIXES)}")
    if chosen.protocol(variant).options.get("folds"):
        return _folds(chosen, found, labels, variant, tables)
    records = [_single(chosen, path, labels, variant, tables) for path in found]
    if len(records) == 1:
        return records[0]
    scores = [record.metrics[record.headline].value for record in records]
    best = records[int(np.argmax(scores))] if variant == "published" else records[-1]
    best.parts |= {record.model: {record.headline: value} for record, value in zip(records, scores, strict=True)}
    best.selection = (
        f"best of {len(records)} checkpoints on the test set itself, as published"
        if variant == "published"
        else f"the last of {len(records)} checkpoints, whatever it scores"
    )
    return best


def _fits(chosen: Benchmark, path: Path) -> bool:
    """Whether a file of a folder is meant for this task: published runs keep raw text, word lists and sentiments."""
    if chosen.task == "sentiment":
        return "sentiment" in path.stem or "openset" not in path.stem
    return "sentiment" not in path.stem


def _folds(
    chosen: Benchmark, found: list[Path], labels: Path | None, variant: str, tables: str | Path | None
) -> Record:
    rule = chosen.protocol(variant).options["folds"]
    records = [_single(chosen, path, labels, variant, tables, part=True) for path in found]
    joint = _joint(chosen, found, labels, variant, tables)
    for record in records:
        values = {name: entry.value for name, entry in record.metrics.items()}
        joint.parts[record.model] = values | {"n": record.n}
    if len(records) > 1:
        scores = {name: [record.metrics[name].value for record in records if name in record.metrics]
                  for name in joint.metrics}  # fmt: skip
        joint.parts["standard deviation over folds"] = {
            name: float(np.std(values, ddof=1)) for name, values in scores.items() if len(values) > 1
        }
    joint.selection = f"{rule} over {len(records)} folds"
    if rule == "mean":
        for name in joint.metrics:
            joint.metrics[name] = Entry(value=float(np.mean([record.metrics[name].value for record in records])))
    return joint


def _joint(
    chosen: Benchmark, found: list[Path], labels: Path | None, variant: str, tables: str | Path | None
) -> Record:
    """All folds as one file."""
    guesses = [read_items(path) for path in found]
    merged: dict[str, Any] = {}
    for items in guesses:
        merged |= items.of(chosen.parts)
    if len(merged) < sum(len(items.of(chosen.parts)) for items in guesses):
        raise ConfigError(found[0].parent, "has the same item in two folds", "give one file per fold, tests only")
    whole = type(guesses[0])(str(found[0].parent / "all folds"), {"": merged})
    truth = None if labels is None else read_items(labels, chosen.corpus, chosen.split)
    place = wheel_folder(tables, [path for path in (labels, found[0]) if path is not None])
    context = Context(chosen, chosen.protocol(variant), whole, truth, place)
    scored = scorer(chosen)(_pairs(chosen, context, variant), context)
    return _record(chosen, variant, scored, found[0].parent.name, [*found, *([labels] if labels else [])])


def _suite(chosen: Benchmark, folder: Path, labels: Path | None, variant: str, tables: str | Path | None) -> Record:
    """Several benchmarks and the plain mean of their headline scores; members are found by name in both folders."""
    records = {}
    for name in chosen.members:
        member = benchmark(name)
        key = name.rpartition("/")[2].replace("-", "").replace("_", "")
        own = _named_like(folder, key)
        truth = None if labels is None else _named_like(labels, key, member.corpus.replace("_", ""))
        if own is None or (truth is None and labels is not None):
            continue
        records[name] = (_folder if own.is_dir() else _single)(member, own, truth, variant, tables)
    if not records:
        raise ConfigError(folder, f"holds nothing for {chosen.name}", f"expected names like {chosen.members[0]}")
    missing = [name for name in chosen.members if name not in records]
    mean = float(np.mean([record.metrics[record.headline].value for record in records.values()]))
    headline = chosen.headline if not missing else f"{chosen.headline}_of_{len(records)}"
    scored = Scored(
        {headline: Entry(value=mean)},
        sum(record.n for record in records.values()),
        parts={
            name: {record.headline: record.metrics[record.headline].value, "n": record.n, "selection": record.selection}
            for name, record in records.items()
        },
        tables={key: value for record in records.values() for key, value in record.tables.items()},
        notes=[f"not there: {', '.join(missing)}"] if missing else [],
    )
    made = _record(chosen, variant, scored, folder.name, [])
    made.headline = headline
    made.inputs = {f"{name}/{file}": sha for name, record in records.items() for file, sha in record.inputs.items()}
    if missing:
        made.published = []
    return made


def _named_like(folder: Path, *keys: str) -> Path | None:
    """The file or folder whose bare name is a key, else ends with one (`results-cmumosi`), else starts with one."""
    if not folder.is_dir():
        return None
    entries = {path: path.stem.lower().replace("-", "").replace("_", "") for path in sorted(folder.iterdir())}
    for key in keys:
        for test in (str.__eq__, str.endswith, _is_label_file):
            if found := next((path for path, bare in entries.items() if test(bare, key)), None):
                return found
    return None


def _is_label_file(bare: str, key: str) -> bool:
    return bare.startswith(key) and bare[len(key) :].startswith(
        ("label", "openset", "checkpoint", "test", "prediction")
    )


def wheel_folder(tables: str | Path | None, near: Iterable[Path]) -> Path | None:
    """Where the published wheel tables are: as given, AFFECTUS_WHEELS, or a folder beside or above the given files."""
    if tables is not None:
        return Path(tables)
    if stated := os.environ.get("AFFECTUS_WHEELS"):
        return Path(stated)
    for path in near:
        for folder in [path.resolve(), *path.resolve().parents][:6]:
            for name in _WHEEL_FOLDERS:
                if (folder / name / "format.csv").is_file() or (folder / name / "wheel_mapping.npz").is_file():
                    return folder / name
    return None
