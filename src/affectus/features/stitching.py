"""Long clips in windows of frames, what was found in the windows put together again, and one answer per clip."""

from __future__ import annotations

from typing import Literal

import numpy as np

from affectus.errors import ConfigError, MediaError

#: How frames decide for their clip.
Rule = Literal["vote", "logits", "probabilities"]


def cut_windows(frames: np.ndarray, length: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, …) as windows (n, length, …) and their starts (n,), a new one every `hop` frames until all are seen.

    A window that ends after the clip repeats the last frame. Raises MediaError for an empty clip.
    """
    if not len(frames):
        raise MediaError("clip", "holds no frame")
    if not 0 < hop <= length:
        raise ConfigError("hop", f"{hop} leaves frames between windows of {length} out", "use a hop up to the length")
    last = max(0, len(frames) - length)
    starts = np.arange(0, last + hop, hop) if last else np.zeros(1, np.int64)
    rows = np.minimum(starts[:, None] + np.arange(length), len(frames) - 1)
    return frames[rows], starts


def stitched(found: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """What was found for the frames of windows (n, length, C) as (count, C): the mean where windows overlap."""
    total, times = np.zeros((count, found.shape[2])), np.zeros(count)
    for values, start in zip(found, starts, strict=True):
        length = min(len(values), count - int(start))
        total[start : start + length] += values[:length]
        times[start : start + length] += 1
    return (total / times[:, None]).astype(np.float32)


def decide(logits: np.ndarray, rule: Rule = "logits") -> np.ndarray:
    """Scores of a clip (C,) from those of its frames (T, C): shares of the votes, mean logits, or mean probabilities.

    The largest one is the answer; ties of votes go to the class that comes first.
    """
    if not len(logits):
        raise MediaError("clip", "holds no frame")
    if rule == "vote":
        return np.bincount(logits.argmax(1), minlength=logits.shape[1]) / len(logits)
    if rule == "logits":
        return logits.mean(0)
    if rule == "probabilities":
        powers = np.exp(logits - logits.max(1, keepdims=True))  # the largest is taken off: big logits overflow
        return (powers / powers.sum(1, keepdims=True)).mean(0)
    raise ConfigError(rule, "is no rule of deciding", "use vote, logits or probabilities")


def spread_tokens(tokens: np.ndarray | None, count: int, width: int) -> np.ndarray:
    """Vectors of the tokens of a transcript (n, width) laid over `count` frames in n equal blocks: (count, width).

    Zeros where there is no transcript.
    """
    if tokens is None or not len(tokens):
        return np.zeros((count, width), np.float32)
    return np.asarray(tokens, np.float32)[np.arange(count) * len(tokens) // count]
