"""Time the metrics against the libraries people use for them, side by side on the same data.

    python benchmarks/metrics_speed.py [--rows 100000] [--draws 1000] [--wheels FOLDER] [--json FILE]

The row-resampling peer is timed on a few draws and scaled up, since all of them would take minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from sklearn import metrics as sk

from affectus.labels import wheels
from affectus.metrics import (
    auc,
    ccc,
    cider,
    ece,
    interval,
    krippendorff_alpha,
    macro_f1,
    ndcg,
    paired_permutation,
    srcc,
    wheel_f1,
)

PEER_DRAWS = 10
WORD_ROWS = 10_000


def seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """Best wall time of several runs after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def row_resampling(truth: np.ndarray, prediction: np.ndarray, draws: int) -> None:
    """Bootstrap of macro F1 as it is usually written."""
    rng = np.random.default_rng(0)
    for _ in range(draws):
        rows = rng.integers(0, len(truth), len(truth))
        sk.f1_score(truth[rows], prediction[rows], average="macro")


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    """CCC through numpy's covariance matrix."""
    cov = np.cov(x, y, ddof=0)
    return float(2 * cov[0, 1] / (cov[0, 0] + cov[1, 1] + (x.mean() - y.mean()) ** 2))


def set_by_set(truth: list[list[str]], guess: list[list[str]], tables: wheels.WheelTables) -> float:
    """Open-vocabulary F as it is usually written: one set after the other, wheel after wheel."""
    scores = []
    for wheel in range(1, tables.n_wheels + 1):
        pairs = [
            (tables.clusters(a, wheel=wheel), tables.clusters(b, wheel=wheel))
            for a, b in zip(truth, guess, strict=True)
        ]
        scored = [(a, b) for a, b in pairs if a]
        precision = float(np.mean([len(a & b) / len(b) if b else 0.0 for a, b in scored]))
        recall = float(np.mean([len(a & b) / len(a) for a, b in scored]))
        scores.append(2 * precision * recall / (precision + recall))
    return float(np.mean(scores))


def measure_words(folder: Path | None) -> list[dict[str, Any]]:
    """Open-vocabulary F on lists of one to six words, as lists and as the texts that published files hold."""
    tables = wheels.load(folder)
    rng, vocabulary = random.Random(0), list(tables.forms)
    lists = [[rng.sample(vocabulary, rng.randint(1, 6)) for _ in range(WORD_ROWS)] for _ in range(2)]
    texts = [[str(row) for row in column] for column in lists]
    peer, name = seconds(lambda: set_by_set(lists[0], lists[1], tables), 2), "Python sets, row by row"
    task = f"open-vocabulary F, {WORD_ROWS:,} rows, {tables.n_wheels} wheels ({tables.version})"
    sentences = [" ".join(row) for column in lists for row in column][:2000]
    return [
        record(f"{task}, word lists", lambda: wheel_f1(*lists, tables), peer, name),
        record(f"{task}, list texts", lambda: wheel_f1(*texts, tables), None, ""),
        record("CIDEr-D, 1,000 sentences", lambda: cider(sentences[:1000], sentences[1000:]), None, ""),
    ]


def measure_ranking() -> list[dict[str, Any]]:
    """nDCG of 1,000 queries over 1,000 items with graded relevance."""
    rng = np.random.default_rng(0)
    grades, scores = rng.integers(0, 4, (1000, 1000)).astype(float), rng.random((1000, 1000))
    peer = seconds(lambda: sk.ndcg_score(grades, scores), 1)
    return [record("nDCG, 1,000 queries, 1,000 items", lambda: ndcg(grades, scores), peer, "scikit-learn")]


def measure(rows: int, draws: int) -> list[dict[str, Any]]:
    """One record per task: our seconds, and the peer's seconds and name where there is one."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, rows)
    first, second = (np.where(rng.random(rows) < 0.6, truth, rng.integers(0, 7, rows)) for _ in range(2))
    groups = rng.integers(0, 500, rows)
    x = rng.normal(size=1_000_000)
    y = 0.6 * x + rng.normal(size=1_000_000)
    shares = rng.dirichlet(np.ones(7), rows)
    scores, ratings = rng.random(rows), rng.integers(1, 6, (5, 5000)).astype(float)
    rowwise = seconds(lambda: row_resampling(truth, first, PEER_DRAWS), 1) * draws / PEER_DRAWS
    peer = "scikit-learn on resampled rows"
    return [
        record(
            f"macro F1, {draws}-fold bootstrap", lambda: interval(macro_f1, truth, first, draws=draws), rowwise, peer
        ),
        record(
            f"macro F1, {draws}-fold cluster bootstrap",
            lambda: interval(macro_f1, truth, first, groups=groups, draws=draws),
            rowwise,
            peer,
        ),
        record(
            f"macro F1, {draws}-fold paired permutation",
            lambda: paired_permutation(macro_f1, truth, first, second, draws=draws),
            2 * rowwise,
            peer,
        ),
        record("CCC of 1,000,000 frames", lambda: ccc(x, y), seconds(lambda: plain_ccc(x, y)), "numpy.cov"),
        record(
            "Spearman of 100,000 rows",
            lambda: srcc(x[:100_000], y[:100_000]),
            seconds(lambda: scipy.stats.spearmanr(x[:100_000], y[:100_000])),
            "scipy",
        ),
        record(
            "AUC",
            lambda: auc(truth == 0, scores),
            seconds(lambda: sk.roc_auc_score(truth == 0, scores)),
            "scikit-learn",
        ),
        record("ECE", lambda: ece(truth, shares), None, ""),
        record("Krippendorff alpha, 5 raters, 5,000 units", lambda: krippendorff_alpha(ratings, "interval"), None, ""),
    ]


def record(task: str, work: Callable[[], Any], peer_seconds: float | None, peer: str) -> dict[str, Any]:
    """Time one task."""
    return {"task": task, "seconds": seconds(work), "peer_seconds": peer_seconds, "peer": peer}


def main() -> None:
    """Measure, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--wheels", type=Path, help="folder of published emotion wheel tables; the own ones without")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(options.rows, options.draws) + measure_words(options.wheels) + measure_ranking()
    print(f"| task ({options.rows:,} rows unless said) | affectus | peer | times faster |\n|---|---|---|---|")
    for row in results:
        peer = row["peer_seconds"]
        beside = "-" if peer is None else f"{peer * 1000:,.1f} ms ({row['peer']})"
        factor = "-" if peer is None else f"{peer / row['seconds']:,.0f}"
        print(f"| {row['task']} | {row['seconds'] * 1000:,.1f} ms | {beside} | {factor} |")
    if options.json:
        machine = {"processor": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
