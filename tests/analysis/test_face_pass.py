"""The pass over faces keeps nothing of people who left but what they showed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from affectus import models
from affectus.analysis import perceive_faces
from affectus.analysis.perceive_faces import FacePass
from affectus.analysis.rows import RowSink
from affectus.types import Face, Frame

POINTS = np.array([[78, 90], [122, 90], [100, 112], [84, 134], [116, 134]], float)


class OneFace:
    """A detector that always sees the same place as a face."""

    def detect(self, image: np.ndarray) -> list[Face]:
        return [Face((60, 50, 80, 110), POINTS, 0.9)]


class Still:
    """A landmarker that counts how often it was asked."""

    asked = 0

    def detect(self, image: np.ndarray, faces: list[Face]) -> list[Any]:
        self.asked += 1
        return [SimpleNamespace(values=np.full(52, 0.5, np.float32), presence=1.0)]


def picture(shot: int) -> np.ndarray:
    """Bright in the lower half (happiness for the fake model), otherwise other noise in every shot."""
    noise = np.random.default_rng(shot).integers(0, 60, (200, 200, 3))
    return (noise + np.where(np.arange(200) > 100, 190, 0)[:, None, None]).astype(np.uint8)


def run(face_pass: FacePass, shots: int) -> list[int]:
    """Shots of four pictures at 2.5 per second; sizes of what the pass holds after each."""
    sizes = []
    for number in range(4 * shots):
        face_pass.push(Frame(number, number / 2.5, picture(number // 4)), cut=number % 4 == 0)
        if number % 4 == 3:
            held = {k: v for k, v in vars(face_pass).items() if isinstance(v, (dict, list)) and k != "_looks"}
            sizes.append(sum(map(len, held.values())))
    return sizes


def test_memory_does_not_grow_with_the_people_who_came_and_went(
    tmp_path: Path, fake_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceive_faces, "BATCH", 4)
    landmarker = Still()
    with RowSink("clip.mp4", tmp_path) as sink:
        face_pass = FacePass(models.load("face"), OneFace(), sink, 1.0, 2.5, landmarker)  # type: ignore[arg-type]
        sizes = run(face_pass, 40)
        windows = face_pass.evidence.windows
        patches = [key for key, entry in windows.items() if entry.peak and entry.peak.patch is not None]
        assert len({track for track, _ in windows}) >= 38
        assert len(patches) <= 6
        assert max(sizes[10:]) <= max(sizes[:10]) + 2
        evidence = face_pass.finish()
    assert landmarker.asked == len(evidence.windows)
    assert all(entry.peak and entry.peak.patch is None for entry in evidence.windows.values())
    assert all(entry.peak and entry.peak.blendshapes is not None for entry in evidence.windows.values())
    assert evidence.frames == 160


def test_letting_go_early_changes_no_result(tmp_path: Path, fake_models: Path) -> None:
    found = []
    for patience in (1.5, 1e9):
        with RowSink("clip.mp4", tmp_path) as sink:
            face_pass = FacePass(models.load("face"), OneFace(), sink, 1.0, 2.5)  # type: ignore[arg-type]
            face_pass._tracker.patience = patience
            run(face_pass, 12)
            evidence = face_pass.finish()
            found.append((sink.finish().to_pylist(), evidence))
    (rows, evidence), (kept_rows, kept) = found
    assert len(rows) == len(kept_rows) > 400
    for row, other in zip(rows, kept_rows, strict=True):
        assert {k: v for k, v in row.items() if v == v} == {k: v for k, v in other.items() if v == v}
    assert evidence.windows.keys() == kept.windows.keys()
    for key, entry in evidence.windows.items():
        np.testing.assert_array_equal(entry.tally.probabilities, kept.windows[key].tally.probabilities)
        assert entry.motion == kept.windows[key].motion
    assert (evidence.dropped, evidence.thumbnails) == (kept.dropped, kept.thumbnails)
