"""EEG in numbers: band power, differential entropy and scalp maps.

Differential entropy is Duan, Zhu & Lu, "Differential entropy feature for EEG-based emotion classification", 2013: for
a band-limited signal taken as Gaussian it is ½ ln(2 π e σ²). Electrode places follow the definition of the 10-10
system (Oostenveld & Praamstra, "The five percent electrode system", 2001) on a sphere, computed instead of tabulated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from affectus.errors import ConfigError, MediaError

#: Bands in Hz as used by the SEED corpora.
BANDS: dict[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 14.0),
    "beta": (14.0, 31.0),
    "gamma": (31.0, 50.0),
}

#: Bands of `log_power_maps`.
MAP_BANDS = ("theta", "alpha", "beta", "gamma")

# Polar angle (degrees from the top, front positive) at which a row crosses the midline, and the azimuth (degrees,
# 90 = front, 180 = left) at which it meets the left half of the outer ring.
_ROWS = {
    "Fp": (72, 90),
    "AF": (54, 126),
    "F": (36, 144),
    "FC": (18, 162),
    "C": (0, 180),
    "CP": (-18, 198),
    "P": (-36, 216),
    "PO": (-54, 234),
    "O": (-72, 270),
}
_RING = 72.0
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "CB1": "PO9", "CB2": "PO10"}


def band_filter(signal: np.ndarray, rate: float, low: float, high: float, edge: float = 0.5) -> np.ndarray:
    """Keep the band `low`…`high` Hz without shifting phase: same shape as `signal` `(…, samples)`, float64.

    The pass band falls off as half a cosine over `edge` Hz outside each limit; `low` = 0 keeps the mean. Being a
    product in the frequency domain it takes the signal as periodic: cut half a second at each end where that matters.
    """
    signal = _checked(signal, rate)
    if not 0 <= low < high or edge < 0:
        raise ConfigError("band_filter", f"band {low:g}–{high:g} Hz with edge {edge:g} Hz is impossible")
    hertz = np.fft.rfftfreq(signal.shape[-1], 1 / rate)
    outside = np.maximum(np.maximum(low - hertz, hertz - high), 0.0)
    gain = np.where(outside < edge, 0.5 + 0.5 * np.cos(np.pi * outside / max(edge, 1e-12)), 0.0)
    gain[(hertz >= low) & (hertz <= high)] = 1.0
    return np.fft.irfft(np.fft.rfft(signal, axis=-1) * gain, signal.shape[-1], axis=-1)


def band_power(
    signal: np.ndarray,
    rate: float,
    seconds: float = 1.0,
    step: float | None = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> np.ndarray:
    """Variance of a signal within each band, per window: float64 `(windows, channels, bands)` in squared input units.

    `signal` is `(channels, samples)`; windows of `seconds` start every `step` (default: no overlap) and lie wholly
    inside. Each is centred and Hann-tapered, and power is corrected for the taper, so that the bands of white noise
    add up to its variance times their share of the spectrum. A band holds the frequencies `low` ≤ f < `high`. Raises
    `MediaError` for NaN or a signal shorter than a window, `ConfigError` for a band that no frequency falls into.
    """
    signal = _checked(signal, rate)
    if signal.ndim != 2:
        raise MediaError("EEG", f"expected (channels, samples), got shape {signal.shape}")
    size, hop = round(seconds * rate), round((step or seconds) * rate)
    if size < 2 or hop < 1:
        raise ConfigError("EEG", f"windows of {seconds:g} s every {step or seconds:g} s are too short at {rate:g} Hz")
    if signal.shape[1] < size:
        raise MediaError("EEG", f"{signal.shape[1] / rate:.2f} s are shorter than one window of {seconds:g} s")
    hertz = np.fft.rfftfreq(size, 1 / rate)
    inside = np.stack([(hertz >= low) & (hertz < high) for low, high in bands.values()], axis=1)
    if missing := [name for name, column in zip(bands, inside.T, strict=True) if not column.any()]:
        raise ConfigError("EEG", f"no frequency of a {seconds:g} s window at {rate:g} Hz lies in {', '.join(missing)}")
    taper = np.hanning(size + 1)[:-1]
    view = np.lib.stride_tricks.sliding_window_view(signal, size, axis=1)[:, ::hop].swapaxes(0, 1)
    spectrum = np.fft.rfft((view - view.mean(axis=-1, keepdims=True)) * taper, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    twice = np.full(len(hertz), 2.0)  # one-sided: all but the mean and the Nyquist frequency stand for two
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    return power @ (inside * twice[:, None]) / (size * (taper**2).sum())


def differential_entropy(
    signal: np.ndarray,
    rate: float,
    seconds: float = 1.0,
    step: float | None = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> np.ndarray:
    """½ ln(2 π e σ²) of each band, float64 `(windows, channels, bands)`, in nats; see `band_power`.

    Depends on the unit of the signal through an added constant. A dead channel is floored at σ² = 1e-12.
    """
    return 0.5 * np.log(2 * np.pi * np.e * np.maximum(band_power(signal, rate, seconds, step, bands), 1e-12))


def electrode_position(name: str) -> tuple[float, float]:
    """Place of a 10-10 electrode seen from above: x (right) and y (front), the head's equator at distance 1.

    Polar angles become distances (azimuthal equidistant projection). Old names (T3 …) and any capitalisation are
    understood; CB1/CB2 are put at PO9/PO10. Raises `ConfigError` for unknown names.
    """
    row, digits = _parsed(name)
    middle, azimuth = _ROWS[row]
    if not digits:
        return 0.0, middle / 90
    number = int(digits)
    side = 1 if number % 2 == 0 else -1
    if row in ("Fp", "O"):
        turn, polar = (108.0 if row == "Fp" else 252.0), _RING + (18.0 if number > 2 else 0.0)
    elif number > 8:
        turn, polar = float(azimuth), 90.0
    else:
        # Places 1, 3, 5, 7 divide the arc from the midline through the ring point into four equal parts.
        x, y = _on_arc(middle, azimuth, ((number + 1) // 2) / 4)
        return -side * x, y
    angle = np.deg2rad(turn)
    return float(-side * np.cos(angle) * polar / 90), float(np.sin(angle) * polar / 90)


def topographic_maps(values: np.ndarray, electrodes: Sequence[str], size: int = 32) -> np.ndarray:
    """Scalp maps of values at electrodes, float32 `(…, size, size)`, from `values` `(…, channels)`.

    Row 0 is the front of the head, column 0 its left; the square encloses the head's equator and everything outside
    is 0. Thin-plate splines (Duchon 1977) pass through every value and continue constant and linear fields exactly.
    For the maps of a window's bands move channels last: `topographic_maps(power.swapaxes(1, 2), names)`. Raises
    `ConfigError` for fewer than three places, doubled ones or ones on a line, `MediaError` for a wrong channel count.
    """
    weights = _spline(tuple(electrodes), size)
    values = np.asarray(values, np.float64)
    if values.shape[-1:] != (len(electrodes),):
        raise MediaError("EEG", f"{len(electrodes)} electrodes are named but the values have shape {values.shape}")
    return (values @ weights.T).reshape(*values.shape[:-1], size, size).astype(np.float32)


def log_power_maps(
    signal: np.ndarray, electrodes: Sequence[str], rate: float, seconds: float = 4.0, size: int = 32
) -> np.ndarray:
    """Scalp maps of log power in `MAP_BANDS`, float32 `(4, size, size)`, averaged over windows of `seconds`.

    `signal` is `(channels, samples)` in µV; the logarithm of its power, about 2 ± 2, is brought near ± 1. Raises
    `MediaError` for another number of channels, NaN and less than one window.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or len(signal) != len(electrodes):
        raise MediaError("EEG", f"has shape {signal.shape}; {len(electrodes)} channels are needed")
    power = band_power(signal, rate, seconds, bands={name: BANDS[name] for name in MAP_BANDS})
    level = (np.log(np.maximum(power, 1e-6)).mean(0) - 2) / 2
    return topographic_maps(level.T, electrodes, size)


