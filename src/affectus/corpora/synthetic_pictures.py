"""Drawn pictures and clips: patches of one hue, mosaics out of focus, a face in front of a desk.

Stand-ins for what evokes affect, for quality and for scenes; nothing imitates a real person or place.
"""

from __future__ import annotations

import cv2
import numpy as np

from affectus.corpora.synthetic import face_image


def coloured(hue: float, random: np.random.Generator, size: int) -> np.ndarray:
    """A patchy picture, RGB uint8 (size, size, 3), of one hue in [0, 1)."""
    cells = random.uniform(120, 255, (4, 4, 3))
    cells[..., 0] = (hue * 180 + random.normal(0, 3, (4, 4))) % 180
    picture = cv2.cvtColor(cells.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_NEAREST)


def blurred(blur: float, dark: float, random: np.random.Generator, size: int) -> np.ndarray:
    """A random mosaic, RGB uint8 (size, size, 3), out of focus by `blur` in [0, 1] and darkened by `dark` in [0, 1]."""
    cells = random.integers(0, 256, (size // 8, size // 8, 3)).astype(np.float32)
    picture = cv2.resize(cells, (size, size), interpolation=cv2.INTER_NEAREST)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.3 + 0.08 * size * blur)
    return np.clip(picture * (1 - 0.6 * dark) + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def student_clip(
    emotion: str, screen: bool, random: np.random.Generator, size: int, frames: int
) -> dict[str, list[np.ndarray]]:
    """A drawn face (`faces`, each size x size) and the room around it (`frames`, each size x 4/3 size), RGB uint8: a
    desk, and a lit screen or none."""
    room = np.full((size, size * 4 // 3, 3), random.integers(60, 160), np.uint8)
    scenes = []
    for _ in range(frames):
        scene = np.clip(room + random.normal(0, 6, room.shape), 0, 255).astype(np.uint8)
        scene[size // 2 :, : size // 2] = random.integers(20, 60)
        if screen:
            scene[size // 5 : size // 2, -size // 2 : -size // 8] = (230, 240, 255)
        scenes.append(scene)
    return {"faces": [face_image(emotion, random, size) for _ in range(frames)], "frames": scenes}
