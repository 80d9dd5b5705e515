"""End to end with the weights that are shipped: a real face video with real speech on it, and real pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from affectus import analyze, media
from affectus.analysis.folder import FILES
from affectus.types import Timeline

pytestmark = [pytest.mark.assets, pytest.mark.slow]


@pytest.fixture
def clip(make_video: Callable[..., Path], samples: Path, speech: np.ndarray) -> Path:
    """Ten seconds of a real face with real speech."""
    frames = [f.image[:360, :640] for f in media.video_frames(samples / "WolfgangLanger_Pexels.mp4", 10.0, 640, 0, 10)]
    return make_video("clip.mp4", frames, 10, speech)


def test_a_face_that_talks(
    shipped_models: Path, clip: Path, tmp_path: Path, sound_timeline: Callable[[Timeline], None]
) -> None:
    timeline = analyze(clip, tmp_path / "out", formats=tuple(FILES))
    sound_timeline(timeline)
    facts = timeline.meta["files"][str(clip)]
    assert set(facts["missing"]) <= {"words"}
    assert list(facts["thumbnails"]) == ["0"]
    fused = timeline.filter(source="fusion", space="decision").to_rows()
    assert len(fused) >= 9
    assert {row["track"] for row in fused} == {0}
    # somebody reads prose calmly into a camera: no strong emotion throughout
    assert all(row["label"] in ("neutral", "happiness", "sadness", "surprise", "uncertain", "anger") for row in fused)
    quality = timeline.filter(space="quality").table["score"].to_numpy()
    assert 0.3 < np.median(quality) <= 1
    folder = tmp_path / "out" / clip.name
    assert {p.name for p in folder.iterdir()} == {*FILES.values(), "done.json"}
    html = (folder / "report.html").read_text()
    assert "data:image/jpeg" in html
    assert "feels" not in html


def test_smiles_are_perceived_as_happiness(shipped_models: Path, samples: Path) -> None:
    timeline = analyze(samples / "multi_face.jpg", modalities="face")
    decisions = timeline.filter(space="decision").to_rows()
    assert len(decisions) == 5
    assert sum(row["label"] == "happiness" for row in decisions) >= 3


def test_words_are_perceived(shipped_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "diary.txt"
    path.write_text("I am so happy you came, thank you! He makes me furious. The meeting is at ten o'clock.")
    labels = [row["label"] for row in analyze(path).filter(space="decision").to_rows()]
    assert labels[:2] == ["happiness", "anger"]
    assert labels[2] in ("neutral", "uncertain")
    told = " ".join(row["text"] for row in analyze(path).filter(space="explanation").to_rows())
    assert "furious" in told