@lru_cache(maxsize=16)
def _spline(electrodes: tuple[str, ...], size: int) -> np.ndarray:
    """Matrix `(size², channels)` from values to the map, zero outside the head."""
    places = np.array([electrode_position(name) for name in electrodes]).reshape(-1, 2)
    gaps = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    np.fill_diagonal(gaps, 1.0)
    plane = np.column_stack([np.ones(len(places)), places])
    if len(places) < 3 or gaps.min() < 1e-6 or np.linalg.matrix_rank(plane, tol=1e-6) < 3:
        raise ConfigError("scalp map", "needs at least three different electrodes that are not on one line")
    count = len(places)
    system = np.zeros((count + 3, count + 3))
    np.fill_diagonal(gaps, 0.0)
    system[:count, :count] = _thin_plate(gaps)
    system[:count, count:], system[count:, :count] = plane, plane.T
    solve = np.linalg.inv(system)[:, :count]
    centre = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.tile(centre, size), np.repeat(-centre, size)
    reach = np.hypot(x[:, None] - places[:, 0], y[:, None] - places[:, 1])
    weights = np.column_stack([_thin_plate(reach), np.ones(size * size), x, y]) @ solve
    weights[np.hypot(x, y) > 1] = 0.0
    weights.setflags(write=False)
    return weights


