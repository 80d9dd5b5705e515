"""PRC-Emo with the packaged language model beside its ablations, on a slice of MELD: what each part brings.

    python benchmarks/prc_emo_ablations.py --meld DIR --out FOLDER [--json FILE]

Every arm is the recipe `recipes/prc_emo/meld-packaged.yaml` with one change and learns from the same utterances for the
same number of steps: without retrieval the prompt shows no demonstrations; without curriculum the first bucket is drawn
by chance instead of by difficulty; plain is without both and without the cue. `untrained` is the base itself with the
full prompt. All are scored on the same utterances of the development split, which chose nothing, by the likelihood of
the labels; intervals resample dialogues. A finished arm is not run again, a cut-off one goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from affectus import corpora
from affectus.corpora.leaks import plain_text
from affectus.evaluation.record import environment
from affectus.lm.demonstrations import DemonstrationStore, SentenceVectors, demonstrations_of
from affectus.metrics import accuracy, interval, paired_interval, weighted_f1
from affectus.systems import registry
from affectus.systems.base import System
from affectus.training.recipe import Recipe, read_recipe
from affectus.training.run import train
from affectus.training.system_run import Split, build_system, items_of, split_corpus
from affectus.training.system_task import outputs_of

RECIPE = Path(__file__).parents[1] / "recipes" / "prc_emo" / "meld-packaged.yaml"
#: Changes of the configuration, and what buckets go by.
ARMS: dict[str, tuple[dict[str, Any], str]] = {
    "full": ({}, "difficulty"),
    "without retrieval": ({"demonstrations": 0}, "difficulty"),
    "without curriculum": ({}, "chance"),
    "plain": ({"demonstrations": 0, "knowledge": ""}, "chance"),
}


def recipe_of(arm: str, folder: Path, store: Path) -> Path:
    """The recipe of an arm, written to its folder."""
    record = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    changes, by = ARMS[arm]
    record["options"]["config"] |= {"store": str(store), **changes}
    for phase in record["phases"]:
        if "curriculum" in phase.get("options", {}):
            phase["options"]["curriculum"]["by"] = by
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(record, allow_unicode=True), encoding="utf-8")
    return path


def scored(system: System, parts: Split, options: dict[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """Truth, log-likelihoods of labels and dialogue of every reported utterance; kept in the folder."""
    path = folder / "scored.npz"
    if not path.is_file():
        assert parts.test is not None
        items = items_of(parts.test, system.eval(), options)
        outputs, targets, _ = outputs_of(system, items, 4)
        groups = np.asarray(parts.test.column("group:dialogue"), str)[items.kept]
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, truth=targets["label"], logits=outputs["logits"], groups=groups)
    with np.load(path) as found:
        return dict(found)


def run_arm(arm: str, meld: Path, out: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Scores of an arm, and what its training took."""
    folder = out / arm.replace(" ", "-")
    path = recipe_of(arm, folder, out / "store")
    recipe = read_recipe(path)
    parts = split_corpus(corpora.load("meld", meld, strict=False), recipe.options, recipe.seed)
    if not (folder / "model" / "training.json").is_file():
        train(path, {"meld": meld}, folder)
    found = scored(registry.load("prc_emo", folder / "model"), parts, recipe.options, folder)
    training = json.loads((folder / "model" / "training.json").read_text(encoding="utf-8"))
    losses = [json.loads(line).get("loss/answer") for line in (folder / "log.jsonl").read_text().splitlines()]
    return found, {"seconds": round(training["seconds"], 1), "loss_per_epoch": losses}


def stored(parts: Split, column: str, folder: Path) -> Path:
    """The store of all training utterances, embedded once for all arms."""
    if not (folder / "demonstrations.json").is_file():
        pool = parts.pool or parts.learn
        DemonstrationStore.of(demonstrations_of(pool, column), SentenceVectors("minilm-l6")).write(folder)
    return folder


