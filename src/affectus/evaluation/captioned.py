"""The record of a system that describes voices: what it writes about every aspect, against the captions of people."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affectus.corpora import Corpus
from affectus.errors import CorpusError
from affectus.evaluation import measures
from affectus.evaluation.answers import write_answers
from affectus.evaluation.record import Record, environment
from affectus.evaluation.targets import first_group
from affectus.metrics.captions import characters_of

if TYPE_CHECKING:
    from affectus.systems.captioning import SpeechCaptioner

#: Column that recipes name for captions of all aspects.
CAPTIONS = "captions"


def caption_record(system: SpeechCaptioner, corpus: Corpus, folder: str | Path | None = None) -> Record:
    """BLEU-4, ROUGE-L, METEOR and CIDEr of the captions of every aspect that the corpus has (`rouge_l_style` …).

    Sentences are cut into characters. Beside them stands what always writing the most frequent caption of these rows
    would get. A sound that cannot be read has an empty caption, which counts. Captions lie in `folder`
    (captions-<aspect>.jsonl), where a run that was cut off finds them. Raises CorpusError when no row has a caption.
    """
    from affectus.lm.instructions import CAPTIONED
    from affectus.systems.captioning import CAPTION_METRICS

    system.eval()
    record = Record(
        model=system.card.name, corpus=corpus.name, split="", n=0, metrics={}, headline="rouge_l_overall",
        perspective=system.card.perspective, target=CAPTIONS, version=str(system.card.year), environment=environment(),
    )  # fmt: skip
    grouped, scored = first_group(corpus), set()
    if grouped:
        record.interval = {"level": measures.LEVEL, "draws": measures.DRAWS, "over": grouped}
    frequent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as fallback:
        for aspect in CAPTIONED:
            column = f"meta:caption_{aspect}"
            given = corpus.column(column) if column in corpus.table.column_names else []
            if not (rows := [i for i, text in enumerate(given) if text]):
                continue
            held = corpus.take(np.array(rows))
            truth = np.array([given[i] for i in rows], object)
            said, states = _captions(system, held, Path(folder or fallback) / f"captions-{aspect}.jsonl", aspect)
            record.notes.append(f"{aspect}: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())))
            always = np.array([Counter(truth).most_common(1)[0][0]] * len(truth), object)
            groups = np.asarray(held.column(grouped), str) if grouped else None
            for name, metric in CAPTION_METRICS.items():
                key = f"{name}_{aspect}"
                record.metrics[key] = measures.entry(metric, truth, said, groups, tokenize=characters_of)
                frequent[key] = float(metric(truth, always, tokenize=characters_of))
            scored |= set(rows)
    if not scored:
        raise CorpusError(corpus.files.root, "has no row with a caption", corpus.info.obtain)
    record.n, record.baselines = len(scored), {"most_frequent_caption": frequent}
    if record.headline not in record.metrics:
        record.headline = next(name for name in record.metrics if name.startswith("rouge_l"))
    return record


def _captions(system: SpeechCaptioner, corpus: Corpus, file: Path, aspect: str) -> tuple[np.ndarray, dict[str, int]]:
    """Captions in the order of the rows, and how many answers were in which state."""
    states = write_answers(system, corpus, file, f"caption_{aspect}")
    said = {line["name"]: line.get("text", "") for line in map(json.loads, file.read_text("utf-8").splitlines())}
    return np.array([said[name] for name in corpus.column("id")], object), states
