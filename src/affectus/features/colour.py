"""Colour, light and texture of a picture: numbers that go with the emotion a picture evokes.

Everything is measured on the picture reduced to `MEASURED_SIDE` pixels (area averaging), so that the same scene gives
the same numbers whatever the resolution of the camera. Sources: Hasler & Süsstrunk, "Measuring colourfulness in
natural images", 2003 (colourfulness); Valdez & Mehrabian, "Effects of color on emotions", 1994 (pleasure, arousal,
dominance from brightness and saturation); Haralick, Shanmugam & Dinstein, "Textural features for image
classification", 1973 (co-occurrence); Machajdik & Hanbury, "Affective image classification using features inspired by
psychology and art theory", 2010 (which attributes matter).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from affectus.errors import MediaError

MEASURED_SIDE = 256
#: Hasler & Süsstrunk's anchor for "extremely colourful" is 109; 110 makes their scale end at 1.
COLOURFULNESS_SCALE = 110.0
#: Hue bins are 30° wide and centred on 0°, 30° … 330°.
HUE_NAMES: tuple[str, ...] = (
    *("red", "orange", "yellow", "yellow-green", "green", "green-cyan"),
    *("cyan", "azure", "blue", "violet", "magenta", "rose"),
)

COLOUR_NAMES: tuple[str, ...] = (
    *("value_mean", "value_std", "value_p05", "value_p95", "saturation_mean", "saturation_std"),
    *("colourfulness", "luminance_std", "luminance_skew", "dark_share", "bright_share", "grey_share"),
    *(f"hue_{name}" for name in HUE_NAMES),
    *("hue_concentration", "warm", "cool", "lab_a_mean", "lab_b_mean", "lab_a_std", "lab_b_std"),
    *("pleasure", "arousal", "dominance"),
    *("glcm_contrast", "glcm_homogeneity", "glcm_energy", "glcm_correlation", "entropy"),
    *("edge_density", "edge_horizontal", "edge_vertical", "sharpness", "spectral_slope"),
    *("symmetry", "centre_value", "centre_saturation", "top_value", "coarse_contrast"),
)


def colour_vector(image: np.ndarray) -> np.ndarray:
    """The numbers named in `COLOUR_NAMES`, float32 `(len(COLOUR_NAMES),)`, finite for every picture.

    `image` is RGB uint8 `(height, width, 3)` or grey `(height, width)`, at least 1 × 1. Most numbers lie in [0, 1];
    `luminance_skew`, `glcm_correlation`, `lab_*_mean`, `centre_*`, `top_value`, `arousal` and `dominance` are signed;
    `spectral_slope` is near -2 for natural scenes. Raises `MediaError` for anything that is no such picture.
    """
    rgb = _reduced(image)
    measured = {**_light_and_colour(rgb), **_texture(rgb), **_composition(rgb)}
    return np.array([measured[name] for name in COLOUR_NAMES], np.float32)


def colour_attributes(image: np.ndarray) -> dict[str, Any]:
    """Attributes of a picture with everyday names.

    `brightness` (mean HSV value), `saturation`, `colourfulness` (Hasler–Süsstrunk / 110, at most 1), `contrast`
    (standard deviation of the luminance), `warm` and `cool` (share of the coloured area), `edge_density`, `texture`
    (co-occurrence contrast), `entropy`, `symmetry` (left–right) in [0, 1]; `pleasure`, `arousal`, `dominance` of
    Valdez and Mehrabian; `hue_histogram`, a map hue name → share of the picture, weighted by saturation times
    value (zeros for a grey one).
    """
    number = dict(zip(COLOUR_NAMES, colour_vector(image).tolist(), strict=True))
    plain = ("edge_density", "entropy", "symmetry", "warm", "cool", "pleasure", "arousal", "dominance")
    return {
        "brightness": number["value_mean"],
        "saturation": number["saturation_mean"],
        "colourfulness": min(1.0, number["colourfulness"]),
        "contrast": number["luminance_std"],
        "texture": number["glcm_contrast"],
        **{name: number[name] for name in plain},
        "hue_histogram": {name: number[f"hue_{name}"] for name in HUE_NAMES},
    }


def colour_cues(attributes: dict[str, Any]) -> list[tuple[str, float]]:
    """What stands out in `colour_attributes`, in plain words with a strength in (0, 1], strongest first."""
    cues: list[tuple[str, float]] = []

    def note(name: str, value: float, low: tuple[str, float], high: tuple[str, float]) -> None:
        if value < low[1]:
            cues.append((low[0], (low[1] - value) / low[1]))
        elif value > high[1]:
            cues.append((high[0], min(1.0, (value - high[1]) / (1.0 - high[1]))))

    note("brightness", attributes["brightness"], ("dark picture", 0.35), ("bright picture", 0.7))
    note("colourfulness", attributes["colourfulness"], ("muted colours", 0.2), ("vivid colours", 0.6))
    note("contrast", 2 * attributes["contrast"], ("low contrast", 0.25), ("strong contrast", 0.6))
    if attributes["colourfulness"] > 0.1:
        hue, mass = max(attributes["hue_histogram"].items(), key=lambda item: item[1])
        total = sum(attributes["hue_histogram"].values())
        if total > 0 and mass > 0.4 * total:
            cues.append((f"mostly {hue}", mass / total))
        cues.extend((f"{tone} colours", attributes[tone]) for tone in ("warm", "cool") if attributes[tone] > 0.75)
    return sorted(cues, key=lambda cue: -cue[1])


def colourfulness(image: np.ndarray) -> float:
    """Hasler–Süsstrunk colourfulness M on the 0…255 scale (0 for grey), over all pixels of an RGB uint8 picture.

    M = sqrt(var(rg) + var(yb)) + 0.3 · sqrt(mean(rg)² + mean(yb)²) with rg = R - G and yb = (R + G) / 2 - B.
    """
    red, green, blue = np.moveaxis(_checked(image).astype(np.float32), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.sqrt(_var(rg) + _var(yb)) + 0.3 * np.hypot(_mean(rg), _mean(yb)))


def tenth(value: float) -> float:
    """Nearest tenth in [0, 1], halves upwards: the bins that EmoSet gives brightness and colourfulness."""
    return float(min(10.0, max(0.0, np.floor(value * 10 + 0.5))) / 10)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise MediaError("picture", f"expected RGB or grey uint8 pixels, got {image.dtype} {image.shape}")
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def _reduced(image: np.ndarray) -> np.ndarray:
    """Checked RGB picture whose longer side is at most `MEASURED_SIDE`."""
    image = _checked(image)
    height, width = image.shape[:2]
    scale = MEASURED_SIDE / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees [0, 360), saturation and value in [0, 1], float32."""
    hue, saturation, value = cv2.split(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV))
    return hue % 360, saturation, value


