"""Answers of a system that writes, over a corpus: generation → words → a file that `score` takes, in both its forms.

    write_answers(system, corpora.load("ov_merd", root), "answers.jsonl")
    score("mer-unibench/ovmerd-plus", "answers.jsonl", root, "strict")

One JSON record per clip: `name`, `text` (as generated), `openset` (its emotion words), `state` (ok, empty, looping).
A sentiment benchmark takes `kind="sentiment"`, which adds the answer as `sentiment`, one of labels `kind="onehot"`,
which adds it as `prediction`. `write_folds` writes one file per official fold, each by the system that did not learn
from it. A clip that cannot be read has `error` and no words, so that it counts as wrong; nothing is left out. A run
that was cut off goes on after its last whole batch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.corpora import Corpus
from affectus.errors import AffectusError, ConfigError

if TYPE_CHECKING:
    from affectus.systems.generative import GenerativeSystem

#: Where scorers look for the answer to a kind of question that is not about words.
_FIELDS = {"sentiment": "sentiment", "onehot": "prediction"}


def write_answers(
    system: GenerativeSystem,
    corpus: Corpus,
    path: str | Path,
    kind: str = "ovlabel",
    batch_size: int = 8,
    labels: Sequence[str] = (),
) -> dict[str, int]:
    """Answers of a system to one question about every row of a corpus, appended to a JSON-lines file.

    `labels` are the candidates that a question of the kind "onehot" lists.

    Gives how many answers were ok, empty, looping, and how many rows could not be read, those of earlier runs included.
    ConfigError when the file holds answers to another question, or of another corpus.
    """
    from affectus.systems.prediction import collate
    from affectus.training.system_task import CorpusItems

    file = Path(path)
    names = corpus.column("id")
    done = _written(file, kind, set(names))
    items = CorpusItems(corpus, system, "", memory=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = [row for row, name in enumerate(names) if name not in done]
    device = next(system.parameters()).device
    for start in range(0, len(waiting), batch_size):
        read, records = {}, {}
        for row in waiting[start : start + batch_size]:
            try:
                read[row] = items[row]
            except AffectusError as error:
                records[row] = {"text": "", "openset": [], "state": "unreadable", "error": str(error)}
        if read:
            batch: dict[str, Any] = collate(list(read.values()))
            batch = {k: v.to(device) if hasattr(v, "to") else v for k, v in batch.items()}
            if labels:
                batch["record"] = [{"labels": list(labels)}] * len(read)
            for row, answer in zip(read, system.answer(batch, kind), strict=True):
                records[row] = {"text": answer.text, "openset": list(answer.words), "state": answer.state}
                if kind in _FIELDS:
                    records[row][_FIELDS[kind]] = answer.text
        lines = [json.dumps({"name": names[row], "kind": kind, **records[row]}, ensure_ascii=False)
                 for row in sorted(records)]  # fmt: skip
        with file.open("a", encoding="utf-8") as stream:
            stream.write("".join(line + "\n" for line in lines))
        done |= {json.loads(line)["name"]: json.loads(line)["state"] for line in lines}
    return dict(Counter(done.values()))


def write_folds(
    system_of: Callable[[int], GenerativeSystem],
    corpus: Corpus,
    folder: str | Path,
    kind: str = "onehot",
    batch_size: int = 8,
    labels: Sequence[str] = (),
) -> dict[int, dict[str, int]]:
    """As `write_answers` for the test rows of every official fold, into `folder/fold_1.jsonl` …; `system_of` gives the
    system of a fold. ConfigError when the corpus has no folds."""
    folds = sorted({fold for fold in corpus.column("fold") if fold is not None})
    if not folds:
        raise ConfigError(corpus.name, "has no official folds", "use write_answers")
    found = {}
    for fold in folds:
        rows = np.flatnonzero([own == fold for own in corpus.column("fold")])
        target = Path(folder) / f"fold_{fold}.jsonl"
        found[fold] = write_answers(system_of(fold), corpus.take(rows), target, kind, batch_size, labels)
    return found


def _written(file: Path, kind: str, names: set[str]) -> dict[str, str]:
    """Name → state of the answers that a file holds; a last line that was cut off is dropped from it."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    found = {}
    for line in whole.splitlines():
        record = json.loads(line)
        if record.get("kind") != kind:
            raise ConfigError(file, f"holds answers to {record.get('kind')}, not to {kind}", "give another file")
        if record["name"] not in names:
            raise ConfigError(file, f"holds an answer about {record['name']}, which this corpus does not have")
        found[record["name"]] = record["state"]
    return found
