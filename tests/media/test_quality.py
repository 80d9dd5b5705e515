"""Face quality and head pose: known geometry, and what blur, size, angle and edges do to real faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.media import read_image
from affectus.media.alignment import FER_TEMPLATE
from affectus.media.faces import FaceDetector
from affectus.media.quality import NOSE_LEVER, HeadPose, QualityFactors, face_quality, head_pose, quality_factors
from affectus.types import Face


def head(yaw: float, nose_down: float = 0.5) -> np.ndarray:
    """Five points of a head whose nose stands out by the lever of the formula, turned by `yaw` degrees."""
    turn = np.radians(yaw)
    half, nose = np.cos(turn) / 2, NOSE_LEVER * np.sin(turn)
    return 100 * np.array([(-half, 0), (half, 0), (nose, nose_down), (-half * 0.8, 1), (half * 0.8, 1)]) + 300


@pytest.mark.parametrize("yaw", [-60, -30, 0, 10, 45, 70])
def test_yaw_of_a_turned_head_is_recovered(yaw: float) -> None:
    assert head_pose(head(yaw)).yaw == pytest.approx(yaw, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.floats(0.1, 30), st.floats(-60, 60))
def test_yaw_and_pitch_do_not_depend_on_roll_and_scale(roll: float, scale: float, yaw: float) -> None:
    angle = np.radians(roll)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    there, here = head_pose(head(yaw) @ turn), head_pose(head(yaw))
    assert (there.yaw, there.pitch) == pytest.approx((here.yaw, here.pitch), abs=1e-6)
    assert np.cos(np.radians(there.roll - roll)) == pytest.approx(1)


def test_pitch_grows_as_the_nose_nears_the_eyes() -> None:
    angles = [head_pose(head(0, nose_down)).pitch for nose_down in (0.8, 0.65, 0.5, 0.3)]
    assert angles == sorted(angles)
    assert angles[2] == pytest.approx(np.degrees(np.arctan(0.04)))


def test_pose_of_coinciding_points_is_finite() -> None:
    pose = head_pose(np.zeros((5, 2)))
    assert isinstance(pose, HeadPose)
    assert np.isfinite([pose.yaw, pose.pitch, pose.roll]).all()


def test_quality_is_the_product_of_its_factors() -> None:
    assert QualityFactors(1, 0.5, 0.5, 1, 0.8).quality == pytest.approx(0.2)


def test_no_faces_have_no_qualities() -> None:
    assert quality_factors(np.zeros((9, 9, 3), np.uint8), []) == []


def test_share_inside_the_picture_is_exact() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    for left, share in ((0, 1.0), (-16, 0.75), (32, 0.5), (200, 0.0)):
        face = Face((max(left, 0), 0.0, 64.0, 64.0), FER_TEMPLATE * 64 + (left, 0), 0.9)
        assert quality_factors(image, [face])[0].inside == pytest.approx(share)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_quality_stays_within_bounds_for_any_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    face = Face((3.0, 4.0, 30.0, 30.0), rng.uniform(-20, 70, (5, 2)), float(rng.uniform()))
    assert 0 <= face_quality(image, face) <= 1


@pytest.mark.assets
def test_good_portraits_are_good_and_worse_ones_worse(detector: FaceDetector, samples: Path) -> None:
    image = read_image(samples / "0-f15-hao-ph.jpg")
    (face,) = detector.detect(image)
    best = quality_factors(image, [face])[0]
    assert best.quality > 0.9
    side = np.sqrt(face.box[2] * face.box[3])
    blurred = [quality_factors(cv2.GaussianBlur(image, (0, 0), side * b), [face])[0] for b in (0.01, 0.02, 0.04)]
    values = [best.sharpness, *(factors.sharpness for factors in blurred)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5
    scale = 24 / side
    tiny = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = replace(face, box=tuple(v * scale for v in face.box), points=face.points * scale)  # type: ignore[arg-type]
    assert quality_factors(tiny, [small])[0].size == pytest.approx(0.5, abs=0.01)
    assert face_quality(tiny, small) < 0.6


@pytest.mark.assets
def test_a_half_profile_loses_to_a_frontal_face(detector: FaceDetector, samples: Path) -> None:
    turned = read_image(samples / "45-m7-di-ph.jpg")
    (face,) = detector.detect(turned)
    assert head_pose(face.points).yaw == pytest.approx(-45, abs=15)
    frontal = read_image(samples / "0-f1-su-ph.jpg")
    (other,) = detector.detect(frontal)
    assert abs(head_pose(other.points).yaw) < 10
    assert quality_factors(turned, [face])[0].pose < quality_factors(frontal, [other])[0].pose - 0.1
