"""Where writers and readers differ: detectors and expressions on WRIME (Japanese) and EmoBank (English).

    python benchmarks/writer_reader_gap.py --wrime FOLDER --emobank FOLDER [--json FILE] [--quick]

Every score is out of fold, with whole writers (WRIME) or documents (EmoBank) held out, and its interval resamples
writers or documents. Expressions are compared within writers or documents by an exact test, corrected over all that
were tested; only n-grams are written to the record, never a post.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from affectus import corpora
from affectus.corpora import Corpus
from affectus.corpora.splits import group_folds
from affectus.corpora.writer_reader import two_sides
from affectus.features.ngrams import NgramTable, Unit, count_ngrams, fold
from affectus.metrics import auc, average_precision, characteristic, gap_agreement, interval
from affectus.systems import registry
from affectus.systems.base import System
from affectus.training.cross_fit import cross_fit
from affectus.training.system_task import CorpusItems

WRIME_EMOTIONS = ("anger", "sadness", "joy", "disgust", "fear", "surprise", "anticipation", "trust")
FOLDS = 5

PROTOCOL: dict[str, Any] = {
    "folds": FOLDS,
    "held_out": "whole writers (WRIME), whole documents (EmoBank)",
    "interval": "95 %, bootstrap over writers or documents",
    "test": "exact, two-sided, conditional on writer or document",
    "correction": "q (Benjamini, Hochberg) over all expressions of one emotion and rule, not over the studies; n-grams "
    "that overlap are counted each",
    "settings": "optimiser of the n-gram detector chosen among four on the anger AUC of these very folds, so that "
    "number leans upwards; all other emotions and EmoBank were scored with it as it was. The variants without class "
    "weight and by regression run with the same settings, which suit them less: under the first choice (AdamW, 2e-2) "
    "they had 0.621 and 0.644 against 0.610 of the detector, so their order says nothing",
    "of_detected": "expressions of the tenth of texts with the highest out-of-fold score; the detector reads the same "
    "n-grams, so these are descriptive and carry no p-value",
}


@dataclass(frozen=True)
class Source:
    """A corpus with what a study of it needs."""

    corpus: Corpus
    group: str
    unit: Unit
    sizes: tuple[int, ...]
    table: NgramTable
    folds: list[np.ndarray]

    @property
    def texts(self) -> list[str]:
        """Its texts in order."""
        return self.corpus.column("text")

    @property
    def groups(self) -> np.ndarray:
        """Writer or document of each text."""
        return np.array(self.corpus.column(f"group:{self.group}"))


def source(corpus: Corpus, group: str, unit: Unit, sizes: tuple[int, ...], least: int) -> Source:
    """Count n-grams and deal whole groups to folds."""
    table = count_ngrams(corpus.column("text"), sizes, unit, least)
    return Source(corpus, group, unit, sizes, table, group_folds(corpus.table, group, FOLDS, seed=0))


def measured(truth: np.ndarray, score: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """AUC with its interval over groups, the mean AUC within groups, and average precision with its interval."""
    area, precision = (interval(metric, truth, score, groups) for metric in (auc, average_precision))
    inside = []
    for group in np.unique(groups):
        rows = groups == group
        if 0 < truth[rows].sum() < rows.sum():
            inside.append((auc(truth[rows], score[rows]), int(rows.sum())))
    weights = np.array([n for _, n in inside])
    return {
        "auc": area._asdict(),
        "average_precision": precision._asdict(),
        "auc_within_groups": float(np.average([a for a, _ in inside], weights=weights)),
        "groups_with_both": len(inside),
    }


def tfidf_scores(data: Source, truth: np.ndarray) -> np.ndarray:
    """Out-of-fold scores of TF-IDF n-grams with logistic regression, as it is usually set up."""
    texts, found = [fold(t) for t in data.texts], np.zeros(len(truth))
    analyzer = "char" if data.unit == "character" else "word"
    span = (data.sizes[0], data.sizes[-1])
    for rows in data.folds:
        rest = np.setdiff1d(np.arange(len(truth)), rows)
        vectors = TfidfVectorizer(analyzer=analyzer, ngram_range=span, min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
        model.fit(vectors.fit_transform([texts[i] for i in rest]), truth[rest])
        found[rows] = model.decision_function(vectors.transform([texts[i] for i in rows]))
    return found


def detector_scores(data: Source, config: Any, truth: np.ndarray, seeds: int) -> np.ndarray:
    """Out-of-fold scores of the system, averaged over seeds; a text without a rating gets none."""
    weight = float((truth == 0).sum() / max(1, (truth == 1).sum())) if config.positive_weight != 1 else 1.0
    config = replace(config, positive_weight=weight)

    def build(number: int) -> System:
        return registry.build("sns_gap", config, seed=number)

    items = CorpusItems(data.corpus, build(0), "gap")
    place = np.full(len(data.corpus), -1)
    place[items.kept] = np.arange(len(items.kept))
    folds = [place[rows][place[rows] >= 0] for rows in data.folds]
    total = np.zeros(len(items.kept))
    for seed in range(seeds):
        logits = cross_fit(build, items, folds, seed)["logits"]
        total += (logits[:, 1] - logits[:, 0]) / seeds
    score = np.full(len(data.corpus), np.nan)
    score[items.kept] = total
    return score


def study(data: Source, config: Any, seeds: int, ablations: bool = False, most: int = 15) -> dict[str, Any]:
    """One emotion under one rule."""
    started = time.time()
    writer, readers = two_sides(data.corpus, config.emotion)
    rated = ~np.isnan(writer) & ~np.isnan(readers).any(1)
    truth = np.full(len(writer), -1)
    truth[rated] = config.gap_rule.label(writer[rated], readers[rated])
    kept = truth >= 0
    record: dict[str, Any] = {
        "emotion": config.emotion,
        "rule": config.gap_rule.name,
        "n": int(kept.sum()),
        "gaps": int((truth == 1).sum()),
        "groups": len(np.unique(data.groups[kept])),
        "agreement": gap_agreement(writer[rated], readers[rated]),
    }
    score = detector_scores(data, config, truth, seeds)
    variants = {"detector": score, "tfidf_logistic": tfidf_scores(data, np.maximum(truth, 0))}
    variants["length"] = np.array([-len(t) for t in data.texts], float)
    if ablations:
        variants["without_class_weight"] = detector_scores(data, replace(config, positive_weight=1.0), truth, seeds)
        variants["regression_difference"] = detector_scores(data, replace(config, head="intensities"), truth, seeds)
    record["scores"] = {n: measured(truth[kept], v[kept], data.groups[kept]) for n, v in variants.items()}
    record["chance"] = {"auc": 0.5, "average_precision": float(truth[kept].mean())}
    marked = (truth == 1).astype(int)
    mined = characteristic(data.table, marked, data.groups)
    record["expressions_tested"] = len(mined)
    record["expressions_found"] = sum(e.q < 0.05 for e in mined)
    record["expressions"] = [rounded(asdict(e)) for e in sorted(mined, key=lambda e: (e.p, -abs(e.z)))[:most]]
    top = np.zeros(len(truth), int)
    top[np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")[: max(1, len(truth) // 10)]] = 1
    chosen = characteristic(data.table, top, most=most)
    record["of_detected"] = [{k: rounded(asdict(e))[k] for k in ("text", "marked", "other", "z")} for e in chosen]
    return record | {"seconds": round(time.time() - started, 1)}


def rounded(record: dict[str, Any]) -> dict[str, Any]:
    """Four significant digits are enough for a record; JSON has no infinity."""
    short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in record.items()}
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in short.items()}


def main() -> None:
    """Run both studies and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wrime", type=Path)
    parser.add_argument("--emobank", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="detectors averaged on WRIME")
    parser.add_argument("--quick", action="store_true", help="one emotion alone")
    args = parser.parse_args()
    seeds = args.seeds
    result: dict[str, Any] = {"protocol": {**PROTOCOL, "seeds": {"wrime": seeds, "emobank": 1}}}
    for part, record in studies(args, seeds):
        result.setdefault(part, []).append(record)
        print(part, record["emotion"], record["rule"], record["scores"]["detector"]["auc"], flush=True)
        if args.json:
            text = json.dumps(result, indent=1, ensure_ascii=False)
            args.json.write_text(text + "\n", encoding="utf-8")


def studies(args: argparse.Namespace, seeds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records one after the other, so that a run cut short keeps what it has."""
    kind = registry.system_class("sns_gap").Config
    if args.wrime:
        data = source(corpora.load("wrime", args.wrime, strict=False), "writer", "character", (1, 2, 3, 4), 8)
        for emotion in WRIME_EMOTIONS[: 1 if args.quick else None]:
            config = replace(kind.ngrams(), emotion=emotion, positive_weight=0.0)
            yield "wrime", study(data, config, seeds, ablations=emotion == "anger")
    if args.emobank:
        data = source(corpora.load("emobank", args.emobank, strict=False), "document", "word", (1, 2, 3), 8)
        encoder = "ngrams:1-2,width=8,buckets=32768,length=256,unit=word"
        pairs = [(d, r) for d in ("valence", "arousal", "dominance") for r in ("gap", "excess")]
        for dimension, rule in pairs[: 1 if args.quick else None]:
            config = replace(kind(), encoder=encoder, emotion=dimension, rule=rule, gap=0.5, positive_weight=0.0)
            yield "emobank", study(data, config, 1)


if __name__ == "__main__":
    main()
