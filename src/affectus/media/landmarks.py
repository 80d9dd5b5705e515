"""Dense landmarks and blendshapes of a face with the MediaPipe face landmarker (Kartynnik et al. 2019; Grishchenko et
al. 2020, 2023), run by LiteRT. Optional: needs the extra `aus`.

The networks are Google's, Apache-2.0; cropping, decoding and the order of outputs are written here after the public
description of their graph. Blendshapes from the same landmarks equal MediaPipe's to 3e-6; with landmarks found here
they differ from its video mode by .006 on average and correlate at .997. (The network is sensitive to its crop:
MediaPipe's own picture mode, which crops by its own detector, differs from its video mode by .03.)
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectus import assets
from affectus.errors import AssetError
from affectus.media.alignment import similarity, warp
from affectus.types import Face

#: Side (px) of the crop the landmark network reads.
CROP = 256
#: Where the detector's five points lie in that crop: medians over 62 faces of pictures and videos whose crops were
#: repeated until they agreed with the landmarks found in them, made symmetric.
CROP_TEMPLATE = np.array([(0.374, 0.369), (0.626, 0.369), (0.500, 0.5175), (0.390, 0.6305), (0.610, 0.6305)])
#: Outer corners of the right and the left eye: the line that is turned level in the crop.
EYE_CORNERS = (33, 263)
#: Side of the crop as a multiple of the longer side of the box around all landmarks.
MARGIN = 1.5

#: What the blendshape network puts out, in its order. The names are ARKit's; left and right are the subject's.
BLENDSHAPES = (
    "neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip

#: The 146 of the 478 landmarks that the blendshape network reads.
BLENDSHAPE_POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251,
    263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318,
    321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])  # fmt: skip


@dataclass(frozen=True)
class FaceLandmarks:
    """What the landmarker says about one face.

    `points` (478, 3): x and y in pixels of the picture, z towards the viewer negative, in pixels too, about the middle
    of the head; the last ten are the irises. `presence` (0…1) is how sure the network is that the crop holds a face:
    below one half nothing else here means anything. `values` (52,) are the blendshapes, 0…1, in the order of
    `BLENDSHAPES`.
    """

    points: np.ndarray
    presence: float
    values: np.ndarray

    @property
    def blendshapes(self) -> Mapping[str, float]:
        """Blendshapes by name."""
        return dict(zip(BLENDSHAPES, self.values.tolist(), strict=True))


class FaceLandmarker:
    """Finds 478 landmarks and 52 blendshapes of faces that a detector has found.

    `path` is another file of the same task bundle, `threads` the threads of one call, `passes` how often the crop is
    taken anew from the landmarks found: once is quicker, the second time settles them. One landmarker serves one
    thread. Raises `AssetError` when the extra or the model file is missing.
    """

    def __init__(self, path: Path | None = None, threads: int = 1, passes: int = 2) -> None:
        if passes < 1:
            raise ValueError("at least one pass is needed")
        self.passes = passes
        make = _interpreter()
        file = path or assets.resolve("face-landmarker")
        try:
            with zipfile.ZipFile(file) as bundle:
                networks = [bundle.read(name) for name in ("face_landmarks_detector.tflite", "face_blendshapes.tflite")]
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise AssetError(file, f"is not a face landmarker bundle: {error}", "fetch it again") from error
        with _quiet_stderr():
            self._mesh, self._shapes = (make(model_content=network, num_threads=threads) for network in networks)
            self._mesh.allocate_tensors()
            self._shapes.allocate_tensors()

    def detect(self, image: np.ndarray, faces: Sequence[Face]) -> list[FaceLandmarks]:
        """Landmarks of each of the faces of one picture, RGB uint8 (h, w, 3), in their order."""
        if not faces:
            return []
        starts = similarity(np.stack([face.points for face in faces]), CROP_TEMPLATE * CROP)
        return [self._one(image, matrix) for matrix in starts]

    def _one(self, image: np.ndarray, matrix: np.ndarray) -> FaceLandmarks:
        for left in reversed(range(self.passes)):
            points, presence = self._landmarks(image, matrix)
            if left and presence >= 0.5:
                matrix = crop_around(points)
            else:
                break
        (values,) = _run(self._shapes, points[None, BLENDSHAPE_POINTS, :2])
        return FaceLandmarks(points, presence, values.ravel())

    def _landmarks(self, image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """Landmarks (478, 3) in pixels of the picture and presence from the crop that a matrix (2, 3) describes."""
        crop = warp(image, matrix, CROP)
        mesh, logit, _tongue = _run(self._mesh, crop[None] / np.float32(255))
        local = mesh.reshape(478, 3).astype(np.float64)
        points = np.empty((478, 3))
        points[:, :2] = np.linalg.solve(matrix[:, :2], (local[:, :2] - matrix[:, 2]).T).T
        points[:, 2] = local[:, 2] / np.hypot(*matrix[:, 0])
        return points, float(1 / (1 + np.exp(-float(logit.item()))))


def crop_around(points: np.ndarray) -> np.ndarray:
    """Matrix (2, 3), picture → crop, of the square about landmarks (478, 2 or 3): centred on their upright box,
    `MARGIN` times its longer side, turned so that the eye corners are level."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    across = points[EYE_CORNERS[1], :2] - points[EYE_CORNERS[0], :2]
    cosine, sine = across / max(float(np.hypot(*across)), 1e-9)
    scale = CROP / (MARGIN * max(float((high - low).max()), 1e-6))
    linear = scale * np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([linear, CROP / 2 - linear @ ((low + high) / 2)])


def _interpreter() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise AssetError("face landmarks", "need LiteRT", "pip install 'affectus[aus]'") from error
    return Interpreter


def _run(network: Any, batch: np.ndarray) -> list[np.ndarray]:
    network.set_tensor(network.get_input_details()[0]["index"], batch.astype(np.float32))
    network.invoke()
    return [network.get_tensor(detail["index"]) for detail in network.get_output_details()]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """LiteRT announces its CPU delegate on the process's standard error and offers no switch for that."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error has nothing to keep quiet
        yield
        return
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
