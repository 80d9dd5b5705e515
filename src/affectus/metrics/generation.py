"""Scores of generated pictures, video and talking faces, computed from features or frames that the caller supplies.

The networks behind published numbers (I3D for FVD, SyncNet for lip sync, CLIP for text) are not part of the library: a
score names the features it was computed with, and scores from different features are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affectus.metrics.inputs import Floats, class_ids, distributions, numbers, same_length


def _features(values: npt.ArrayLike, name: str, rows: int = 1) -> Floats:
    table = numbers(values, name)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"{name} must be features (N, D), not {table.shape}")
    if len(table) < rows:
        raise ValueError(f"{name} needs at least {rows} rows, not {len(table)}")
    return table


def moments(features: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Mean `(D,)` and unbiased covariance `(D, D)` of features `(N, D)`, N >= 2."""
    table = _features(features, "features", 2)
    centre = table.mean(axis=0)
    centred = table - centre
    return centre, centred.T @ centred / (len(table) - 1)


def _root(covariance: Floats) -> Floats:
    """Symmetric square root of a positive semi-definite matrix; tiny negative eigenvalues are rounding, hence 0."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if values[0] < -1e-6 * max(1.0, values[-1]):
        raise ValueError("a covariance has a negative eigenvalue")
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def frechet_of_moments(
    first_mean: npt.ArrayLike, first_cov: npt.ArrayLike, second_mean: npt.ArrayLike, second_cov: npt.ArrayLike
) -> float:
    """Squared Fréchet distance of two Gaussians: |m1 - m2|² + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½), at least 0."""
    means = [numbers(first_mean, "mean"), numbers(second_mean, "mean")]
    covariances = [numbers(first_cov, "covariance"), numbers(second_cov, "covariance")]
    size = means[0].shape
    if len(size) != 1 or means[1].shape != size or any(cov.shape != size * 2 for cov in covariances):
        raise ValueError("means must be (D,) and covariances (D, D) of the same D")
    root = _root(covariances[0])
    crossed = np.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = sum(float(np.trace(cov)) for cov in covariances)
    gap = float(((means[0] - means[1]) ** 2).sum())
    return max(0.0, gap + traces - 2 * float(np.sqrt(np.maximum(crossed, 0)).sum()))


def frechet_distance(real: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Fréchet distance between features `(N, D)` and `(M, D)`: FVD on video features, FID on image features.

    0 for equal sets, lower is better, no upper bound. It falls with the number of rows, so compare equal numbers; with
    fewer rows than dimensions it says little.
    """
    first, second = _features(real, "real", 2), _features(generated, "generated", 2)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"real has {first.shape[1]} features but generated has {second.shape[1]}")
    return frechet_of_moments(*moments(first), *moments(second))


def _frames(frames: npt.ArrayLike, name: str = "frames") -> Floats:
    """Frames as numbers in [0, 1]; uint8 is divided by 255."""
    raw = np.asarray(frames)
    if raw.ndim not in (3, 4):
        raise ValueError(f"{name} must be (T, H, W) or (T, H, W, 3), not {raw.shape}")
    table = numbers(raw, name) / (255.0 if raw.dtype == np.uint8 else 1.0)
    if table.min() < 0 or table.max() > 1:
        raise ValueError(f"{name} must be uint8 or lie in [0, 1], found {table.min():.4g} to {table.max():.4g}")
    return table


def flicker(frames: npt.ArrayLike) -> float:
    """Mean absolute difference of consecutive frames `(T, H, W[, 3])` in [0, 1]; lower is steadier, 0 is a still."""
    table = _frames(frames)
    if len(table) < 2:
        raise ValueError("flicker needs at least two frames")
    return float(np.abs(np.diff(table, axis=0)).mean())


