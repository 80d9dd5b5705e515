"""Tracking: ids over motion, occlusion, crossings and cuts, on painted scenes and on real videos."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectus.errors import MediaError
from affectus.media import video_frames
from affectus.media.alignment import FER_TEMPLATE
from affectus.media.faces import FaceDetector
from affectus.media.tracking import CutDetector, FaceTracker, flow_faces
from affectus.types import Face, Frame

STEP = 0.2  # seconds between pictures


def texture(seed: int, size: int = 60) -> np.ndarray:
    """A face-sized patch of smooth noise in a colour of its own."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.normal(0, 1, (8, 8)), (size, size), interpolation=cv2.INTER_CUBIC)
    return (rng.uniform(60, 200, 3) + 40 * noise[..., None]).clip(0, 255).astype(np.uint8)


def background(seed: int, shape: tuple[int, int] = (240, 400)) -> np.ndarray:
    """A large-scale coloured pattern."""
    small = np.random.default_rng(seed).uniform(0, 255, (4, 6, 3)).astype(np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def paint(
    scene: np.ndarray, people: Sequence[tuple[int, float, float]], size: int = 60
) -> tuple[np.ndarray, list[Face]]:
    """Put faces (texture number, left, top) into a picture; later ones lie in front. Also their true places."""
    image = scene.copy()
    faces = []
    for seed, x, y in people:
        left, top = round(x), round(y)
        image[top : top + size, left : left + size] = texture(seed, size)
        faces.append(Face((float(left), float(top), float(size), float(size)), FER_TEMPLATE * size + (left, top), 0.9))
    return image, faces


def ids(result: list[tuple[int, Face]]) -> list[int]:
    return [number for number, _ in result]


def test_ids_stay_with_two_people_who_move() -> None:
    tracker = FaceTracker()
    for i in range(20):
        image, faces = paint(background(0), [(1, 20 + 12 * i, 40), (2, 320 - 10 * i, 150)])
        result = tracker.update(Frame(i, i * STEP, image), faces[:: (-1) ** i])  # order of detections does not matter
        assert {number: round(face.box[1]) for number, face in result} == ({0: 40, 1: 150})
    assert [(t.frames, t.detections) for t in tracker.finish()] == [(20, 20), (20, 20)]


def test_ids_survive_a_crossing_in_which_one_face_hides_the_other() -> None:
    tracker = FaceTracker()
    seen: dict[int, set[int]] = {1: set(), 2: set()}
    for i in range(24):
        a, b = 20 + 13 * i, 335 - 13 * i
        image, faces = paint(background(0), [(1, a, 90), (2, b, 96)])
        visible = faces[1:] if abs(a - b) < 45 else faces
        for number, face in tracker.update(Frame(i, i * STEP, image), visible):
            seen[1 if face.box[1] == 90 else 2].add(number)
    assert sorted(map(len, seen.values())) == [1, 1]
    assert seen[1] != seen[2]


@pytest.mark.parametrize(("hidden", "same"), [(1.2, True), (2.0, False)])
def test_an_occlusion_keeps_the_id_within_the_patience(hidden: float, same: bool) -> None:
    tracker = FaceTracker(patience=1.5)
    gone = round(hidden / STEP)
    for i in range(6 + gone):
        there = i < 5 or i >= 5 + gone
        image, faces = paint(background(0), [(1, 60 + 6 * i, 80)] if there else [])
        result = tracker.update(Frame(i, i * STEP, image), faces)
        assert len(result) == there
    assert ids(result) == [0 if same else 1]


def test_another_face_in_the_same_place_is_another_person() -> None:
    tracker = FaceTracker()
    numbers = []
    for i in range(10):
        image, faces = paint(background(0), [(1 if i < 5 else 2, 100, 80)])
        numbers += ids(tracker.update(Frame(i, i * STEP, image), faces))
    assert numbers == [0] * 5 + [1] * 5


def test_a_cut_ends_tracks_even_of_the_same_face() -> None:
    tracker = FaceTracker()
    numbers = []
    for i in range(10):
        image, faces = paint(background(0 if i < 5 else 7), [(1, 100, 80)])
        numbers += ids(tracker.update(Frame(i, i * STEP, image), faces))
    assert numbers == [0] * 5 + [1] * 5
    assert [(t.start, t.end) for t in tracker.tracks()] == [(0, pytest.approx(0.8)), (1, pytest.approx(1.8))]


def test_a_face_is_followed_between_detections() -> None:
    tracker = FaceTracker()
    for i in range(13):
        image, faces = paint(background(0), [(1, 40 + 7 * i, 60 + 4 * i)])
        ((number, face),) = tracker.update(Frame(i, i * STEP, image), faces if i % 4 == 0 else None)
        assert number == 0
        assert np.abs(face.points - faces[0].points).max() < 3
        assert np.abs(np.subtract(face.box, faces[0].box)).max() < 4
        assert 0 < face.score <= 0.9
    (summary,) = tracker.finish()
    assert (summary.frames, summary.detections) == (13, 4)
    assert summary.score == pytest.approx(0.9)


def test_a_hidden_face_is_not_invented_between_detections() -> None:
    tracker = FaceTracker()
    image, faces = paint(background(0), [(1, 100, 80)])
    assert len(tracker.update(Frame(0, 0.0, image), faces)) == 1
    covered, _ = paint(background(0), [(2, 90, 70)], size=100)
    assert tracker.update(Frame(1, STEP, covered), None) == []
    assert ids(tracker.update(Frame(2, 2 * STEP, image), faces)) == [0]


def test_thirty_faces_keep_thirty_ids() -> None:
    tracker = FaceTracker()
    rng = np.random.default_rng(0)
    places = [(n, 15 + 65 * (n % 6), 12 + 58 * (n // 6)) for n in range(30)]
    for i in range(8):
        people = [(n, x + rng.normal(0, 2), y + rng.normal(0, 2)) for n, x, y in places]
        image, faces = paint(background(0, (310, 410)), people, size=44)
        order = rng.permutation(30)
        result = tracker.update(Frame(i, i * STEP, image), [faces[k] for k in order])
        assert ids(result) == list(range(30))
        if i == 0:
            first = {number: face.box for number, face in result}
    for number, face in result:
        assert np.abs(np.subtract(face.box, first[number])).max() < 16
    assert len(tracker.finish()) == 30


def test_a_step_back_in_time_or_another_size_starts_afresh() -> None:
    tracker = FaceTracker()
    image, faces = paint(background(0), [(1, 100, 80)])
    assert ids(tracker.update(Frame(0, 5.0, image), faces)) == [0]
    assert ids(tracker.update(Frame(1, 0.0, image), faces)) == [1]
    wider, faces = paint(background(0, (240, 410)), [(1, 100, 80)])
    assert ids(tracker.update(Frame(2, 0.2, wider), faces)) == [2]


def test_no_faces_at_all() -> None:
    tracker = FaceTracker()
    image = background(0)
    assert tracker.update(Frame(0, 0.0, image), None) == []
    assert tracker.update(Frame(1, 0.2, image), []) == []
    assert tracker.finish() == []


def test_what_is_held_does_not_grow_with_the_recording() -> None:
    tracker = FaceTracker()
    image, faces = paint(background(0), [(1, 100, 80)])
    for i in range(300):
        tracker.update(Frame(i, i * STEP, image), faces)
    assert len(tracker.tracks()) == 1
    assert sum(len(v) for v in vars(tracker).values() if isinstance(v, list)) == 1


def test_flow_needs_pictures_of_one_size_and_gives_up_on_flat_ones() -> None:
    face = Face((10.0, 10.0, 40.0, 40.0), FER_TEMPLATE * 40 + 10, 0.9)
    with pytest.raises(MediaError, match="differ in size"):
        flow_faces(np.zeros((80, 80, 3), np.uint8), np.zeros((80, 81, 3), np.uint8), [face])
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (80, 80, 3), dtype=np.uint8) for _ in range(2)]
    assert flow_faces(noise[0], noise[1], [face]) == [None]


def test_cuts_are_told_from_pans_zooms_and_flashes() -> None:
    scene = background(3)
    rows, columns = scene.shape[:2]
    moved = cv2.warpAffine(scene, np.array([[1, 0, 0.08 * columns], [0, 1, 0]]), (columns, rows), borderMode=2)
    closer = cv2.warpAffine(
        scene, cv2.getRotationMatrix2D((columns / 2, rows / 2), 0, 1.12), (columns, rows), borderMode=2
    )
    brighter = cv2.convertScaleAbs(scene, alpha=1.3, beta=25)
    for after in (scene, moved, closer, brighter):
        cuts = CutDetector()
        assert not cuts.push(scene)
        assert not cuts.push(after)
    cuts = CutDetector()
    assert [cuts.push(background(seed)) for seed in (3, 3, 4, 4, 5, 6)] == [False, False, True, False, True, True]


def test_black_pictures_are_one_shot() -> None:
    cuts = CutDetector()
    assert not any(cuts.push(np.zeros((30, 40, 3), np.uint8)) for _ in range(4))


@pytest.mark.corpus
def test_few_cuts_between_photographs_are_missed(shared_data: Path) -> None:
    archive = shared_data / "oasis" / "OASIS_train.tar"
    pictures: list[np.ndarray] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.lower().endswith(".jpg") and (stream := tar.extractfile(member)):
                pictures.append(cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_COLOR_RGB))
            if len(pictures) == 100:
                break
    order = np.random.default_rng(0).permutation(100)
    cuts = CutDetector()
    found = [cuts.push(pictures[k]) for k in order]
    assert sum(found) >= 95  # of 99


@pytest.mark.assets
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    ("name", "frames"),
    [("single_face.mp4", 12), ("WolfgangLanger_Pexels.mp4", 99), ("face_noface.mov", 12), ("no_face.mp4", 0)],
)
def test_one_person_of_a_video_is_one_track(
    detector: FaceDetector, samples: Path, name: str, frames: int, every: int
) -> None:
    tracker = FaceTracker()
    errors = []
    for frame in video_frames(samples / name, fps=5):
        found = detector.detect(frame.image)
        result = tracker.update(frame, found if frame.index % every == 0 else None)
        if result and found:
            size = np.sqrt(found[0].box[2] * found[0].box[3])
            errors.append(np.abs(result[0][1].points - found[0].points).mean() / size)
    assert [t.frames for t in tracker.finish()] == [frames] * (frames > 0)
    if frames:
        assert np.median(errors) < 0.02
        assert max(errors) < 0.08


@pytest.mark.assets
def test_two_videos_one_after_the_other_are_two_tracks(detector: FaceDetector, samples: Path) -> None:
    tracker = FaceTracker()
    pictures = [frame.image for frame in video_frames(samples / "single_face.mp4", fps=5)]
    pictures += [f.image for f in video_frames(samples / "WolfgangLanger_Pexels.mp4", fps=5)][:12]
    for i, image in enumerate(pictures):
        tracker.update(Frame(i, i * STEP, image), detector.detect(image))
    assert [t.frames for t in tracker.finish()] == [12, 12]