def _luminance(rgb: np.ndarray) -> np.ndarray:
    """Rec. 601 luma in [0, 1], float32."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


def _var(values: np.ndarray) -> float:
    return float(values.var(dtype=np.float64))


def _light_and_colour(rgb: np.ndarray) -> dict[str, float]:
    hue, saturation, value = _hsv(rgb)
    light = _luminance(rgb)
    spread = np.sqrt(_var(light))
    brightness, chroma = _mean(value), _mean(saturation)
    low, high = np.percentile(value, (5, 95))
    # Hue of a nearly black or grey pixel is noise: it counts with saturation times value.
    mass = saturation * value
    total = max(float(mass.sum()), 1e-9)
    bins = np.floor_divide(hue + 15.0, 30.0).astype(np.int64) % 12
    histogram = np.bincount(bins.ravel(), mass.ravel(), 12) / mass.size
    turn = np.deg2rad(hue)
    warm = (hue < 75) | (hue >= 315)
    cool = (hue >= 135) & (hue < 285)
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100
    return {
        "value_mean": brightness,
        "value_std": np.sqrt(_var(value)),
        "value_p05": float(low),
        "value_p95": float(high),
        "saturation_mean": chroma,
        "saturation_std": np.sqrt(_var(saturation)),
        "colourfulness": colourfulness(rgb) / COLOURFULNESS_SCALE,
        "luminance_std": spread,
        "luminance_skew": _mean((light - light.mean()) ** 3) / spread**3 if spread > 1e-4 else 0.0,
        "dark_share": _mean(value < 0.2),
        "bright_share": _mean(value > 0.8),
        "grey_share": _mean(saturation < 0.1),
        **{f"hue_{name}": share for name, share in zip(HUE_NAMES, histogram, strict=True)},
        "hue_concentration": float(np.hypot((mass * np.cos(turn)).sum(), (mass * np.sin(turn)).sum())) / total,
        "warm": float(mass[warm].sum()) / total,
        "cool": float(mass[cool].sum()) / total,
        "lab_a_mean": _mean(lab[:, :, 1]),
        "lab_b_mean": _mean(lab[:, :, 2]),
        "lab_a_std": np.sqrt(_var(lab[:, :, 1])),
        "lab_b_std": np.sqrt(_var(lab[:, :, 2])),
        # Valdez & Mehrabian 1994, equations for brightness B and saturation S.
        "pleasure": 0.69 * brightness + 0.22 * chroma,
        "arousal": -0.31 * brightness + 0.60 * chroma,
        "dominance": -0.76 * brightness + 0.32 * chroma,
    }


def _texture(rgb: np.ndarray) -> dict[str, float]:
    light = _luminance(rgb)
    counts = np.bincount((light * 255).round().astype(np.int64).ravel(), minlength=256) / light.size
    seen = counts[counts > 0]
    across = cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    strength = np.hypot(across, down)
    total = max(float(strength.sum()), 1e-9)
    # An edge is horizontal where the light changes mostly downwards (within 22.5° of the vertical).
    horizontal, vertical = np.abs(down) > 2.4142 * np.abs(across), np.abs(across) > 2.4142 * np.abs(down)
    detail = cv2.Laplacian(light, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE)
    return {
        **_cooccurrence(light),
        "entropy": float(-(seen * np.log2(seen)).sum()) / 8,
        "edge_density": _mean(strength > 0.05),
        "edge_horizontal": float(strength[horizontal].sum()) / total,
        "edge_vertical": float(strength[vertical].sum()) / total,
        "sharpness": np.sqrt(_var(detail)),
        "spectral_slope": _spectral_slope(light),
    }


def _cooccurrence(light: np.ndarray, levels: int = 16) -> dict[str, float]:
    """Haralick's contrast, homogeneity, energy and correlation over right and lower neighbours, each scaled to ≤ 1."""
    grey = np.minimum((light * levels).astype(np.int64), levels - 1)
    pairs = np.concatenate(
        [grey[:, :-1].ravel() * levels + grey[:, 1:].ravel(), grey[:-1].ravel() * levels + grey[1:].ravel()]
    )
    if len(pairs) == 0:
        return {"glcm_contrast": 0.0, "glcm_homogeneity": 1.0, "glcm_energy": 1.0, "glcm_correlation": 0.0}
    joint = np.bincount(pairs, minlength=levels * levels).reshape(levels, levels) / len(pairs)
    joint = (joint + joint.T) / 2
    index = np.arange(levels)
    gap = index[:, None] - index
    margin = joint.sum(axis=1)
    mean = float(margin @ index)
    variance = float(margin @ (index - mean) ** 2)
    covariance = float((joint * np.outer(index - mean, index - mean)).sum())
    return {
        "glcm_contrast": float((joint * gap**2).sum()) / (levels - 1) ** 2,
        "glcm_homogeneity": float((joint / (1 + np.abs(gap))).sum()),
        "glcm_energy": float((joint**2).sum()),
        "glcm_correlation": covariance / variance if variance > 1e-9 else 0.0,
    }


