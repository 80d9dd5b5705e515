"""Follow faces through a recording: place, size, motion and looks keep an id, a scene cut ends it.

Nothing here knows who a person is: an id holds within one shot, and a face that comes back after a cut or a longer
absence gets a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from affectus.errors import MediaError
from affectus.media.alignment import FER_TEMPLATE, align_many, similarity
from affectus.types import Face, Frame

#: Longest side (px) of the pictures optical flow runs on.
FLOW_SIDE = 640
#: Crop for comparing looks: the face at half size, with hair, neck and some clothes about it.
WIDE_TEMPLATE = FER_TEMPLATE * 0.55 + (0.225, 0.2)
#: Seconds in which the speed of a face that is out of sight dies away.
COAST = 0.4


class CutDetector:
    """Tells the first picture of each new shot.

    A cut changes the layout and the colours of a picture at once; a pan or a zoom keeps the colours, a flash or a
    change of light keeps the layout. The score is the larger of the two likenesses: the correlation of 32x18 luminance
    thumbnails at the best of 25 shifts, and 1 - 2.2 (1 - c) with c the Bhattacharyya coefficient of 512-bin colour
    histograms. Below `threshold` it is a cut: of pairs of unrelated photographs 1 % score higher, of one photograph
    moved by a tenth, zoomed by 15 % or lit up, 0.2 % lower. Dissolves, and cuts between shots alike in layout or in
    colours, go unseen; the looks of the faces must tell those.
    """

    def __init__(self, threshold: float = 0.62) -> None:
        self.threshold = threshold
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def push(self, image: np.ndarray) -> bool:
        """Take the next picture, RGB uint8 (h, w, 3); True if it starts a new shot. The first one never does."""
        now = _layout_and_colours(image)
        before, self._before = self._before, now
        if before is None:
            return False
        colours = 1 - 2.2 * (1 - float(before[1] @ now[1]))
        return colours < self.threshold and _best_correlation(before[0], now[0]) < self.threshold


def _layout_and_colours(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance thumbnail (18, 32) and square roots of the shares of 512 colours."""
    small = cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA)
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), (32, 18), interpolation=cv2.INTER_AREA)
    cells = (small // 32).astype(np.int64) @ (64, 8, 1)
    return grey.astype(np.float32), np.sqrt(np.bincount(cells.ravel(), minlength=512) / cells.size)


def _best_correlation(before: np.ndarray, after: np.ndarray, reach: int = 2) -> float:
    """Correlation of two thumbnails at the best shift of up to `reach` pixels. Two grey levels of noise are assumed in
    each, so that two empty pictures do not correlate by chance."""
    core = before[reach:-reach, reach:-reach]
    windows = np.lib.stride_tricks.sliding_window_view(after, core.shape).reshape(-1, core.size)
    core = core.ravel() - core.mean()
    windows = windows - windows.mean(axis=1, keepdims=True)
    noise = 2.0 * np.sqrt(core.size)
    norms = (np.linalg.norm(core) + noise) * (np.linalg.norm(windows, axis=1) + noise)
    return float((windows @ core / norms).max())


@dataclass(frozen=True)
class TrackSummary:
    """What is kept of a track: first and last time it was seen (s), the number of pictures it was reported in, how many
    of these rest on a detection, and the mean score of the detections."""

    id: int
    start: float
    end: float
    frames: int
    detections: int
    score: float


@dataclass
class _State:
    """A track that may go on: where it was last, how it moves and what it looks like."""

    summary: TrackSummary
    face: Face
    velocity: np.ndarray
    patch: np.ndarray
    colours: np.ndarray
    visible: bool = True


class FaceTracker:
    """Gives the faces of successive pictures ids that hold over time.

    `patience` is how long (s) a face may be out of sight and still get its id back. Detections go to the tracks in
    order of affinity, the best pair first; each pair must be near enough for the time passed, of like size, and look
    alike. An optimal assignment would differ only where two faces could each be either of two tracks, and there looks
    decide better than a sum of distances.

    Memory is a few kilobytes for each face in sight and a summary for each track; who wants the rows collects what
    `update` returns. One tracker serves one recording.
    """

    def __init__(self, patience: float = 1.5, cuts: CutDetector | None = None) -> None:
        self.patience = patience
        self._cuts = cuts or CutDetector()
        self._active: list[_State] = []
        self._ended: list[TrackSummary] = []
        self._before: np.ndarray | None = None
        self._time = float("-inf")
        self._next = 0

    def update(self, frame: Frame, faces: list[Face] | None) -> list[tuple[int, Face]]:
        """Faces of this picture with their ids, in order of id.

        `faces` are its detections; `None` means that none were looked for, and the faces in sight are followed by
        optical flow: their score is that of the last detection times the share of points that could be followed.
        Ids count from 0. Pictures come in order of time; a step back in time, another size or a cut ends all tracks.
        """
        cut = self._cuts.push(frame.image)
        resized = self._before is not None and self._before.shape != frame.image.shape
        if cut or resized or frame.time < self._time:
            self._end(self._active)
        self._end([s for s in self._active if frame.time - s.summary.end > self.patience])
        if faces is None:
            self._follow(frame)
        else:
            self._match(frame, faces)
        self._before, self._time = frame.image, frame.time
        return [(s.summary.id, s.face) for s in sorted(self._active, key=lambda s: s.summary.id) if s.visible]

    def tracks(self) -> list[TrackSummary]:
        """Summaries of all tracks so far, in order of id."""
        return sorted([*self._ended, *(s.summary for s in self._active)], key=lambda summary: summary.id)

    def finish(self) -> list[TrackSummary]:
        """End all tracks and return their summaries."""
        self._end(self._active)
        self._before = None
        return self.tracks()

    def _end(self, states: list[_State]) -> None:
        self._ended += [s.summary for s in states]
        gone = {id(s) for s in states}
        self._active = [s for s in self._active if id(s) not in gone]

    def _match(self, frame: Frame, faces: list[Face]) -> None:
        """Spread detections over tracks; what is left over on either side begins or is out of sight."""
        patches, colours = _looks(frame.image, faces)
        for state in self._active:
            state.visible = False
        free = set(range(len(faces)))
        waiting = dict(enumerate(self._active))
        values = self._affinities(frame.time, faces, patches, colours)
        for flat in np.argsort(-values, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(faces))
            if values[row, column] <= 0:
                break
            if row in waiting and column in free:
                _see(waiting.pop(row), frame.time, faces[column], patches[column], colours[column])
                free.remove(column)
        for column in sorted(free):
            summary = TrackSummary(self._next, frame.time, frame.time, 1, 1, faces[column].score)
            self._active.append(_State(summary, faces[column], np.zeros(2), patches[column], colours[column]))
            self._next += 1

    def _affinities(self, time: float, faces: list[Face], patches: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """How well each track (rows) continues in each detection (columns): 0 impossible … 1."""
        if not self._active or not faces:
            return np.zeros((len(self._active), len(faces)))
        gap = np.array([time - s.summary.end for s in self._active])[:, None]
        middle, size = _place([s.face for s in self._active])
        speed = np.stack([s.velocity for s in self._active])
        middle = middle + speed * COAST * (1 - np.exp(-gap / COAST))
        there, new_size = _place(faces)
        ratio = np.abs(np.log(size[:, None] / new_size))
        unit = np.maximum(size[:, None], new_size)
        distance = np.linalg.norm(middle[:, None] - there, axis=2) / unit
        reach, tolerance = 0.5 + 2 * gap, 0.4 + 0.5 * gap
        look = _likeness(
            np.stack([s.patch for s in self._active]), np.stack([s.colours for s in self._active]), patches, colours
        )
        # the looks of one face differ little from one picture to the next; far away or long after, they must convince
        needed = np.where((gap < 0.5) & (distance < 0.5), 0.4, 0.5)
        possible = (distance < reach) & (ratio < tolerance) & (look > needed)
        return np.where(possible, 0.4 * (1 - distance / reach) + 0.2 * (1 - ratio / tolerance) + 0.4 * look, 0.0)

    def _follow(self, frame: Frame) -> None:
        """Move the faces in sight along with the optical flow since the last picture."""
        states = [s for s in self._active if s.visible]
        if not states or self._before is None:
            return
        moved = flow_faces(self._before, frame.image, [s.face for s in states])
        kept = [(s, face) for s, face in zip(states, moved, strict=True) if face is not None]
        patches, colours = _looks(frame.image, [face for _, face in kept])
        for state in states:
            state.visible = False
        for (state, face), patch, colour in zip(kept, patches, colours, strict=True):
            # an arm in front of the face moves too: what no longer looks like the face is not followed
            if _likeness(state.patch[None], state.colours[None], patch[None], colour[None])[0, 0] > 0.4:
                _move(state, frame.time, face)


def _move(state: _State, time: float, face: Face) -> None:
    """Set the place of a track and learn its velocity (px/s) from the step."""
    passed = time - state.summary.end
    if passed > 0:
        step = _place([face])[0][0] - _place([state.face])[0][0]
        state.velocity = 0.5 * state.velocity + 0.5 * step / passed
    state.face, state.visible = face, True
    state.summary = replace(state.summary, end=time, frames=state.summary.frames + 1)


def _see(state: _State, time: float, face: Face, patch: np.ndarray, colours: np.ndarray) -> None:
    """Continue a track in a detection; its looks are a running mean."""
    _move(state, time, face)
    n = state.summary.detections
    score = (state.summary.score * n + face.score) / (n + 1)
    state.summary = replace(state.summary, detections=n + 1, score=score)
    state.patch = _unit(0.7 * state.patch + 0.3 * patch)
    state.colours = _unit(0.7 * state.colours + 0.3 * colours)


def _place(faces: list[Face]) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 2) and sizes (n,), the square root of the area, of the boxes."""
    boxes = np.array([face.box for face in faces], np.float64)
    return boxes[:, :2] + boxes[:, 2:] / 2, np.sqrt(np.maximum(boxes[:, 2] * boxes[:, 3], 1.0))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-9)


def _looks(image: np.ndarray, faces: list[Face]) -> tuple[np.ndarray, np.ndarray]:
    """Contrast-normalised grey patch (n, 256) of the face and colour shares (n, 64; roots) of the column of hair,
    face and neck, which holds little of the background."""
    if not faces:
        return np.zeros((0, 256)), np.zeros((0, 64))
    crops = align_many(image, np.stack([face.points for face in faces]), 32, WIDE_TEMPLATE)
    patch = crops[:, 7:23, 8:24].mean(axis=3).reshape(len(faces), -1)
    cells = (crops[:, :, 7:25] // 64).astype(np.int64) @ (16, 4, 1)
    counts = np.stack([np.bincount(cell.ravel(), minlength=64) for cell in cells])
    return _unit(patch - patch.mean(axis=1, keepdims=True)), np.sqrt(counts / counts.sum(axis=1, keepdims=True))


def _likeness(patch: np.ndarray, colours: np.ndarray, patches: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike looks are, 0…1 (n, m): half the correlation of the patches, half the agreement of the colours counted
    from a Bhattacharyya coefficient of .8; or .7 of the correlation alone, since colours change with the light and the
    background. In recordings one face stays above .75 for 1.6 s; strangers in one picture reach .1 to .75."""
    shape = np.clip(patch @ patches.T, 0, 1)
    agreement = np.clip((colours @ others.T - 0.8) / 0.2, 0, 1)
    return np.maximum(0.5 * shape + 0.5 * agreement, 0.7 * shape)


def flow_faces(before: np.ndarray, after: np.ndarray, faces: list[Face]) -> list[Face | None]:
    """Where the faces of one picture are in the next, by pyramidal Lucas-Kanade flow (Bouguet 2001).

    Each face is a grid of points within its box and its five points; those that flow forward and back to within a
    pixel give a similarity transform, which moves the box and the five points. `None` where fewer than a third come
    back, the transform is implausible or the face leaves the picture. The pictures are RGB uint8 of one size.
    """
    if before.shape != after.shape:
        raise MediaError("optical flow", f"pictures of {before.shape} and {after.shape} differ in size")
    if not faces:
        return []
    scale = min(1.0, FLOW_SIDE / max(before.shape[:2]))
    grids = np.stack([_grid(face) for face in faces]) * scale
    start = np.ascontiguousarray(grids.reshape(-1, 1, 2), np.float32)
    old, new = (_grey(picture, scale) for picture in (before, after))
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.03)  # 12 steps, or one below .03 px
    settings = {"winSize": (15, 15), "maxLevel": 3, "criteria": stop}
    end, there, _ = cv2.calcOpticalFlowPyrLK(old, new, start, None, **settings)  # type: ignore[call-overload]
    back, home, _ = cv2.calcOpticalFlowPyrLK(new, old, end, None, **settings)  # type: ignore[call-overload]
    good = (there & home).astype(bool).ravel() & (np.abs(back - start).max(axis=2).ravel() < 1)
    ends, goods = end.reshape(grids.shape) / scale, good.reshape(grids.shape[:2])
    edge = (after.shape[1], after.shape[0])
    return [_carry(*item, edge) for item in zip(faces, grids / scale, ends, goods, strict=True)]


