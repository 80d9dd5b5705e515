"""Landmarks and blendshapes: agreement with the reference implementation, geometry of the crop, bad input."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectus.errors import AssetError
from affectus.media import read_image
from affectus.media.faces import FaceDetector
from affectus.media.landmarks import BLENDSHAPE_POINTS, BLENDSHAPES, CROP, FaceLandmarker, crop_around

#: What MediaPipe 0.10.35 says of these pictures, shown to its video mode eight times over: its largest blendshapes and
#: the places of nose tip, outer eye corners, mouth corners and chin.
REFERENCE = {
    "0-f1-su-ph.jpg": (
        {"browInnerUp": 0.40, "browOuterUpLeft": 0.32, "eyeLookDownLeft": 0.51, "jawOpen": 0.52, "mouthSmileLeft": 0.0},
        [(267.1, 296.3), (179.8, 236.4), (350.8, 233.8), (223.9, 381.7), (310.4, 379.7), (265.9, 475.9)],
    ),
    "0-f15-hao-ph.jpg": (
        {"mouthSmileLeft": 0.80, "mouthSmileRight": 0.87, "mouthUpperUpLeft": 0.62, "eyeSquintLeft": 0.56},
        [(249.8, 331.9), (167.4, 250.8), (340.2, 254.8), (184.8, 369.5), (308.0, 377.4), (242.0, 479.6)],
    ),
    "15-f13-anc-ph.jpg": (
        {"browDownLeft": 0.28, "eyeSquintRight": 0.57, "mouthRollLower": 0.37, "mouthShrugLower": 0.42, "jawOpen": 0.0},
        [(205.8, 334.3), (134.9, 265.2), (311.6, 259.5), (173.6, 391.2), (268.0, 390.1), (224.3, 480.3)],
    ),
    "single_face.jpg": (
        {"mouthSmileLeft": 0.84, "mouthSmileRight": 0.80, "eyeLookInRight": 0.43, "eyeLookOutLeft": 0.42},
        [(266.4, 302.8), (215.9, 249.4), (329.9, 245.5), (236.2, 328.8), (316.6, 324.1), (278.0, 399.9)],
    ),
}
PLACES = [1, 33, 263, 61, 291, 152]


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    pytest.importorskip("ai_edge_litert", reason="the extra `aus` is not installed")
    try:
        return FaceLandmarker()
    except AssetError as error:
        pytest.skip(f"the landmarker is not obtainable: {error}")


def test_names_and_points_are_complete() -> None:
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    assert len(BLENDSHAPE_POINTS) == len(set(BLENDSHAPE_POINTS.tolist())) == 146
    assert (np.diff(BLENDSHAPE_POINTS) > 0).all()
    assert set(range(468, 478)) <= set(BLENDSHAPE_POINTS.tolist())  # all of both irises


def test_crop_is_square_level_and_half_again_as_long_as_the_face() -> None:
    points = np.random.default_rng(0).uniform((100, 50), (300, 350), (478, 2))
    points[0], points[1] = (100, 50), (300, 350)
    points[33], points[263] = (150, 120), (250, 170)
    matrix = crop_around(points)
    inside = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(matrix[:, :2] @ (200, 200) + matrix[:, 2], (CROP / 2, CROP / 2))
    assert inside[33, 1] == pytest.approx(inside[263, 1])
    assert inside[33, 0] < inside[263, 0]
    assert np.linalg.det(matrix[:, :2]) == pytest.approx((CROP / 450) ** 2)


@pytest.mark.assets
@pytest.mark.parametrize("name", REFERENCE)
def test_agreement_with_mediapipe(landmarker: FaceLandmarker, detector: FaceDetector, samples: Path, name: str) -> None:
    image = read_image(samples / name)
    (found,) = landmarker.detect(image, detector.detect(image))
    shapes, places = REFERENCE[name]
    assert found.presence > 0.99
    assert found.points.shape == (478, 3)
    assert {key: found.blendshapes[key] for key in shapes} == pytest.approx(shapes, abs=0.05)
    height = np.ptp(found.points[:, 1])
    assert np.linalg.norm(found.points[PLACES, :2] - places, axis=1).max() < 0.012 * height


@pytest.mark.assets
def test_landmarks_turn_with_the_picture(landmarker: FaceLandmarker, detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "single_face.jpg")
    (face,) = detector.detect(image)
    turn = cv2.getRotationMatrix2D((face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2), 40, 1.3)
    turned = cv2.warpAffine(image, turn, image.shape[1::-1])
    moved = replace(face, points=face.points @ turn[:, :2].T + turn[:, 2])
    (before,), (after,) = landmarker.detect(image, [face]), landmarker.detect(turned, [moved])
    expected = before.points[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(after.points[:, :2] - expected).mean() < 0.01 * np.ptp(before.points[:, 1])
    assert np.abs(after.values - before.values).mean() < 0.03


@pytest.mark.assets
def test_depth_grows_away_from_the_viewer(landmarker: FaceLandmarker, detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "single_face.jpg")
    (found,) = landmarker.detect(image, detector.detect(image))
    assert found.points[1, 2] < found.points[[33, 263], 2].min()  # the nose tip is in front of the eye corners


@pytest.mark.assets
def test_several_faces_keep_their_order(landmarker: FaceLandmarker, detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "multi_face.jpg")
    faces = detector.detect(image)
    found = landmarker.detect(image, faces)
    assert len(found) == 5
    for face, marks in zip(faces, found, strict=True):
        x, y, w, h = face.box
        assert ((marks.points[1, :2] > (x, y)) & (marks.points[1, :2] < (x + w, y + h))).all()
        assert ((marks.values >= 0) & (marks.values <= 1)).all()


@pytest.mark.assets
def test_what_is_no_face_has_no_presence(landmarker: FaceLandmarker, detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "single_face.jpg")
    (face,) = detector.detect(image)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    (found,) = landmarker.detect(noise, [face])
    assert found.presence < 0.01
    assert landmarker.detect(image, []) == []


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(AssetError, match=r"affectus\[aus\]"):
        FaceLandmarker()


def test_a_broken_bundle_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra `aus` is not installed")
    broken = tmp_path / "broken.task"
    broken.write_bytes(b"no zip")
    with pytest.raises(AssetError, match=r"broken\.task"):
        FaceLandmarker(broken)
    with zipfile.ZipFile(tmp_path / "other.task", "w") as bundle:
        bundle.writestr("readme", "nothing here")
    with pytest.raises(AssetError, match=r"other\.task"):
        FaceLandmarker(tmp_path / "other.task")


def test_at_least_one_pass_is_needed() -> None:
    with pytest.raises(ValueError, match="one pass"):
        FaceLandmarker(passes=0)


@pytest.mark.assets
def test_making_a_landmarker_writes_nothing(landmarker: FaceLandmarker) -> None:
    # in a process of its own, since the runtime announces itself only the first time
    code = "from affectus.media.landmarks import FaceLandmarker; FaceLandmarker()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == (b"", b"")