def _spectral_slope(light: np.ndarray, side: int = 128) -> float:
    """Slope of log power over log spatial frequency, radially averaged from 2 to 40 cycles per picture; 0 if flat."""
    square = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    taper = np.hanning(side).astype(np.float32)
    power = np.abs(np.fft.rfft2((square - square.mean()) * taper[:, None] * taper)) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    ring = radius.round().astype(np.int64).ravel()
    mean = np.bincount(ring, power.ravel())[2:41] / np.bincount(ring)[2:41]
    if mean.max() < 1e-6:
        return 0.0
    x = np.log(np.arange(2, 41))
    y = np.log(np.maximum(mean, 1e-9))
    return float(((x - x.mean()) @ (y - y.mean())) / ((x - x.mean()) @ (x - x.mean())))


def _composition(rgb: np.ndarray) -> dict[str, float]:
    small = cv2.resize(rgb, (48, 48), interpolation=cv2.INTER_AREA)
    _, saturation, value = _hsv(small)
    light = _luminance(small)
    centred = light - light.mean()
    energy = float((centred**2).sum())
    centre = np.zeros((48, 48), bool)
    centre[12:36, 12:36] = True
    return {
        "symmetry": 1.0 if energy < 1e-6 else (1 + float((centred * centred[:, ::-1]).sum()) / energy) / 2,
        "centre_value": _mean(value[centre]) - _mean(value[~centre]),
        "centre_saturation": _mean(saturation[centre]) - _mean(saturation[~centre]),
        "top_value": _mean(value[:24]) - _mean(value[24:]),
        "coarse_contrast": float(light.reshape(4, 12, 4, 12).mean(axis=(1, 3)).std()),
    }
