"""`affectus train RECIPE`: from a recipe and corpus folders to a model package or trained weights."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from affectus import corpora
from affectus.errors import ConfigError, CorpusError
from affectus.systems import registry
from affectus.training.leak_guard import Parts, guard_splits
from affectus.training.loop import FitResult
from affectus.training.recipe import read_recipe
from affectus.training.system_run import SYNTHETIC, run_system
from affectus.types import Card

#: Embedded models and the corpora each learns from; with a teacher, words takes the texts of further ones.
EMBEDDED = {"face": {"ferplus"}, "voice": {"ravdess"}, "words": {"goemotions", "emobank"}, "scene": {"oasis"}}

#: Readings of conversations on top of the shipped words model; they are solved, not trained in phases.
READINGS = {"context": {"meld", "emocontext"}, "gap": {"emobank"}}

#: Corpora without official splits, and the group that every fold of a run keeps together.
FOLDS = {"ravdess": "subject", "oasis": "theme"}


def train(recipe: Path, roots: dict[str, Path], out: Path) -> Card | FitResult:
    """Run a recipe; `roots` gives the folder (or archive) of every corpus it names. Resumes a run cut off in `out`.

    Raises ConfigError for a wrong recipe or a missing root and CorpusError when a corpus has errors or training would
    share with validation what neither corpus nor recipe accounts for.
    """
    plan = read_recipe(recipe)
    known = [*EMBEDDED, *READINGS, *registry.names()]
    if plan.model not in known:
        raise ConfigError(recipe, f"trains {plan.model!r}, which is not known", f"choose one of {', '.join(known)}")
    shipped = EMBEDDED | READINGS
    embedded = plan.model in shipped
    further = set(plan.corpora) - shipped[plan.model] if embedded and "teacher" not in plan.options else set()
    if embedded and (further or not shipped[plan.model] <= set(plan.corpora)):
        needed = ", ".join(sorted(shipped[plan.model]))
        raise ConfigError(recipe, f"names the corpora {', '.join(plan.corpora)}", f"{plan.model} learns from {needed}")
    if plan.model in EMBEDDED and not plan.phases:
        raise ConfigError(recipe, "has no phases", f"{plan.model} declares none itself")
    for name in plan.corpora:
        if name == SYNTHETIC and not embedded:
            continue
        if name not in roots:
            raise ConfigError(name, "has no folder", f"pass --root {name}=DIR")
        errors = [problem for problem in corpora.check(name, roots[name], leaks=False) if problem.level == "error"]
        if errors:
            raise CorpusError(
                roots[name],
                f"{len(errors)} problems in {name}, first: {errors[0]}",
                f"affectus corpora check {name} DIR",
            )
    if not embedded:
        return run_system(plan, roots, out)
    guard_splits({name: _parts(name, roots[name]) for name in plan.corpora if name in roots}, out, plan.accept_leaks)
    room = "readings" if plan.model in READINGS else "embedded"
    module = import_module(f"affectus.training.{room}.{plan.model}_run")
    return module.run(plan, roots, out)


def _parts(name: str, root: Path) -> Parts:
    corpus = corpora.load(name, root)
    return (corpus, FOLDS[name]) if name in FOLDS else (corpus.split("train"), corpus.split("valid"))