def psnr(real: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB over all frames `(T, H, W[, 3])`; infinite for equal frames."""
    first, second = _same_frames(real, generated)
    error = float(((first - second) ** 2).mean())
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def _same_frames(real: npt.ArrayLike, generated: npt.ArrayLike) -> tuple[Floats, Floats]:
    first, second = _frames(real, "real"), _frames(generated, "generated")
    if first.shape != second.shape:
        raise ValueError(f"real is {first.shape} but generated is {second.shape}")
    return first, second


def ssim(real: npt.ArrayLike, generated: npt.ArrayLike, sigma: float = 1.5) -> float:
    """Structural similarity of frames `(T, H, W[, 3])`, mean over pixels, channels and frames, in [-1, 1].

    Wang et al. 2004: Gaussian window (`sigma` pixels, cut at 3.5 sigma), constants .01² and .03², pixels nearer to the
    border than the window's radius left out.
    """
    first, second = _same_frames(real, generated)
    radius = int(3.5 * sigma + 0.5)
    if min(first.shape[1:3]) <= 2 * radius:
        raise ValueError(f"frames must be larger than the window of {2 * radius + 1} pixels")
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    window /= window.sum()

    def blur(values: Floats) -> Floats:
        for axis in (1, 2):
            views = np.lib.stride_tricks.sliding_window_view(values, len(window), axis=axis)
            values = views @ window
        return values

    means = blur(first), blur(second)
    spreads = blur(first * first) - means[0] ** 2, blur(second * second) - means[1] ** 2
    shared = blur(first * second) - means[0] * means[1]
    light = (2 * means[0] * means[1] + 1e-4) / (means[0] ** 2 + means[1] ** 2 + 1e-4)
    return float((light * (2 * shared + 9e-4) / (spreads[0] + spreads[1] + 9e-4)).mean())


@dataclass(frozen=True)
class Sync:
    """How picture and sound line up.

    `offset` in frames, positive when the sound comes later than the picture; `distance` at that offset (LSE-D, lower is
    better); `confidence` median distance over all offsets minus the lowest (LSE-C, higher is better).
    """

    offset: int
    distance: float
    confidence: float


def sync(video: npt.ArrayLike, audio: npt.ArrayLike, max_offset: int = 15) -> Sync:
    """Offset between the embeddings of mouth `(T, D)` and sound `(T, D)` of every frame, from one two-tower model.

    Mean Euclidean distance at every offset of at most `max_offset` frames, over the frames that overlap (SyncNet,
    Chung & Zisserman 2016). Of equal distances the smallest shift wins.
    """
    first, second = _features(video, "video"), _features(audio, "audio")
    if first.shape != second.shape:
        raise ValueError(f"video is {first.shape} but audio is {second.shape}")
    shifts = _shifts(len(first), max_offset)
    distances = np.array(
        [np.linalg.norm(a - b, axis=1).mean() for a, b in (_overlap(first, second, s) for s in shifts)]
    )
    best = int(np.argmin(distances))
    return Sync(shifts[best], float(distances[best]), float(np.median(distances) - distances[best]))


def _shifts(length: int, limit: int) -> list[int]:
    """Shifts from small to large, 0 first."""
    if limit < 0:
        raise ValueError(f"max_offset must not be negative, not {limit}")
    if length <= limit:
        raise ValueError(f"{length} frames are too few for offsets up to {limit}")
    return [0, *(sign * step for step in range(1, limit + 1) for sign in (1, -1))]


def _overlap(first: Floats, second: Floats, shift: int) -> tuple[Floats, Floats]:
    """The rows of both that meet when `second` comes `shift` rows later."""
    length = len(first) - abs(shift)
    return first[max(0, -shift) :][:length], second[max(0, shift) :][:length]


@dataclass(frozen=True)
class Lag:
    """`offset` in frames at which two curves agree best, positive when the second comes later, and `correlation`."""

    offset: int
    correlation: float


def lag(first: npt.ArrayLike, second: npt.ArrayLike, max_offset: int = 15) -> Lag:
    """Best Pearson correlation of two curves `(T,)`, such as mouth opening and loudness, over shifts of frames.

    At least three frames must overlap. A curve that does not move within an overlap correlates 0.
    """
    curves = [numbers(values, name) for values, name in ((first, "first"), (second, "second"))]
    if curves[0].ndim != 1 or curves[0].shape != curves[1].shape:
        raise ValueError(f"curves must be two series (T,), not {curves[0].shape} and {curves[1].shape}")
    shifts = _shifts(len(curves[0]) - 2, max_offset)
    values = [_correlation(*_overlap(curves[0], curves[1], shift)) for shift in shifts]
    best = int(np.argmax(values))
    return Lag(shifts[best], values[best])


def _correlation(first: Floats, second: Floats) -> float:
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-12 * max(1.0, len(a)) else 0.0


def clip_score(images: npt.ArrayLike, texts: npt.ArrayLike, weight: float = 2.5, clipped: bool = True) -> float:
    """CLIPScore of embeddings: mean over rows of `weight` · max(cosine, 0) of image and text.

    `images` `(N, D)`, or `(N, F, D)` for F frames whose scores are averaged; `texts` `(N, D)`, both from one model.
    Hessel et al. 2021 use 2.5; the plain text-to-frame cosine of video papers is `weight=1, clipped=False`.
    """
    pictures, words = numbers(images, "images"), _features(texts, "texts")
    same_length(pictures, words, ("images", "texts"))
    if pictures.ndim not in (2, 3) or pictures.shape[-1] != words.shape[1]:
        raise ValueError(f"images must be (N, {words.shape[1]}) or (N, F, {words.shape[1]}), not {pictures.shape}")
    norms = [np.linalg.norm(values, axis=-1, keepdims=True) for values in (pictures, words)]
    if min(norm.min() for norm in norms) == 0:
        raise ValueError("an embedding is all zero and has no direction")
    pictures = (pictures / norms[0]).reshape(len(words), -1, words.shape[1])
    cosine = np.einsum("nfd,nd->nf", pictures, words / norms[1])
    return float(weight * (np.maximum(cosine, 0) if clipped else cosine).mean())


def emotion_accuracy(
    requested: npt.ArrayLike, probabilities: npt.ArrayLike, sides: Mapping[int, Any] | None = None
) -> float:
    """EA: share of generated clips in which a judge sees the requested emotion, in [0, 1].

    `requested` `(N,)` class numbers, `probabilities` `(N, C)` of the judge. With `sides` (class number → side, such as
    its polarity) probabilities are summed per side and the sides compared (EA-2). One clip may fail on sides and pass
    on classes, when many small probabilities of the other side outweigh the largest one.
    """
    shares = distributions(probabilities)
    wanted = class_ids(requested, shares.shape[1], "requested")
    same_length(wanted, shares, ("requested", "probabilities"))
    if sides is not None:
        missing = [number for number in range(shares.shape[1]) if number not in sides]
        if missing:
            raise ValueError(f"sides says nothing about class {missing[0]}")
        names = sorted(set(sides.values()), key=str)
        member = np.array([names.index(sides[number]) for number in range(shares.shape[1])])
        shares, wanted = shares @ np.eye(len(names))[member], member[wanted]
    return float((shares.argmax(axis=1) == wanted).mean())
