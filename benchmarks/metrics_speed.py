"""Time the metrics against the libraries people use for them, side by side on the same data.

    python benchmarks/metrics_speed.py [--rows 100000] [--draws 1000] [--json FILE]

The row-resampling peer is timed on a few draws and scaled up, since all of them would take minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from sklearn import metrics as sk

from affectus.metrics import auc, ccc, ece, interval, krippendorff_alpha, macro_f1, paired_permutation, srcc

PEER_DRAWS = 10


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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(options.rows, options.draws)
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