def _thin_plate(distance: np.ndarray) -> np.ndarray:
    return distance**2 * np.log(np.maximum(distance, 1e-12))


def _parsed(name: str) -> tuple[str, str]:
    """Row and number of an electrode name; the row of T, FT and TP places is that of their C neighbours."""
    plain = _OLD_NAMES.get(name.strip().upper(), name.strip())
    match = re.fullmatch(r"([A-Za-z]+?)(z|Z|\d+)", plain)
    if match:
        letters, digits = match[1].upper(), "" if match[2] in "zZ" else match[2]
        row = {"T": "C", "FT": "FC", "TP": "CP", "FP": "Fp"}.get(letters, letters)
        # Rows at either end have no inner places, and T stands for the outer ones alone.
        allowed = range(7, 11) if "T" in letters else (1, 2, 9, 10) if row in ("Fp", "O") else range(1, 11)
        if row in _ROWS and (int(digits) in allowed if digits else "T" not in letters):
            return row, digits
    raise ConfigError("electrode", f"{name!r} is no place of the 10-10 system")


def _on_arc(middle: float, azimuth: float, share: float) -> tuple[float, float]:
    """Projected point (left side: negative x) on the circle through left ring point, midline point and right point."""
    sphere = lambda polar, turn: np.array([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)])
    left = sphere(np.deg2rad(_RING), np.deg2rad(azimuth))
    top = sphere(np.deg2rad(abs(middle)), np.deg2rad(90 if middle >= 0 else 270))
    right = left * [-1, 1, 1]
    # The circle's centre lies in the plane of symmetry x = 0, on the foot of the plane through the three points.
    normal = np.cross(left - top, right - top)
    normal /= np.linalg.norm(normal)
    centre = normal * (normal @ top)
    radius = np.linalg.norm(top - centre)
    start, end = (top - centre) / radius, (left - centre) / radius
    whole = np.arccos(np.clip(start @ end, -1, 1))
    aside = (end - start * np.cos(whole)) / np.sin(whole)
    point = centre + radius * (np.cos(whole * share) * start + np.sin(whole * share) * aside)
    polar = np.arccos(np.clip(point[2], -1, 1)) / (np.pi / 2)
    flat = max(float(np.hypot(point[0], point[1])), 1e-12)
    return float(polar * point[0] / flat), float(polar * point[1] / flat)


def _checked(signal: np.ndarray, rate: float) -> np.ndarray:
    signal = np.asarray(signal, np.float64)
    if rate <= 0 or signal.ndim == 0 or signal.shape[-1] == 0:
        raise MediaError("EEG", f"no samples, or a rate of {rate:g} Hz")
    if not np.isfinite(signal).all():
        raise MediaError("EEG", "samples contain NaN or infinite values", "mark and remove bad channels first")
    return signal
