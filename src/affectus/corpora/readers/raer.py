"""RAER: students learning in classrooms and on their own, five academic emotions (CLIP-CAER, 2025).

Lists are text lines `<folder of frames> <number of frames> <label 1…5>`. Boxes are JSON: faces `{folder: {frame: [left,
upper, right, lower]}}`, bodies `{folder: [left, upper, right, lower]}`, keyed by the folders of the lists. Folders hold
the student (`P023`), which gives `group:subject`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="raer",
    title="RAER",
    modalities=("video",),
    perspective="expressed",
    licence="non-commercial research, no redistribution",
    obtain="request of a full-time academic; see the repository zgsfer/RAER",
    size="about 2,700 clips of about 140 students",
    layout="train and test lists (*train*.txt, *test*.txt), images/SelfStudy/Library/P036/023/*.jpg, box JSON files",
    citation="Context-aware academic emotion dataset and benchmark, ICCV 2025",
    labels=orders("raer5"),
    counts={"test": 528},
    needs_media=True,
)

_LINE = re.compile(r"(.+) (\d+) (\d)")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:raer5`, `group:subject`, `meta:` frames, body_box."""
    folders = _folders(files)
    bodies = _bodies(files)
    found = False
    for split in ("train", "test"):
        for ref in files.match(f"*{split}*.txt"):
            for line, row in enumerate(files.text(ref).splitlines(), 1):
                if not row.strip():
                    continue
                parts = _LINE.fullmatch(row.strip())
                if not parts:
                    notes.error(ref, line, "not 'folder frames label'", "fetch the list again")
                    continue
                label = notes.decode("raer5", parts[3], ref, line, "publisher")
                if label is None:
                    continue
                found = True
                path = parts[1].strip("/")
                student = re.search(r"(?:^|/)(?:(Class\d+)/)?(P\d+)(?:/|$)", path)
                yield {
                    "id": path,
                    "split": split,
                    "media": folders.get("/".join(path.split("/")[-3:]).lower()),
                    "group:subject": "/".join(g for g in student.groups() if g) if student else None,
                    "label:raer5": label,
                    "meta:frames": int(parts[2]),
                    "meta:body_box": bodies.get(path) or bodies.get(parts[1]),
                }
    if not found:
        raise CorpusError(files.root, "no *train*.txt or *test*.txt with lines 'folder frames label'", INFO.obtain)


def _folders(files: Files) -> dict[str, str]:
    """Folders of frames by the last three parts of their path."""
    found: dict[str, str] = {}
    for ref, logical in files.logical.items():
        if files.suffix(ref) in IMAGE_SUFFIXES:
            found.setdefault("/".join(logical.lower().split("/")[-4:-1]), ref.rpartition("/")[0] + "/")
    return found


def _bodies(files: Files) -> dict[str, list[float]]:
    for ref in files.match("*body*.json"):
        content = json.loads(files.text(ref))
        return {k: [float(v) for v in box] for k, box in content.items() if isinstance(box, list) and len(box) == 4}
    return {}


def write_tiny(tiny: Tiny) -> None:
    """Five clips of three students in train, five of two others in test."""
    bodies = {}
    for split, first in (("train", 1), ("test", 30)):
        lines = []
        for k in range(5):
            path = f"images/SelfStudy/Library/P{first + k // 2:03d}/{k:03d}"
            for frame in range(2):
                tiny.image(f"{path}/{frame:05d}.jpg", "neutral", 48)
            lines.append(f"{path} 2 {k + 1}")
            bodies[path] = [1.0, 2.0, 40.0, 47.0]
        tiny.lines(f"annotation/{split}.txt", lines)
    tiny.json("annotation/body_boxes.json", bodies)