def _grid(face: Face) -> np.ndarray:
    """The 30 points of a face that are followed: 5x5 in the middle of its box and its own five."""
    x, y, w, h = face.box
    steps = np.linspace(0.15, 0.85, 5)
    inner = np.stack(np.meshgrid(x + w * steps, y + h * steps), axis=-1).reshape(-1, 2)
    return np.concatenate([inner, face.points])


def _grey(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _carry(face: Face, start: np.ndarray, end: np.ndarray, good: np.ndarray, edge: tuple[int, int]) -> Face | None:
    """Move a face by the similarity transform of the points that agree with one another; its box stays within `edge`,
    the width and height of the picture."""
    size = float(np.sqrt(face.box[2] * face.box[3]))
    if good.sum() >= len(good) / 3:
        step = end - start
        good = good & (np.linalg.norm(step - np.median(step[good], axis=0), axis=1) < 0.15 * size)
    if good.sum() < len(good) / 3:
        return None
    matrix = similarity(start[good][None], end[good])[0]
    linear, shift = matrix[:, :2], matrix[:, 2]
    scale = float(np.hypot(*linear[:, 0]))
    x, y, w, h = face.box
    middle = linear @ (x + w / 2, y + h / 2) + shift
    half = np.array([w, h]) * scale / 2
    low, high = (middle - half).clip(0, edge), (middle + half).clip(0, edge)
    if not 0.7 < scale < 1.4 or (high - low < half).any():
        return None
    box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    return Face(box, face.points @ linear.T + shift, face.score * float(good.mean()), face.quality)
