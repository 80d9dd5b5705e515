"""Do preferred emotion words help a small encoder? No further pre-training, uniform masking, emotion-word masking.

    python benchmarks/leia_masking.py --goemotions DIR --emocontext DIR --semeval DIR [--json FILE] [--posts 12000]

Each arm starts from the packaged MiniLM, sees the same posts for the same number of steps (or none), is fine-tuned on
the five classes of GoEmotions with the same settings, and is scored on GoEmotions dev and, out of domain, on the
validation parts of EmoContext (third turn alone) and SemEval-2018. Nothing is chosen on any of them, but that rate and
epochs were raised once, for all arms, after a first run in which every arm named one class. The labels are those of
readers, not of writers. The head that predicts words starts afresh, since the packaged encoder has none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from affectus import corpora
from affectus.metrics import interval, macro_f1, paired_interval
from affectus.nn.phase import Phase
from affectus.systems import registry
from affectus.systems.base import System
from affectus.training.loop import fit
from affectus.training.system_task import CorpusItems, SystemTask, outputs_of

ARMS = ("none", "uniform", "emotion")
COLUMNS = {
    "goemotions": "labels:goemotions28",
    "emocontext": "label:emocontext4",
    "semeval2018": "labels:semeval11",
}


def learnt(system: System, items: Dataset, phase: Phase, seed: int) -> System:
    """The system after one phase, with its last weights."""
    nothing: Dataset = Subset(items, [])
    task = SystemTask(system, items, nothing, "none")
    task.select = "epoch"
    with tempfile.TemporaryDirectory(prefix="affectus-") as folder:
        fit(task, [phase], Path(folder), seed)
    return system.eval()


def settings(**changes: Any) -> Any:
    """The packaged encoder, with changes."""
    return {**vars(registry.system_class("leia").Config.minilm()), **changes}


def run_arm(arm: str, roots: dict[str, Path], posts: int, epochs: int, seed: int) -> dict[str, Any]:
    """Truth and guesses of one arm on each corpus, and its seconds."""
    started = time.time()
    train = corpora.load("goemotions", roots["goemotions"], strict=False).split("train")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:posts])
    leia = registry.build("leia", settings(), seed=seed)
    if arm != "none":
        words = registry.build("leia", settings(masking=arm), "pretrain", seed)
        phase = Phase("masked words", epochs=1, lr=2e-4, batch_size=32, weight_decay=0.01, warmup=0.06)
        learnt(words, CorpusItems(train.take(chosen), words, ""), phase, seed)
        leia.initialise(words.state_dict())
    phase = Phase("finetune", epochs=epochs, lr=2e-4, batch_size=32, weight_decay=0.01, warmup=0.06)
    learnt(leia, CorpusItems(train.take(chosen), leia, COLUMNS["goemotions"]), phase, seed)
    found: dict[str, Any] = {"seconds": time.time() - started}
    for name, root in roots.items():
        held = CorpusItems(corpora.load(name, root, strict=False).split("valid"), leia, COLUMNS[name])
        outputs, targets, _ = outputs_of(leia, held, 64)
        found[name] = targets["label"], outputs["logits"].argmax(1)
    return found


def present_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """Macro F1 over the classes that occur in the truth."""
    return macro_f1(truth, guess, 5, present_only=True)


def compared(arms: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Scores of the arms on one corpus, their differences with intervals, and the trivial baseline."""
    truth = arms["none"][name][0]
    guesses = {arm: found[name][1] for arm, found in arms.items()}
    counts = np.bincount(truth, minlength=5)
    pairs = (("emotion", "uniform"), ("emotion", "none"), ("uniform", "none"))
    return {
        "n": len(truth),
        "classes": {label: int(c) for label, c in zip(registry.card("leia").labels, counts, strict=True)},
        "macro_f1": {arm: interval(present_f1, truth, guess)._asdict() for arm, guess in guesses.items()},
        "most_frequent_class": present_f1(truth, np.full(len(truth), counts.argmax())),
        "difference": {
            f"{one} - {two}": paired_interval(present_f1, truth, guesses[one], guesses[two])._asdict()
            for one, two in pairs
        },
    }


def main() -> None:
    """Run all arms for every seed and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("goemotions", "emocontext", "semeval"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--posts", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    roots = {"goemotions": args.goemotions, "emocontext": args.emocontext, "semeval2018": args.semeval}
    record: dict[str, Any] = {
        "protocol": {"posts": args.posts, "epochs": args.epochs, "encoder": "minilm-l6", "interval": "95 %, rows",
                     "labels": "of readers, mapped to happiness, affection, sadness, anger, fear"},
        "seeds": [],
    }  # fmt: skip
    for seed in range(args.seeds):
        arms = {}
        for arm in ARMS:
            arms[arm] = run_arm(arm, roots, args.posts, args.epochs, seed)
            print(seed, arm, round(arms[arm]["seconds"]), "s", flush=True)
        entry: dict[str, Any] = {name: compared(arms, name) for name in roots}
        entry["seconds"] = {arm: round(found["seconds"], 1) for arm, found in arms.items()}
        record["seeds"].append(entry)
        text = json.dumps(record, indent=1)
        if args.json:
            args.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
