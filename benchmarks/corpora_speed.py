"""Time from a corpus folder to its table, pictures listed and not decoded, beside plain reading of the same files.

    python benchmarks/corpora_speed.py DATA [--json FILE]

DATA holds the folders `meld`, `goemotions` and `ferplus` in their published layouts (FER+ as folders or as `.tar.gz`).
Each load is the first of a fresh process, best of three; "again" is the second load of that process, which finds its
archives unpacked and indexed; "processor" is the first load without the time it waited for other programs. The peer
reads annotations with pandas and lists archives with `tarfile`: no labels by name, no splits, no group keys, no check
of any row.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

NAMES = ("meld", "goemotions", "ferplus")
RUNS = 3


def ours(name: str, root: Path) -> dict[str, Any]:
    """Rows and seconds of the first and second load in this process."""
    from affectus import corpora

    corpora.reader(name)  # its import is not part of reading
    times, work = [], []
    for _ in range(2):
        start, busy = time.perf_counter(), time.process_time()
        rows = len(corpora.load(name, root))
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - busy)
    return {"rows": rows, "seconds": times[0], "processor_seconds": work[0], "again": times[1]}


def plain(name: str, root: Path) -> dict[str, Any]:
    """Rows and seconds of reading the annotation files and listing the archives."""
    import pandas as pd

    start = time.perf_counter()
    rows = 0
    for file in sorted(root.rglob("*")):
        if file.name.endswith((".tar", ".tar.gz")):
            with tarfile.open(file) as archive:
                for member in archive:
                    rows += member.name.endswith(".png")
                    if member.name.endswith("label.csv"):
                        pd.read_csv(archive.extractfile(member), header=None)
        elif file.name == "label.csv":
            rows += len(pd.read_csv(file, header=None))
        elif file.suffix in (".csv", ".tsv"):
            rows += len(pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",", header="infer"))
    return {"rows": rows, "seconds": time.perf_counter() - start}


def fresh(kind: str, name: str, root: Path) -> dict[str, Any]:
    """Fastest of several runs, each in a process of its own."""
    command = [sys.executable, __file__, str(root), "--one", kind, name]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(RUNS)]
    return min(found, key=lambda result: result["seconds"])


def main() -> None:
    """Measure, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, name = options.one
        print(json.dumps({"ours": ours, "plain": plain}[kind](name, options.data)))
        return
    results = []
    print("| table | rows | affectus | processor | again | pandas + tarfile |\n|---|---|---|---|---|---|")
    for name in NAMES:
        mine, peer = (fresh(kind, name, options.data / name) for kind in ("ours", "plain"))
        results.append({"table": name, **mine, "peer_seconds": peer["seconds"], "peer": "pandas + tarfile"})
        times = " | ".join(
            f"{value:.2f} s"
            for value in (*[mine[k] for k in ("seconds", "processor_seconds", "again")], peer["seconds"])
        )
        print(f"| {name} | {mine['rows']:,} | {times} |")
    if options.json:
        load = round(os.getloadavg()[0], 1)
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        record = {"machine": machine | {"load_average": load}, "best_of": RUNS, "results": results}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
