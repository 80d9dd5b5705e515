"""`affectus train|evaluate|score|scoreboard|corpora`: thin wrappers over the rooms that do the work."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from affectus.app.terminal import FAILED, print_json, print_table, say
from affectus.errors import ConfigError
from affectus.systems import registry


def train(recipe: Path, roots: Sequence[str], out: Path) -> None:
    """Run a recipe; the folders of its corpora are given as NAME=DIR."""
    if importlib.util.find_spec("torch") is None:
        raise ConfigError("training", "needs torch, which is not installed", "pip install 'affectus[train]'")
    folders = _folders(roots)
    from affectus.training.recipe import read_recipe
    from affectus.training.run import train as run

    run(recipe, folders, out)
    print(f"model package: {out / 'model'}")
    plan = read_recipe(recipe)
    reported = plan.options.get("test") or plan.options.get("fold") is not None
    if reported and plan.options.get("column") and plan.model in registry.names():
        from affectus.evaluation.systems import record_run

        _show(record_run(recipe, folders, out), False)
        print(f"result record: {out / 'record.json'}")


def _folders(roots: Sequence[str]) -> dict[str, Path]:
    found = {}
    for entry in roots:
        name, sign, folder = entry.partition("=")
        if not sign or not name or not folder:
            raise ConfigError(
                f"--root {entry}", "is not of the form NAME=DIR", "for example --root ferplus=data/ferplus"
            )
        if not Path(folder).exists():
            raise ConfigError(f"--root {entry}", "there is no such folder", "check the spelling of the path")
        found[name] = Path(folder)
    return found


def evaluate(
    model: str, corpus: str, root: Path, split: str, as_json: bool, weights: Path | None = None, column: str = ""
) -> None:
    """Measure a model or a system on a corpus and print the result record."""
    from affectus import evaluation, models
    from affectus.types import Card

    folder = None
    if model not in models.NAMES and (weights is not None or model in registry.names()):
        if weights is None:
            raise ConfigError(model, "is a system without weights", "give the folder of its weights with --weights")
        from affectus.evaluation.systems import evaluate_system

        _show(evaluate_system(model, weights, corpus, root, split, column), as_json)
        return
    if model not in models.NAMES and (Path(model) / "card.json").is_file():
        folder, model = Path(model), Card.read(Path(model) / "card.json").modality
    _show(evaluation.evaluate(model, corpus, root, split, folder, column=column or None), as_json)


def score(
    benchmark: str, predictions: Path, labels: Path | None, variant: str, tables: Path | None, as_json: bool
) -> None:
    """Score a file of predictions and print the result record."""
    from affectus import evaluation

    _show(evaluation.score(benchmark, predictions, labels=labels, variant=variant, tables=tables), as_json)


def list_benchmarks() -> None:
    """A row per benchmark."""
    from affectus import evaluation

    rows = [(b.name, b.title, b.task, b.corpus, b.headline) for b in evaluation.benchmarks()]
    print_table(("benchmark", "title", "task", "corpus", "headline"), rows)


def scoreboard(records: Sequence[Path], out: Path | None) -> None:
    """Render result records as Markdown or HTML."""
    from affectus import evaluation

    files = [file for path in records for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    text = evaluation.scoreboard(files, "html" if out and out.suffix.lower() in (".html", ".htm") else "markdown")
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        print(out)


def _show(record: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    metrics = record["metrics"]
    rows = [(name, f"{m['value']:.4f}", _interval(m)) for name, m in metrics.items()]
    title = " ".join(str(record[key]) for key in ("model", "corpus", "split") if record.get(key))
    print_table(("metric", "value", "95 % interval"), rows, f"{title}: {record['n']} items")
    for reason, count in (record.get("left_out") or {}).items():
        say(f"left out: {count} items: {reason}")
    if skipped := record.get("skipped"):
        say(f"unreadable: {len(skipped)}; --json names them")
    for note in record.get("notes") or ():
        say(f"note: {note}")


def _interval(metric: Mapping[str, Any]) -> str:
    low, high = metric.get("low"), metric.get("high")
    return "–" if low is None or high is None else f"{low:.4f} … {high:.4f}"


def list_corpora(as_json: bool) -> None:
    """A row per corpus that can be read."""
    from affectus import corpora

    found = [corpora.info(name) for name in corpora.names()]
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    rows = [(c.name, c.title, ", ".join(c.modalities), c.perspective, c.size, c.licence) for c in found]
    print_table(("corpus", "title", "modalities", "perspective", "size", "licence"), rows)


def corpus_info(name: str, as_json: bool) -> None:
    """All facts about one corpus."""
    from affectus import corpora

    facts = asdict(corpora.info(name))
    if as_json:
        print_json(facts)
        return
    rows = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            value = "; ".join(f"{k}: {', '.join(v) if isinstance(v, tuple) else v}" for k, v in value.items())
        rows.append((key, ", ".join(value) if isinstance(value, tuple) else value))
    print_table(("", name), [row for row in rows if row[1] not in ("", None)])


def check_corpus(name: str, root: Path, fast: bool, as_json: bool) -> int:
    """Problems of a corpus folder; the exit code is 1 when there is an error among them."""
    from affectus import corpora

    problems = corpora.check(name, root, decode=not fast)
    errors = sum(problem.level == "error" for problem in problems)
    if as_json:
        print_json({"corpus": name, "root": str(root), "problems": [asdict(problem) for problem in problems]})
    else:
        for problem in problems:
            print(problem)
        say(f"{errors} errors, {len(problems) - errors} warnings")
        if errors:
            say(f"how to obtain it: {corpora.info(name).obtain}")
    return FAILED if errors else 0


def corpus_table(name: str, root: Path, out: Path, split: str) -> None:
    """Write the table of a corpus as Parquet."""
    import pyarrow.parquet as pq

    from affectus import corpora

    corpus = corpora.load(name, root, split)
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(corpus.table, out, compression="zstd")
    print(f"{len(corpus)} rows: {out}")
