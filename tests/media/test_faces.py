"""Face detection on real pictures, in many sizes, and on what is no face or no picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectus.errors import MediaError
from affectus.media import read_image
from affectus.media.faces import FaceDetector

pytestmark = pytest.mark.assets
Picture = Callable[[str], np.ndarray]


@pytest.fixture
def picture(samples: Path) -> Picture:
    """Sample picture by file name."""
    return lambda name: read_image(samples / name)


def test_all_five_faces_of_a_group_from_left_to_right(detector: FaceDetector, picture: Picture) -> None:
    image = picture("multi_face.jpg")
    faces = detector.detect(image)
    assert len(faces) == 5
    assert all(face.score > 0.8 for face in faces)
    middles = [face.box[0] + face.box[2] / 2 for face in faces]
    assert middles == sorted(middles)
    for face in faces:
        x, y, w, h = face.box
        assert face.points.shape == (5, 2)
        assert ((face.points > (x, y)) & (face.points < (x + w, y + h))).all()
        right_eye, left_eye, nose, right_mouth, left_mouth = face.points
        assert right_eye[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert right_eye[1] < nose[1] < left_mouth[1]


def test_coordinates_are_those_of_the_full_picture(detector: FaceDetector, picture: Picture) -> None:
    image = picture("multi_face.jpg")
    double = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    faces = zip(detector.detect(image), detector.detect(double), strict=True)
    for small, large in faces:
        np.testing.assert_allclose(large.points, 2 * small.points, atol=8)
        np.testing.assert_allclose(large.box, 2 * np.array(small.box), atol=20)


@pytest.mark.parametrize("side", [48, 64, 100, 300])
def test_faces_of_thumbnails_are_found(detector: FaceDetector, picture: Picture, side: int) -> None:
    image = picture("single_face.jpg")
    truth = detector.detect(image)[0]
    scale = side / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = detector.detect(small)
    np.testing.assert_allclose(face.points / scale, truth.points, atol=0.06 * truth.box[3])


def test_a_tight_crop_of_16_pixels_is_still_a_face(detector: FaceDetector, picture: Picture) -> None:
    image = picture("single_face.jpg")
    x, y, w, h = (int(v) for v in detector.detect(image)[0].box)
    crop = cv2.resize(image[y : y + h, x : x + w], (16, 16), interpolation=cv2.INTER_AREA)
    assert len(detector.detect(crop)) == 1


def test_boxes_are_clipped_to_the_picture(detector: FaceDetector, picture: Picture) -> None:
    image = picture("single_face.jpg")
    x, y, w, h = (int(v) for v in detector.detect(image)[0].box)
    cut = np.ascontiguousarray(image[y + h // 8 : y + h, x + w // 8 : x + w])
    (face,) = detector.detect(cut)
    assert min(face.box[:2]) >= 0
    assert face.box[0] + face.box[2] <= cut.shape[1]
    assert face.box[1] + face.box[3] <= cut.shape[0]


def test_grey_and_alpha_pictures_are_taken(detector: FaceDetector, picture: Picture) -> None:
    image = picture("single_face.jpg")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert len(detector.detect(grey)) == 1
    assert len(detector.detect(grey[..., None])) == 1
    assert len(detector.detect(np.dstack([image, np.full_like(grey, 255)]))) == 1


def test_thirty_faces_are_all_found(detector: FaceDetector, picture: Picture) -> None:
    tile = cv2.resize(picture("single_face.jpg"), (200, 200), interpolation=cv2.INTER_AREA)
    assert len(detector.detect(np.tile(tile, (5, 6, 1)))) == 30


def test_a_threshold_nobody_reaches_finds_nobody(picture: Picture, detector: FaceDetector) -> None:
    assert FaceDetector(threshold=0.99).detect(picture("multi_face.jpg")) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        FaceDetector(threshold=1.5)


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 1, 3), (1, 2000, 3), (2000, 1, 3), (16, 16), (2160, 3840, 3)])
def test_empty_pictures_hold_no_face(detector: FaceDetector, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.full(shape, 128, np.uint8)) == []


def test_a_drawing_of_mountains_holds_no_face(detector: FaceDetector, picture: Picture) -> None:
    assert detector.detect(picture("free-mountain-vector-01.jpg")) == []


@pytest.mark.parametrize(
    "bad",
    [np.zeros((0, 0, 3), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 5), np.uint8), np.zeros(9, np.uint8), "x.jpg"],
)
def test_what_is_no_picture_is_refused(detector: FaceDetector, bad: object) -> None:
    with pytest.raises(MediaError, match="picture"):
        detector.detect(bad)  # type: ignore[arg-type]


def test_making_a_detector_writes_nothing(detector: FaceDetector, capfd: pytest.CaptureFixture[str]) -> None:
    FaceDetector()
    assert capfd.readouterr() == ("", "")
