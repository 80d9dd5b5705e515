"""Seconds that `analyze` takes for conversations of one, 200 and 2,000 turns, and their reports after it.

    python benchmarks/conversation_speed.py TURNS.csv [--json FILE]

TURNS.csv is a table with speakers and words, such as `train_sent_emo.csv` of MELD; its first turns are taken as one
conversation. Models are opened before the clock starts; "processor" is the time without waiting for other programs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from affectus import analyze, media

SIZES = (1, 200, 2000)


def timed(work: Any) -> tuple[Any, dict[str, float]]:
    """What a call gives, and its seconds."""
    start, busy = time.perf_counter(), time.process_time()
    found = work()
    return found, {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(time.process_time() - busy, 2),
    }


def main() -> None:
    """Run and print, or write, the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("turns", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    said = [(turn.speaker, turn.text) for turn in media.read_turns(options.turns)]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (SIZES[0], *SIZES):  # the first opens the models
            path = Path(folder, f"{size}.csv")
            with path.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([("speaker", "text"), *said[:size]])
            timeline, analysis = timed(lambda path=path: analyze(path))
            _, report = timed(lambda timeline=timeline, path=path: timeline.save(path.with_suffix(".html")))
            results.append({"turns": size, "rows": len(timeline), "analysis": analysis, "report": report})
    machine = {"processor": platform.processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    record = {"machine": machine | {"load_average": round(os.getloadavg()[0], 1)}, "results": results[1:]}
    text = json.dumps(record, indent=1) + "\n"
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