def trivial(recipe: Recipe, parts: Split, store: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Truth, whether the words of an utterance stand in no demonstration, and guesses without a language model.

    These are the most frequent class, the vote of the demonstrations (the nearest one in a tie), and a logistic
    regression on the sentence vectors of the same training utterances.
    """
    from sklearn.linear_model import LogisticRegression

    settings = {"preset": "tiny", "encoder": "minilm-l6", "demonstrations": 3, "store": str(store)}
    system = build_system(recipe.model_copy(update={"options": recipe.options | {"config": settings}}))
    assert parts.test is not None
    items, learn = (items_of(part, system, recipe.options) for part in (parts.test, parts.learn))
    names, truth = system.labels(), items.targets["label"][items.kept]
    votes = [Counter(shown[1] for shown in items[i]["dialogue"]["demonstrations"]) for i in range(len(items))]
    linear = LogisticRegression(max_iter=500, class_weight="balanced")
    linear.fit(learn.vectors[learn.kept], learn.targets["label"][learn.kept])
    known = {plain_text(one.text) for one in system.store.demonstrations}  # type: ignore[union-attr]
    said = [items[i]["dialogue"] for i in range(len(items))]
    fresh = np.array([plain_text(one["turns"][one["target"]][1]) not in known for one in said])
    guesses = {
        "majority": np.full(len(truth), np.bincount(truth).argmax()),
        "vote of the demonstrations": np.array([names.index(max(v, key=lambda x, v=v: v[x])) for v in votes]),
        "linear on sentence vectors": linear.predict(items.vectors[items.kept]),
    }
    return truth, fresh, guesses


def entry(truth: np.ndarray, guess: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Weighted F1 and accuracy with intervals over dialogues."""
    return {
        name: interval(metric, truth, guess, groups)._asdict()
        for name, metric in (("weighted_f1", weighted_f1), ("accuracy", accuracy))
    }


def main() -> None:
    """Run all arms and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meld", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    args = parser.parse_args()
    recipe = read_recipe(RECIPE)
    parts = split_corpus(corpora.load("meld", args.meld, strict=False), recipe.options, recipe.seed)
    store = stored(parts, recipe.options["column"], args.out / "store")
    truth, fresh, others = trivial(recipe, parts, store)
    full = read_recipe(recipe_of("full", args.out / "full", store))
    base = scored(build_system(full), parts, full.options, args.out / "untrained")
    groups, pool = base["groups"], parts.pool or parts.learn
    counts = np.bincount(truth, minlength=base["logits"].shape[1]).tolist()
    record: dict[str, Any] = {
        "model": "prc_emo",
        "corpus": "meld",
        "n": len(truth),
        "dialogues": len(set(groups.tolist())),
        "split": f"{recipe.options['test_limit']} utterances of dev, drawn at random; nothing was chosen on them",
        "trained_on": f"{len(parts.learn)} utterances of train; demonstrations from all {len(pool)}",
        "interval": "95 %, 1000 draws of dialogues",
        "config": recipe.options["config"],
        "phases": [{"name": p.name, "epochs": p.epochs, "lr": p.lr, "options": p.options} for p in recipe.phases],
        "baselines": {name: entry(truth, guess, groups) for name, guess in others.items()},
        "arms": {"untrained": entry(truth, base["logits"].argmax(1), groups)},
        "new_words": {"n": int(fresh.sum()), "note": "weighted F1 on utterances whose words no demonstration has"},
        "classes": registry.card("prc_emo").labels,
        "given": {"truth": counts, "untrained": np.bincount(base["logits"].argmax(1), minlength=len(counts)).tolist()},
        "difference": {},
        "training": {},
        "environment": environment(),
    }
    guesses: dict[str, np.ndarray] = {}
    for arm in args.arms:
        started = time.time()
        found, told = run_arm(arm, args.meld, args.out)
        assert (found["truth"] == truth).all()
        guesses[arm] = found["logits"].argmax(1)
        record["arms"][arm] = entry(truth, guesses[arm], groups)
        record["training"][arm] = told
        record["given"] |= {arm: np.bincount(guesses[arm], minlength=len(counts)).tolist()}
        new = interval(weighted_f1, truth[fresh], guesses[arm][fresh], groups[fresh])
        record["new_words"][arm] = new._asdict()
        if arm != "full" and "full" in guesses:
            difference = paired_interval(weighted_f1, truth, guesses["full"], guesses[arm], groups)
            record["difference"][f"full - {arm}"] = difference._asdict()
        print(arm, record["arms"][arm]["weighted_f1"], round(time.time() - started), "s", flush=True)
        if args.json:
            args.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
